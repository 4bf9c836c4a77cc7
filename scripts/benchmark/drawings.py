"""The plots of docs/explanation/benchmarks.md, as SVG that needs no library and looks the same wherever it is made."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Final

from benchmark import figures
from benchmark.results import Run, Session

_WIDTH: Final = 860
_LEFT: Final = 64
_TOP: Final = 36
_LEGEND: Final = 300
_PLOT: Final = _WIDTH - _LEFT - _LEGEND
_HEIGHT: Final = 380
_BAR: Final = 18
_LABELS: Final = 170
_LENGTHS: Final = 70
_SHOWN_SECONDS: Final = 0.005

# Told apart by people who see colours differently as well (Okabe and Ito); ourselves are the darkest.
_COLOURS: Final = ("#000000", "#d55e00", "#e69f00", "#009e73", "#0072b2", "#56b4e9", "#cc79a7", "#999933", "#888888")


def rows_and_seconds(sessions: Sequence[Session]) -> str:
    """Draw rows on one axis, seconds on the other, both logarithmic, and one line a contender."""
    lines = _lines(sessions)
    points = [(rows, seconds) for line in lines.values() for rows, seconds, _ in line]
    if not points:
        return _svg(60, [_text(_LEFT, 30, "nothing was measured yet")])
    across = _Axis.over([rows for rows, _ in points], _LEFT, _LEFT + _PLOT)
    up = _Axis.over([seconds for _, seconds in points], _HEIGHT, _TOP)
    drawn = [*_grid(across, up)]
    for place, (title, line) in enumerate(lines.items()):
        drawn += _line(place, title, [(across.at(rows), up.at(seconds), equal) for rows, seconds, equal in line])
    drawn += [_dot(_LEFT + _PLOT + 24, _HEIGHT - 4, "#222", is_full=False)]
    drawn += [_text(_LEFT + _PLOT + 36, _HEIGHT, "what arrived is not what was sent")]
    return _svg(_HEIGHT + 50, drawn)


def time_line(session: Session | None) -> str:
    """Draw when each stage of ours began and ended, and each of the limit below, a bar each, on one axis of seconds."""
    named = [session.entry(name) for name in ("migrator", "limit")] if session else []
    groups = {entry.title: figures.middle(entry) for entry in named if entry}
    if not groups:
        return _svg(60, [_text(_LEFT, 30, "nothing was measured yet")])
    longest = max(run.seconds for run in groups.values())
    scale = (_WIDTH - _LABELS - _LENGTHS) / longest
    bars, top = [], _TOP
    for place, (title, run) in enumerate(groups.items()):
        bars.append(_text(10, top, f"{title}: {run.seconds:.2f} s", weight="bold"))
        for name, began, seconds in _parts(run):
            top += _BAR + 6
            x, width = _LABELS + began * scale, max(1.0, seconds * scale)
            bars.append(_text(_LABELS - 8, top, name, anchor="end"))
            bars.append(
                f'<rect x="{x:.1f}" y="{top - 13}" width="{width:.1f}" height="{_BAR}" fill="{_COLOURS[place]}"/>'
            )
            bars.append(_text(x + width + 6, top, f"{seconds:.2f} s"))
        top += 2 * _BAR + 6
    foot = top - 2 * _BAR + 4
    return _svg(foot + 50, [*_seconds(longest, scale, foot), *bars])


def _parts(run: Run) -> Iterator[tuple[str, float, float]]:
    """Yield name, begin and seconds of each stage, and what the program took before the first and after the last."""
    parts = [(name, stage.began, stage.seconds) for name, stage in run.stages.items()]
    if parts:
        last = max(began + seconds for _, began, seconds in parts)
        parts = [("start", 0.0, min(began for _, began, _ in parts)), *parts, ("end", last, run.seconds - last)]
    yield from (part for part in parts if part[2] >= _SHOWN_SECONDS)


def _seconds(longest: float, scale: float, foot: float) -> Iterator[str]:
    """Yield the axis of a time line: a thin line at each round number of seconds."""
    step = next(step for power in range(-2, 9) for each in (1, 2, 5) if (step := each * 10.0**power) >= longest / 10)
    for tick in range(math.floor(longest / step) + 1):
        x = _LABELS + tick * step * scale
        yield f'<path d="M{x:.1f} {_TOP + 8}V{foot}" stroke="#ddd"/>'
        yield _text(x, foot + 18, f"{tick * step:g}", anchor="middle")
    yield _text(_LABELS + longest * scale / 2, foot + 38, "seconds", anchor="middle")


class _Axis:
    """A logarithmic scale between two places on the paper."""

    def __init__(self, low: int, high: int, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> "_Axis":
        """Return an axis of whole powers of ten that holds all values."""
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return cls(low, max(high, low + 1), start, end)

    def at(self, value: float) -> float:
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> Iterator[tuple[float, str]]:
        for power in range(self.low, self.high + 1):
            yield self.at(10.0**power), f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"


def _lines(sessions: Sequence[Session]) -> dict[str, list[tuple[int, float, bool]]]:
    """Return rows, seconds, and whether all was equal, of each contender that finished, by title."""
    lines: dict[str, list[tuple[int, float, bool]]] = {}
    for session in sessions:
        for entry in session.entries:
            if session.entry(entry.name):
                equal = not any(run.wrong for run in entry.runs)
                seconds = figures.median(entry.runs, figures.seconds)
                lines.setdefault(entry.title, []).append((session.rows, seconds, equal))
    return lines


def _grid(across: _Axis, up: _Axis) -> Iterator[str]:
    for x, label in across.ticks():
        yield f'<path d="M{x:.1f} {_TOP}V{_HEIGHT}" stroke="#ddd"/>'
        yield _text(x, _HEIGHT + 18, label, anchor="middle")
    for y, label in up.ticks():
        yield f'<path d="M{_LEFT} {y:.1f}H{_LEFT + _PLOT}" stroke="#ddd"/>'
        yield _text(_LEFT - 8, y + 4, label, anchor="end")
    yield _text(_LEFT + _PLOT / 2, _HEIGHT + 38, "rows", anchor="middle")
    yield _text(10, _TOP - 18, "seconds")


def _line(place: int, title: str, points: Sequence[tuple[float, float, bool]]) -> Iterator[str]:
    colour = _COLOURS[place % len(_COLOURS)]
    for (x, y, _), (next_x, next_y, _) in pairwise(points):
        yield f'<path d="M{x:.1f} {y:.1f}L{next_x:.1f} {next_y:.1f}" stroke="{colour}" stroke-width="2"/>'
    for x, y, equal in points:
        yield _dot(x, y, colour, is_full=equal)
    top = _TOP + 12 + place * 22
    yield _dot(_LEFT + _PLOT + 24, top - 4, colour, is_full=True)
    yield _text(_LEFT + _PLOT + 36, top, title)


def _dot(x: float, y: float, colour: str, *, is_full: bool) -> str:
    fill = colour if is_full else "#fff"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>'


def _text(x: float, y: float, words: str, **style: str) -> str:
    names: Mapping[str, str] = {"anchor": "text-anchor", "weight": "font-weight"}
    more = "".join(f' {names[name]}="{value}"' for name, value in style.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(words)}</text>'


def _svg(height: float, drawn: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" font-family="sans-serif" '
        'font-size="13" fill="#222">'
    )
    paper = f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#fff"/>'
    return "\n".join([head, paper, *drawn, "</svg>", ""])
