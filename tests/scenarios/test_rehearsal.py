"""A rehearsal on the real target: everything but the upgrade, and no gate opens before a refresh has cut over."""

import json
import shlex
from pathlib import Path

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_warm import Zygote

from migrator.demo.dryad import ALEMBIC_INI

pytestmark = pytest.mark.one_server


async def test_everything_but_the_upgrade_and_no_gate_opens(dryad_file: Path, database: Database, warm: Zygote) -> None:
    """The schema stays at the source's revision; every later command knows that it was a rehearsal, and says so."""
    target = {"MIGRATOR_TARGET_URL": database.url}
    flags = ("--source", dryad_file, "--alembic-config", ALEMBIC_INI)
    rehearsed = warm("run", *flags, "--rehearsal", "--snapshot", variables=target)
    assert rehearsed.code == 0, rehearsed.stderr
    assert "rehearsed and verified: stop the application and run again with --refresh to cut over" in rehearsed.stdout
    assert "upgrade" not in {name for (name,) in await database.fetch("SELECT stage FROM migrator.stages")}
    facts = {name for (name,) in await database.fetch("SELECT name FROM migrator.state")}
    assert {"completed", "rehearsed"} <= facts
    assert "ready" not in facts

    waited = warm("status", "--wait", "--ready-timeout-seconds", 0.1, variables=target)
    assert waited.code == 5
    assert "rehearsed, and `migrator run --refresh` has not cut over yet" in waited.stderr
    told = warm("status", "--follow", "--format", "json", variables=target)
    status = json.loads(told.stdout)
    assert (told.code, status["state"]) == (6, "rehearsed")
    follow = shlex.split(status["next_action"]["command"])
    assert follow[:2] == ["migrator", "run"]
    assert "--refresh" in follow
    assert "--rehearsal" not in follow
    assert "migration public: rehearsed, every value verified at" in warm("status", variables=target).stdout

    again = warm("run", *flags, "--rehearsal", variables=target)
    assert (again.code, "public: already rehearsed and verified: " in again.stdout) == (0, True)
    plain = warm("run", *flags, variables=target)
    assert plain.code == 2
    assert "run with --refresh" in plain.stderr
    assert {name for (name,) in await database.fetch("SELECT name FROM migrator.state")} == facts


async def test_a_rehearsal_after_the_application_may_have_started(
    make_sqlite: MakeSqlite, database: Database, warm: Zygote
) -> None:
    """It comes too late, and says so; begun anew it closes the gate again, and `reset` takes all of it back."""
    source = make_sqlite("CREATE TABLE a (id INTEGER PRIMARY KEY)", {"a": [(1,)]})
    target = {"MIGRATOR_TARGET_URL": database.url}
    flags = ("run", "--source", source, "--schema", "create")
    assert warm(*flags, variables=target).code == 0
    late = warm(*flags, "--rehearsal", variables=target)
    assert late.code == 2
    assert "run with --rehearsal --restart" in late.stderr
    assert warm("status", variables=target).code == 0
    assert warm(*flags, "--rehearsal", "--restart", variables=target).code == 0
    assert json.loads(warm("status", "--format", "json", variables=target).stdout)["state"] == "rehearsed"
    assert warm("reset", "--yes", variables=target).code == 0
    assert json.loads(warm("status", "--format", "json", variables=target).stdout)["state"] == "never begun"
