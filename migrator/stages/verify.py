"""
Stage ``verify``: every value of every row, at both ends, compared by code that had no part in the copying.

It writes nothing but the ledger's note that a table was found equal, and that only when the job asks for it.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from migrator import catalog, differences, digest, ledger
from migrator.comparison import Comparison
from migrator.differences import Difference, Found
from migrator.digest import Digest
from migrator.errors import Mismatch
from migrator.events import Event
from migrator.forms import Pair
from migrator.names import TableName
from migrator.plan import Plan, TablePlan
from migrator.progress import Progress
from migrator.source import Source
from migrator.survey import Showing, measure
from migrator.target import Target

log = structlog.get_logger()

Tell = Callable[[Difference], None]


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
    file: Path | None = None,
    note: bool = False,
) -> list[Verdict]:
    """
    Compare all planned tables, the rows counted and the values digested, and return a verdict for each.

    Raises Mismatch, after all tables have been looked at, naming those that differ, with the first rows of each; all
    differences go into ``file``, one JSON object a line. A sequence that would give a value again is a difference too.

    With ``note``, which only the job that has copied the rows gives, the ledger learns of the tables that are equal,
    and keys, indexes, defaults and triggers must be as they were before that job took some of them away.
    """
    at_once = asyncio.Semaphore(jobs)

    async def in_turn(table: TablePlan, tell: Tell) -> Verdict:
        async with at_once:
            comparison = await asyncio.to_thread(_comparison, source, table, batch_bytes)
            verdict = await _compare(source, target, comparison, showing, tell)
            progress.advance(str(table.name), verdict.source.rows)
            return verdict

    with _written(file) as tell:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(in_turn(table, tell)) for table in plan.tables]
    verdicts = [task.result() for task in tasks]
    beside = await _beside_rows(target, plan, as_before=note)
    if note:
        await _note(target, [verdict for verdict in verdicts if verdict.equal])
    _refuse([verdict for verdict in verdicts if not verdict.equal], verdicts, beside)
    return verdicts


def _comparison(source: Source, table: TablePlan, batch_bytes: int) -> Comparison:
    with source.session() as session:
        profile = measure(session, table)
    pairs = tuple(Pair(column.source_expression, column.target, column.timezone) for column in table.compared)
    return Comparison(table.source, table.target, pairs, profile, batch_bytes)


async def _compare(source: Source, target: Target, comparison: Comparison, showing: Showing, tell: Tell) -> Verdict:
    started = time.monotonic()
    uri, name = target.address.libpq_uri(), comparison.target.name
    ours, theirs = await asyncio.gather(
        asyncio.to_thread(digest.of_source, source, uri, comparison),
        asyncio.to_thread(digest.of_target, uri, comparison),
    )
    if ours == theirs:
        log.info(Event.TABLE_VERIFIED, table=str(name), rows=ours.rows, seconds=round(time.monotonic() - started, 3))
        return Verdict(name, ours, theirs, None)
    found = await asyncio.to_thread(
        differences.find,
        source,
        uri,
        comparison,
        ours.differing(theirs),
        examples=showing.examples,
        mask_values=showing.mask_values,
        tell=tell,
    )
    verdict = Verdict(name, ours, theirs, found)
    log.error(Event.TABLE_DIFFERS, **verdict.facts())
    return verdict


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


async def _note(target: Target, verdicts: list[Verdict]) -> None:
    async with target.transaction() as connection:
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
