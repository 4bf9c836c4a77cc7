"""
Stage ``preflight`` checks whether every value can be carried and the target is ready, before any row is written.

It checks all tables before it raises an error, so that one error names all problems.
"""

from collections.abc import Awaitable, Callable, Sequence

import structlog
from msgspec.structs import asdict, replace

from migrator.events import Event
from migrator.ledger.loads import KnownRows
from migrator.names import TableName
from migrator.preflight.checker import CheckContext, check_tables
from migrator.preflight.existing_rows import RowComparison, check_target
from migrator.preflight.refusal import InTheWay, refusal_of_all
from migrator.preflight.table_check import TableCheck, table_notices_of
from migrator.stages.context import StageContext
from migrator.trials.unmade import Unmade

log = structlog.get_logger()


async def preflight(
    context: StageContext,
    known_rows: KnownRows,
    check_source_file: Callable[[], Awaitable[None]],
    untried: Sequence[str] = (),
    unmade: Unmade | None = None,
) -> dict[TableName, TableCheck]:
    """
    Return the check of every table that still has to be loaded.

    ``known_rows`` are the target's rows that the ledger knows; ``check_source_file`` checks the file itself
    (``check_intact``), and may have begun earlier. Raises MissingPrivilege and RowsInTheWay for the target,
    SourceUnreadable for a damaged source, ValuesRefused with all findings for values that can't be carried, and
    NotTried for everything that could not be tried and that no pattern of ``untried`` matches. If several of these are
    to be told, one error tells them all. Rows in the target that are also in the source are accepted. ``unmade`` says
    what is to be assumed about target tables in the place of what the catalogs say.
    """
    source, target = context.source, context.target
    pending = [table for table in context.plan.tables if table.name not in known_rows.loaded]
    occupied = await check_target(target, pending, known_rows)
    pending_plan = replace(context.plan, tables=tuple(pending))
    limits, options, tracker = context.limits, context.example_options, context.tracker
    checking = CheckContext(source, target, pending_plan, limits, options, tracker, context.made_by_job)
    checks = await check_tables(checking, check_source_file, unmade)
    findings = [finding for check in checks for finding in check.findings]
    for change in (change for check in checks for change in check.changes):
        log.info(Event.VALUES_REWRITTEN, **asdict(change))
    for notice in (finding for finding in findings if not (finding.refuses or finding.asks_for_nothing)):
        log.warning(Event.VALUES_REMARKED, message=notice.line(), **notice.to_json())
    for table_notice in table_notices_of(pending_plan, checks):
        log.info(Event.VALUES_REMARKED, message=table_notice.line(), table=table_notice.table)
    by_table = {check.table_size.table: check for check in checks}
    comparison = RowComparison(source, target, context.limits.batch_bytes, context.example_options)
    table_sizes = {name: check.table_size for name, check in by_table.items()}
    values_refused = any(finding.refuses for finding in findings)
    existing = await comparison.unexpected_rows(occupied, table_sizes, known_rows.begun, values_refused=values_refused)
    refused = await refusal_of_all(
        source, target, context.plan, InTheWay(checks, existing, context.limits.kept_bytes, untried)
    )
    if refused is not None:
        raise refused
    return by_table
