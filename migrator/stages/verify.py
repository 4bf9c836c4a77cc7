"""
Stage ``verify`` compares every value of every row in both databases, with code that the copy doesn't use.

It writes only the ledger's line that a table is equal, and only for the run that has copied the rows.
"""

import asyncio
import json
import shlex
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

import structlog
from msgspec.structs import replace

from migrator.catalog import inventory
from migrator.concurrency.blocking import BlockingConnection, blocking_pool
from migrator.concurrency.replay_queue import ReplayQueue
from migrator.errors import Mismatch
from migrator.events import Event
from migrator.ledger import carried, claims, kept, loads, state
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName, pattern
from migrator.planning.grouping import group_small_tables, is_small, is_small_group
from migrator.planning.high_water_marks import high_water_marks
from migrator.planning.plan import TablePlan
from migrator.planning.sequence_floors import sequence_floors
from migrator.preflight.checker import measured
from migrator.preflight.table_check import TableCheck
from migrator.runtime.private_file import whole_file
from migrator.runtime.reason import Reason
from migrator.runtime.wording import counted as number
from migrator.runtime.wording import listed
from migrator.sessions.reader import read_only_connection
from migrator.stages.context import Overlap, StageContext
from migrator.target.database import Target
from migrator.target.lock_room import lock_room
from migrator.verification.compare_table import CompareContext, DifferenceSink, TableResult, compare, compare_group
from migrator.verification.comparison import Comparison, DigestKey
from migrator.verification.differences import Difference

log = structlog.get_logger()

NO_CHECKS: Mapping[TableName, TableCheck] = MappingProxyType({})


async def verify(
    context: StageContext,
    checks: Mapping[TableName, TableCheck] = NO_CHECKS,
    overlap: Overlap | None = None,
    *,
    differences_file: Path | None = None,
    ledger: RunLedger | None = None,
) -> list[TableResult]:
    """
    Compare all planned tables by their numbers of rows and the digests of their values; return each table's result.

    With ``overlap`` each table is compared when it is restored, without it at once. When the overlap's last table is
    restored, sequences and keys are in place. As many sessions read the target as the overlap has slots, or
    ``limits.jobs`` without it, but only one if all tables together are small; ``limits.jobs`` more read the source.
    Digests of the source that ``checks`` already have are not computed again; ``checks`` must be of the same state of
    the source.

    Raises Mismatch after all tables have been compared. The error names the tables that differ, with the first rows of
    each; all differences are written into ``differences_file``, one JSON object a line. A sequence that would give a
    value again is a difference, too.

    ``ledger`` belongs to the run that has copied the rows. With it, equal tables are recorded in the ledger, and keys,
    indexes, defaults and triggers must be as they were before that run parked some of them. Raises GaveUp if another
    run has taken over.

    Tables that the overlap has as compared already are not read again.
    """
    plan, target, limits = context.plan, context.target, context.limits
    compared = overlap.compared if overlap else {}
    by_name = {table.name: table for table in plan.tables if table.name not in compared}
    ready = overlap.restored if overlap else ReplayQueue.of(by_name)
    async with target.connect() as connection:
        room = await lock_room(connection, list(by_name))
        keeps = await kept.is_merging(connection) or any(table.on_existing_rows == "keep" for table in plan.tables)
    async with (
        blocking_pool(limits.jobs, partial(BlockingConnection, context.source.session)) as sessions,
        AsyncExitStack() as opened,
    ):
        unmeasured = [table for table in by_name.values() if table.name not in checks]
        known = {**checks, **await measured(sessions, unmeasured, limits)}
        slots = overlap.slots if overlap else limits.jobs
        few_rows = is_small_group([known[name].table_size for name in by_name])
        readers = await opened.enter_async_context(
            blocking_pool(1 if few_rows else slots, partial(read_only_connection, target.address))
        )
        context.tracker.expect("verify", {str(name): known[name].table_size.rows for name in by_name})
        with _written(differences_file) as sink:
            comparing = CompareContext(
                context.source,
                target.address,
                readers,
                sessions,
                context.example_options,
                sink,
                context.tracker,
                keep=ledger is not None,
            )

            async def compare_tables(names: Sequence[TableName]) -> list[TableResult]:
                merged = await _merged(target) if keeps else {}
                comparisons = [
                    replace(
                        _comparison(by_name[name], known[name], limits.batch_bytes),
                        target_condition=merged.get(name, ""),
                    )
                    for name in names
                ]
                if len(names) > 1:
                    digests = [digest for name in names if (digest := known[name].known_digest)]
                    results = await compare_group(comparing, list(zip(comparisons, digests, strict=True)))
                else:
                    check = known[names[0]]
                    results = [await compare(comparing, comparisons[0], check.chunks, check.known_digest)]
                for result in results:
                    context.tracker.finish_table("verify", str(result.table))
                return results

            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(compare_tables(few))
                    async for names in ready.batches()
                    for alike in _grouped([name for name in names if name in by_name], known, limits.chunk_bytes)
                    for few in room.few(alike, limits.jobs)
                ]
    by_table = {**compared, **{result.table: result for task in tasks for result in task.result()}}
    results = [by_table[table.name] for table in plan.tables]
    schema_differences = await _schema_differences(context, ledger)
    if ledger is not None:
        await _record(ledger, [result for result in results if result.equal])
    _refuse(by_name, results, schema_differences)
    return results


async def _merged(target: Target) -> Mapping[TableName, str]:
    """Return the conditions for the source's rows in tables in which other rows have stayed; known after the copy."""
    async with target.connect() as connection:
        return await kept.merged_conditions(connection)


def _comparison(table: TablePlan, check: TableCheck, batch_bytes: int) -> Comparison:
    return Comparison(table.source, table.target, table.pairs, check.table_size, batch_bytes)


def _grouped(
    names: Sequence[TableName], known: Mapping[TableName, TableCheck], most_bytes: int
) -> Iterator[list[TableName]]:
    """Yield groups to compare: small tables of one shape with known digests together, all others alone."""
    alike: dict[DigestKey | TableName, list[TableName]] = defaultdict(list)
    for name in names:
        digest = known[name].known_digest
        together = digest is not None and known[name].is_whole and is_small(known[name].table_size)
        alike[digest.comparison.digest_key if digest and together else name].append(name)
    for tables in alike.values():
        yield from group_small_tables(tables, lambda name: known[name].table_size, most_bytes)


@contextmanager
def _written(file: Path | None) -> Iterator[DifferenceSink]:
    """
    Open a new file of differences, and yield the function that writes a difference into it.

    If the file can't be written, that is only a warning: the result of the comparison matters more.
    """
    if file is None:
        yield lambda _difference: None
        return
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(whole_file(file))
        except OSError as error:
            log.warning(Event.WARNING_REPORT, reason=f"{file}: {error.strerror}")
            yield lambda _difference: None
            return
        write_lock = threading.Lock()

        def sink(difference: Difference) -> None:
            line = json.dumps(difference.to_json(), ensure_ascii=False)
            with write_lock:
                opened.write(line + "\n")

        yield sink


async def _record(run: RunLedger, results: list[TableResult]) -> None:
    """Write the digests of equal tables into the ledger."""
    async with run.transaction() as connection:
        digests = {result.table: result.source.hexadecimal() for result in results}
        await loads.write_verified(connection, run.migration, digests)
        recorded = {result.table: result.recorded for result in results if result.recorded}
        await carried.record(connection, run.migration, recorded)


async def _schema_differences(context: StageContext, run: RunLedger | None) -> list[str]:
    """Return lines about sequences that are behind and, with ``run``, about changes of the schema since before it."""
    target, plan = context.target, context.plan
    marks = await high_water_marks(context.source, plan)
    floors = await sequence_floors(context.source, plan.floors)
    async with target.connect() as connection:
        behind = await inventory.sequences_behind(
            connection, [table.name for table in plan.tables], marks, plan.sequence_rules, floors
        )
        differences = [str(sequence) for sequence in behind]
        differences += [
            f"{entry.lost} of the {entry.rows} rows that stayed in {entry.table} are gone or changed"
            for entry in await kept.merged_rows(connection, [table.name for table in plan.tables])
            if entry.lost
        ]
        before = await state.recall(connection, run.migration, "catalog") if run else None
        if run and before is not None:
            after = await inventory.describe(connection, plan.schema)
            differences += await claims.changes(connection, run.migration, before, after)
    for line in differences:
        log.error(Event.SCHEMA_DIFFERS, what=line)
    return differences


_CHANGED = "Do not switch the application over. Find out who changed either side after the copy."


def _next_step(differing: Sequence[TableResult], by_name: Mapping[TableName, TablePlan]) -> str:
    """Return what to do about tables that differ. Nobody changed anything if only computed columns differ."""
    found = [result.found for result in differing]
    if not all(differences and differences.only_computed for differences in found):
        return _CHANGED
    names = [
        f"{by_name[result.table].source.name}.{column.source.name}"
        for result in differing
        for column in by_name[result.table].computed
        if result.found and column.target.name in result.found.computed
    ]
    flags = shlex.quote(",".join(map(pattern, names)))
    return (
        "Give the column in the target the expression by which the source has its values, if these are right, and run "
        f"again. If the target's are right, add --exclude {flags} and --restart: then the column is not compared."
    )


def _refuse(by_name: Mapping[TableName, TablePlan], results: list[TableResult], schema_differences: list[str]) -> None:
    """Raise Mismatch if a table differs, or the schema does."""
    differing = [result for result in results if not result.equal]
    if not differing and not schema_differences:
        return
    counted = [f"{len(differing)} of {len(results)} tables differ"] if differing else []
    places = [f"the schema differs in {number(len(schema_differences), 'place')}"] if schema_differences else []
    short = [f"{counted[0]}: {listed([str(result.table) for result in differing])}"] if differing else []
    raise Mismatch(
        "; ".join([*counted, *(result.difference() for result in differing), *schema_differences]),
        next_step=_next_step(differing, by_name) if not schema_differences else _CHANGED,
        tables=[str(result.table) for result in differing],
        differences=[result.facts() for result in differing],
        schema=schema_differences,
    ).told_as("; ".join((*short, *places)), [Reason("", line, is_logged=True) for line in schema_differences])
