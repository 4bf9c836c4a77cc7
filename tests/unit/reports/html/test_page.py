"""The page stays a page whatever it is given: markup in names, thousands of tables, a message without an end."""

from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fix_browser import Browser, Window
from fix_reports import Events, moved

from migrator.reports.document import Document
from migrator.reports.html.page import as_html
from migrator.reports.html.timeline import MOST_TABLES

ReportOf = Callable[[Events, Mapping[str, Any]], Document]

WORST = '<script>alert("x")</script>&amp;\x00\u2028\ud800'


class Tags(HTMLParser):
    """Gathers the tags of a page."""

    def __init__(self, page: str) -> None:
        """Read a page."""
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the parser's own signature
        """Take in a tag."""
        self.tags.append(tag)


def test_names_and_messages_are_no_markup(report_of: ReportOf) -> None:
    """In each place that shows them; signs that no page can hold are escaped."""
    ending = {"message": WORST, "next_step": WORST, "exit_code": 1, "schema": [WORST], "rules": WORST, "more": WORST}
    difference = {"table": WORST, "source_rows": 1, "target_rows": 1, "rows": {WORST: 1}, "columns": {WORST: 1}}
    example = {"kind": WORST, "key": {WORST: WORST}, "column": WORST, "source": WORST, "target": None}
    page = as_html(
        report_of(moved(2, WORST), {**ending, "differences": [{**difference, "examples": [example]}], "flags": [WORST]})
    )
    assert "script" not in Tags(page).tags
    assert page.encode()
    assert "&lt;script&gt;" in page
    assert not {"\x00", "\u2028"} & set(page)


def test_a_night_with_many_tables(report_of: ReportOf) -> None:
    """All tables are listed; the time line has those that took longest, and says so."""
    page = as_html(report_of(moved(3000), {"message": "done", "exit_code": 0}))
    assert page.count("<svg") <= 2 + MOST_TABLES
    assert f"The {MOST_TABLES} of 3000 tables whose copy took longest." in page
    assert all(f"public.table_{number}<" in page for number in (0, 1500, 2999))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_worst_in_a_browser(browser: Browser, report_of: ReportOf, tmp_path: Path, width: int) -> None:
    """The longest names and a message without blanks overflow nothing, and the outcome stays above the fold."""
    file = tmp_path / "worst.html"
    ending = {"message": "x" * 4000, "next_step": "y" * 300, "exit_code": 3, "rules": "z" * 300}
    file.write_text(as_html(report_of(moved(40, "n" * 63), ending)), encoding="utf-8")
    page = browser.open(file, Window(width, 800, "light"))
    assert page.measure("document.documentElement.scrollWidth") == width
    assert page.measure("document.querySelector('h1').getBoundingClientRect().bottom") < 400
    assert page.complaints() == []
