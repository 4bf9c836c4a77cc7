"""Makes ``docs/report.schema.json`` from the classes of the report: ``scripts/docs.py`` writes it."""

import ast
import inspect
import json
from collections.abc import Iterator
from typing import Any, Final

from pydantic import TypeAdapter

from migrator.reports import document

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the schema of the report. It allows further fields, since a later release may add some."""
    made = TypeAdapter(document.Document).json_schema(mode="serialization")
    described = {name: dict(texts) for name, texts in _described()}
    kinds = {"Document": made, **made.get("$defs", {})}
    for name, kind in kinds.items():
        for field, details in kind["properties"].items():
            details.pop("title", None)
            if field in described.get(name, {}):
                details["description"] = described[name][field]
        kind["required"] = list(kind["properties"])
    head = {"$schema": DIALECT, "title": f"Report of migrator, version {document.SCHEMA_VERSION} of its schema"}
    return {**head, **{name: value for name, value in made.items() if name != "title"}}


def text() -> str:
    """Return the schema as the file has it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _described() -> Iterator[tuple[str, Iterator[tuple[str, str]]]]:
    """Yield, for each class, its fields with the text that stands below each."""
    for node in ast.parse(inspect.getsource(document)).body:
        if isinstance(node, ast.ClassDef):
            yield node.name, _texts(node)


def _texts(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield ast.unparse(field.target), str(below.value.value)
