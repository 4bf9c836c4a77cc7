"""Finds the sequences that feed columns, and their next values, for the stages ``sequences`` and ``verify``."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.catalog import sequence_names, sequence_queries
from migrator.catalog.sequence_names import NumberColumn, columns_named, likely_column
from migrator.errors import ConfigurationError
from migrator.names import TableName, nearest, quote_literal, quote_postgres


class OwnedSequence(Struct, frozen=True):
    """A sequence, the column of whole numbers that gets its values, and the sequence's own limits."""

    sequence: str
    """The name of the sequence, as ``regclass`` spells it under the session's search_path."""
    column: str
    increment: int
    least: int
    most: int


class AssignedSequence(Struct, frozen=True):
    """A sequence that a rule gives to a column."""

    table: TableName
    column: str
    sequence: str
    """The name as the rule has it: with or without a schema."""


class SequenceRules(Struct, frozen=True):
    """What rules say about sequences."""

    assigned: Sequence[AssignedSequence] = ()
    schema: str = ""
    """The schema in which the names of ``floors`` are looked for first."""
    floors: Sequence[str] = ()
    """The names of sequences that have to stand at least at a value of the source."""


NO_SEQUENCE_RULES = SequenceRules()


class Stray(Struct, frozen=True):
    """A sequence that may feed a column of the plan, and of which can't be told which column, or how."""

    sequence: str
    reason: str
    table: TableName | None = None
    """The table of the column that it feeds, or probably feeds; None if unknown."""
    column: str | None = None
    certain: bool = False
    """Whether the column certainly gets its values from the sequence, and is no column of numbers."""
    oid: int = 0

    @property
    def statement(self) -> str:
        """The statement that sets the sequence, and never sets it back; capitals stand for what isn't known."""
        column = quote_postgres(self.column) if self.column else "COLUMN"
        furthest = "NUMBER" if self.certain else f"(SELECT max({column}) FROM {self._table})"
        return (
            f"SELECT setval({quote_literal(self.sequence)}, "
            f"greatest({furthest}, (SELECT last_value FROM {self.sequence})));"
        )

    @property
    def _table(self) -> str:
        return self.table.quoted if self.table else "TABLE"

    @property
    def rule(self) -> tuple[str, str]:
        """The rule that has the job set the sequence, in two lines; capitals stand for what isn't known."""
        name = json.dumps(self.sequence, ensure_ascii=False)
        if self.table is not None and not self.certain:
            return f'[columns."{self.table.name}.{self.column}"]', f"sequence = {name}"
        return f"[sequences.{name}]", 'at_least = "SELECT max(COLUMN) FROM TABLE"'


def stray_lines(strays: Sequence[Stray]) -> list[str]:
    """Return the warning about stray sequences in lines: their names, and the statements that set them."""
    if not strays:
        return []
    names = ", ".join(stray.sequence for stray in strays)
    return [
        f"it can't be told which column takes values from these sequences, or how: {names}",
        "  If the application uses them, set them before it starts:",
        *(f"    {stray.statement}" for stray in strays),
    ]


def stray_rules(strays: Sequence[Stray]) -> list[str]:
    """Return the lines for the rules file by which the job sets these sequences."""
    return [line for stray in strays for line in stray.rule]


def stray_rule_lines(strays: Sequence[Stray]) -> list[str]:
    """Return the part of the warning that a run which is still to come can follow: the rules to paste."""
    if not strays:
        return []
    heading = "  Or have the job set them, by these rules before the run (several columns may name one sequence):"
    return [heading, *(f"    {line}" for line in stray_rules(strays))]


class Feeds(Struct, frozen=True):
    """The sequences of a plan's tables."""

    by_table: Mapping[TableName, Sequence[OwnedSequence]]
    """The sequences that feed number columns, ordered by name, for each table that has sequences."""
    strays: Sequence[Stray]


class Standing(Struct, frozen=True):
    """The next value of a sequence, and the furthest value that its column holds within the sequence's limits."""

    feed: OwnedSequence
    next_value: int
    """The next value of ``nextval`` without regard to limits. Beyond a limit, nextval fails or starts again."""
    extreme: int | None
    """The furthest value in the column; None if the column holds no value that the sequence could give."""

    def passed(self, mark: int | None) -> int | None:
        """
        Return the furthest value that was ever used, if the sequence has not passed it yet; else None.

        ``mark`` is the highest key that SQLite has used. A mark outside the sequence's limits counts as the nearest
        limit. For a sequence that counts down ``mark`` doesn't count, because SQLite never counts down.
        """
        counts_up = self.feed.increment > 0
        known = [self.extreme, max(self.feed.least, min(self.feed.most, mark)) if mark and counts_up else None]
        furthest = (max if counts_up else min)((value for value in known if value is not None), default=None)
        if furthest is None or (self.next_value - furthest) * self.feed.increment > 0:
            return None
        return furthest


async def feeds_of(
    connection: AsyncConnection, tables: Sequence[TableName], rules: SequenceRules = NO_SEQUENCE_RULES
) -> Feeds:
    """
    Return the sequences that feed columns of ``tables``, and those of the same schemas that can't be attributed.

    A sequence feeds a column if a rule says so, if the column owns it (serial, identity), or if the column's default or
    a trigger calls it. Applications that take keys from a sequence themselves give it the name of
    the table and the column: a sequence that no column owns and nothing calls is attributed by its name. A
    sequence for which a rule says where it has to stand needs no column. Raises ConfigurationError for a rule about a
    sequence that doesn't exist.
    """
    spelled = [table.quoted for table in tables]
    edges = {_Edge(*row) for row in await connection.execute(text(sequence_queries.RECORDED), {"tables": spelled})}
    edges |= await _called_by_code(connection, spelled)
    edges |= await _by_rules(connection, tables, rules.assigned)
    floored = set((await floored_sequences(connection, rules.schema, rules.floors)).values())
    schemas = sorted({table.schema for table in tables})
    free = (await connection.execute(text(sequence_queries.FREE), {"schemas": schemas})).all()
    columns: list[NumberColumn] = []
    unknown = [row for row in free if row.oid not in {edge.oid for edge in edges}]
    if unknown:
        bound = {"tables": spelled, "schemas": schemas}
        columns = [NumberColumn(*row) for row in await connection.execute(text(sequence_queries.COLUMNS), bound)]
    strays = []
    for row in unknown:
        named = columns_named(row.relname, columns)
        edges |= {_Edge(column.place, row.oid, column.column) for column in named if column.place is not None}
        if not named and row.oid not in floored:
            strays.append(_stray(row, columns, tables))
    found = await _described(connection, tables, edges, strays)
    return Feeds(found.by_table, [stray for stray in found.strays if stray.oid not in floored])


class _Edge(Struct, frozen=True):
    """A column that gets values from a sequence."""

    place: int
    """The position of the column's table in the list of tables, beginning with 1."""
    oid: int
    column: str


async def _called_by_code(connection: AsyncConnection, spelled: Sequence[str]) -> set[_Edge]:
    """Return the columns that are filled by ``nextval`` with a text, or in the functions of defaults and triggers."""
    rows = (await connection.execute(text(sequence_queries.CODE), {"tables": spelled})).all()
    calls = [
        (row.place, row.schema_name, column, name)
        for row in rows
        for column, name in (
            [(row.attname, name) for name in sequence_names.called(row.code)]
            if row.attname is not None
            else sequence_names.assigned(row.code)
        )
    ]
    return {_Edge(place, oid, column) for (place, _, column, _), oid in await _resolved(connection, calls) if oid}


async def refuse_unknown(connection: AsyncConnection, assigned: Sequence[AssignedSequence]) -> None:
    """Raise ConfigurationError for an assigned sequence that doesn't exist."""
    calls = [(at, rule.table.schema, rule.column, rule.sequence) for at, rule in enumerate(assigned)]
    for (at, schema, column, name), oid in await _resolved(connection, calls):
        if not oid:
            await _refuse(connection, schema, name, f"sequence = {name!r} of {assigned[at].table}.{column}")


async def floored_sequences(connection: AsyncConnection, schema: str, names: Collection[str]) -> dict[str, int]:
    """Return the oid of each sequence that a rule ``at_least`` names; raises ConfigurationError if there is none."""
    found: dict[str, int] = {}
    for (_, _, _, name), oid in await _resolved(connection, [(0, schema, "", name) for name in names]):
        if not oid:
            await _refuse(connection, schema, name, f"[sequences.{json.dumps(name)}]")
        else:
            found[name] = oid
    return found


async def _refuse(connection: AsyncConnection, schema: str, name: str, rule: str) -> None:
    free = await connection.execute(text(sequence_queries.FREE), {"schemas": [schema]})
    hint = nearest(name, [row.relname for row in free])
    raise ConfigurationError(
        f"the rule {rule} names no sequence of the target",
        next_step=f"Write {hint!r} if that is meant, or take the rule out." if hint else "Take the rule out.",
        sequence=name,
    )


async def _by_rules(
    connection: AsyncConnection, tables: Sequence[TableName], assigned: Sequence[AssignedSequence]
) -> set[_Edge]:
    places = {table: place for place, table in enumerate(tables, 1)}
    known = [rule for rule in assigned if rule.table in places]
    await refuse_unknown(connection, known)
    calls = [(places[rule.table], rule.table.schema, rule.column, rule.sequence) for rule in known]
    return {_Edge(place, oid, column) for (place, _, column, _), oid in await _resolved(connection, calls) if oid}


async def _resolved(
    connection: AsyncConnection, calls: Sequence[tuple[int, str, str, str]]
) -> list[tuple[tuple[int, str, str, str], int | None]]:
    """Return each call (place, schema, column, name of the sequence) with the oid of its sequence, or None."""
    if not calls:
        return []
    bound = {"spellings": ["\n".join(sequence_names.spellings(name, schema)) for _, schema, _, name in calls]}
    oids = (await connection.scalars(text(sequence_queries.RESOLVED), bound)).all()
    return list(zip(calls, oids, strict=True))


async def _described(
    connection: AsyncConnection, tables: Sequence[TableName], edges: Iterable[_Edge], strays: Sequence[Stray]
) -> Feeds:
    """Return the feeds with names and limits; a column that holds no numbers makes its sequence a stray."""
    listed = list(edges)
    bound = {
        "tables": [tables[edge.place - 1].quoted for edge in listed],
        "columns": [edge.column for edge in listed],
        "sequences": [edge.oid for edge in listed],
    }
    rows = (await connection.execute(text(sequence_queries.DESCRIBED), bound)).all() if listed else []
    feeds: dict[TableName, list[OwnedSequence]] = defaultdict(list)
    numbers = {row.sequence for row in rows if row.is_number}
    others = []
    for row in rows:
        table = tables[listed[row.at - 1].place - 1]
        if row.is_number:
            feed = OwnedSequence(row.sequence, row.attname, row.seqincrement, row.seqmin, row.seqmax)
            feeds[table].append(feed)
        elif row.sequence not in numbers:
            reason = f"{table}.{row.attname} gets its values from it, and is no column of whole numbers"
            oid = listed[row.at - 1].oid
            others.append(Stray(row.sequence, reason, table, row.attname, certain=True, oid=oid))
    return Feeds(
        {
            table: sorted(feeds[table], key=lambda feed: (feed.sequence, feed.column))
            for table in tables
            if table in feeds
        },
        [*sorted(strays, key=lambda stray: stray.sequence), *sorted(others, key=lambda stray: stray.sequence)],
    )


def _stray(sequence: Row[Any], columns: Iterable[NumberColumn], tables: Sequence[TableName]) -> Stray:
    reason = "no column owns it, nothing calls it, and its name is not that of a table or a column"
    likely = likely_column(sequence.relname, columns)
    if likely is None or likely.place is None:
        return Stray(sequence.sequence, reason, oid=sequence.oid)
    return Stray(sequence.sequence, reason, tables[likely.place - 1], likely.column, oid=sequence.oid)


async def standings(connection: AsyncConnection, feeds: Sequence[tuple[TableName, OwnedSequence]]) -> list[Standing]:
    """
    Return the next value of each sequence, and the furthest value in its column, for many by one statement.

    ``is_called`` decides the next value: after ``ALTER SEQUENCE … RESTART``, ``nextval`` returns ``last_value`` itself
    (PostgreSQL, "Sequence Manipulation Functions"). The next value is computed here and not in SQL, because a sequence
    at its end may have a next value that doesn't fit into a bigint.
    """
    if not feeds:
        return []
    selects = []
    for place, (table, feed) in enumerate(feeds):
        extreme = "max" if feed.increment > 0 else "min"
        column = quote_postgres(feed.column)
        selects.append(
            f"SELECT {place} AS place, q.last_value, q.is_called, "
            f"(SELECT trunc({extreme}({column})::numeric)::bigint FROM {table.quoted} "
            f"WHERE {column} BETWEEN ${2 * place + 1}::bigint AND ${2 * place + 2}::bigint) AS extreme "
            f"FROM {feed.sequence} q"
        )
    bounds = tuple(bound for _, feed in feeds for bound in (feed.least, feed.most))
    rows = await connection.exec_driver_sql(" UNION ALL ".join(selects), bounds)
    found = {row.place: row for row in rows}
    return [_standing(feed, found[place]) for place, (_, feed) in enumerate(feeds)]


def _standing(feed: OwnedSequence, row: Row[Any]) -> Standing:
    following = row.last_value + (feed.increment if row.is_called else 0)
    return Standing(feed, following, row.extreme)
