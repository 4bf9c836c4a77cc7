"""What was measured, as a table on a terminal."""

from rich.console import Console
from rich.table import Table

from benchmark import figures
from benchmark.results import Entry, Session


def show(session: Session, console: Console) -> None:
    """Print medians and ratios of a session, and what was wrong with each result."""
    console.print(f"\n{session.label}; {session.server}; {session.machine}", highlight=False)
    table = Table(box=None)
    for column in ("", "seconds", "/ limit", "copy", "peak MB", "result"):
        table.add_column(column, justify="left" if column in {"", "result"} else "right", overflow="fold")
    for entry in session.entries:
        table.add_row(*_row(session, entry))
    console.print(table)
    for entry in session.entries:
        if told := [f"{name} {value:.2f}" for name, value in stages(entry).items()]:
            console.print(f"{entry.name}: {' · '.join(told)}", highlight=False)
    for figure in figures.of_session(session):
        console.print(f"{figure.name}: {figure}  {figure.wanted and f'wanted {figure.wanted}'}", highlight=False)


def stages(entry: Entry) -> dict[str, float]:
    """Return the median seconds of each stage of a contender."""
    done = [run for run in entry.runs if run.ended_well]
    names = done[0].stages if done else ()
    return {name: figures.median(done, figures.stage(name)) for name in names}


def result(entry: Entry) -> str:
    """Return what came of a contender's runs, in a sentence."""
    if entry.missing:
        return f"not run: {entry.missing}"
    last = entry.runs[-1]
    if last.exit_code is None:
        return f"stopped after {last.seconds / 60:.0f} minutes"
    if not last.ended_well:
        return f"failed, exit code {last.exit_code}: {last.said}"
    wrong = dict.fromkeys(sentence for run in entry.runs for sentence in run.wrong)
    return "; ".join(wrong) or "complete and equal"


def _row(session: Session, entry: Entry) -> tuple[str, ...]:
    if session.entry(entry.name) is None:
        return entry.title, "", "", "", "", result(entry)
    taken = figures.median(entry.runs, figures.seconds)
    limit = session.entry("limit")
    ratio = f"{taken / figures.median(limit.runs, figures.seconds):.2f}" if limit else ""
    copy, peak = stages(entry).get("copy"), figures.peak_megabytes(entry)
    numbers = (f"{taken:.2f}", ratio, f"{copy:.2f}" if copy else "", f"{peak:.0f}" if peak else "")
    return entry.title, *numbers, result(entry)
