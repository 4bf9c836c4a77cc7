"""Prints how far a migration is: a page for people, which fits into 80 columns."""

from collections.abc import Iterator
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from migrator.ledger.runs import RunLine
from migrator.monitoring.snapshot import duration
from migrator.reports.status import Status
from migrator.runtime.wording import counted, printable
from migrator.status.next_action import NextAction
from migrator.status.state import MigrationStatus, State

_STYLES = {
    State.COMPLETE: "bold green",
    State.FAILED: "bold red",
    State.INTERRUPTED: "bold yellow",
    State.UNDER_WAY: "bold cyan",
    State.REHEARSED: "bold cyan",
    State.NEVER_BEGUN: "bold",
}
_SETTLED = frozenset({State.COMPLETE, State.REHEARSED})
"""The states in which every value was verified, and no run works or has failed."""
_SILENT_SECONDS = 60
"""A run writes every few seconds what it is doing. After this time without a word, the page says so."""
_SHOWN_PARKED = 5


def render_status(status: Status, console: Console) -> None:
    """Print the report for people."""
    console.print(page(status), soft_wrap=not console.is_terminal)


def page(status: Status) -> RenderableType:
    """Return the whole page. A value is never read as markup."""
    if status.one is None:
        return Group(*_several(status))
    return Group(*_one(status, status.one, status.next_actions[0]))


def _several(status: Status) -> Iterator[RenderableType]:
    for found in status.migrations:
        yield Text.assemble(f"migration {printable(found.name)}: ", (found.state, _STYLES[found.state]), _since(found))
    yield Text(f"{status.headline}; --migration NAME tells more of one", "bold")


def _since(found: MigrationStatus) -> str:
    """Return since when a migration is in its state, as far as it is known."""
    newest = found.newest_run
    if found.state in _SETTLED and found.completed_at is not None:
        return f", every value verified at {_moment(found.completed_at)}"
    if newest is None:
        return ""
    if newest.ended_at is not None and found.state in {State.FAILED, State.INTERRUPTED}:
        return f" at {_moment(newest.ended_at)}"
    return f", begun at {_moment(newest.started_at)}" if found.state is not State.NEVER_BEGUN else ""


def _one(status: Status, found: MigrationStatus, action: NextAction) -> Iterator[RenderableType]:
    yield Text.assemble(f"migration {printable(found.name)}: ", (found.state, _STYLES[found.state]), _since(found))
    if status.unknown is not None:
        yield Text(printable(status.unknown))
    if found.rehearsed:
        yield Text("the application still writes to the source, and may not start on PostgreSQL before the cut-over")
    elif found.completed_at is not None and found.state is not State.COMPLETE:
        yield Text(f"every value was verified at {_moment(found.completed_at)}; the newest schema is not reached yet")
    yield from _progress(found)
    if found.state is State.FAILED and found.newest_run is not None:
        yield Text(f"\nit said: {found.newest_run.message or 'nothing'}")
    if found.parked and found.state is not State.COMPLETE:
        more = len(found.parked) - _SHOWN_PARKED
        listed = ", ".join(map(printable, found.parked[:_SHOWN_PARKED])) + (f" and {more:,} more" if more > 0 else "")
        yield Text(f"\ntaken away for the load and not back yet: {listed}")
    if found.refreshed is not None:
        ago = duration(max(0, (found.now - found.refreshed.as_of).total_seconds()))
        yield Text(
            f"\nrefreshed: the target holds the source as of {_moment(found.refreshed.as_of)}, {ago} ago; "
            f"the last refresh: {found.refreshed.words()}"
        )
    for line in found.kept:
        yield Text(line)
    earlier = [_run_line(run) for run in found.runs[1:]]
    if earlier:
        yield Text("\nearlier runs: " + "; ".join(earlier))
    yield from _next(action)


def _progress(found: MigrationStatus) -> Iterator[RenderableType]:
    if found.stages and found.state not in _SETTLED:
        yield Text()
        yield _stages(found)
    if found.tables_total or found.tables:
        rows = sum(table.rows for table in found.tables) + sum(begun.rows for begun in found.begun)
        total = f" of {found.tables_total:,}" if found.tables_total else ""
        yield Text(
            f"\ntables: {len(found.tables):,}{total} copied, {found.tables_verified:,}{total} verified; "
            f"{counted(rows, 'row')} in the target"
        )
    in_work = found.progress.tables() if found.progress else []
    if in_work:
        yield Text()
        yield _in_work(found)
    elif found.state is not State.COMPLETE:
        for begun in found.begun:
            yield Text(
                f"{printable(str(begun.name))}: {begun.chunks:,} of {counted(begun.of_chunks, 'chunk')} copied, "
                f"{counted(begun.rows, 'row')}, {decimal(begun.bytes)}"
            )
    if found.progress is not None:
        for reason in found.progress.waits():
            yield Text(f"waiting: {printable(reason)}", "yellow")
        silent = (found.now - found.progress.written_at).total_seconds()
        if silent > _SILENT_SECONDS:
            yield Text(f"the run holds its lock, and has written nothing for {duration(silent)}", "yellow")


def _stages(found: MigrationStatus) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    table.add_column("began", justify="right")
    table.add_column("took", justify="right")
    table.add_column("")
    for stage in found.stages:
        ended = stage.ended_at
        seconds = ((ended or _end_of(found)) - stage.started_at).total_seconds()
        state = "" if ended else "under way" if found.state is State.UNDER_WAY else "not ended"
        work = found.progress.of_stage(stage.stage) if found.progress else None
        if work is not None and work.of:
            state = f"{work.done:,} of {work.of:,} {work.unit}" + _left(work.seconds_left)
        table.add_row(stage.stage, f"{stage.started_at:%H:%M:%S}", duration(max(0, seconds)), state)
    return table


def _end_of(found: MigrationStatus) -> datetime:
    """Return until when a stage without an end was at work."""
    newest = found.newest_run
    return newest.ended_at if newest and newest.ended_at else found.now


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f", {duration(seconds)} left"


def _in_work(found: MigrationStatus) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("in work", overflow="fold")
    table.add_column("stage")
    for name in ("done", "of", "a second", "left"):
        table.add_column(name, justify="right")
    for work in found.progress.tables() if found.progress else ():
        cells = (
            f"{work.done:,}",
            f"{work.of:,}" if work.of else "",
            f"{work.rate:,.0f}" if work.rate is not None else "",
            duration(work.seconds_left) if work.seconds_left is not None else "",
        )
        table.add_row(*map(Text, (printable(work.table), work.stage, *cells)))
    return table


def _run_line(run: RunLine) -> str:
    if run.ended_at is None:
        return f"{_moment(run.started_at)} killed"
    return f"{_moment(run.started_at)} ended with {'a bug' if run.exit_code is None else run.exit_code}"


def _next(action: NextAction) -> Iterator[RenderableType]:
    yield Text()
    yield Text(f"what to do now: {action.text}", "bold")
    if action.rules:
        yield Text("put these lines into the file of --rules:\n")
        yield Text(action.rules)
    if action.command:
        yield Text(f"  {action.command}")


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"
