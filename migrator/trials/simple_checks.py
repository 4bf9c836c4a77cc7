"""
Translates simple CHECK constraints into SQLite's SQL: comparisons of numbers, combined with AND, OR and NOT.

Most CHECK constraints of applications are this simple (``quantity >= 0``). SQLite finds the rows that break them in one
scan, and no row is sent. PostgreSQL has to judge all other CHECK constraints.
"""

import re
from collections.abc import Mapping

from migrator.planning.plan import ColumnPlan

_NUMBERS = frozenset({"int2", "int4", "int8", "float8"})
"""Types whose values SQLite compares as PostgreSQL does: integers and doubles."""

_TOKEN = re.compile(
    r"\s+|(?P<literal>\d+(?:\.\d+)?)(?![\w.:])|(?P<sign><=|>=|<>|=|<|>|\(|\))(?!:)"
    r"|(?P<word>AND|OR|NOT|IS|NULL)\b|(?P<name>[a-z_][a-z0-9_]*|\"(?:[^\"]|\"\")+\")(?![\w(:.])"
)

# PostgreSQL writes negative numbers, and numbers compared with doubles, with a cast (ruleutils.c: get_const_expr).
_NEGATIVE = re.compile(r"'(-\d+(?:\.\d+)?)'::(?:smallint|integer|bigint|double precision)")

_DOUBLE = re.compile(r"\((\d+(?:\.\d+)?)\)::double precision")


def broken_when(definition: str, columns: Mapping[str, ColumnPlan]) -> str | None:
    """
    Return a condition in SQLite's SQL for the rows that break a CHECK constraint; None if the constraint isn't simple.

    ``definition`` is PostgreSQL's own spelling, with brackets around every part. ``columns`` holds the plans of the
    target's columns by their names.
    """
    expression = definition.removeprefix("CHECK ")
    negative_numbers = {f"\0{place}\0": number[1] for place, number in enumerate(_NEGATIVE.finditer(expression))}
    for mark in negative_numbers:
        expression = _NEGATIVE.sub(mark, expression, count=1)
    expression = _DOUBLE.sub(r"\1", expression)
    parts: list[str] = []
    position = 0
    while position < len(expression):
        if (mark := expression[position : expression.find("\0", position + 1) + 1]) in negative_numbers:
            parts.append(f"({negative_numbers[mark]})")
            position += len(mark)
            continue
        token = _TOKEN.match(expression, position)
        if token is None:
            return None
        position = token.end()
        if (name := token["name"]) is None:
            parts.append(token[0])
            continue
        column = columns.get(name[1:-1].replace('""', '"') if name.startswith('"') else name)
        if column is None or column.target.type_name not in _NUMBERS:
            return None
        parts.append(f"({column.source_expression})")
    return f"({''.join(parts)}) = 0"
