"""JUnit is XML whatever is in it, and a failure that names no table is a case too."""

from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from fix_reports import Events, moved

from migrator.events import Event
from migrator.reports.document import Document
from migrator.reports.junit import as_junit

ReportOf = Callable[[Events, Mapping[str, Any]], Document]


def parsed(document: Document) -> ET.Element:
    """Return the root of what a CI server would read."""
    return ET.fromstring(as_junit(document).encode())  # noqa: S314 - our own text


def test_signs_that_xml_can_not_hold(report_of: ReportOf) -> None:
    """A value may hold any of them."""
    root = parsed(report_of(moved(1, "\x00\x1f]]>&<\ud800\ufffe"), {"message": "\x0b no\nmore", "exit_code": 5}))
    [error] = root.iter("error")
    assert error.attrib["message"].startswith("\\x0b no")
    assert [suite.attrib["name"] for suite in root] == ["outcome", "preflight", "verification"]


def test_a_finding_fails_its_table_only(report_of: ReportOf) -> None:
    """Its text is the case's; a table without a schema in its name is the same table."""
    finding = {"table": "table_1", "column": "c", "rows": 2, "code": "x", "reason": "is odd", "message": "2 are odd"}
    events = [event for event in moved(3) if event[0] == Event.TABLE_CHECKED]
    root = parsed(report_of([*events, (Event.VALUES_REFUSED, finding)], {"message": "no", "exit_code": 3}))
    [suite] = root.findall("testsuite[@name='preflight']")
    failed = {case.attrib["name"]: failure.text for case in suite for failure in case.iter("failure")}
    assert failed == {"public.table_1": "2 are odd"}
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("3", "1")


def test_a_bug_is_an_error_and_no_failure(report_of: ReportOf) -> None:
    """CI servers show these apart: nobody has to look for wrong values."""
    root = parsed(report_of([], {"message": "unexpected", "exit_code": 70}))
    assert (root.attrib["errors"], root.attrib["failures"], root.attrib["tests"]) == ("1", "0", "1")
