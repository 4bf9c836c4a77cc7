"""
Questions to SQLite about all rows of a table, as many as a wide table needs.

A statement has at most 2,000 result columns, and an expression at most 1,000 levels (SQLite, "Implementation Limits"),
which a table of 1,500 columns exceeds in both ways.
"""

from collections.abc import Sequence
from typing import Any

from migrator.contents import SourceTable
from migrator.scanning import ScanSession

_AT_ONCE = 500
"""Result columns of one statement; each statement is a pass over the table."""


def added_up(terms: Sequence[str]) -> str:
    """Return SQL for the sum of the terms, halved again and again: an even tree is a low one."""
    if len(terms) <= 1:
        return terms[0] if terms else "0"
    middle = len(terms) // 2
    return f"({added_up(terms[:middle])} + {added_up(terms[middle:])})"


def answers(session: ScanSession, table: SourceTable, questions: Sequence[str]) -> list[Any]:
    """Return the value of each aggregate over the table's rows; raises what asking raises."""
    found: list[Any] = []
    for start in range(0, len(questions), _AT_ONCE):
        selected = ", ".join(
            f"{question} AS a{i}" for i, question in enumerate(questions[start : start + _AT_ONCE], start)
        )
        [row] = session.ask(f"SELECT {selected} FROM {table.quoted}")
        found += row.values()
    return found
