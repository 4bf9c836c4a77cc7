"""Prints what ``backup`` did."""

from rich.console import Console

from migrator.reports.backup_report import BackupReport


def render_backup(report: BackupReport, console: Console) -> None:
    """Print the digest as ``sha256sum`` does, and the headline."""
    console.print(f"{report.sha256}  {report.path}", markup=False, highlight=False, soft_wrap=True)
    console.print(report.headline, markup=False, highlight=False, soft_wrap=True)
