"""The layers of the package: which package may import which. Read from the sources, so that no picture can drift."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "migrator"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if "dryad" not in path.parts
}
ROWS: tuple[frozenset[str], ...] = (
    frozenset({"cli"}),
    frozenset({"demo"}),
    frozenset({"rollback"}),
    frozenset({"job"}),
    frozenset({"refresh"}),
    frozenset({"reports"}),
    frozenset({"stages"}),
    frozenset({"schema"}),
    frozenset({"preflight"}),
    frozenset({"trials"}),
    frozenset({"findings"}),
    frozenset({"copying", "selection"}),
    frozenset({"planning"}),
    frozenset({"verification", "types", "status"}),
    frozenset({"config"}),
    frozenset({"ledger"}),
    frozenset({"catalog"}),
    frozenset({"source", "target"}),
    frozenset({"sessions"}),
    frozenset({"concurrency", "runtime", "sql", "meaning", "bookkeeping"}),
    frozenset({"monitoring"}),
)
"""Packages from top to bottom. A package imports from the rows below its own, never from its own row or above."""
IMPORTED_BY_ALL = frozenset({"errors", "events", "names"})
"""Modules at the top of the package that every package may import; ``migrator`` itself holds the version."""
ROW_OF = {package: at for at, row in enumerate(ROWS) for package in row}
MOST_MODULES = 14
MOST_FILES_AT_THE_TOP = 6
MOST_LINES = 350


def package_of(module: str) -> str:
    """Return the first name below ``migrator``: a package, or a module at its top."""
    return [*module.split("."), ""][1]


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Yield every name that a file imports from this project, anywhere in it, as its module and the name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "migrator")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "migrator":
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield (module, "") if module in MODULES or ".dryad" in module else (node.module, alias.name)


IMPORTS = {name: {module for module, _ in imported(path)} - {"migrator", name} for name, path in MODULES.items()}


def reach(package: str) -> set[str]:
    """Return the packages that a package imports, over whatever steps."""
    found: set[str] = set()
    waiting = {name for name in MODULES if package_of(name) == package}
    seen = set(waiting)
    while waiting:
        for other in IMPORTS.get(waiting.pop(), ()):
            found.add(package_of(other))
            if other not in seen:
                seen.add(other)
                waiting.add(other)
    return found - {package}


def test_imports_have_no_cycle() -> None:
    """The sorter raises CycleError with the modules of the first cycle that it finds."""
    assert list(TopologicalSorter(IMPORTS).static_order())


@pytest.mark.parametrize("name", sorted(name for name in MODULES if package_of(name) in ROW_OF))
def test_a_package_imports_from_lower_rows_only(name: str) -> None:
    """Neither a row above nor a neighbour in the same row is imported."""
    own = package_of(name)
    others = {
        other: package_of(other) for other in IMPORTS[name] if package_of(other) not in IMPORTED_BY_ALL | {own, ""}
    }
    assert {other for other, package in others.items() if ROW_OF.get(package, -1) <= ROW_OF[own]} == set()


def test_every_package_has_a_row() -> None:
    """A new package gets its place in the picture before anything imports it."""
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert packages == set(ROW_OF)


@pytest.mark.parametrize("forbidden", ["types", "planning", "copying", "preflight"])
def test_verification_shares_nothing_with_the_copier(forbidden: str) -> None:
    """A mistake of the copier shows as a difference, because the comparison has no part of its code."""
    assert forbidden not in reach("verification")


def test_a_stage_never_imports_another() -> None:
    """What two stages share lives below them; the job alone puts stages together."""
    stages = {name for name in MODULES if name.startswith("migrator.stages.")} - {"migrator.stages.context"}
    assert {name: IMPORTS[name] & stages for name in stages if IMPORTS[name] & stages} == {}
    assert {package_of(name) for name, others in IMPORTS.items() if others & stages} <= {"job"}


def test_every_stage_is_a_function_of_its_name() -> None:
    """One word names a stage everywhere: its file and its function first."""
    for name, path in MODULES.items():
        if name.startswith("migrator.stages.") and not name.endswith(".context"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            functions = {node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)}
            assert name.rpartition(".")[2] in functions


def test_settings_are_read_at_the_edges() -> None:
    """Below the job nothing knows the settings: it gets what it needs as values."""
    users = {package_of(name) for name, others in IMPORTS.items() if "migrator.config.settings" in others}
    assert users <= {"cli", "config", "job", "demo", "rollback"}


def test_no_private_name_is_imported() -> None:
    """A name that begins with an underscore belongs to its module."""
    private = {
        (name, thing)
        for name, path in MODULES.items()
        for _, thing in imported(path)
        if thing.startswith("_") and not thing.startswith("__")
    }
    assert private == set()


def test_values_are_structs() -> None:
    """Classes that hold values are made sooner than data classes; ``asdict`` of the one isn't for the other."""
    users = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and node.module == "dataclasses")
        or (isinstance(node, ast.Import) and "dataclasses" in {alias.name for alias in node.names})
    }
    assert users == {"migrator.reports.document", "migrator.reports.files"}


def test_engine_and_demo_are_apart() -> None:
    """The application's helper is for applications, and nothing but the command line starts the demo."""
    assert {name for name, others in IMPORTS.items() if "migrator.engine" in others} <= {"migrator.demo.run"}
    demo = {name for name, others in IMPORTS.items() if any(package_of(other) == "demo" for other in others)}
    assert {package_of(name) for name in demo} <= {"cli", "demo"}


@pytest.mark.parametrize("package", sorted(ROW_OF))
def test_an_init_imports_nothing(package: str) -> None:
    """``--help`` and ``status`` don't load drivers that they don't use. ``types`` gathers its families."""
    tree = ast.parse((PACKAGE / package / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert package == "types" or imports == []


def test_folders_and_modules_stay_small() -> None:
    """A folder that one look takes in, and a module about one concept."""
    folders: dict[Path, int] = {}
    for path in MODULES.values():
        folders[path.parent] = folders.get(path.parent, 0) + (path.name != "__init__.py")
    assert folders.pop(PACKAGE) <= MOST_FILES_AT_THE_TOP - 1
    assert {folder.name: count for folder, count in folders.items() if count > MOST_MODULES} == {}
    long = {name: path.read_text(encoding="utf-8").count("\n") for name, path in MODULES.items()}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES and name != "migrator.demo.server"} == {}
