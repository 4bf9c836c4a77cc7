"""The house: which module may import which. Read from the sources, so that a picture in the manual can't drift."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "migrator"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if "dryad" not in path.parts
}
LAYERS = (
    {"cli"},
    {"job", "demo"},
    {"move", "examine"},
    {"steps", "both_ends"},
    {"stages"},
    {"plan", "encode", "digest", "bridge", "ledger"},
    {"types"},
    {"source", "scanning", "contents", "target", "sessions"},
    {"names", "errors"},
)
"""From top to bottom: a module may import from its own layer and from those below, never from one above."""


def imported(path: Path) -> Iterator[str]:
    """Yield the modules of this package that a file imports, anywhere in it, but not for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES or full.startswith("migrator.dryad") else node.module


IMPORTS = {
    name: {other for other in imported(path) if other.split(".")[0] == "migrator" and other != "migrator"}
    for name, path in MODULES.items()
}


def within(name: str, part: str) -> bool:
    """Return whether a module is ``migrator.part``, or in it."""
    return name == f"migrator.{part}" or name.startswith(f"migrator.{part}.")


def layer(name: str) -> int | None:
    """Return how far down a module lives; None for those that the picture leaves out."""
    return next((at for at, parts in enumerate(LAYERS) if any(within(name, part) for part in parts)), None)


def test_imports_run_one_way() -> None:
    """There is no cycle; the sorter raises CycleError with the modules of the first that it finds."""
    graph = {name: others - {name} for name, others in IMPORTS.items()}
    # A package's __init__ gathers its modules, and they may use each other's neighbours directly.
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("name", sorted(name for name in MODULES if layer(name) is not None))
def test_no_module_imports_from_above(name: str) -> None:
    """Cli → job → move → steps → stages → plan, encode, digest, bridge, ledger → types → both ends → names."""
    above = {other for other in IMPORTS[name] if (at := layer(other)) is not None and at < (layer(name) or 0)}
    assert above == set()


def test_a_stage_never_imports_another() -> None:
    """What two stages share is a noun, and lives above them; the job and its steps alone put stages together."""
    stages = {name for name in MODULES if name.startswith("migrator.stages.")}
    assert {name: IMPORTS[name] & stages for name in stages if IMPORTS[name] & stages} == {}
    users = {name for name, others in IMPORTS.items() if others & stages}
    assert users <= {f"migrator.{name}" for name in ("job", "completed", "move", "examine", "steps", "both_ends")}


def reach(name: str) -> set[str]:
    """Return all that a module imports, directly or not."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for other in IMPORTS.get(waiting.pop(), ()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


@pytest.mark.parametrize("name", ["migrator.digest", "migrator.stages.verify"])
def test_the_verifier_shares_no_conversion_with_the_copier(name: str) -> None:
    """It would not notice a mistake that it makes as well."""
    direct = IMPORTS[name]
    assert not any(within(other, part) for other in direct for part in ("types", "encode"))


def test_digest_does_not_even_reach_the_copiers_code() -> None:
    """Nor does anything that it imports."""
    assert not any(within(other, part) for other in reach("migrator.digest") for part in ("types", "encode", "plan"))


@pytest.mark.parametrize("end", ["migrator.source", "migrator.target"])
def test_the_ends_do_not_know_the_plan(end: str) -> None:
    """Each describes itself and yields or takes batches; they don't know each other either."""
    strangers = ("plan", "types", "encode", "stages", "ledger", "settings", "source" if "target" in end else "target")
    assert not any(within(other, part) for other in reach(end) for part in strangers)


@pytest.mark.parametrize("part", ["engine", "dryad"])
def test_the_engine_knows_nothing_of_the_application(part: str) -> None:
    """The application's helper and its schema are for applications, tests and the demo, not for the job."""
    users = {name for name, others in IMPORTS.items() if any(within(other, part) for other in others)}
    assert users <= {"migrator.engine", "migrator.demo"}


def test_every_stage_is_a_function_of_its_name() -> None:
    """One word names a stage everywhere: its file and its function first."""
    for name, path in MODULES.items():
        if name.startswith("migrator.stages."):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            functions = {node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)}
            assert name.rpartition(".")[2] in functions
