"""
A Wagtail site fills SQLite, and goes on with PostgreSQL.

Its migrations insert a tree of pages, a site, a locale, groups with permissions and a workflow. Its search index has
another form in each database: that table is left behind, and Wagtail makes the index anew.
"""

import shutil
from pathlib import Path

import pytest
from fix_application import Application, move, move_as_told
from fix_job import ROOT, Cli
from fix_postgres import Database

RULES = ROOT / "examples" / "applications" / "wagtail.toml"


@pytest.mark.one_server
@pytest.mark.parametrize("started", [False, True], ids=["migrated", "started"])
async def test_a_site_goes_on_with_postgres(
    filled: Path,
    application: Application,
    prepared: str,
    database: Database,
    cli: Cli,
    tmp_path: Path,
    started: bool,  # noqa: FBT001
) -> None:
    """
    The API gives the same pages, revisions, images and settings, searches find the same, and ids and paths follow on.

    The first run refuses the rows that are there and prints the flag, with which the second passes.
    """
    if started:
        application("start", prepared)
    ended = move_as_told(cli, filled, database, f"--rules={RULES}")
    assert ended.code == 0, ended.stderr
    application("index", prepared)
    before = application("tell", f"sqlite:///{filled}")
    assert application("tell", prepared) == before
    copy = Path(shutil.copy(filled, tmp_path / "goes-on.db"))
    assert application("continue", prepared) == application("continue", f"sqlite:///{copy}")
    after = application("tell", prepared)
    again = move(cli, filled, database, f"--rules={RULES}")
    assert (again.code, application("tell", prepared)) == (0, after)


@pytest.mark.one_server
def test_the_sample_has_what_is_hard(filled: Path, application: Application) -> None:
    """Trees, translations, streams, drafts, workflows and searches: the other test's words aren't empty."""
    told = application("tell", f"sqlite:///{filled}")
    for model in ("Page", "Revision", "PageLogEntry", "ReferenceIndex", "TaskState", "Locale", "PageViewRestriction"):
        assert told[f"wagtailcore.{model}"], model
    assert all(told["searches"])
    assert any("Kopf" in body for body in told["bodies"])
