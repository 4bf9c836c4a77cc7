"""
Writes the report in the form of JUnit, which CI servers show: a case a table for preflight and for verification.

A suite of one case tells the outcome of the command itself, so that a failure which names no table is seen too.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from msgspec import Struct

from migrator.reports.document import Document
from migrator.runtime.wording import printable


class _Case(Struct, frozen=True):
    """A case: it has passed unless it has a kind."""

    name: str
    kind: str = ""
    """``failure``, ``error`` or ``skipped``."""
    message: str = ""
    text: str = ""
    seconds: float | None = None
    said: str = ""
    """What is worth knowing of a case that has passed."""


def as_junit(document: Document) -> str:
    """Return the report as XML."""
    suites = {
        "outcome": [_outcome(document)],
        "refresh": _refreshed(document),
        "preflight": _preflight(document),
        "verification": _verification(document),
    }
    root = Element(
        "testsuites",
        {"name": f"migrator {document.command or ''}".strip(), **_counts(chain.from_iterable(suites.values()))},
    )
    root.set("time", f"{document.seconds or 0:.3f}")
    for name, cases in suites.items():
        if cases:
            root.append(_suite(document, name, cases))
    indent(root)
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + tostring(root, encoding="unicode") + "\n"


def _suite(document: Document, name: str, cases: Sequence[_Case]) -> Element:
    seconds = sum(case.seconds or 0 for case in cases)
    began = document.started_at[:19]  # without a zone, as JUnit's schema has it
    suite = Element("testsuite", {"name": name, **_counts(cases), "time": f"{seconds:.3f}", "timestamp": began})
    for case in cases:
        attributes = {"name": _text(case.name), "classname": f"migrator.{name}", "time": f"{case.seconds or 0:.3f}"}
        made = SubElement(suite, "testcase", attributes)
        if case.said:
            SubElement(made, "system-out").text = _text(case.said)
        if case.kind:
            ending = SubElement(made, case.kind, {"message": _text(case.message)})
            if case.kind != "skipped":
                ending.set("type", name)
                ending.text = _text(case.text or case.message)
    return suite


def _counts(cases: Iterable[_Case]) -> dict[str, str]:
    kinds = [case.kind for case in cases]
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    return {"tests": str(len(kinds)), **{name: str(kinds.count(kind)) for name, kind in counts.items()}}


def _outcome(document: Document) -> _Case:
    name = f"migrator {document.command or ''}".strip()
    if document.outcome == "done":
        return _Case(name, seconds=document.seconds)
    kind = "failure" if document.outcome in {"different", "refused"} else "error"
    todo = (document.next_step, " ".join(document.settled_by.flags), document.settled_by.rules)
    text = "\n\n".join(part for part in (document.message, *todo) if part)
    return _Case(name, kind, document.message, text, document.seconds)


def _refreshed(document: Document) -> list[_Case]:
    """Return a case for each table, which says what the refresh did with it."""
    return [
        _Case(
            entry.table,
            said=f"{entry.way}: {entry.inserted} inserted, {entry.updated} updated, {entry.deleted} deleted"
            + (f" ({entry.reason})" if entry.reason else ""),
        )
        for entry in document.refreshed
    ]


def _preflight(document: Document) -> list[_Case]:
    found: dict[str, list[str]] = {}
    for finding in document.findings:
        if finding.refuses:
            found.setdefault(finding.table, []).append(finding.message)
    cases = []
    for entry in document.tables:
        lines = found.get(entry.table) or found.get(entry.table.partition(".")[2]) or []
        if entry.preflight == "refused":
            cases.append(_Case(entry.table, "failure", lines[0] if lines else "refused", "\n".join(lines)))
        else:
            passed = entry.preflight == "passed"
            cases.append(_Case(entry.table) if passed else _Case(entry.table, "skipped", "not checked"))
    return cases


def _verification(document: Document) -> list[_Case]:
    differing = {entry.table: entry for entry in document.differences}
    cases = []
    for entry in document.tables:
        if entry.comparison == "different":
            found = differing[entry.table]
            rows = ", ".join(f"{count} {kind}" for kind, count in found.rows.items()) or "none at a second look"
            message = f"{found.source_rows} rows in the source, {found.target_rows} in the target; {rows}"
            text = "\n".join([message, *(str(example) for example in found.examples)])
            cases.append(_Case(entry.table, "failure", message, text, entry.verify_seconds))
        elif entry.comparison == "equal":
            cases.append(_Case(entry.table, seconds=entry.verify_seconds))
        else:
            cases.append(_Case(entry.table, "skipped", "not compared"))
    if document.schema_differences:
        lines = document.schema_differences
        cases.append(_Case("keys, indexes and sequences", "failure", lines[0], "\n".join(lines)))
    return cases


def _text(words: str) -> str:
    """Return words with unprintable signs escaped, but for line breaks: XML can't hold all of them."""
    return "\n".join(map(printable, words.split("\n")))
