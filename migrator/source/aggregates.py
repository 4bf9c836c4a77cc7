"""
Asks SQLite for aggregates over all rows of a table, as many as a wide table needs.

A statement has at most 2,000 result columns, and an expression at most 1,000 levels (SQLite, "Implementation Limits"),
which a table of 1,500 columns exceeds in both ways.
"""

from collections.abc import Sequence
from typing import Any

from migrator.source.scan import ScanSession
from migrator.source.schema import SourceTable

_AT_ONCE = 500
"""Result columns of one statement; each statement is a pass over the table."""


def added_up(terms: Sequence[str]) -> str:
    """Return SQL for the sum of the terms, halved again and again: an even tree is a low one."""
    if len(terms) <= 1:
        return terms[0] if terms else "0"
    middle = len(terms) // 2
    return f"({added_up(terms[:middle])} + {added_up(terms[middle:])})"


_LONGEST = 500_000
"""Characters of one statement that asks about several tables; a megabyte is the most."""


def answers_of_each(session: ScanSession, tables: Sequence[tuple[SourceTable, Sequence[str]]]) -> list[list[Any]]:
    """
    Return the values of as many aggregates over the rows of each table, in as few statements as will do.

    Of at most 500 tables, since a statement has no more SELECTs. Raises what asking raises.
    """
    found: list[list[Any]] = []
    selects: list[str] = []
    for place, (table, questions) in enumerate(tables):
        selected = ", ".join(f"{question} AS a{i}" for i, question in enumerate(questions))
        select = f"SELECT {place} AS place, {selected} FROM {table.origin}"
        if selects and sum(map(len, selects)) + len(select) > _LONGEST:
            found += _by_place(session, selects)
            selects = []
        selects.append(select)
    return found + _by_place(session, selects) if selects else found


def _by_place(session: ScanSession, selects: Sequence[str]) -> list[list[Any]]:
    rows = sorted(session.ask(" UNION ALL ".join(selects)), key=lambda row: row["place"])
    return [[value for name, value in row.items() if name != "place"] for row in rows]


def answers(session: ScanSession, table: SourceTable, questions: Sequence[str]) -> list[Any]:
    """Return the value of each aggregate over the table's rows; raises what asking raises."""
    found: list[Any] = []
    for start in range(0, len(questions), _AT_ONCE):
        selected = ", ".join(
            f"{question} AS a{i}" for i, question in enumerate(questions[start : start + _AT_ONCE], start)
        )
        [row] = session.ask(f"SELECT {selected} FROM {table.origin}")
        found += row.values()
    return found


def count_matching(session: ScanSession, table: SourceTable, conditions: Sequence[str]) -> list[int]:
    """Return for each of the conditions, in SQLite's SQL, how many rows meet it. One scan; none without a condition."""
    if len(conditions) == 1:  # SQLite counts what it has chosen for a quarter of what adding up costs
        [row] = session.ask(f"SELECT count(*) AS rows FROM {table.origin} WHERE {conditions[0]}")
        return [int(row["rows"])]
    sums = [f"sum({condition})" for condition in conditions]
    return [rows or 0 for rows in answers(session, table, sums)]
