"""
Imports libraries without those of their parts that nothing here uses, which saves a tenth of a second of each command.

An application's migrations get these parts if they ask for them, except for Arrow's datasets, which the image doesn't
have. The program works without this module, too, where the datasets are installed.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def import_lean() -> None:
    """Leave out what is not used in all later imports. Call it before the program's other modules are imported."""
    # Pydantic would look through all installed packages for plugins, which could only change how settings are read.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
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


class _Finder(MetaPathFinder):
    """Finds ADBC's module for Python's database API, which imports Arrow's datasets."""

    def find_spec(self, name: str, path: Sequence[str] | None, _: ModuleType | None = None) -> ModuleSpec | None:
        """Return where the module is, with a loader that hides the datasets; None for all other modules."""
        spec = PathFinder.find_spec(name, path) if name == "adbc_driver_manager.dbapi" else None
        if spec is None or spec.loader is None:
            return None
        spec.loader = _WithoutDatasets(spec.loader)
        return spec


class _WithoutDatasets(Loader):
    """Loads a module that imports Arrow's datasets but, as used here, calls nothing of them."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the real loader create the module."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module while an empty module stands for the datasets."""
        with _in_place_of("pyarrow.dataset", ModuleType("pyarrow.dataset")):
            self.loader.exec_module(module)
