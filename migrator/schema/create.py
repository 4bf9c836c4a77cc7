"""Makes the target's tables from the source's tables, and records them in the ledger (`--schema create`)."""

from collections.abc import Iterable, Iterator, Sequence

import asyncpg
import structlog
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from migrator.errors import TargetRefused
from migrator.events import Event
from migrator.ledger import loads, state, takeover
from migrator.ledger import schema as ledger_schema
from migrator.ledger.migration import Migration
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName, find_match, pattern, quote_sqlite
from migrator.planning.rules import Rules
from migrator.planning.skipped import skipped_columns, skipped_tables
from migrator.planning.table_parts import AlterStatement, LeftOut, Part
from migrator.runtime.retry import is_transient, short_message
from migrator.schema.column_types import Held, Holding, needs_classes, needs_offsets
from migrator.schema.ddl import SchemaDdl, build_ddl, refuse
from migrator.schema.options import SchemaOptions
from migrator.schema.unmade import is_name_taken, try_out
from migrator.sessions.connections import execute_together
from migrator.source.database import Source
from migrator.source.declarations import read_declarations
from migrator.source.scan import StorageClass
from migrator.source.schema import SourceDatabase, SourceTable
from migrator.target.database import Target, row_counts
from migrator.target.lock_room import LockRoom, lock_room
from migrator.trials.unmade import Unmade

log = structlog.get_logger()

_MADE = "made"
"""The name of the ledger's fact about the tables that the job has made."""


async def _ddl_of(source: Source, tables: Sequence[SourceTable], schema: str, rules: Rules) -> SchemaDdl:
    """Return the DDL of the source's tables; raises ConfigurationError and SourceUnreadable."""
    async with source.connect() as connection:
        declarations = await read_declarations(connection, [table.name for table in tables])
        storage_classes = await _held(connection, tables, rules)
    ddl = build_ddl(schema, tables, declarations, rules, storage_classes)
    parts = [*(addition.part for addition in ddl.additions), *(left_out.part for left_out in ddl.left_out)]
    rules.check_left_out([*(part.handle for part in parts), *(pattern(name) for name in ddl.sources.values())])
    return ddl


async def ddl_of_source(options: SchemaOptions, source: Source, contents: SourceDatabase, target: Target) -> SchemaDdl:
    """
    Return the DDL of the tables that the job makes from the source's tables, under the rules of ``options``.

    ``contents`` describes the source's tables. Raises ConfigurationError if a rule is wrong, SourceUnreadable, and
    NoMatch if a table or column can't be read and no rule excludes it.
    """
    skipped_tables(contents, options.rules, [skipped.name for skipped in contents.skipped])
    skipped_columns(contents, options.rules, {})
    async with target.connect() as connection:
        schema = await target.schema_of_application(connection, options.target_schema)
    return await _ddl_of(source, contents.tables, schema, options.rules)


Statements = dict[TableName, str]


class Due(Struct, frozen=True):
    """The tables that the job has to make, has to make again, or keeps."""

    made: Statements
    """Tables that this migration has made and that are kept, each with its statement."""
    gone: Sequence[TableName]
    """Empty tables that this migration has made before, with other statements or not completely; the job drops them."""
    new: Statements
    """Tables that have to be made, each with its statement."""
    strange: Sequence[TableName]
    """Existing tables with the names of the source's tables that this migration has not made."""
    without: Sequence[Part] = ()
    """Guards of rows (constraints and the like) that the kept tables were made without."""
    unnamed: Sequence[Part] = ()
    """The parts in ``without`` that the operator no longer names in ``--leave-out``."""


async def make_tables(run: RunLedger, wanted: SchemaDdl, rules: Rules) -> list[LeftOut]:
    """
    Make the tables of ``wanted`` that do not exist, and return the parts that they are made without.

    Tables that this migration has made before are made again if the work wasn't finished, or if a statement has
    changed, for example because of a rule. This needs all of these tables to be empty, and no row may have been copied.

    Raises TargetRefused, and leaves no new table behind, in three cases: a table would be made without a guard of its
    rows and the operator hasn't named this guard; somebody else has made a table of that name; or a table that was made
    before is without a part that the operator no longer names. Raises GaveUp if another run has taken over.
    """
    async with run.target.connect() as connection:
        due = await due_of(connection, run.target, run.migration, wanted)
    if stands_in_the_way(wanted, due, rules):
        await look_ahead(run.target, wanted, due, rules)
    async with run.transaction() as connection:
        due = await due_of(connection, run.target, run.migration, wanted)
        known = _missing(wanted, due, rules)
        refuse(known, wanted.obstacles)
        await _remember(connection, run.migration, _Made(due.made, due.without, finished=not due.gone))
        room = await lock_room(connection)
    await _drop(run, due.gone, room)
    new, done = due.new, dict(due.made)
    for names in room.few_statements(list(new)):
        async with run.transaction() as connection:
            if not await _all_at_once(connection, [new[name] for name in names]):
                for name in names:
                    await _make(connection, name, new[name])
            done |= {name: new[name] for name in names}
            await _remember(connection, run.migration, _Made(done, due.without, finished=False))
    refused: list[LeftOut] = []
    for additions in room.few_statements([addition for addition in wanted.additions if addition.part.table in new]):
        async with run.transaction() as connection:
            refused += await _add(connection, additions)
    gives_up = any(refusal.stands_in_the_way for refusal in refused)
    if gives_up:
        await _drop(run, list(new), room)
    async with run.transaction() as connection:
        if gives_up:
            await _remember(connection, run.migration, _Made(due.made, due.without))
        else:
            parts = [entry.part for entry in [*known, *refused] if entry.part.table in new and entry.part.guards]
            await _remember(connection, run.migration, _Made(done, [*due.without, *parts]))
    refuse(refused)
    left_out = [entry for entry in [*known, *refused] if entry.part.table in new]
    for entry in left_out:
        log.warning(Event.SCHEMA_LEFT_OUT, table=str(entry.part.table), what=entry.part.what, reason=entry.reason)
    return left_out


async def look_ahead(target: Target, wanted: SchemaDdl, due: Due, rules: Rules) -> Unmade:
    """
    Return the server's description of the tables that have to be made; nothing is made for good.

    ``due`` says which tables of ``wanted`` have to be made. Raises TargetRefused with every obstacle: parts that can't
    be translated, and parts that the server refuses.
    """
    blocked = {obstacle.table for obstacle in wanted.obstacles}
    new = [name for name in due.new if wanted.sources[name] not in blocked]
    unmade = await try_out(target, wanted, new, due.gone)
    refuse([*_missing(wanted, due, rules), *unmade.left_out], [*wanted.obstacles, *unmade.obstacles])
    return unmade


def stands_in_the_way(wanted: SchemaDdl, due: Due, rules: Rules) -> bool:
    """Return whether there is an obstacle that is known without a trial on the server."""
    return bool(wanted.obstacles) or any(missing.stands_in_the_way for missing in _missing(wanted, due, rules))


def _missing(wanted: SchemaDdl, due: Due, rules: Rules) -> list[LeftOut]:
    """Return the missing parts of new tables, of tables made before, and of tables that somebody else has made."""
    known = [missing for missing in wanted.left_out if missing.part.table in due.new or missing.part.table in due.made]
    known_handles = {(missing.part.table, missing.part.handle) for missing in known}
    no_longer_named = [
        LeftOut(part, _MADE_WITHOUT) for part in due.unnamed if (part.table, part.handle) not in known_handles
    ]
    return [*known, *no_longer_named, *_taken_as_they_are(wanted, due.strange, rules)]


_MADE_WITHOUT = "it was named when the table was made, and isn't now; `migrator reset` has empty tables made anew"


def _taken_as_they_are(wanted: SchemaDdl, existing: Iterable[TableName], rules: Rules) -> Iterator[LeftOut]:
    """Yield the tables that somebody else has made, since their keys and defaults are not those of the source."""
    for name in existing:
        handle = pattern(wanted.sources[name])
        part = Part(name, "keys, CHECKs and defaults of the source's table", handle, guards=True)
        yield LeftOut(part, "a table of this name was there before, and would stay as it is", rules.leaves_out(handle))


class _Made(Struct, frozen=True):
    """The ledger's record of the tables that this migration has made."""

    statements: Statements
    without: Sequence[Part] = ()
    """Guards of rows (constraints and the like) that the tables were made without."""
    finished: bool = True

    def unnamed(self, wanted: SchemaDdl) -> list[Part]:
        """Return the missing guards that the operator no longer names."""
        named = {(left_out.part.table, left_out.part.handle) for left_out in wanted.left_out if left_out.is_named}
        return [part for part in self.without if (part.table, part.handle) not in named]


async def _remember(connection: AsyncConnection, migration: Migration, made: _Made) -> None:
    tables = [[name.schema, name.name, statement] for name, statement in made.statements.items()]
    without = [[part.table.schema, part.table.name, part.what, part.handle] for part in made.without]
    await state.remember(
        connection, migration, _MADE, {"tables": tables, "without": without, "finished": made.finished}
    )


async def _recall(connection: AsyncConnection, migration: Migration) -> _Made:
    if not await ledger_schema.exists(connection) or await takeover.is_unnamed(connection):
        return _Made({})
    known = await state.recall(connection, migration, _MADE) or {"tables": ()}
    statements = {TableName(schema, name): sql for schema, name, sql in known["tables"]}
    # A ledger of an earlier version doesn't say which parts the tables were made without.
    without = [
        Part(TableName(schema, name), what, handle, guards=True)
        for schema, name, what, handle in known.get("without", ())
    ]
    return _Made(statements, without, known.get("finished", True))


async def due_of(connection: AsyncConnection, target: Target, migration: Migration, wanted: SchemaDdl) -> Due:
    """Return which tables of ``wanted`` have to be made or kept, by the state of the target and of the ledger."""
    schemas = {name.schema for name in wanted.tables}
    existing = [table.name for schema in schemas for table in (await target.describe(connection, schema)).tables]
    known = await _recall(connection, migration)
    made = known.statements
    is_unchanged = all(wanted.tables.get(name) == sql for name, sql in made.items()) and not known.unnamed(wanted)
    gone = [name for name in existing if name in made]
    if (known.finished and is_unchanged) or not await _are_untouched(connection, migration, gone):
        gone = []
    else:
        existing = [name for name in existing if name not in gone]
    kept = {} if gone else {name: sql for name, sql in made.items() if name in existing}
    without = [part for part in known.without if part.table in kept]
    names = [name.name for name in existing]
    matches = {name: find_match(name.name, names) for name in wanted.tables}
    new = {name: sql for name, sql in wanted.tables.items() if matches[name] is None}
    made_by_others = {name.name for name in existing if name not in made}
    strange = [name for name, match in matches.items() if match in made_by_others]
    return Due(kept, gone, new, strange, without, [part for part in known.unnamed(wanted) if part.table in kept])


async def _drop(run: RunLedger, names: Sequence[TableName], room: LockRoom) -> None:
    """Drop tables that the ledger calls unfinished, a few at a time; drop the foreign keys between them first."""
    async with run.transaction() as connection:
        bound = {"tables": [name.quoted for name in names]}
        drop_keys = [str(statement) for statement in await connection.scalars(text(_TIES), bound)]
    tables = [f"DROP TABLE IF EXISTS {name.quoted}" for name in names]
    for statements in (
        few for statements_of_kind in (drop_keys, tables) for few in room.few_statements(statements_of_kind)
    ):
        async with run.transaction() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)


_TIES = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', name, conname)
FROM unnest(CAST(:tables AS text[])) AS given(name) JOIN pg_constraint ON conrelid = to_regclass(name)
WHERE contype = 'f' AND conrelid <> confrelid ORDER BY 1
"""


async def _are_untouched(connection: AsyncConnection, migration: Migration, names: Sequence[TableName]) -> bool:
    """Return whether there are such tables, all of them are empty, and nothing has been copied."""
    if await loads.copied(connection, migration) or await loads.begun(connection, migration):
        return False
    return bool(names) and not await row_counts(connection, names)


async def _all_at_once(connection: AsyncConnection, statements: Sequence[str]) -> bool:
    """
    Execute statements by one message in place of ten for each, and return whether the server has taken all of them.

    If it refuses one, nothing has changed; who executes them one by one then learns which.
    """
    try:
        async with connection.begin_nested():
            await execute_together(connection, statements)
    except asyncpg.PostgresError as error:
        if is_transient(error) or connection.closed:
            raise
        return False
    return True


async def _make(connection: AsyncConnection, name: TableName, statement: str) -> None:
    try:
        await connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if is_transient(error) or connection.closed:
            raise
        raise TargetRefused(
            f"the table {name} can't be made: {short_message(error)}",
            next_step="Correct the rules for its columns (`type`, `rename`), leave it out with --exclude, "
            "or make the tables yourself and choose --schema existing.",
            table=str(name),
        ) from error


async def _add(connection: AsyncConnection, additions: Sequence[AlterStatement]) -> list[LeftOut]:
    """Add parts to their tables; return those that the server refuses."""
    if await _all_at_once(connection, [addition.statement for addition in additions]):
        return []
    return [refusal for addition in additions if (refusal := await _refused(connection, addition))]


async def _refused(connection: AsyncConnection, addition: AlterStatement) -> LeftOut | None:
    """Add a part to a table; return the refusal with the server's error message, or None."""
    try:
        async with connection.begin_nested():
            await connection.exec_driver_sql(addition.statement)
    except DBAPIError as error:
        if is_transient(error) or connection.closed:
            raise
        if addition.without_name and is_name_taken(error):
            return await _refused(connection, replace(addition, statement=addition.without_name, without_name=""))
        return LeftOut(addition.part, short_message(error))
    return None


async def _held(connection: AsyncConnection, tables: Iterable[SourceTable], rules: Rules) -> Held:
    holdings: dict[tuple[str, str], Holding] = {}
    for table in tables:
        for column in table.columns:
            rule = rules.of_created_column(table.name, column.name, column.declared_type)
            if rules.of_table(table.name).exclude or rule.exclude or rule.type is not None:
                continue
            quoted_column = quote_sqlite(column.name)
            if needs_classes(column):
                classes = await connection.exec_driver_sql(
                    f"SELECT DISTINCT typeof({quoted_column}) FROM {table.origin} WHERE {quoted_column} IS NOT NULL"
                )
                holdings[table.name, column.name] = Holding({StorageClass(name) for (name,) in classes.all()})
            elif needs_offsets(column) and not rule.changes_values:
                row = (
                    await connection.exec_driver_sql(_OFFSETS.format(column=quoted_column, table=table.origin))
                ).one()
                holdings[table.name, column.name] = Holding(
                    all_have_offsets=bool(row.has_values and row.have_offsets), is_empty=not row.has_values
                )
    return holdings


# If moments have no offsets, SQLite stops at the first row.
_OFFSETS = """
SELECT EXISTS (SELECT 1 FROM {table} WHERE {column} IS NOT NULL) AS has_values,
NOT EXISTS (
    SELECT 1 FROM {table} WHERE {column} IS NOT NULL AND NOT (
        typeof({column}) = 'text' AND (
            {column} GLOB '*[0-9]Z' OR {column} GLOB '*[0-9][+-][0-9][0-9]:[0-9][0-9]'
            OR {column} GLOB '*:*[0-9][+-][0-9][0-9][0-9][0-9]'
            OR {column} GLOB '*:*[0-9][+-][0-9][0-9]'))
) AS have_offsets
"""
