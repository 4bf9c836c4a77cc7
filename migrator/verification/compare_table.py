"""
Compares one table, or a group of small tables, and returns the results.

The fast forms are compared first; preflight may already know the source's digest in the fast forms. If the digests
differ, both sides are read again in the canonical forms. If these digests differ too, the differing rows are searched.
A large table is read in chunks, several at the same time on both sides.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import duckdb
import structlog
from msgspec import Struct, field

from migrator.concurrency.blocking import BlockingConnection, call_in_worker
from migrator.concurrency.pool import WorkerPool, gather_or_cancel
from migrator.errors import SourceUnreadable
from migrator.events import Event
from migrator.ledger.carried import Recorded
from migrator.monitoring.tracker import Tracker
from migrator.names import TableName
from migrator.runtime.limits import ExampleOptions
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.database import Source
from migrator.source.scan import ScanSession
from migrator.verification import differences, digest
from migrator.verification.comparison import ALL_BLOCKS, BlockRange, Comparison, Databases, block_ranges, in_fast_form
from migrator.verification.differences import Difference, TableDifferences
from migrator.verification.digest import Digest, KnownDigest
from migrator.verification.recipe import Recipe, Size, recorded

log = structlog.get_logger()

DifferenceSink = Callable[[Difference], None]


class TableResult(Struct, frozen=True):
    """The result of comparing one table."""

    table: TableName
    source: Digest
    target: Digest
    found: TableDifferences | None
    """The rows that differ; None if all rows are equal."""
    seconds: float = 0.0
    """The time in seconds that all workers together spent on the table, without the time that they waited."""
    recorded: Recorded | None = None
    """The source's digest as the ledger keeps it; None if the sides differ, or if no digest is kept."""

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same rows, each row equally often."""
        return self.source == self.target

    def difference(self) -> str:
        """Return a description of how the sides differ."""
        counts = f"{self.source.rows} rows in the source, {self.target.rows} in the target"
        if self.found is None:
            return f"{self.table}: {counts}"
        first = f"; for example {self.found.examples[0].line()}" if self.found.examples else ""
        return f"{self.table}: {counts}; {self.found.words()}{first}"

    def facts(self) -> dict[str, object]:
        """Return the differences as fields for the log and the report."""
        differing = self.found or TableDifferences()
        return {
            "table": str(self.table),
            "source_rows": self.source.rows,
            "target_rows": self.target.rows,
            "rows": {str(kind): count for kind, count in differing.rows.items()},
            "columns": dict(differing.columns),
            "examples": [example.to_json() for example in differing.examples],
        }


class CompareContext(Struct, frozen=True):
    """Holds what the comparisons of all tables share: databases, worker pools and options."""

    source: Source
    address: TargetAddress
    """The target's address."""
    readers: WorkerPool[BlockingConnection[ReadOnlySession]]
    sessions: WorkerPool[BlockingConnection[ScanSession]]
    example_options: ExampleOptions
    sink: DifferenceSink
    """Receives every difference."""
    tracker: Tracker
    """Counts the rows that are compared."""
    keep: bool = False
    """Whether the digests are kept for later runs."""
    seconds: dict[TableName, float] = field(default_factory=lambda: defaultdict(float))
    """The time in seconds that workers have spent on each table."""


async def compare_group(context: CompareContext, group: Sequence[tuple[Comparison, KnownDigest]]) -> list[TableResult]:
    """
    Compare a group of small tables and return their results in order.

    The tables have the same digest key, and preflight has digested their sources. One statement reads all target
    tables. Raises the errors of ``compare``.
    """
    target_digests: Sequence[Digest | None]
    fast = [known.comparison for _, known in group]
    seconds = 0.0
    try:
        async with context.readers.worker() as reader:
            started = time.monotonic()
            target_digests = await asyncio.to_thread(reader.call, digest.of_targets, fast)
            seconds = (time.monotonic() - started) / len(fast)
    except duckdb.Error:
        target_digests = [None] * len(fast)  # a value has no fast form; ``compare`` finds out in which table
    results = []
    for (comparison, known), target_digest in zip(group, target_digests, strict=True):
        context.seconds[comparison.target.name] += seconds
        results.append(
            await _equal(context, known.comparison, (WHOLE_TABLE,), known.digest)
            if known.digest == target_digest
            else await compare(context, comparison, (WHOLE_TABLE,), known)
        )
    return results


async def compare(
    context: CompareContext, comparison: Comparison, chunks: Sequence[Chunk], known: KnownDigest | None
) -> TableResult:
    """
    Compare a table that is read in these ``chunks`` and return the result.

    ``known`` is the source's digest in the fast forms, or None if preflight hasn't computed it. Raises
    SourceUnreadable, and the errors of reading the target.
    """
    table = comparison.target.name
    equal = await equal_digest(context, comparison, chunks, known)
    if equal:
        return await _equal(context, equal.comparison, chunks, equal.digest)
    source_digest, target_digest = await digests(context, comparison, chunks)
    if source_digest == target_digest:
        return await _equal(context, comparison, chunks, source_digest)
    table_differences = await asyncio.to_thread(
        differences.find_differences,
        Databases(context.source, context.address),
        comparison,
        source_digest.differing(target_digest),
        context.example_options,
        context.sink,
    )
    if table_differences.is_none:
        return await _equal(context, comparison, chunks, source_digest)
    result = TableResult(table, source_digest, target_digest, table_differences, context.seconds[table])
    log.error(Event.TABLE_DIFFERS, **result.facts())
    return result


async def _equal(context: CompareContext, comparison: Comparison, chunks: Sequence[Chunk], both: Digest) -> TableResult:
    """Log that both sides of a table are equal, and return this result; ``both`` is the digest of both sides."""
    table = comparison.target.name
    kept = await _recorded(context, comparison, chunks, both) if context.keep else None
    seconds = round(context.seconds[table], 3)
    log.info(Event.TABLE_VERIFIED, table=str(table), rows=both.rows, seconds=seconds, digest=both.hexadecimal())
    return TableResult(table, both, both, None, context.seconds[table], kept)


async def _recorded(context: CompareContext, comparison: Comparison, chunks: Sequence[Chunk], both: Digest) -> Recorded:
    """Return the digest with its recipe, so that a later run can compute the digest again and compare it."""
    if not comparison.by_server:
        return recorded(comparison, both)
    # The server has spelled some of the values, and a later run may meet another version of the server. So the text of
    # these values is digested as it is stored.
    recipe = Recipe.of(comparison)
    size = Size(comparison.table_size, comparison.batch_bytes)

    def of_chunk(session: ScanSession, chunk: Chunk) -> Digest:
        with _timed(context, comparison):
            return recipe.digest(session, comparison.source, size, chunk)

    digests = await gather_or_cancel(call_in_worker(context.sessions, of_chunk, chunk) for chunk in chunks)
    return recorded(comparison, digest.total(digests))


async def equal_digest(
    context: CompareContext, comparison: Comparison, chunks: Sequence[Chunk], known: KnownDigest | None
) -> KnownDigest | None:
    """
    Return the digest that both sides have in the fast forms; None if their digests differ.

    ``known`` is the source's digest in the fast forms, or None if it hasn't been computed. Raises the errors of reading
    the target.
    """
    if comparison.by_server:
        return None  # the comparison needs PostgreSQL's own spelling, and that has no faster form
    fast = known.comparison if known else await call_in_worker(context.sessions, in_fast_form, comparison)
    source_digest = target_digest = None
    try:
        if known:
            source_digest, target_digest = known.digest, await _of_target(context, fast, len(chunks))
        else:
            source_digest, target_digest = await digests(context, fast, chunks)
    except* (SourceUnreadable, duckdb.Error):
        pass  # a value has another storage class; if a side can't be read at all, the canonical forms fail too
    return KnownDigest(fast, source_digest) if source_digest is not None and source_digest == target_digest else None


async def digests(context: CompareContext, comparison: Comparison, chunks: Sequence[Chunk]) -> tuple[Digest, Digest]:
    """Return the digests of source and target; raises SourceUnreadable, and the errors of reading the target."""
    of_source, of_target = await gather_or_cancel(
        [_of_source(context, comparison, chunks), _of_target(context, comparison, len(chunks))]
    )
    return of_source, of_target


async def _of_source(context: CompareContext, comparison: Comparison, chunks: Sequence[Chunk]) -> Digest:
    def of_chunk(session: ScanSession, chunk: Chunk) -> Digest:
        with _timed(context, comparison):
            return digest.of_source(session, context.address, comparison, chunk)

    digests = await gather_or_cancel(call_in_worker(context.sessions, of_chunk, chunk) for chunk in chunks)
    return digest.total(digests)


async def _of_target(context: CompareContext, comparison: Comparison, parts: int) -> Digest:
    count = context.tracker.counter("verify", str(comparison.target.name))

    async def of_blocks(blocks: BlockRange) -> Digest:
        async with context.readers.worker() as reader:
            with _timed(context, comparison):
                count(0, 0)  # the table is in work
                return await asyncio.to_thread(reader.call, digest.of_target, comparison, blocks, count)

    if parts == 1:
        return await of_blocks(ALL_BLOCKS)
    ranges = await call_in_worker(context.readers, block_ranges, comparison.target, parts)
    return digest.total(await gather_or_cancel(of_blocks(blocks) for blocks in ranges))


@contextmanager
def _timed(context: CompareContext, comparison: Comparison) -> Iterator[None]:
    """Add the time that the block takes to the time of the table."""
    started = time.monotonic()
    try:
        yield
    finally:
        context.seconds[comparison.target.name] += time.monotonic() - started
