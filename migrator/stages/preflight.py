"""
Stage ``preflight``: can every value be carried, and is the target ready? Nothing has been written when it says no.

It looks at everything before it speaks: all problems of all tables in one answer.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from migrator.errors import MissingPrivilege, RowsInTheWay, SourceUnreadable, ValuesRefused
from migrator.events import Event
from migrator.findings import Finding, Profile, summary
from migrator.names import TableName
from migrator.plan import Plan, TablePlan
from migrator.progress import Progress
from migrator.source import Source
from migrator.survey import Showing, Survey, survey
from migrator.target import Target, row_count

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Allowed:
    """Rows that may be in the target: those that the ledger knows about."""

    loaded: frozenset[TableName]
    """Tables that this migration has filled already."""
    seeded: Mapping[TableName, int]
    """Rows that the schema's migrations put into a database that was empty."""


async def preflight(  # noqa: PLR0913 - both ends, the plan, and how to look
    source: Source,
    target: Target,
    plan: Plan,
    allowed: Allowed,
    *,
    jobs: int,
    batch_bytes: int,
    showing: Showing,
    progress: Progress,
) -> dict[TableName, Profile]:
    """
    Return the size of every table still to be loaded.

    Raises MissingPrivilege and RowsInTheWay for the target, SourceUnreadable for a damaged source, ValuesRefused with
    all findings for values that can't be carried.
    """
    pending = [table for table in plan.tables if table.name not in allowed.loaded]
    await check_target(target, pending, allowed)
    surveys = await look_over(source, pending, jobs=jobs, batch_bytes=batch_bytes, showing=showing, progress=progress)
    findings = [finding for one in surveys for finding in one.findings]
    refuse(findings)
    return {one.profile.table: one.profile for one in surveys}


def refuse(findings: list[Finding]) -> None:
    """Raise ValuesRefused if there is any finding; each is an event of its own before that."""
    for finding in findings:
        log.error(Event.VALUES_REFUSED, **finding.to_json())
    if findings:
        columns = {(finding.table, finding.column) for finding in findings}
        raise ValuesRefused(
            f"{len(columns)} columns hold values that PostgreSQL would refuse or change: {summary(findings)}",
            next_step="mend them in the source, or leave the column or table out with --exclude",
            findings=[finding.to_json() for finding in findings],
        )


async def look_over(  # noqa: PLR0913 - the source, the plan, and how to look
    source: Source, tables: list[TablePlan], *, jobs: int, batch_bytes: int, showing: Showing, progress: Progress
) -> list[Survey]:
    """Survey ``tables``, ``jobs`` at a time, and the file as a whole; raises SourceUnreadable if it is damaged."""
    at_once = asyncio.Semaphore(jobs)

    def one(table: TablePlan) -> Survey:
        with source.session() as session:
            return survey(session, table, batch_bytes, showing)

    async def in_turn(table: TablePlan) -> Survey:
        async with at_once:
            found = await asyncio.to_thread(one, table)
            progress.advance(str(table.name), found.profile.rows, found.profile.bytes)
            return found

    async with asyncio.TaskGroup() as group:
        intact = group.create_task(asyncio.to_thread(_check_intact, source))
        tasks = [group.create_task(in_turn(table)) for table in tables]
    intact.result()
    return [task.result() for task in tasks]


def _check_intact(source: Source) -> None:
    """Raise SourceUnreadable unless SQLite finds the file's structure sound (SQLite, "PRAGMA quick_check")."""
    with source.session() as session:
        answers = [str(row["quick_check"]) for row in session.ask("PRAGMA quick_check(5)")]
    if answers != ["ok"]:
        lines = [line for answer in answers for line in answer.splitlines() if not line.startswith("***")]
        raise SourceUnreadable(
            f"source {str(source.path)!r} is damaged: {'; '.join(lines)}",
            next_step="restore it from a backup, or recover what can be with `sqlite3 FILE .recover`",
            source=str(source.path),
        )


async def check_target(target: Target, pending: list[TablePlan], allowed: Allowed) -> None:
    """Raise MissingPrivilege or RowsInTheWay if the pending tables can't take the source's rows."""
    foreign = sorted(str(table.name) for table in pending if not table.target.owned)
    if foreign:
        raise MissingPrivilege(
            f"the target's role doesn't own {', '.join(foreign)}, so it can't take keys away for the load",
            next_step="run as the owner, or GRANT the owning role to this one",
            tables=foreign,
        )
    in_the_way: dict[str, int] = {}
    async with target.connect() as connection:
        for table in pending:
            rows = await row_count(connection, table.name)
            if rows and rows != allowed.seeded.get(table.name):
                in_the_way[str(table.name)] = rows
    if in_the_way:
        listed = ", ".join(f"{name} ({rows})" for name, rows in in_the_way.items())
        raise RowsInTheWay(
            f"the target already holds rows that this job did not put there: {listed}",
            next_step="use an empty database, or remove the rows yourself if they are not needed",
            tables=in_the_way,
        )
