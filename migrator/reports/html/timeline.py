"""Draws when stages and tables began and ended, each as a bar on the time of the whole command."""

from collections.abc import Iterator
from datetime import datetime
from heapq import nlargest
from operator import attrgetter
from typing import Final
from xml.etree.ElementTree import Element

from msgspec import Struct

from migrator.reports.document import Document
from migrator.reports.html.elements import element, row, table

MOST_TABLES: Final = 25
"""Tables that are drawn, those that took longest."""

_WIDTH: Final = 1000
_NARROWEST: Final = 1


class Span(Struct, frozen=True):
    """What took some time: its begin and its end in seconds after the begin of the command."""

    name: str
    began: float
    ended: float
    kind: str
    mark: float | None = None
    """A moment after the end: when a table was found equal."""

    @property
    def seconds(self) -> float:
        """Seconds that it took."""
        return self.ended - self.began


def timeline(document: Document) -> list[Element]:
    """Return the time lines of stages and of tables, each with its heading; none if nothing has begun."""
    stages, tables = list(_stages(document)), list(_tables(document))
    if not stages:
        return []
    whole = max(document.seconds or 0, *(span.ended for span in (*stages, *tables)), 0.001)
    longest = sorted(nlargest(MOST_TABLES, tables, key=attrgetter("seconds")), key=attrgetter("began"))
    parts = [_drawn("Stage", stages, whole, "Time line of the stages")]
    if longest:
        some = (
            f"The {len(longest)} of {len(tables)} tables whose copy took longest. "
            if len(tables) > len(longest)
            else ""
        )
        note = f"{some}A bar is the copy of a table; the line behind it is the moment at which it was found equal."
        parts += [_drawn("Table", longest, whole, "Time line of the tables"), element("p", note, class_="note")]
    return parts


def _drawn(heading: str, spans: list[Span], whole: float, label: str) -> Element:
    rows = (row(span.name, _bar(span, whole), f"{span.began:,.1f} s", _took(span)) for span in spans)
    return table((heading, f"0 to {whole:,.1f} s", "began at", "took"), rows, label, kind="timeline")


def _took(span: Span) -> str:
    state = "" if span.kind == "done" else f", {span.kind}"
    return f"{span.seconds:,.2f} s{state}"


def _bar(span: Span, whole: float) -> Element:
    scale = _WIDTH / whole
    width = max(_NARROWEST, span.seconds * scale)
    start = min(span.began * scale, _WIDTH - width)
    bars = [element("rect", x=f"{start:.1f}", y="2", width=f"{width:.1f}", height="12", rx="2", class_=span.kind)]
    if span.mark is not None:
        at = min(span.mark * scale, _WIDTH - _NARROWEST)
        bars.append(element("line", x1=f"{at:.1f}", x2=f"{at:.1f}", y1="0", y2="16", class_="mark"))
    view = {"viewBox": f"0 0 {_WIDTH} 16", "preserveAspectRatio": "none"}
    return element("svg", *bars, class_="bar", aria_hidden="true", **view)


def _stages(document: Document) -> Iterator[Span]:
    end = document.ended_at or max((stage.started_at for stage in document.stages), default=document.started_at)
    for stage in document.stages:
        began, ended = _after(document, stage.started_at), _after(document, stage.ended_at or end)
        yield Span(stage.stage, began, max(began, ended), stage.state)


def _tables(document: Document) -> Iterator[Span]:
    for entry in document.tables:
        if entry.copy_started_at is None or entry.copied_at is None:
            continue
        began, ended = _after(document, entry.copy_started_at), _after(document, entry.copied_at)
        mark = _after(document, entry.verified_at) if entry.verified_at else None
        yield Span(entry.table, began, max(began, ended), "done", mark)


def _after(document: Document, moment: str) -> float:
    """Return the seconds from the begin of the command to a moment."""
    began = datetime.fromisoformat(document.started_at)
    return max(0.0, (datetime.fromisoformat(moment) - began).total_seconds())
