"""
Stage ``verify``: every value of every row, at both ends, compared by code that had no part in the copying.

It writes nothing but the ledger's note that a table was found equal, and that only when the job asks for it.
"""

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

import structlog

from migrator.catalog import inventory
from migrator.concurrency.blocking import BlockingConnection, blocking_pool
from migrator.concurrency.replay_queue import ReplayQueue
from migrator.errors import Mismatch
from migrator.events import Event
from migrator.ledger import carried, claims, loads, state
from migrator.ledger.run_ledger import RunLedger
from migrator.names import TableName
from migrator.planning.grouping import group_small_tables, is_small
from migrator.planning.high_water_marks import Marks, high_water_marks
from migrator.planning.plan import Plan, TablePlan
from migrator.preflight.checker import measured
from migrator.preflight.table_check import TableCheck
from migrator.runtime.limits import ExampleOptions, Limits
from migrator.runtime.private_file import whole_file
from migrator.runtime.progress import Progress
from migrator.sessions.reader import read_only_connection
from migrator.source.database import Source
from migrator.target.database import Target
from migrator.target.lock_room import lock_room
from migrator.verification.compare_table import CompareContext, DifferenceSink, TableResult, compare, compare_group
from migrator.verification.comparison import Comparison, DigestKey
from migrator.verification.differences import Difference

log = structlog.get_logger()

NOTHING_KNOWN: Mapping[TableName, TableCheck] = MappingProxyType({})


async def verify(  # noqa: PLR0913 - both ends, the plan, and how to go about it
    source: Source,
    target: Target,
    plan: Plan,
    *,
    limits: Limits,
    example_options: ExampleOptions,
    progress: Progress,
    surveys: Mapping[TableName, TableCheck] = NOTHING_KNOWN,
    slots: asyncio.Semaphore | None = None,
    ready: ReplayQueue[TableName] | None = None,
    file: Path | None = None,
    note: RunLedger | None = None,
) -> list[TableResult]:
    """
    Compare all planned tables, the rows counted and the values digested, and return a verdict for each.

    Each table is begun when it comes out of ``ready``, at once without that; when no more will come, sequences and keys
    are in place. As many sessions read the target as there are ``slots``, ``limits.jobs`` without these, and
    ``limits.jobs`` more the source. What ``surveys`` of this moment of the source know of its digests isn't read again.

    Raises Mismatch, after all tables have been looked at, naming those that differ, with the first rows of each; all
    differences go into ``file``, one JSON object a line. A sequence that would give a value again is a difference too.

    With ``note``, the run that has copied the rows, the ledger learns of the tables that are equal, and keys, indexes,
    defaults and triggers must be as they were before that run took some of them away. Raises GaveUp if another run has
    taken over.
    """
    by_name = {table.name: table for table in plan.tables}
    ready = ready or ReplayQueue.of(by_name)
    async with target.connect() as connection:
        room = await lock_room(connection, list(by_name))
    async with (
        blocking_pool(limits.jobs, partial(BlockingConnection, source.session)) as sessions,
        blocking_pool(slots or limits.jobs, partial(read_only_connection, target.address)) as readers,
    ):
        unknown = [table for table in plan.tables if table.name not in surveys]
        known = {**surveys, **await measured(sessions, unknown, limits)}
        with _written(file) as sink:
            ends = CompareContext(
                source, target.address, readers, sessions, example_options, sink, keep=note is not None
            )

            async def compared(names: Sequence[TableName]) -> list[TableResult]:
                comparisons = [_comparison(by_name[name], known[name], limits.batch_bytes) for name in names]
                if len(names) > 1:
                    rehearsed = [one for name in names if (one := known[name].rehearsed)]
                    found = await compare_group(ends, list(zip(comparisons, rehearsed, strict=True)))
                else:
                    survey = known[names[0]]
                    found = [await compare(ends, comparisons[0], survey.pieces, survey.rehearsed)]
                for verdict in found:
                    progress.advance(str(verdict.table), verdict.source.rows)
                return found

            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(compared(few))
                    async for names in ready.batches()
                    for lot in _lots(names, known, limits.chunk_bytes)
                    for few in room.few(lot, limits.jobs)
                ]
    by_table = {verdict.table: verdict for task in tasks for verdict in task.result()}
    verdicts = [by_table[table.name] for table in plan.tables]
    beside = await _beside_rows(target, plan, await high_water_marks(source, plan), note)
    if note is not None:
        await _note(note, [verdict for verdict in verdicts if verdict.equal])
    _refuse([verdict for verdict in verdicts if not verdict.equal], verdicts, beside)
    return verdicts


def _comparison(table: TablePlan, survey: TableCheck, batch_bytes: int) -> Comparison:
    return Comparison(table.source, table.target, table.pairs, survey.profile, batch_bytes)


def _lots(
    names: Sequence[TableName], known: Mapping[TableName, TableCheck], most_bytes: int
) -> Iterator[list[TableName]]:
    """Yield what is compared together: small tables of one shape that preflight has rehearsed, and each other alone."""
    alike: dict[DigestKey | TableName, list[TableName]] = defaultdict(list)
    for name in names:
        rehearsed = known[name].rehearsed
        together = rehearsed is not None and known[name].is_whole and is_small(known[name].profile)
        alike[rehearsed.comparison.digest_key if rehearsed and together else name].append(name)
    for some in alike.values():
        yield from group_small_tables(some, lambda name: known[name].profile, most_bytes)


@contextmanager
def _written(file: Path | None) -> Iterator[DifferenceSink]:
    """
    Open the file of differences, new, and give what writes one into it.

    A file that can't be written is a warning: what was found out about the rows is worth more.
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
        one_at_a_time = threading.Lock()

        def sink(difference: Difference) -> None:
            line = json.dumps(difference.to_json(), ensure_ascii=False)
            with one_at_a_time:
                opened.write(line + "\n")

        yield sink


async def _note(run: RunLedger, verdicts: list[TableResult]) -> None:
    async with run.transaction() as connection:
        digests = {verdict.table: verdict.source.hexadecimal() for verdict in verdicts}
        await loads.write_verified(connection, run.migration, digests)
        recorded = {verdict.table: verdict.recorded for verdict in verdicts if verdict.recorded}
        await carried.record(connection, run.migration, recorded)


async def _beside_rows(target: Target, plan: Plan, marks: Marks, run: RunLedger | None) -> list[str]:
    """Return in words which sequences are behind and, with ``run``, what of the schema isn't as it was before it."""
    async with target.connect() as connection:
        behind = await inventory.sequences_behind(connection, [table.name for table in plan.tables], marks)
        found = [str(sequence) for sequence in behind]
        before = await state.recall(connection, run.migration, "catalog") if run else None
        if run and before is not None:
            after = await inventory.describe(connection, plan.schema)
            found += await claims.changes(connection, run.migration, before, after)
    for line in found:
        log.error(Event.SCHEMA_DIFFERS, what=line)
    return found


def _refuse(differing: list[TableResult], verdicts: list[TableResult], beside: list[str]) -> None:
    if not differing and not beside:
        return
    said = [f"{len(differing)} of {len(verdicts)} tables differ"] if differing else []
    raise Mismatch(
        "; ".join([*said, *(verdict.difference() for verdict in differing), *beside]),
        next_step="Do not switch the application over. Find out who changed either side after the copy.",
        tables=[str(verdict.table) for verdict in differing],
        differences=[verdict.facts() for verdict in differing],
        schema=beside,
    )
