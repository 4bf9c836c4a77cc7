"""
An application that nobody here wrote: Optuna fills SQLite through its API, and goes on with PostgreSQL.

Optuna makes its own schema on both sides, seeds a version row there, and lives in a virtual environment of its own, so
that its dependencies are not ours. What is done through its API is in ``optuna_studies.py``.
"""

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fix_job import ROOT, Cli, clean_environment, quick_flags
from fix_postgres import Database
from sqlalchemy import make_url

LOCK = ROOT / "requirements" / "optuna.txt"
HOME = ROOT / ".venv" / "optuna"
PROGRAM = Path(__file__).with_name("optuna_studies.py")

Optuna = Callable[[str, str], Any]


def outside(*command: object) -> "subprocess.CompletedProcess[str]":
    """Run a command that knows nothing of this checkout."""
    environment = {name: value for name, value in clean_environment().items() if not name.startswith("PYTHON")}
    return subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def optuna_python() -> Path:
    """Give the Python of Optuna's virtual environment, which is made when it isn't there or the lock has changed."""
    python = HOME / "bin" / "python"
    with HOME.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests of one server may run beside those of another
        _install(python)
    return python


def _install(python: Path) -> None:
    stamp = HOME / "installed"
    wanted = hashlib.sha256(LOCK.read_bytes() + f"{HOME} {sys.version}".encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    # What of it is imported is compiled then; a pip of its own it doesn't need.
    pip = (sys.executable, "-m", "pip", "--python", python, "--quiet", "--no-input", "--disable-pip-version-check")
    install = ("install", "--no-compile", "--require-hashes", "--requirement", LOCK)
    for step in (sys.executable, "-m", "venv", "--clear", "--without-pip", HOME), (*pip, *install):
        done = outside(*step)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            pytest.fail(
                f"Optuna, which is installed once, can't be had; is there a package index? {said}", pytrace=False
            )
    stamp.write_text(wanted)


@pytest.fixture(scope="session")
def optuna(optuna_python: Path) -> Optuna:
    """Give a function that does one of the program's commands with a database and returns what it printed."""

    def command(verb: str, url: str) -> Any:  # noqa: ANN401 - JSON
        done = outside(optuna_python, PROGRAM, verb, url)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    return command


@pytest.fixture(scope="session")
def filled(optuna: Optuna, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a SQLite database with studies that all tests share: nobody may write to it."""
    path = tmp_path_factory.mktemp("optuna") / "optuna.db"
    optuna("fill", f"sqlite:///{path}")
    return path


@pytest.fixture
def storage(database: Database, optuna: Optuna) -> str:
    """Give Optuna's URL of a PostgreSQL database in which it has made its schema."""
    url = make_url(database.url).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    optuna("create", url)
    return url


def flags(source: Path) -> tuple[str, ...]:
    """Return what the job is told."""
    return (f"--source=sqlite:///{source}", "--schema=existing", *quick_flags())


@pytest.mark.one_server
async def test_optuna_goes_on_with_postgres(
    filled: Path, optuna: Optuna, storage: str, database: Database, cli: Cli, tmp_path: Path
) -> None:
    """
    The API gives the same studies, trials, parameters and values, to the last bit, and goes on in the same way.

    A sampler of the same seed that learns from the same trials suggests the same parameters; new trials and studies get
    the ids that they would have got in SQLite. Running the job again then changes nothing.
    """
    ended = cli("run", *flags(filled), MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 0, ended.stderr
    before = optuna("tell", f"sqlite:///{filled}")
    assert set(before) == {"größe 🌱 / 'quoted'", "two goals", "edges", "empty"}
    assert optuna("tell", storage) == before
    copy = Path(shutil.copy(filled, tmp_path / "goes-on.db"))
    assert optuna("continue", storage) == optuna("continue", f"sqlite:///{copy}")
    after = optuna("tell", storage)
    again = cli("run", *flags(filled), MIGRATOR_TARGET_URL=database.url)
    assert (again.code, optuna("tell", storage)) == (0, after)


@pytest.mark.one_server
def test_the_sample_has_what_is_hard(filled: Path, optuna: Optuna) -> None:
    """Every state, infinities and NaN, several goals, unicode: what the other test says of them isn't empty words."""
    studies = optuna("tell", f"sqlite:///{filled}")
    trials = [trial for study in studies.values() for trial in study["trials"]]
    states = {trial["state"].split(".")[1].split(":")[0] for trial in trials}
    assert states == {"COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"}
    told = "".join(trial["values"] + trial["intermediate_values"] for trial in trials)
    assert all(word in told for word in ("inf", "-inf", "nan", "5e-324", "0.30000000000000004"))
    assert len(studies["two goals"]["directions"]) == 2


@pytest.mark.one_server
async def test_another_version_in_the_target_is_refused(
    filled: Path, storage: str, database: Database, cli: Cli
) -> None:
    """Optuna has seeded a version that isn't the source's: exit code 4, both versions are shown, nothing is written."""
    assert storage
    await database.execute("UPDATE version_info SET library_version = '1.2.3'")
    ended = cli("run", *flags(filled), MIGRATOR_TARGET_URL=database.url)
    assert ended.code == 4, ended.stderr
    assert "public.version_info (1)" in ended.message
    assert "in the source, '1.2.3' in the target" in ended.message
    counted = await database.fetch("SELECT (SELECT count(*) FROM trials), (SELECT library_version FROM version_info)")
    assert tuple(counted[0]) == (0, "1.2.3")
