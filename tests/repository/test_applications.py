"""The applications that tests move: each has its tests, its lock, its page, and its place in CI."""

import re
from typing import Any

import pytest
import yaml
from fix_application import APPS, IN_EVERY_RUN, LOCKS
from fix_job import ROOT

NAMES = sorted(path.parent.name for path in APPS.glob("*/program.py"))
PAGES = ROOT / "docs" / "applications"
OWN: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_an_application_is_whole(name: str) -> None:
    """It has tests, what it is installed from, a page, and a line in the table with its version and that page."""
    assert (APPS / name / f"test_{name}.py").exists()
    assert (LOCKS / f"{name}.in").exists()
    page = PAGES / f"{name}.md"
    assert page.exists()
    [row] = [line for line in (PAGES / "README.md").read_text().splitlines() if f"({name}.md)" in line]
    version = row.split("|")[2].strip()
    assert re.search(rf"(?m)^\S+=={re.escape(version)} ", (LOCKS / f"{name}.txt").read_text())
    assert version in page.read_text()


def test_ci_runs_those_that_are_not_in_every_run() -> None:
    """The workflow names exactly the slow ones."""
    matrix = OWN["jobs"]["applications"]["strategy"]["matrix"]["application"]
    assert matrix == sorted(matrix)
    assert set(matrix) == set(NAMES) - IN_EVERY_RUN


def test_no_lock_is_left_over() -> None:
    """What is installed belongs to an application that is there."""
    assert {path.stem for path in LOCKS.iterdir()} == set(NAMES)
