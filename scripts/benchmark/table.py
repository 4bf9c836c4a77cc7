"""What was measured, in cells; and as a table on a terminal."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmark import figures
from benchmark.results import Entry, Run, Session


@dataclass(frozen=True, slots=True)
class Cells:
    """The numbers of a contender as they are shown; empty where there is none."""

    seconds: str = ""
    ratio: str = ""
    copy: str = ""
    peak: str = ""


def cells(session: Session, entry: Entry) -> Cells:
    """Return medians of the runs that ended well, also relative to the limit's."""
    if session.entry(entry.name) is None:
        return Cells()
    taken, copy = (figures.median(entry.runs, of) for of in (figures.seconds, figures.cost("copy")))
    limit = session.entry("limit")
    ratio = f"{taken / figures.median(limit.runs, figures.seconds):.2f}" if limit else ""
    peak = figures.peak_megabytes(entry)
    return Cells(f"{taken:.2f}", ratio, f"{copy:.2f}" if copy else "", f"{peak:.0f}" if peak else "")


def stages(run: Run) -> str:
    """Spell when each stage of a run began, and how long it went on."""
    return ", ".join(f"{name} at {stage.began:.2f} for {stage.seconds:.2f}" for name, stage in run.stages.items())


def result(entry: Entry) -> str:
    """Return what came of a contender's runs, in a sentence."""
    if entry.missing:
        return f"not run: {entry.missing}"
    last = entry.runs[-1]
    if last.exit_code is None:
        return f"stopped after {last.seconds / 60:.0f} minutes"
    if not last.ended_well:
        return f"failed after {last.seconds:.1f} s, exit code {last.exit_code}: {last.said}"
    wrong = dict.fromkeys(sentence for run in entry.runs for sentence in run.wrong)
    return "; ".join(wrong) or ("complete and equal" if entry.is_tool else "equal")


def show(session: Session, console: Console) -> None:
    """Print medians and ratios of a session, and what was wrong with each result."""
    console.print(f"\n{session.label}; {session.server}; {session.machine}", highlight=False, markup=False)
    table = Table(box=None)
    for column in ("", "seconds", "/ limit", "copy", "peak MB", "result"):
        table.add_column(column, justify="left" if column in {"", "result"} else "right", overflow="fold")
    for entry in session.entries:
        shown = cells(session, entry)
        table.add_row(entry.title, shown.seconds, shown.ratio, shown.copy, shown.peak, result(entry))
    console.print(table, markup=False)
    _lines(session, console)


def _lines(session: Session, console: Console) -> None:
    done = [(entry, figures.middle(entry)) for entry in session.entries if session.entry(entry.name)]
    lines = [f"{entry.name}: {stages(run)}" for entry, run in done if run.stages]
    lines += [
        f"{figure.name}: {figure}" + (f", wanted {figure.wanted}" if figure.wanted else "")
        for figure in figures.of_session(session)
    ]
    lines += [f"where columns can't hold the values, {e.name}: {e.trap}" for e in session.entries if e.trap]
    for line in lines:
        console.print(line, highlight=False, markup=False)
