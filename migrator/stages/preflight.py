"""
Stage ``preflight``: can every value be carried, and is the target ready? Nothing has been written when it says no.

It looks at everything before it speaks: all problems of all tables in one answer.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import structlog

from migrator.catalog import foreign_keys
from migrator.catalog.row_security import refuse_forced
from migrator.errors import MissingPrivilege, ValuesRefused
from migrator.events import Event
from migrator.findings.finding import Finding, summary
from migrator.inspection import look_over
from migrator.names import TableName
from migrator.plan import Plan, TablePlan
from migrator.runtime.limits import Bounds, Showing
from migrator.runtime.progress import Progress
from migrator.source.database import Source
from migrator.source.size import Profile
from migrator.strangers import Occupied, can_compare, look_at, refusal
from migrator.survey import Survey
from migrator.target.database import Target, row_counts
from migrator.target.lock_room import lock_room
from migrator.untried import untried_refusal

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
    bounds: Bounds,
    showing: Showing,
    progress: Progress,
    intact: Callable[[], Awaitable[None]],
    untried: Sequence[str] = (),
) -> dict[TableName, Survey]:
    """
    Return what was found out about every table still to be loaded.

    ``intact`` is the look at the file itself (``check_intact``), which may have begun before. Raises MissingPrivilege
    and RowsInTheWay for the target, SourceUnreadable for a damaged source, ValuesRefused with all findings for values
    that can't be carried, NotTried for what couldn't be tried and no pattern of ``untried`` names. Rows in the target
    that the source holds too are in nobody's way.
    """
    pending = [table for table in plan.tables if table.name not in allowed.loaded]
    occupied = await check_target(target, pending, allowed)
    undone = replace(plan, tables=tuple(pending))
    surveys = await look_over(
        source,
        target,
        undone,
        bounds=bounds,
        showing=showing,
        progress=progress,
        intact=intact,
    )
    findings = [finding for one in surveys for finding in one.findings]
    for change in (change for one in surveys for change in one.changes):
        log.info(Event.VALUES_REWRITTEN, **asdict(change))
    for remark in (finding for finding in findings if not finding.refuses):
        log.warning(Event.VALUES_REMARKED, message=remark.line(), **remark.to_json())
    refuse(findings)
    found = {one.profile.table: one for one in surveys}
    profiles = {name: one.profile for name, one in found.items()}
    if strangers := await strangers_in(
        source, target, occupied, profiles, batch_bytes=bounds.batch_bytes, showing=showing
    ):
        raise refusal(strangers)
    if hidden := untried_refusal((one for survey in surveys for one in survey.untried), untried):
        raise hidden
    return found


async def occupied_tables(target: Target, pending: list[TablePlan], allowed: Allowed) -> dict[TablePlan, int]:
    """
    Return the pending tables that hold rows the ledger doesn't know of, each with their number.

    Raises MissingPrivilege if policies hide rows of them from the role, or keys of others refer to them, and
    TargetRefused if the server has no room for the locks of one of them.
    """
    async with target.connect() as connection:
        names = [table.name for table in pending]
        await refuse_forced(connection, names)
        await foreign_keys.refuse_those_of_others(connection, names)
        (await lock_room(connection, names)).refuse_too_large()
        counts = await row_counts(connection, names)
    return {
        table: rows for table in pending if (rows := counts.get(table.name)) and rows != allowed.seeded.get(table.name)
    }


async def strangers_in(  # noqa: PLR0913 - both ends, and how to look
    source: Source,
    target: Target,
    occupied: Mapping[TablePlan, int],
    profiles: Mapping[TableName, Profile],
    *,
    batch_bytes: int,
    showing: Showing,
) -> list[Occupied]:
    """Return what stands in the way in ``occupied`` tables: rows that the source doesn't hold too."""
    looked_at = [
        await look_at(source, target, table, rows, profiles[table.name], batch_bytes, showing)
        for table, rows in occupied.items()
    ]
    return [one for one in looked_at if one.strange]


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
            next_step="mend them in the source, decide with a rule (MIGRATOR_RULES; each finding names one), "
            "or leave the column or table out with --exclude",
            findings=[finding.to_json() for finding in findings],
        )


def refuse_not_owned(pending: Iterable[TablePlan]) -> None:
    """Raise MissingPrivilege if the role doesn't own a table that is to be filled."""
    foreign = sorted(str(table.name) for table in pending if not table.target.owned)
    if foreign:
        raise MissingPrivilege(
            f"the target's role doesn't own {', '.join(foreign)}, so it can't take keys away for the load",
            next_step="run as the owner, or GRANT the owning role to this one",
            tables=foreign,
        )


async def check_target(target: Target, pending: list[TablePlan], allowed: Allowed) -> dict[TablePlan, int]:
    """
    Return the pending tables that hold rows which may be the source's own, each with their number.

    Raises MissingPrivilege or RowsInTheWay if a pending table can't take the source's rows whatever these are.
    """
    refuse_not_owned(pending)
    occupied = await occupied_tables(target, pending, allowed)
    if not all(can_compare(table, rows) for table, rows in occupied.items()):
        raise refusal([Occupied(table.name, rows, strange=rows) for table, rows in occupied.items()])
    return occupied
