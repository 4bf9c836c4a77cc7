"""
Asks SQLite for any number of aggregates over all rows of a table, also where the table has very many columns.

A statement has at most 2,000 result columns, and an expression has at most 1,000 levels (SQLite, "Implementation
Limits"). A table of 1,500 columns exceeds both limits.
"""

from collections.abc import Sequence
from typing import Any

from migrator.source.scan import ScanSession
from migrator.source.schema import SourceTable

_AT_ONCE = 500
"""Result columns of one statement; each statement is a pass over the table."""


def added_up(terms: Sequence[str]) -> str:
    """Return SQL for the sum of the terms. The terms are halved again and again, which keeps the expression flat."""
    if len(terms) <= 1:
        return terms[0] if terms else "0"
    middle = len(terms) // 2
    return f"({added_up(terms[:middle])} + {added_up(terms[middle:])})"


_LONGEST = 500_000
"""Characters of one statement that asks about several tables. SQLite accepts at most a megabyte."""


def answers_of_each(session: ScanSession, tables: Sequence[tuple[SourceTable, Sequence[str]]]) -> list[list[Any]]:
    """
    Return for each table the values of its aggregates, and use as few statements as possible.

    ``tables`` has each table with its aggregates in SQL, and at most 500 tables, because a statement has at most 500
    SELECTs. Raises what ``ScanSession.ask`` raises.
    """
    answers_by_table: list[list[Any]] = []
    selects: list[str] = []
    for place, (table, questions) in enumerate(tables):
        selected = ", ".join(f"{question} AS a{i}" for i, question in enumerate(questions))
        select = f"SELECT {place} AS place, {selected} FROM {table.origin}"
        if selects and sum(map(len, selects)) + len(select) > _LONGEST:
            answers_by_table += _by_place(session, selects)
            selects = []
        selects.append(select)
    return answers_by_table + _by_place(session, selects) if selects else answers_by_table


def _by_place(session: ScanSession, selects: Sequence[str]) -> list[list[Any]]:
    rows = sorted(session.ask(" UNION ALL ".join(selects)), key=lambda row: row["place"])
    return [[value for name, value in row.items() if name != "place"] for row in rows]


def answers(session: ScanSession, table: SourceTable, questions: Sequence[str]) -> list[Any]:
    """
    Return the value of each aggregate over the table's rows.

    ``questions`` are the aggregates in SQL. Raises what ``ScanSession.ask`` raises.
    """
    values: list[Any] = []
    for start in range(0, len(questions), _AT_ONCE):
        selected = ", ".join(
            f"{question} AS a{i}" for i, question in enumerate(questions[start : start + _AT_ONCE], start)
        )
        [row] = session.ask(f"SELECT {selected} FROM {table.origin}")
        values += row.values()
    return values


def count_matching(session: ScanSession, table: SourceTable, conditions: Sequence[str]) -> list[int]:
    """
    Return for each condition how many of the table's rows meet it.

    ``conditions`` are in SQLite's SQL. The table is scanned once for every 500 conditions; without conditions it isn't
    scanned. Raises what ``ScanSession.ask`` raises.
    """
    if len(conditions) == 1:  # to count the rows that a WHERE selects costs a quarter of what a sum over all rows costs
        [row] = session.ask(f"SELECT count(*) AS rows FROM {table.origin} WHERE {conditions[0]}")
        return [int(row["rows"])]
    sums = [f"sum({condition})" for condition in conditions]
    return [rows or 0 for rows in answers(session, table, sums)]
