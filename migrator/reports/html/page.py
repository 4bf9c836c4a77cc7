"""Writes the report as one HTML page: the outcome first, then what to do, then the evidence."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from rich.filesize import decimal

from migrator.reports.document import Document
from migrator.reports.html.elements import element, stylesheet, written
from migrator.reports.html.sections import (
    differences,
    digests,
    findings,
    left_behind,
    refreshed,
    rules,
    settings,
    tables,
    versions,
    warnings,
)
from migrator.reports.html.timeline import timeline

_STYLE: Final = Path(__file__).with_name("style.css")

_TITLES: Final = {
    "unfinished": ("…", "Not ended yet"),
    "done": ("✓", "Done"),
    "different": ("≠", "Source and target differ"),
    "refused": ("✕", "Refused"),
    "failed": ("✕", "Failed"),
    "stopped": ("■", "Stopped"),
}

_LONGEST: Final = 320
"""Characters of the message in the head of the page; all of a longer one is below."""


def as_html(document: Document) -> str:
    """Return the report as a page that needs no network and no script."""
    _, title = _TITLES[document.outcome]
    name = f"migrator {document.command or ''}".strip()
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{title} · {name}"),
        stylesheet(_STYLE.read_text(encoding="utf-8")),
    )
    main = element("main", _outcome(document, name), *_what_to_do(document), *_evidence(document))
    return written(element("html", head, element("body", main), lang="en"))


def _outcome(document: Document, name: str) -> Element:
    sign, title = _TITLES[document.outcome]
    message = document.message if len(document.message) <= _LONGEST else f"{document.message[:_LONGEST]}…"
    migration = f"migration {document.migration}" if document.migration else None
    line = " · ".join(filter(None, (name, migration, document.started_at[:19].replace("T", " ") + " UTC")))
    return element(
        "header",
        element("p", line, class_="line"),
        element("h1", element("span", sign, class_="sign", aria_hidden="true"), title),
        element("p", message, class_="message"),
        element("dl", *_figures(document), class_="figures"),
        class_=document.outcome,
    )


def _figures(document: Document) -> Iterator[Element]:
    seconds = "-" if document.seconds is None else _duration(document.seconds)
    figures = {
        "exit code": "-" if document.exit_code is None else str(document.exit_code),
        "tables": f"{len(document.tables):,}",
        "rows": f"{document.rows:,}",
        "sent": decimal(document.bytes),
        "time": seconds,
    }
    if not document.bytes:
        del figures["sent"]
    for name, value in figures.items():
        yield element("div", element("dt", name), element("dd", value))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _what_to_do(document: Document) -> Iterator[Element]:
    if not document.next_step and not document.settled_by.flags and not document.settled_by.rules:
        return
    parts: list[Element] = [element("h2", "What to do")]
    if document.next_step:
        parts.append(element("p", document.next_step))
    if document.settled_by.flags:
        parts += [element("p", "Run again with:"), element("pre", element("code", " ".join(document.settled_by.flags)))]
    if document.settled_by.rules:
        parts += [
            element("p", f"{'and' if document.settled_by.flags else 'Run again'} with these lines in the rules file:"),
            element("pre", element("code", document.settled_by.rules)),
        ]
    yield element("section", *parts, class_="todo")


def _evidence(document: Document) -> Iterator[Element]:
    whole = [element("p", document.message)] if len(document.message) > _LONGEST else []
    facts = [element("pre", element("code", json.dumps(document.facts, indent=2, ensure_ascii=False)))]
    sections = {
        "Findings": findings(document),
        "Differences": differences(document),
        "Refresh": refreshed(document),
        "Tables": tables(document),
        "Time line": timeline(document),
        "What rules have changed": rules(document),
        "What was left behind, and why": left_behind(document),
        "Warnings": warnings(document),
        "Versions": versions(document),
        "Settings": settings(document),
        "Digests": digests(document),
        "The whole message": whole,
        "Further facts": facts if document.facts and document.outcome != "done" else [],
    }
    for title, parts in sections.items():
        if parts:
            yield element("section", element("h2", title), *parts)
