"""
A Wagtail site fills SQLite, and goes on with PostgreSQL.

Its migrations insert a tree of pages, a site, a locale, groups with permissions and a workflow. Its search index has
another form in each database: that table is left behind, and Wagtail makes the index anew.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from fix_application import Crossing, move_as_told
from fix_job import ROOT

RULES = f"--rules={ROOT / 'examples' / 'applications' / 'wagtail.toml'}"


@pytest.mark.one_server
@pytest.mark.parametrize("started", [False, True], ids=["migrated", "started"])
def test_a_site_goes_on_with_postgres(crossing: Crossing, started: bool) -> None:  # noqa: FBT001
    """
    The API gives the same pages, revisions, images and settings, searches find the same, and ids and paths follow on.

    The first run refuses the rows that are there and prints the flag, with which the second passes.
    """
    crossing.begin("create", *(["start"] if started else []))
    crossing.move(move_as_told, RULES)
    crossing.begin("index")
    crossing.go_on()
    crossing.change_nothing(RULES)


def test_the_sample_has_what_is_hard(source_answers: Mapping[str, Any]) -> None:
    """Trees, translations, streams, drafts, workflows and searches: the other test's words aren't empty."""
    told = source_answers["tell"]
    for model in ("Page", "Revision", "PageLogEntry", "ReferenceIndex", "TaskState", "Locale", "PageViewRestriction"):
        assert told[f"wagtailcore.{model}"], model
    assert all(told["searches"])
    assert any("Kopf" in body for body in told["bodies"])
