"""
Imports libraries without those of their parts that nothing here uses, and says what CPU time this saves.

An application's migrations get these parts if they ask for them, except for Arrow's datasets, which the image doesn't
have. The program works without this module, too.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any, Final


def import_lean() -> None:
    """Leave out what is not used in all later imports. Call it before the program's other modules are imported."""
    compile_late()
    # DuckDB asks whether what it reads is one of Arrow's datasets, and does without them where they can't be loaded:
    # 0.02 s. Nothing else may load them then.
    sys.modules.setdefault("pyarrow.dataset", None)  # type: ignore[arg-type] # None makes an import fail
    sys.meta_path.insert(0, _Finder())
    # structlog would import rich's tracebacks: 0.06 s.
    with _in_place_of("rich", None):
        import structlog  # noqa: F401, PLC0415 - imported for its effect, at this point


@contextmanager
def _in_place_of(name: str, module: ModuleType | None) -> Iterator[None]:
    """Let imports of ``name`` find ``module`` while the block runs, or fail if it is None."""
    if sys.modules.get(name) is not None:
        yield
        return
    before = {key: found for key, found in sys.modules.items() if key == name}
    sys.modules[name] = module  # type: ignore[assignment] # None makes an import fail
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(before)


def _without_datasets(loader: Loader, module: ModuleType) -> None:
    """Load ADBC without Arrow's datasets, which only its bulk loading uses."""
    with _in_place_of("pyarrow.dataset", ModuleType("pyarrow.dataset")):
        loader.exec_module(module)


def _without_wrappers(loader: Loader, module: ModuleType) -> None:
    """Load Arrow's compute functions without a Python function around each: one is made for its first use. 0.02 s."""
    compute: Any = import_module("pyarrow._compute")
    registry = compute.function_registry
    few = SimpleNamespace(list_functions=lambda: _ASKED_FOR_WHILE_LOADING, get_function=registry().get_function)
    compute.function_registry = lambda: few
    try:
        loader.exec_module(module)
    except KeyError:  # another version, which asks for more
        compute.function_registry = registry
        loader.exec_module(module)
        return
    finally:
        compute.function_registry = registry
    wrap = vars(module)["_wrap_function"]

    def get(name: str) -> Any:  # noqa: ANN401 - whatever the module has
        try:
            made = wrap(name, registry().get_function(name.removesuffix("_")))
        except KeyError:
            raise AttributeError(name) from None
        setattr(module, name, made)
        return made

    vars(module).update(function_registry=registry, __getattr__=get)


_ASKED_FOR_WHILE_LOADING: Final = ["utf8_zero_fill"]
"""The functions to which Arrow's module gives a second name."""


def _without_plugins(loader: Loader, module: ModuleType) -> None:
    """Let pydantic not look through all packages for plugins of it, which could only change how settings are read."""
    loader.exec_module(module)
    vars(module)["_plugins"] = {}


_OF_ENGINES: Final = {"AsyncConnection", "AsyncEngine", "AsyncTransaction", "create_async_engine"}


def _without_orm(loader: Loader, module: ModuleType) -> None:
    """Let SQLAlchemy's package for asyncio give its engines, and load the rest, with the ORM, on demand: 0.04 s."""

    def get(name: str) -> Any:  # noqa: ANN401 - whatever the module has
        if name in _OF_ENGINES:
            return getattr(import_module(f"{module.__name__}.engine"), name)
        if find_spec(f"{module.__name__}.{name}"):  # Python asks before it imports a submodule
            raise AttributeError(name)
        del module.__getattr__
        loader.exec_module(module)
        return getattr(module, name)

    module.__getattr__ = get  # type: ignore[method-assign]


_LEAN: Final[dict[str, Callable[[Loader, ModuleType], None]]] = {
    "adbc_driver_manager.dbapi": _without_datasets,
    "pyarrow.compute": _without_wrappers,
    "pydantic.plugin._loader": _without_plugins,
    "sqlalchemy.ext.asyncio": _without_orm,
}


class _Finder(MetaPathFinder):
    """Finds the modules that are loaded in another way than their own loaders would."""

    def find_spec(self, name: str, path: Sequence[str] | None, _: ModuleType | None = None) -> ModuleSpec | None:
        """Return where the module is, with the loader that leaves parts out; None for all other modules."""
        execute = _LEAN.get(name)
        spec = execute and PathFinder.find_spec(name, path)
        if not execute or not spec or not spec.loader:
            return None
        spec.loader = _LeanLoader(spec.loader, execute)
        return spec


@dataclass(frozen=True)
class _LeanLoader(Loader):
    loader: Loader
    execute: Callable[[Loader, ModuleType], None]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the real loader create the module."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module, or what is wanted of it."""
        self.execute(self.loader, module)


_ONE_FUNCTION_A_METHOD: Final = (3, 13)
"""From this version on, ``dataclasses`` compiles all methods of a class together, by another function."""


def compile_late() -> None:
    """
    Let ``dataclasses`` compile each method of a class when it is first called, instead of all with the class.

    Python writes the text of up to six methods for each data class and compiles them one by one: 0.5 ms a class. A run
    has 350 of these classes, most of them with the libraries, and calls few of these methods. This saves 0.15 s.
    A newer Python, which works in another way, is left as it is.
    """
    if sys.version_info < _ONE_FUNCTION_A_METHOD:
        functions = vars(dataclasses)
        functions["_create_fn"] = partial(_late, functions["_create_fn"])


def _late(create: Callable[..., Any], name: str, *text: Any, **context: Any) -> Callable[..., Any]:  # noqa: ANN401
    """Return a function that makes the method ``name`` by ``create``, takes its place in the class, and calls it."""
    made: Callable[..., Any] | None = None

    def late(instance: object, /, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        nonlocal made
        if made is None:
            made = create(name, *text, **context)
            made.__qualname__ = late.__qualname__
            for owner in type(instance).__mro__:
                if owner.__dict__.get(name) is late:  # not if another function is wrapped around it
                    setattr(owner, name, made)
        return made(instance, *arguments, **named)

    late.__name__ = name
    return late
