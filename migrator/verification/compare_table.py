"""
How one table is compared, and what that came to.

In the quick forms first, of which preflight may know the source's digest. What differs there is read anew in the full
forms, and what differs in these is looked for row by row. A large table is read in parts, side by side at both ends.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb
import structlog

from migrator.concurrency.blocking import BlockingConnection, call_in_worker
from migrator.concurrency.pool import WorkerPool, gather_or_cancel
from migrator.errors import SourceUnreadable
from migrator.events import Event
from migrator.ledger.carried import Recorded
from migrator.names import TableName
from migrator.runtime.limits import ExampleOptions
from migrator.sessions.address import TargetAddress
from migrator.sessions.reader import ReadOnlySession
from migrator.source.chunks import WHOLE_TABLE, Chunk
from migrator.source.database import Source
from migrator.source.scan import ScanSession
from migrator.verification import differences, digest
from migrator.verification.comparison import ALL_BLOCKS, BlockRange, Comparison, block_ranges, quickly
from migrator.verification.differences import Difference, TableDifferences
from migrator.verification.digest import Digest, KnownDigest
from migrator.verification.recipe import Recipe, Size, recorded

log = structlog.get_logger()

DifferenceSink = Callable[[Difference], None]


@dataclass(frozen=True, slots=True)
class TableResult:
    """What the comparison of one table came to."""

    table: TableName
    source: Digest
    target: Digest
    found: TableDifferences | None
    """The rows that differ; None where none do."""
    seconds: float = 0.0
    """For which hands were at work on it, added up; their waiting isn't counted."""
    recorded: Recorded | None = None
    """The source's digest as the ledger keeps it; None where the ends differ, or nobody keeps it."""

    @property
    def equal(self) -> bool:
        """Whether both ends hold the same rows, each as often."""
        return self.source == self.target

    def difference(self) -> str:
        """Return in words how the ends differ."""
        counts = f"{self.source.rows} rows in the source, {self.target.rows} in the target"
        if self.found is None:
            return f"{self.table}: {counts}"
        first = f"; for example {self.found.examples[0].line()}" if self.found.examples else ""
        return f"{self.table}: {counts}; {self.found.words()}{first}"

    def facts(self) -> dict[str, object]:
        """Return the difference for the log and the report."""
        found = self.found or TableDifferences()
        return {
            "table": str(self.table),
            "source_rows": self.source.rows,
            "target_rows": self.target.rows,
            "rows": {str(kind): count for kind, count in found.rows.items()},
            "columns": dict(found.columns),
            "examples": [example.to_json() for example in found.examples],
        }


@dataclass(frozen=True, slots=True)
class CompareContext:
    """What the comparisons of all tables have in common."""

    source: Source
    address: TargetAddress
    """Of the target."""
    readers: WorkerPool[BlockingConnection[ReadOnlySession]]
    sessions: WorkerPool[BlockingConnection[ScanSession]]
    example_options: ExampleOptions
    sink: DifferenceSink
    """Is told every difference."""
    keep: bool = False
    """Whether the digests are kept for later runs."""
    spent: dict[TableName, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds for which hands were at work on each table."""


async def compare_alike(ends: CompareContext, compared: Sequence[tuple[Comparison, KnownDigest]]) -> list[TableResult]:
    """Compare small tables of one shape, of whose sources preflight has digests; the target's are read at once."""
    there: Sequence[Digest | None]
    quick = [known.comparison for _, known in compared]
    seconds = 0.0
    try:
        async with ends.readers.worker() as reader:
            started = time.monotonic()
            there = await asyncio.to_thread(reader.call, digest.of_targets, quick)
            seconds = (time.monotonic() - started) / len(quick)
    except duckdb.Error:
        there = [None] * len(quick)  # it is for each by itself to find out of which the forms can't be made
    verdicts = []
    for (comparison, known), theirs in zip(compared, there, strict=True):
        ends.spent[comparison.target.name] += seconds
        same = known.digest == theirs
        verdicts.append(
            await _equal(ends, known.comparison, (WHOLE_TABLE,), known.digest)
            if same
            else await compare(ends, comparison, (WHOLE_TABLE,), known)
        )
    return verdicts


async def compare(
    ends: CompareContext, comparison: Comparison, pieces: Sequence[Chunk], known: KnownDigest | None
) -> TableResult:
    """Compare a table that comes in these ``pieces``; ``known`` is what preflight found of its source's digest."""
    table = comparison.target.name
    quick = await _same_digest(ends, comparison, pieces, known)
    if quick:
        return await _equal(ends, quick.comparison, pieces, quick.digest)
    ours, theirs = await _digests(ends, comparison, pieces)
    if ours == theirs:
        return await _equal(ends, comparison, pieces, ours)
    found = await asyncio.to_thread(
        differences.find_differences,
        ends.source,
        ends.address,
        comparison,
        ours.differing(theirs),
        examples=ends.example_options.count,
        mask_values=ends.example_options.mask_values,
        sink=ends.sink,
    )
    verdict = TableResult(table, ours, theirs, found, ends.spent[table])
    log.error(Event.TABLE_DIFFERS, **verdict.facts())
    return verdict


async def _equal(ends: CompareContext, comparison: Comparison, pieces: Sequence[Chunk], both: Digest) -> TableResult:
    table = comparison.target.name
    kept = await _recorded(ends, comparison, pieces, both) if ends.keep else None
    log.info(Event.TABLE_VERIFIED, table=str(table), rows=both.rows, seconds=round(ends.spent[table], 3))
    return TableResult(table, both, both, None, ends.spent[table], kept)


async def _recorded(ends: CompareContext, comparison: Comparison, pieces: Sequence[Chunk], both: Digest) -> Recorded:
    """Return what a later run needs to make the source's digest again, and to compare it."""
    if not any(reading.by_server for reading in comparison.readings):
        return recorded(comparison, both)
    recipe = Recipe.of(comparison)
    # The server has spelled some of the values. It may be another one by then, so their text is digested as it is.

    def one(session: ScanSession, piece: Chunk) -> Digest:
        with _timed(ends, comparison):
            return recipe.digest(session, comparison.source, size, piece)

    size = Size(comparison.profile, comparison.batch_bytes)
    as_stored = digest.total(await gather_or_cancel(call_in_worker(ends.sessions, one, piece) for piece in pieces))
    return recorded(comparison, as_stored)


async def _same_digest(
    ends: CompareContext, comparison: Comparison, pieces: Sequence[Chunk], known: KnownDigest | None
) -> KnownDigest | None:
    """Return the digest that both ends have in the quick forms, and these; None if they have none in common."""
    if any(reading.by_server for reading in comparison.readings):
        return None  # PostgreSQL's own spelling is asked for, and there is no quicker way
    quick = known.comparison if known else await call_in_worker(ends.sessions, quickly, comparison)
    ours = theirs = None
    try:
        if known:
            ours, theirs = known.digest, await _of_target(ends, quick, len(pieces))
        else:
            ours, theirs = await _digests(ends, quick, pieces)
    except* (SourceUnreadable, duckdb.Error):
        pass  # a value of another storage class; that an end can't be read at all the full forms find too
    return KnownDigest(quick, ours) if ours is not None and ours == theirs else None


async def _digests(ends: CompareContext, comparison: Comparison, pieces: Sequence[Chunk]) -> tuple[Digest, Digest]:
    ours, theirs = await gather_or_cancel(
        [_of_source(ends, comparison, pieces), _of_target(ends, comparison, len(pieces))]
    )
    return ours, theirs


async def _of_source(ends: CompareContext, comparison: Comparison, pieces: Sequence[Chunk]) -> Digest:
    def one(session: ScanSession, piece: Chunk) -> Digest:
        with _timed(ends, comparison):
            return digest.of_source(session, ends.address, comparison, piece)

    return digest.total(await gather_or_cancel(call_in_worker(ends.sessions, one, piece) for piece in pieces))


async def _of_target(ends: CompareContext, comparison: Comparison, parts: int) -> Digest:
    async def one(stretch: BlockRange) -> Digest:
        async with ends.readers.worker() as reader:
            with _timed(ends, comparison):
                return await asyncio.to_thread(reader.call, digest.of_target, comparison, stretch)

    if parts == 1:
        return await one(ALL_BLOCKS)
    found = await call_in_worker(ends.readers, block_ranges, comparison.target, parts)
    return digest.total(await gather_or_cancel(one(stretch) for stretch in found))


@contextmanager
def _timed(ends: CompareContext, comparison: Comparison) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        ends.spent[comparison.target.name] += time.monotonic() - started
