"""What was measured, in cells; and as a table on a terminal."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmark import figures
from benchmark.results import Entry, Session


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
    taken = figures.median(entry.runs, figures.seconds)
    limit = session.entry("limit")
    ratio = f"{taken / figures.median(limit.runs, figures.seconds):.2f}" if limit else ""
    copy, peak = stages(entry).get("copy"), figures.peak_megabytes(entry)
    return Cells(f"{taken:.2f}", ratio, f"{copy:.2f}" if copy else "", f"{peak:.0f}" if peak else "")


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
    lines = [f"{entry.name}: {_spelt(stages(entry))}" for entry in session.entries if stages(entry)]
    lines += [
        f"{figure.name}: {figure}" + (f", wanted {figure.wanted}" if figure.wanted else "")
        for figure in figures.of_session(session)
    ]
    lines += [f"where columns can't hold the values, {e.name}: {e.trap}" for e in session.entries if e.trap]
    for line in lines:
        console.print(line, highlight=False, markup=False)


def _spelt(found: dict[str, float]) -> str:
    return " · ".join(f"{name} {seconds:.2f}" for name, seconds in found.items())
