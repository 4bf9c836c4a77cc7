"""
Stage ``preflight``: can every value be carried, and is the target ready? Nothing has been written when it says no.

It looks at everything before it speaks: all problems of all tables in one answer.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace

import structlog

from migrator.events import Event
from migrator.ledger.loads import KnownRows
from migrator.names import TableName
from migrator.planning.plan import Plan
from migrator.preflight.checker import CheckContext, check_tables, refuse
from migrator.preflight.existing_rows import RowComparison, check_target, refusal
from migrator.preflight.table_check import TableCheck
from migrator.runtime.limits import ExampleOptions, Limits
from migrator.runtime.progress import Progress
from migrator.source.database import Source
from migrator.target.database import Target
from migrator.trials.untried import untried_refusal

log = structlog.get_logger()


async def preflight(  # noqa: PLR0913 - both ends, the plan, and how to look
    source: Source,
    target: Target,
    plan: Plan,
    allowed: KnownRows,
    *,
    limits: Limits,
    example_options: ExampleOptions,
    progress: Progress,
    intact: Callable[[], Awaitable[None]],
    untried: Sequence[str] = (),
) -> dict[TableName, TableCheck]:
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
    checks = CheckContext(source, target, undone, limits, example_options, progress)
    surveys = await check_tables(checks, intact)
    findings = [finding for one in surveys for finding in one.findings]
    for change in (change for one in surveys for change in one.changes):
        log.info(Event.VALUES_REWRITTEN, **asdict(change))
    for remark in (finding for finding in findings if not finding.refuses):
        log.warning(Event.VALUES_REMARKED, message=remark.line(), **remark.to_json())
    refuse(findings)
    found = {one.profile.table: one for one in surveys}
    profiles = {name: one.profile for name, one in found.items()}
    comparison = RowComparison(source, target, limits.batch_bytes, example_options)
    if unexpected := await comparison.unexpected_rows(occupied, profiles):
        raise refusal(unexpected)
    if hidden := untried_refusal((one for survey in surveys for one in survey.untried), untried):
        raise hidden
    return found
