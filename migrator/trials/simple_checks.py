"""
CHECKs so simple that SQLite can judge by them: comparisons of numbers, put together with AND, OR and NOT.

They are most of what applications have (``quantity >= 0``), and SQLite answers in one scan, without a row being sent.
Everything else is PostgreSQL's to judge.
"""

import re
from collections.abc import Mapping

from migrator.planning.plan import ColumnPlan

_NUMBERS = frozenset({"int2", "int4", "int8", "float8"})
"""Types whose values SQLite compares as PostgreSQL does: integers, and the same doubles."""

_TOKEN = re.compile(
    r"\s+|(?P<literal>\d+(?:\.\d+)?)(?![\w.:])|(?P<sign><=|>=|<>|=|<|>|\(|\))(?!:)"
    r"|(?P<word>AND|OR|NOT|IS|NULL)\b|(?P<name>[a-z_][a-z0-9_]*|\"(?:[^\"]|\"\")+\")(?![\w(:.])"
)

# Negative numbers, and those that are compared with doubles, are written with a cast (ruleutils.c: get_const_expr).
_NEGATIVE = re.compile(r"'(-\d+(?:\.\d+)?)'::(?:smallint|integer|bigint|double precision)")

_DOUBLE = re.compile(r"\((\d+(?:\.\d+)?)\)::double precision")


def broken_when(definition: str, columns: Mapping[str, ColumnPlan]) -> str | None:
    """
    Return a condition in SQLite's SQL for the rows that break a CHECK; None if it isn't one of the simple kind.

    ``definition`` is as PostgreSQL writes it, in brackets throughout, and ``columns`` are the plans of the target's.
    """
    bare = definition.removeprefix("CHECK ")
    signed = {f"\0{place}\0": number[1] for place, number in enumerate(_NEGATIVE.finditer(bare))}
    for mark in signed:
        bare = _NEGATIVE.sub(mark, bare, count=1)
    bare = _DOUBLE.sub(r"\1", bare)
    parts: list[str] = []
    at = 0
    while at < len(bare):
        if (mark := bare[at : bare.find("\0", at + 1) + 1]) in signed:
            parts.append(f"({signed[mark]})")
            at += len(mark)
            continue
        token = _TOKEN.match(bare, at)
        if token is None:
            return None
        at = token.end()
        if (name := token["name"]) is None:
            parts.append(token[0])
            continue
        column = columns.get(name[1:-1].replace('""', '"') if name.startswith('"') else name)
        if column is None or column.target.type_name not in _NUMBERS:
            return None
        parts.append(f"({column.source_expression})")
    return f"({''.join(parts)}) = 0"
