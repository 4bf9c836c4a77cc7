"""Chooses how an outcome is printed for people, by its kind."""

from functools import singledispatch

from rich.console import Console

from migrator.reports.backup_report import BackupReport
from migrator.reports.check_report import CheckReport
from migrator.reports.console.backup_report import render_backup
from migrator.reports.console.check_report import render_check
from migrator.reports.console.difference import render_difference
from migrator.reports.console.refresh_report import render_refresh
from migrator.reports.console.refusal import render_refusal
from migrator.reports.console.rollback_report import render_rollback
from migrator.reports.console.run_report import render_run
from migrator.reports.console.status import render_status
from migrator.reports.difference import DifferenceReport
from migrator.reports.outcome import Outcome
from migrator.reports.refresh_report import RefreshReport
from migrator.reports.refusal import Refusal
from migrator.reports.rollback_report import RollbackReport
from migrator.reports.run_report import Report
from migrator.reports.status import Status


@singledispatch
def render(outcome: Outcome, console: Console) -> None:
    """Print an outcome for people. Raises TypeError for a kind that has no form."""
    raise TypeError(f"{type(outcome).__name__} has no form for the {type(console).__name__.lower()}")


render.register(Report, render_run)
render.register(DifferenceReport, render_difference)
render.register(CheckReport, render_check)
render.register(RefreshReport, render_refresh)
render.register(Refusal, render_refusal)
render.register(Status, render_status)
render.register(RollbackReport, render_rollback)
render.register(BackupReport, render_backup)
