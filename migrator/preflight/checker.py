"""
Looks the whole source over: every table is surveyed, several at a time, and a large one in pieces, side by side.

Reads both ends and writes nothing that lasts; ``preflight`` and ``migrator check`` decide what follows from it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from migrator.catalog.keys import Keys, keys_of
from migrator.concurrency.blocking import BlockingConnection, blocking_pool, call_in_worker
from migrator.concurrency.pool import WorkerPool, gather_or_cancel
from migrator.errors import ValuesRefused
from migrator.events import Event
from migrator.findings.finding import Finding, summary
from migrator.names import TableName
from migrator.planning.grouping import MAX_GROUP_TABLES, group_small_tables
from migrator.planning.plan import Plan, TablePlan
from migrator.preflight.dry_run import DryRunPart, dry_run, dry_run_grouped, prepare
from migrator.preflight.source_only import survey_alone
from migrator.preflight.table_check import TableCheck, check_table, measure_tables
from migrator.runtime.limits import ExampleOptions, Limits
from migrator.runtime.progress import Progress
from migrator.source.chunks import WHOLE_TABLE, Chunk, chunk_size, split_into_chunks
from migrator.source.database import Source
from migrator.source.integrity import check_intact
from migrator.source.scan import ScanSession
from migrator.source.schema import SourceTable
from migrator.source.size import Profile
from migrator.target.database import Target
from migrator.target.server_types import ServerTypes
from migrator.trials.server_check import bench_of, refused_by_server
from migrator.trials.unmade import Unmade
from migrator.verification import digest
from migrator.verification.comparison import Comparison
from migrator.verification.digest import Digest, KnownDigest


async def check_tables(  # noqa: PLR0913 - the source, the plan, and how to look
    source: Source,
    target: Target,
    plan: Plan,
    *,
    limits: Limits,
    example_options: ExampleOptions,
    progress: Progress,
    intact: Callable[[], Awaitable[None]],
    unmade: Unmade | None = None,
) -> list[TableCheck]:
    """
    Survey the planned tables, ``limits.jobs`` at a time and the largest first; a large one in pieces, side by side.

    ``unmade`` are those of the plan that don't exist yet. Raises SourceUnreadable if the file is damaged; that is what
    ``intact`` tells.
    """
    unmade = unmade or Unmade()
    async with target.connect() as connection:
        keys = await keys_of(connection, plan.schema) | unmade.keys
    bench = await bench_of(target, plan, limits.batch_bytes, example_options)
    bench = replace(bench, judged=bench.judged | unmade.judged, unmade=unmade.statements)

    tables = {table.name: table for table in plan.tables}

    async with blocking_pool(limits.jobs, partial(BlockingConnection, source.session)) as crew:

        def look(session: ScanSession, table: TablePlan, profile: Profile, rehearsed: KnownDigest | None) -> TableCheck:
            own = keys.get(table.name, Keys())
            with ServerTypes(target.address, table.name, unmade.types.get(table.name)) as judge:
                return check_table(
                    session, tables, table, profile, own, judge, limits.batch_bytes, example_options, rehearsed
                )

        def look_at_once(session: ScanSession, lot: Sequence[tuple[TablePlan, Profile]]) -> list[TableCheck]:
            rehearsed = dry_run(session, lot, limits.batch_bytes)
            return [look(session, *both, found) for both, found in zip(lot, rehearsed, strict=True)]

        async def look_in_pieces(table: TablePlan, profile: Profile, pieces: tuple[Chunk, ...]) -> TableCheck:
            comparison = await call_in_worker(crew, prepare, table, profile, limits.batch_bytes)
            found = await _rehearsed(crew, table, comparison, pieces) if comparison else None
            return replace(await call_in_worker(crew, look, table, profile, found), pieces=pieces)

        async def surveyed(lot: Sequence[TablePlan]) -> list[TableCheck]:
            first = sizes[lot[0].name]
            if first.is_whole:
                found = await call_in_worker(crew, look_at_once, [(table, sizes[table.name].profile) for table in lot])
            else:
                found = [await look_in_pieces(lot[0], first.profile, first.pieces)]
            found = [await judged(*both) for both in zip(lot, found, strict=True)]
            for one in found:
                progress.advance(str(one.profile.table), one.profile.rows, one.profile.bytes)
            return found

        async def judged(table: TablePlan, found: TableCheck) -> TableCheck:
            if not bench.has_to_judge(found.profile):
                return found
            known = {finding.column for finding in found.findings if finding.refuses}
            async with crew.worker() as reading:
                refused, untried = await refused_by_server(reading, bench, table, found.profile, known)
            return replace(found, findings=(*found.findings, *refused), untried=tuple(untried))

        def size_if_whole(table: TablePlan) -> Profile | None:
            outline = sizes[table.name]
            return outline.profile if outline.is_whole else None

        sizes = await measured(crew, plan.tables, limits)
        await intact()
        largest_first = sorted(plan.tables, key=lambda table: -sizes[table.name].profile.weight)
        found = await gather_or_cancel(
            surveyed(lot) for lot in group_small_tables(largest_first, size_if_whole, limits.chunk_bytes)
        )
    by_name = {one.profile.table: one for some in found for one in some}
    return [by_name[table.name] for table in plan.tables]


async def measured(
    crew: WorkerPool[BlockingConnection[ScanSession]], tables: Sequence[TablePlan], limits: Limits
) -> dict[TableName, TableCheck]:
    """Return of each table what can be known without looking at its values: its size, and its pieces."""
    together = max(1, min(MAX_GROUP_TABLES, len(tables) // _LOTS))
    some = [tables[start : start + together] for start in range(0, len(tables), together)]
    profiles = [
        one
        for found in await gather_or_cancel(call_in_worker(crew, measure_tables, lot) for lot in some)
        for one in found
    ]
    total = sum(profile.weight for profile in profiles)

    async def outlined(table: TablePlan, profile: Profile) -> TableCheck:
        size = chunk_size(profile, total, limits.jobs, limits.chunk_bytes)
        pieces = (
            (WHOLE_TABLE,)
            if profile.bytes <= size
            else await call_in_worker(crew, split_into_chunks, table.source, profile, size)
        )
        return TableCheck(profile, (), pieces=pieces)

    sizes = await gather_or_cancel(outlined(*both) for both in zip(tables, profiles, strict=True))
    return {outline.profile.table: outline for outline in sizes}


_LOTS = 32
"""In which many tables are measured; of fewer, one with a large table would leave the other hands without work."""


async def _rehearsed(
    crew: WorkerPool[BlockingConnection[ScanSession]],
    table: TablePlan,
    comparison: Comparison,
    pieces: Sequence[Chunk],
) -> KnownDigest | None:
    """Rehearse a table piece by piece; after the first that needs a closer look no further one is begun."""
    unexpected = False

    async def one(piece: Chunk) -> Digest | None:
        nonlocal unexpected
        [found] = (
            [None]
            if unexpected
            else await call_in_worker(crew, dry_run_grouped, [DryRunPart(table.fast, comparison, piece)])
        )
        unexpected = unexpected or found is None
        return found

    found = await gather_or_cancel(one(piece) for piece in pieces)
    return None if unexpected else KnownDigest(comparison, digest.total(part for part in found if part))


async def look_at_source(
    source: Source, tables: Sequence[SourceTable], *, jobs: int, batch_bytes: int
) -> list[TableCheck]:
    """Survey the source by itself, ``jobs`` tables at a time; raises SourceUnreadable if the file is damaged."""
    await check_intact(source, [table.name for table in tables])
    async with blocking_pool(jobs, partial(BlockingConnection, source.session)) as crew:
        return await gather_or_cancel(call_in_worker(crew, survey_alone, table, batch_bytes) for table in tables)


log = structlog.get_logger()


def refuse(findings: list[Finding]) -> None:
    """Raise ValuesRefused if any finding stands in the way; each is an event of its own before that."""
    findings = [finding for finding in findings if finding.refuses]
    for finding in findings:
        log.error(Event.VALUES_REFUSED, message=finding.line(), **finding.to_json())
    if findings:
        columns = {(finding.table, finding.column) for finding in findings}
        holding = "1 column holds" if len(columns) == 1 else f"{len(columns)} columns hold"
        raise ValuesRefused(
            f"{holding} values that PostgreSQL would refuse or change: {summary(findings)}",
            next_step="Correct them in the source, decide with a rule (MIGRATOR_RULES; each finding names one), "
            "or leave the column or table out with --exclude.",
            findings=[finding.to_json() for finding in findings],
        )
