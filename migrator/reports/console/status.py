"""Prints what the ledger says about a migration."""

from rich.console import Console

from migrator.reports.status import Status
from migrator.runtime.wording import printable


def render_status(status: Status, console: Console) -> None:
    """Print the report for people."""
    for known, at in status.several:
        state = f"migrated and verified at {at:%Y-%m-%d %H:%M:%S %Z}" if at else "not completed"
        console.print(f"migration {printable(known)}: {state}", markup=False)
    for table in status.tables:
        state = "copied and verified" if table.digest else "copied"
        console.print(f"{table.name}: {table.rows:,} rows {state}", markup=False)
    for stage in status.stages:
        state = f"ended {stage.ended_at:%H:%M:%S}" if stage.ended_at else "not ended"
        console.print(f"stage {stage.stage}: began {stage.started_at:%H:%M:%S}, {state}", markup=False)
    for entry in status.parked:
        console.print(f"taken away for the load and not back yet: {entry}", markup=False)
    for line in status.kept:
        console.print(line, markup=False)
    for run in status.runs:
        ended = f"ended {run.ended_at:%Y-%m-%d %H:%M:%S} with {run.exit_code}" if run.ended_at else "has not ended"
        console.print(f"run {run.id}: began {run.started_at:%Y-%m-%d %H:%M:%S}, {ended}", markup=False)
    name = f"migration {printable(status.migration)}: " if status.migration is not None else ""
    console.print(name + _verdict(status), style="bold", markup=False)


def _verdict(status: Status) -> str:
    if status.several:
        return f"{len(status.several)} migrations; --migration NAME tells more of one"
    if status.unknown is not None:
        return printable(status.unknown)
    if status.completed_at is not None:
        return f"migrated and verified at {status.completed_at:%Y-%m-%d %H:%M:%S %Z}"
    return "not completed" if status.runs else "no migration has begun here"
