"""
Finds the source's rows that would break a unique key or a foreign key of the target.

PostgreSQL builds these keys after the load and stops at the first row that breaks a key. This module finds all of these
rows before anything is written. It searches in SQLite, but compares values as PostgreSQL does: 1, 1.0 and '1' are the
same number, two spellings can be the same uuid, and ``citext`` ignores case.
"""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from migrator.catalog.keys import ForeignKey, Keys, UniqueKey
from migrator.names import TableName
from migrator.planning.equality import equality_key, orphan_condition, parent_keys
from migrator.planning.key_columns import columns_of, enforced_on, unique_columns
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.preflight.quick.references import Reference
from migrator.source.scan import ScanSession
from migrator.types import Problem, ProblemCode


class KeyViolation(Struct, frozen=True):
    """The rows of a table that a key of the target refuses."""

    column: ColumnPlan
    """The key's first column, which names the violation."""
    problem: Problem
    """The problem; its condition, in SQLite's SQL, is true for the rows."""
    reference: Reference | None = None
    """The foreign key; None for a unique key."""
    of_left_behind: str = ""
    """The condition of those of the rows that refer to a row which stays behind; empty if the parent is whole."""


def key_violations(
    tables: Mapping[TableName, TablePlan], table: TablePlan, keys: Keys, session: ScanSession
) -> Iterator[KeyViolation]:
    """
    Yield the possible violations of a table's ``keys``, each with the condition that finds its rows.

    ``tables`` are all planned tables, since a foreign key refers to another table. Keys that SQLite has enforced
    itself, with the same equality of values, are skipped. ``session`` is used to read which keys SQLite enforces.
    """
    for key, columns in unique_columns(table, keys):
        # Only PostgreSQL can compare digits beyond the precision of a double: `trial_load` sends it these keys.
        if any(column.target.type_name == "numeric" for column in columns):
            continue
        # SQLite's keys accept any number of NULLs, and a rule for orphans may add some.
        if not (key.nulls_distinct and enforced_on(session, table, columns)):
            yield _duplicates(table, columns, key)
    for reference in keys.foreign:
        parent = tables.get(reference.parent)
        if parent is None:
            continue
        children, parents = columns_of(table, reference.columns), columns_of(parent, reference.parent_columns)
        if children and parents:
            yield _orphans(children, parent, parents, reference)


def _duplicates(table: TablePlan, columns: Sequence[ColumnPlan], key: UniqueKey) -> KeyViolation:
    compared = [equality_key(column) for column in columns]
    listed = ", ".join(compared)
    present = " AND ".join(f"{form} IS NOT NULL" for form in compared) if key.nulls_distinct else "true"
    condition = (
        f"{present} AND ({listed}) IN "
        f"(SELECT {listed} FROM {table.source.origin} WHERE {present} GROUP BY {listed} HAVING count(*) > 1)"
    )
    if not key.nulls_distinct:  # IN never matches a NULL
        joined = " || '|' || ".join(f"quote({form})" for form in compared)
        condition = f"{joined} IN (SELECT {joined} FROM {table.source.origin} GROUP BY {joined} HAVING count(*) > 1)"
    reason = f"is there more than once, {key.words()}"
    return KeyViolation(columns[0], Problem(ProblemCode.DUPLICATE_KEY, reason, condition))


def _orphans(
    children: Sequence[ColumnPlan], parent: TablePlan, parents: Sequence[ColumnPlan], key: ForeignKey
) -> KeyViolation:
    reference = [equality_key(column) for column in children]
    referred, source = parent_keys(parent, parents), parent.source
    condition = orphan_condition(reference, referred, source.origin, whole=key.whole)
    missing = orphan_condition(reference, referred, source.stored, whole=key.whole)
    reason = f"refers to a row of {parent.source.name} that isn't there, and {key.name} of the target wants it"
    behind = f"({condition}) AND NOT ({missing})" if source.origin != source.stored else ""
    given = Reference(parent, tuple(children), tuple(parents), key.whole)
    return KeyViolation(children[0], Problem(ProblemCode.ORPHAN, reason, condition), given, behind)
