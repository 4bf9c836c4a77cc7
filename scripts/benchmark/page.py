"""The generated parts of docs/explanation/benchmarks.md: tables, figures, plots, all from the files in ``results/``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Final

from benchmark import drawings, figures, refresh, rollback
from benchmark.results import Entry, Session, sessions
from benchmark.table import cells, result, stages

_MAIN: Final = "mixed"
_HEAD: Final = ("", "seconds", "of the limit", "peak MB", "result")
_STAGES_AT_MEGABYTES: Final = 1000


def contenders() -> str:
    """Return who was measured, and how each is run; as in the session with the most of them."""
    found = sessions()
    if not found:
        return _NOTHING
    most = max(found, key=lambda session: (len(session.entries), session.megabytes))
    return _table(
        ("name", "what it is", "how it is run"),
        [(f"`{e.name}`", _plain(e.title), _plain(e.note)) for e in most.entries],
    )


def measured() -> str:
    """Return a table and the figures for each source."""
    return "\n".join(_section(session) for session in sessions()) or _NOTHING


def growth() -> str:
    """Return what a row costs as the source grows, and memory beside it."""
    found = _mixed()
    if not found:
        return _NOTHING
    lines = []
    for session in found:
        if ours := session.entry("migrator"):
            taken = figures.median(ours.runs, figures.seconds)
            each = f"{taken / session.rows * 1e6:.2f}"
            peak = figures.peak_megabytes(ours)
            size, memory = f"{session.bytes / 1e6:,.0f} MB", f"{peak:.0f}" if peak else ""
            lines.append((size, f"{session.rows:,}", f"{taken:.1f}", each, memory))
    head = ("SQLite file", "rows", "seconds, whole job", "µs a row", "peak memory, MB")
    ratios = _figures(figures.of_growth(found[0], found[-1])) if len(found) > 1 else ""
    return "\n".join(filter(None, (_table(head, lines), ratios)))


def traps() -> str:
    """Return what each tool did when the target's columns could not hold the values."""
    tried = [session for session in _mixed() if any(entry.trap for entry in session.entries)]
    if not tried:
        return _NOTHING
    return _table(("", "what it did"), [(_plain(e.title), _plain(e.trap)) for e in tried[-1].entries if e.trap])


def refreshed() -> str:
    """Return what a refresh takes, next to the first run, for each source it was measured on."""
    return "\n".join(_refresh_section(session) for session in refresh.sessions()) or _NOTHING


def _refresh_section(session: refresh.RefreshSession) -> str:
    runs = len(session.first)
    lines = [
        f"### Refreshed: {session.label}\n",
        f"{_medians(runs)}. {session.server}, {session.machine}.\n",
        _table(refresh.HEAD, refresh.cells(session)),
        "Stages in seconds; some overlap.\n",
        *(f"- {sentence}" for sentence in refresh.stage_lines(session)),
    ]
    return "\n".join(lines) + "\n"


def windows() -> str:
    """Return only how long a refresh takes against the first run, for pages that help to decide."""
    lines = [
        (session.label, changed, compared, ratio)
        for session in refresh.sessions()
        for compared, changed, _, ratio, *_ in refresh.cells(session)
        if ratio
    ]
    head = ("source", "rows changed, of every table", "compared", "refresh / first run")
    return _table(head, lines) if lines else _NOTHING


def way_back() -> str:
    """Return what the way back takes, by what has changed, for each size that was measured."""
    found = rollback.kept()
    if not found:
        return _NOTHING
    head = ("SQLite file", "changed since the migration", "way back", "seconds", "of the way out", "peak MB", "result")
    lines = [
        (
            *(f"{one.bytes / 1e6:,.0f} MB, {one.rows:,} rows", back.changed, f"{_plain(back.name)}"),
            *(f"{median(back.seconds):.1f}", f"{median(back.seconds) / one.out_seconds:.2f}"),
            *(f"{back.peak_bytes / 1e6:.0f}", _plain(back.said) or "ended well"),
        )
        for one in found
        for back in one.backs
    ]
    labels = dict.fromkeys(f"{one.server}, {one.machine}" for one in found)
    return f"{_table(head, lines)}\n{'; '.join(labels)}. Medians of {len(found[0].backs[0].seconds)} runs, in turn.\n"


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "benchmark-contenders": contenders,
    "benchmark-sources": measured,
    "benchmark-growth": growth,
    "benchmark-refresh": refreshed,
    "benchmark-windows": windows,
    "benchmark-traps": traps,
    "benchmark-rollback": way_back,
}
"""By the name that stands in the page."""


def rows_and_seconds() -> str:
    """Return the plot of all sizes."""
    return drawings.rows_and_seconds(_mixed())


def time_line() -> str:
    """Return the plot of the stages, for the source nearest to 1 GB."""
    nearest = sorted(_mixed(), key=lambda session: abs(session.megabytes - _STAGES_AT_MEGABYTES))
    return drawings.time_line(nearest[0] if nearest else None)


DRAWINGS: Final[Mapping[str, Callable[[], str]]] = {
    "docs/explanation/benchmarks/rows-and-seconds.svg": rows_and_seconds,
    "docs/explanation/benchmarks/stages.svg": time_line,
}
"""By path in the repository."""

_NOTHING: Final = "Nothing was measured yet.\n"


def _mixed() -> list[Session]:
    return [session for session in sessions() if session.shape == _MAIN]


def _section(session: Session) -> str:
    runs = max(len(entry.runs) for entry in session.entries)
    lines = [
        f"### {session.label}\n",
        f"{_medians(runs)}. {session.server}, {session.machine}.\n",
        _table(_HEAD, [_row(session, entry) for entry in session.entries]),
        _figures(figures.of_session(session)),
    ]
    if ours := session.entry("migrator"):
        which = "" if runs == 1 else ", of the run in the middle"
        lines.append(f"Stages of the whole job, begin and length in seconds{which}: {stages(figures.middle(ours))}.\n")
    return "\n".join(lines)


def _medians(runs: int) -> str:
    return "One run each" if runs == 1 else f"Medians of {runs} runs, everybody in turn"


def _row(session: Session, entry: Entry) -> tuple[str, ...]:
    numbers = cells(session, entry)
    return _plain(entry.title), numbers.seconds, numbers.ratio, numbers.peak, _plain(result(entry))


def _figures(found: Iterable[figures.Figure]) -> str:
    lines = [(figure.name, str(figure), figure.wanted) for figure in found]
    return _table(("figure", "measured (lowest to highest)", "wanted"), lines) if lines else ""


def _plain(text: str) -> str:
    """Keep Markdown from reading signs into what a program said."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"
