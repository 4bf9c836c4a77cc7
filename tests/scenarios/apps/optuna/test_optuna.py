"""
Optuna fills SQLite through its API, and goes on with PostgreSQL.

Optuna makes its own schema on both sides and seeds a version row there. It is in every run of the tests.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fix_application import Application, Crossing, copy_of, move, move_as_told, move_back
from fix_job import Cli
from fix_postgres import Database


@pytest.mark.one_server
@pytest.mark.parametrize("started", [False, True], ids=["migrated", "started"])
def test_optuna_goes_on_with_postgres(crossing: Crossing, started: bool) -> None:  # noqa: FBT001
    """
    The API gives the same studies, trials, parameters and values, to the last bit, and goes on in the same way.

    A sampler of the same seed that learns from the same trials suggests the same parameters; new trials and studies get
    the ids that they would have got in SQLite. Running the job again then changes nothing.

    Where a study was made on PostgreSQL before, the first run refuses its rows and prints the flag, with which the
    second passes; that study is gone.
    """
    crossing.begin("create", *(["start"] if started else []))
    crossing.move(move_as_told if started else move)
    crossing.go_on()
    crossing.change_nothing()


@pytest.mark.one_server
async def test_optuna_goes_back_to_sqlite(
    filled: Path, application: Application, prepared: str, database: Database, cli: Cli, tmp_path: Path
) -> None:
    """What was written on PostgreSQL is in the new file, to the last bit; Optuna goes on there with the next ids."""
    assert move(cli, filled, database).code == 0
    application("continue", prepared)
    back, goes_on = tmp_path / "back.db", tmp_path / "goes-on.db"
    ended = move_back(cli, filled, back, database)
    assert ended.code == 0, ended.stderr
    assert application("tell", f"sqlite:///{copy_of(back, goes_on)}") == application("tell", prepared)
    never_left = copy_of(filled, tmp_path / "never-left.db")
    application("continue", f"sqlite:///{never_left}")
    ids = []
    for path in (goes_on, never_left):
        application("start", f"sqlite:///{path}")
        study = application("tell", f"sqlite:///{path}")["a try"]  # whose values are random
        ids.append((study["id"], [trial["_trial_id"] for trial in study["trials"]]))
    assert ids[0] == ids[1]


def test_the_sample_has_what_is_hard(source_answers: Mapping[str, Any]) -> None:
    """Every state, infinities and NaN, several goals, unicode: what the other test says of them isn't empty words."""
    studies = source_answers["tell"]
    assert set(studies) == {"größe 🌱 / 'quoted'", "two goals", "edges", "empty"}
    trials = [trial for study in studies.values() for trial in study["trials"]]
    states = {trial["state"].split(".")[1].split(":")[0] for trial in trials}
    assert states == {"COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"}
    told = "".join(trial["values"] + trial["intermediate_values"] for trial in trials)
    assert all(word in told for word in ("inf", "-inf", "nan", "5e-324", "0.30000000000000004"))
    assert len(studies["two goals"]["directions"]) == 2


@pytest.mark.one_server
async def test_another_version_in_the_target_is_refused(
    filled: Path, prepared: str, database: Database, cli: Cli
) -> None:
    """Optuna has seeded a version that isn't the source's: exit code 4, both versions are shown, nothing is written."""
    assert prepared
    await database.execute("UPDATE version_info SET library_version = '1.2.3'")
    ended = move(cli, filled, database)
    assert ended.code == 4, ended.stderr
    assert "public.version_info (1 row: 1 different)" in ended.stderr
    assert "in the source, '1.2.3' in the target" in ended.stderr
    counted = await database.fetch("SELECT (SELECT count(*) FROM trials), (SELECT library_version FROM version_info)")
    assert tuple(counted[0]) == (0, "1.2.3")
