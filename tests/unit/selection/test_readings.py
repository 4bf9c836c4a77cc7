"""No reading of a source table sees rows that stay behind: each reads ``origin``, which has the carried rows alone."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "migrator"
READS_ALL_ROWS = {
    "source/schema.py": "defines it",
    "source/batches.py": "adds the condition itself",
    "selection/conditions.py": "counts what stays behind",
    "selection/left_behind.py": "counts what stays behind",
    "preflight/quick/stored_rows.py": "reads only tables from which no row stays behind",
    "preflight/key_violations.py": "tells a row that stays behind from one that isn't there",
}
"""The modules that read ``stored``, all rows of a table, each with the reason."""


def test_only_these_modules_read_all_rows() -> None:
    """Whoever adds another one says why."""
    readers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "stored" and "table" in ast.unparse(node.value)
    } | {"source/schema.py"}
    readers |= {name for name in READS_ALL_ROWS if ".stored" in (PACKAGE / name).read_text(encoding="utf-8")}
    assert readers == set(READS_ALL_ROWS)
