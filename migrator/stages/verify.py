"""
Stage ``verify``: every value of every row, at both ends, compared by code that had no part in the copying.

It writes nothing but the ledger's note that a table was found equal, and that only when the job asks for it.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

import duckdb
import structlog

from migrator import catalog, differences, digest, ledger
from migrator.address import TargetAddress
from migrator.comparison import Comparison, quickly
from migrator.crew import share_out
from migrator.differences import Difference, Found
from migrator.digest import Digest
from migrator.errors import Mismatch, SourceUnreadable
from migrator.events import Event
from migrator.examples import Showing
from migrator.findings import Profile
from migrator.names import TableName
from migrator.plan import Plan, TablePlan
from migrator.progress import Progress
from migrator.reading import Reader
from migrator.rehearsal import Rehearsed
from migrator.source import Source
from migrator.survey import Survey, measure
from migrator.target import Target

log = structlog.get_logger()

Tell = Callable[[Difference], None]

NOTHING_KNOWN: Mapping[TableName, Survey] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison of one table came to."""

    table: TableName
    source: Digest
    target: Digest
    found: Found | None
    """The rows that differ; None where none do."""

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
        found = self.found or Found()
        return {
            "table": str(self.table),
            "source_rows": self.source.rows,
            "target_rows": self.target.rows,
            "rows": {str(kind): count for kind, count in found.rows.items()},
            "columns": dict(found.columns),
            "examples": [example.to_json() for example in found.examples],
        }


async def verify(  # noqa: PLR0913 - both ends, the plan, and how to go about it
    source: Source,
    target: Target,
    plan: Plan,
    *,
    jobs: int,
    batch_bytes: int,
    showing: Showing,
    progress: Progress,
    surveys: Mapping[TableName, Survey] = NOTHING_KNOWN,
    file: Path | None = None,
    note: UUID | None = None,
) -> list[Verdict]:
    """
    Compare all planned tables, the rows counted and the values digested, and return a verdict for each.

    Raises Mismatch, after all tables have been looked at, naming those that differ, with the first rows of each; all
    differences go into ``file``, one JSON object a line. A sequence that would give a value again is a difference too.
    What ``surveys`` of this moment of the source know of its digests isn't read again.

    With ``note``, the run that has copied the rows, the ledger learns of the tables that are equal, and keys, indexes,
    defaults and triggers must be as they were before that run took some of them away. Raises GaveUp if another run has
    taken over.
    """
    with _written(file) as tell:
        ends = _Ends(source, target.address, showing, tell)

        async def in_turn(reader: Reader, table: TablePlan) -> Verdict:
            survey = surveys.get(table.name)
            profile = survey.profile if survey else await asyncio.to_thread(_measured, source, table)
            comparison = Comparison(table.source, table.target, table.pairs, profile, batch_bytes)
            verdict = await _compare(ends, reader, comparison, survey.rehearsed if survey else None)
            progress.advance(str(table.name), verdict.source.rows)
            return verdict

        largest_first = sorted(plan.tables, key=lambda table: -_bytes_of(surveys, table))
        found = await share_out(largest_first, jobs, partial(_reader, target.address), in_turn)
    by_name = {verdict.table: verdict for verdict in found}
    verdicts = [by_name[table.name] for table in plan.tables]
    beside = await _beside_rows(target, plan, as_before=note is not None)
    if note is not None:
        await _note(target, note, [verdict for verdict in verdicts if verdict.equal])
    _refuse([verdict for verdict in verdicts if not verdict.equal], verdicts, beside)
    return verdicts


def _measured(source: Source, table: TablePlan) -> Profile:
    with source.session() as session:
        return measure(session, table)


def _bytes_of(surveys: Mapping[TableName, Survey], table: TablePlan) -> int:
    return surveys[table.name].profile.bytes if table.name in surveys else 0


@asynccontextmanager
async def _reader(address: TargetAddress) -> AsyncIterator[Reader]:
    reader = Reader(address)
    try:
        yield reader
    finally:
        reader.close()


@dataclass(frozen=True, slots=True)
class _Ends:
    """What the comparisons of all tables have in common."""

    source: Source
    address: TargetAddress
    showing: Showing
    tell: Tell


async def _compare(ends: _Ends, reader: Reader, comparison: Comparison, known: Rehearsed | None) -> Verdict:
    """Compare in the quick forms first, of which preflight may know the source's. What differs there is read anew."""
    started = time.monotonic()
    table = comparison.target.name
    same = await _same_digest(ends, reader, comparison, known)
    ours, theirs = (same, same) if same else await _full_digests(ends, reader, comparison)
    if ours == theirs:
        log.info(Event.TABLE_VERIFIED, table=str(table), rows=ours.rows, seconds=round(time.monotonic() - started, 3))
        return Verdict(table, ours, theirs, None)
    found = await asyncio.to_thread(
        differences.find,
        ends.source,
        ends.address,
        comparison,
        ours.differing(theirs),
        examples=ends.showing.examples,
        mask_values=ends.showing.mask_values,
        tell=ends.tell,
    )
    verdict = Verdict(table, ours, theirs, found)
    log.error(Event.TABLE_DIFFERS, **verdict.facts())
    return verdict


async def _full_digests(ends: _Ends, reader: Reader, comparison: Comparison) -> tuple[Digest, Digest]:
    return await asyncio.gather(
        asyncio.to_thread(digest.of_source, ends.source, ends.address, comparison),
        asyncio.to_thread(reader.read, partial(digest.of_target, comparison=comparison)),
    )


async def _same_digest(ends: _Ends, reader: Reader, comparison: Comparison, known: Rehearsed | None) -> Digest | None:
    """Return the digest that both ends have in the quick forms; None if they have none in common."""
    if any(reading.by_server for reading in comparison.readings):
        return None  # PostgreSQL's own spelling is asked for, and there is no quicker way
    quick = known.comparison if known else await asyncio.to_thread(_quickly, ends.source, comparison)
    try:
        ours, theirs = await asyncio.gather(
            asyncio.to_thread(_of_source, ends, quick, known),
            asyncio.to_thread(reader.read, partial(digest.of_target, comparison=quick)),
        )
    except (SourceUnreadable, duckdb.Error):
        return None  # a value of another storage class; that an end can't be read at all the full forms find too
    return ours if ours == theirs else None


def _quickly(source: Source, comparison: Comparison) -> Comparison:
    with source.session() as session:
        return quickly(session, comparison)


def _of_source(ends: _Ends, comparison: Comparison, known: Rehearsed | None) -> Digest:
    return known.digest if known else digest.of_source(ends.source, ends.address, comparison)


@contextmanager
def _written(file: Path | None) -> Iterator[Tell]:
    """
    Open the file of differences, new, and give what writes one into it.

    A file that can't be written is a warning: what was found out about the rows is worth more.
    """
    if file is None:
        yield lambda _difference: None
        return
    try:
        opened = file.open("w", encoding="utf-8")
    except OSError as error:
        log.warning(Event.WARNING_REPORT, reason=f"{file}: {error.strerror}")
        yield lambda _difference: None
        return
    one_at_a_time = threading.Lock()

    def tell(difference: Difference) -> None:
        line = json.dumps(difference.to_json(), ensure_ascii=False)
        with one_at_a_time:
            opened.write(line + "\n")

    with opened:
        yield tell


async def _note(target: Target, run_id: UUID, verdicts: list[Verdict]) -> None:
    async with target.transaction() as connection:
        await ledger.check_owner(connection, run_id)
        for verdict in verdicts:
            await ledger.write_verified(connection, verdict.table, verdict.source.hexadecimal())


async def _beside_rows(target: Target, plan: Plan, *, as_before: bool) -> list[str]:
    """Return in words which sequences are behind and, with ``as_before``, what of the schema isn't as it was."""
    async with target.connect() as connection:
        behind = await catalog.sequences_behind(connection, [table.name for table in plan.tables])
        found = [str(sequence) for sequence in behind]
        before = await ledger.recall(connection, "catalog") if as_before else None
        if before is not None:
            found += catalog.changes(before, await catalog.describe(connection, plan.schema))
    for line in found:
        log.error(Event.SCHEMA_DIFFERS, what=line)
    return found


def _refuse(differing: list[Verdict], verdicts: list[Verdict], beside: list[str]) -> None:
    if not differing and not beside:
        return
    said = [f"{len(differing)} of {len(verdicts)} tables differ"] if differing else []
    raise Mismatch(
        "; ".join([*said, *(verdict.difference() for verdict in differing), *beside]),
        next_step="do not switch the application over; find out who changed either side after the copy",
        tables=[str(verdict.table) for verdict in differing],
        differences=[verdict.facts() for verdict in differing],
        schema=beside,
    )
