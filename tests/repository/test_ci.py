"""CI: the stages that rehearse a migration are run here as they stand; this project's own workflow is looked at."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fix_job import ROOT, clean_environment
from fix_postgres import Database
from sqlalchemy import make_url

from migrator.config.fields import variables_of
from migrator.config.mistyped import refuse_mistyped, unknown_variables
from migrator.config.settings import Settings
from migrator.errors import ExitCode

STAGES = ROOT / "docs" / "deployment" / "ci"
GITHUB: dict[str, Any] = yaml.safe_load((STAGES / "github-actions.yml").read_text(encoding="utf-8"))
GITLAB: dict[str, Any] = yaml.safe_load((STAGES / "gitlab.yml").read_text(encoding="utf-8"))
OWN: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
REHEARSAL = {"github": GITHUB["jobs"]["rehearsal"], "gitlab": GITLAB["rehearse-migration"]}
ENVIRONMENT: dict[str, dict[str, str]] = {
    "github": REHEARSAL["github"]["env"],
    "gitlab": REHEARSAL["gitlab"]["variables"],
}


def commands(kind: str) -> list[str]:
    """Return what a stage runs, without what installs."""
    if kind == "gitlab":
        lines: list[str] = REHEARSAL["gitlab"]["script"]
        return lines
    return [step["run"] for step in REHEARSAL["github"]["steps"] if "run" in step and step["name"] != "install"]


@pytest.mark.one_server
@pytest.mark.parametrize("kind", REHEARSAL)
def test_the_stage_runs(kind: str, dryad_file: Path, database: Database, tmp_path: Path) -> None:
    """Its commands, one after the other in one shell, migrate a copy, verify it, and find nothing left to do."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "migrator").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m migrator "$@"\n')
    (programs / "migrator").chmod(0o755)
    (tmp_path / "fetch-copy.sh").write_text(f'#!/bin/sh\ncp "{dryad_file}" "$1"\n')
    (tmp_path / "test-application.sh").write_text("#!/bin/sh\necho the application is fine\n")
    for name in ("fetch-copy.sh", "test-application.sh"):
        (tmp_path / name).chmod(0o755)
    (tmp_path / "migrator").symlink_to(ROOT / "migrator")
    url = make_url(database.url)
    given = ENVIRONMENT[kind] | {
        "POSTGRES_HOST": url.host or "",
        "POSTGRES_PORT": str(url.port),
        "POSTGRES_DB": database.name,
        "POSTGRES_USER": database.role,
        "POSTGRES_PASSWORD": database.password,
        "MIGRATOR_ALEMBIC_CONFIG": ENVIRONMENT[kind]["MIGRATOR_ALEMBIC_CONFIG"].removeprefix("/app/"),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands(kind))],
        cwd=tmp_path,
        env=clean_environment() | given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert said.index("migrated: every value") < said.index("every value of every row is equal")
    assert said.index("every value of every row is equal") < said.index("already migrated and verified: nothing to do")
    assert said.rstrip().endswith("the application is fine")
    assert json.loads((tmp_path / "report.json").read_text())["exit_code"] == 0


@pytest.mark.parametrize("kind", REHEARSAL)
def test_settings_exist(kind: str) -> None:
    """Every variable is a setting of the job, and none of them shows a row's values to whoever reads the log."""
    known = {variable for name, field in Settings.model_fields.items() for variable in variables_of(name, field)}
    assert set(ENVIRONMENT[kind]) <= known
    assert unknown_variables(ENVIRONMENT[kind], Settings) == []
    refuse_mistyped(ENVIRONMENT[kind], Settings)
    assert ENVIRONMENT[kind]["MIGRATOR_MASK_VALUES"] == "true"
    assert all(isinstance(value, str) for value in ENVIRONMENT[kind].values())


def test_the_copy_is_no_artifact() -> None:
    """What is kept names keys; the rows themselves stay where they are."""
    [upload] = [
        step["with"]["path"].split() for step in REHEARSAL["github"]["steps"] if "upload" in step.get("uses", "")
    ]
    assert (
        upload
        == REHEARSAL["gitlab"]["artifacts"]["paths"]
        == [
            "report.json",
            "report.html",
            "junit.xml",
            "differences.ndjson",
        ]
    )
    for kind in REHEARSAL:
        assert all(name in "\n".join(commands(kind)) for name in upload)


def test_only_what_time_can_heal_is_tried_again() -> None:
    """GitLab tries the code again that means it, and no other; a stage that was cancelled stays cancelled."""
    assert REHEARSAL["gitlab"]["retry"] == {"max": 2, "exit_codes": [int(ExitCode.GAVE_UP)]}


@pytest.mark.parametrize("kind", REHEARSAL)
def test_strangers_can_not_start_it(kind: str) -> None:
    """No pull request runs its own code beside a copy of production's data."""
    text = (STAGES / {"github": "github-actions.yml", "gitlab": "gitlab.yml"}[kind]).read_text(encoding="utf-8")
    assert not re.search("pull_request|merge_request|on: push", text)
    assert set(GITHUB["on"]) == {"workflow_dispatch", "schedule"}


@pytest.mark.parametrize("workflow", [OWN, GITHUB], ids=["own", "rehearsal"])
def test_workflows_may_only_read(workflow: dict[str, Any]) -> None:
    """They have no right to write, a limit in time, and actions of a fixed major version."""
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert used
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+", name) for name in used)


def test_the_own_workflow_runs_what_a_developer_runs() -> None:
    """Each script that it names is there, and may be run; .ci/run is among them."""
    steps = [step["run"] for job in OWN["jobs"].values() for step in job["steps"] if "run" in step]
    scripts = {word for text in steps for word in text.split() if word.startswith("./")}
    assert "./.ci/run" in scripts
    assert all(os.access(ROOT / script, os.X_OK) for script in scripts)
    python = tuple(map(int, OWN["jobs"]["test"]["steps"][1]["with"]["python-version"].split(".")))
    assert f"python{python[0]}.{python[1]}" in (ROOT / "scripts" / "lock.sh").read_text(encoding="utf-8")
