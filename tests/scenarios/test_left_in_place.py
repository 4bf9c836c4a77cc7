"""A job that is left in place after success is harmless for good: what it can't look at any more is a warning."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fix_job import Cli, Ended, quick_flags
from fix_postgres import Database

from migrator.demo.dryad import ALEMBIC_INI

pytestmark = pytest.mark.one_server


class Image:
    """What the job's image and volumes hold: a source, Alembic scripts, init SQL and rules; all of them can be lost."""

    def __init__(self, folder: Path, source: Path, cli: Cli, database: Database) -> None:
        self.source = Path(shutil.copy(source, folder / "app.db"))
        self.scripts = Path(shutil.copytree(ALEMBIC_INI.parent, folder / "app"))
        self.init = folder / "init.sql"
        self.init.write_text("SELECT 1")
        self.rules = folder / "migrator.toml"
        self.rules.write_text('[columns."users.email"]\nempty_as_null = false\n')
        self._cli, self._database = cli, database

    def run(self, *flags: object, **environment: str) -> Ended:
        """Run the job."""
        given = ("--source", self.source, "--alembic-config", self.scripts / ALEMBIC_INI.name)
        files = ("--init-sql", self.init, "--rules", self.rules)
        target = {"MIGRATOR_TARGET_URL": self._database.url} | environment
        return self._cli("run", *given, *files, *quick_flags(), *flags, variables=target)


@pytest.fixture
def image(tmp_path: Path, dryad_sample: Path, cli: Cli, database: Database) -> Image:
    """Give an image with all that a first run needs."""
    return Image(tmp_path, dryad_sample, cli, database)


def _gone(path: Path) -> None:
    path.unlink()


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _empty_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _broken(path: Path) -> None:
    for script in path.rglob("env.py"):
        script.write_text("import something_that_is_not_installed\n")


LOSSES: dict[str, tuple[Callable[[Image], object], int, str]] = {
    "the source is gone": (lambda image: _gone(image.source), 3, "does not exist"),
    "the source is empty": (lambda image: image.source.write_bytes(b""), 3, "is empty"),
    "the source is another file": (lambda image: image.source.write_text("gone\n" * 99), 3, "no SQLite database"),
    "the source is a folder": (lambda image: _empty_folder(image.source), 3, "is a directory"),
    "the source is cut off": (lambda image: _truncated(image.source), 3, "is truncated"),
    "alembic.ini is gone": (lambda image: _gone(image.scripts / ALEMBIC_INI.name), 2, "no Alembic configuration"),
    "init SQL is gone": (lambda image: _gone(image.init), 2, "init SQL"),
    "rules are gone": (lambda image: _gone(image.rules), 2, "can't be read"),
    "rules are broken": (lambda image: image.rules.write_text("["), 2, "no TOML"),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_after_success_nothing_of_it_is_needed(loss: str, image: Image) -> None:
    """0, and a warning that says what could not be looked at."""
    assert image.run().code == 0
    lose, _, words = LOSSES[loss]
    lose(image)
    ended = image.run()
    assert ended.code == 0, ended.stderr
    warnings = [event for event in ended.events if event["event"] == "warning.unseen"]
    assert any(words in event["reason"] for event in warnings)
    assert "WARNING" in ended.stdout
    assert "nothing to do" in ended.stdout


@pytest.mark.parametrize("loss", LOSSES)
async def test_before_success_all_of_it_is(loss: str, image: Image, database: Database) -> None:
    """A target that has no complete migration complains about the same things, and nothing is written."""
    lose, code, words = LOSSES[loss]
    lose(image)
    ended = image.run()
    assert ended.code == code, ended.stderr
    assert words in ended.message
    assert await database.fetch("SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []


async def test_a_schema_that_the_image_does_not_know(image: Image, database: Database) -> None:
    """The application has gone on to a revision of its own: it is left there, with a warning."""
    assert image.run().code == 0
    await database.execute("UPDATE alembic_version SET version_num = 'of_a_later_release'")
    ended = image.run()
    assert ended.code == 0, ended.stderr
    [warning] = [event for event in ended.events if event["event"] == "warning.unseen"]
    assert "of_a_later_release" in warning["reason"]
    assert [row[0] for row in await database.fetch("SELECT version_num FROM alembic_version")] == ["of_a_later_release"]


async def test_scripts_that_do_not_run(image: Image) -> None:
    """What the application's own env.py raises is no reason to keep the application from starting."""
    assert image.run().code == 0
    _broken(image.scripts)
    ended = image.run()
    assert ended.code == 0, ended.stderr
    assert "warning.unseen" in {event["event"] for event in ended.events}


async def test_source_and_scripts_gone_at_once(image: Image) -> None:
    """The image of the application's next release may hold neither."""
    assert image.run().code == 0
    _gone(image.source)
    shutil.rmtree(image.scripts)
    assert image.run().code == 0


async def test_restart_needs_the_source(image: Image, database: Database) -> None:
    """Nothing is emptied for a run that then has nothing to bring."""
    assert image.run().code == 0
    rows = (await database.fetch("SELECT count(*) AS n FROM users"))[0]["n"]
    _gone(image.source)
    assert image.run("--restart").code == 3
    assert (await database.fetch("SELECT count(*) AS n FROM users"))[0]["n"] == rows


async def test_another_target_does_need_the_source(image: Image, database: Database) -> None:
    """Complete is what the ledger calls complete under this name; and without a server nobody can ask it."""
    assert image.run().code == 0
    _gone(image.source)
    assert image.run("--migration", "another").code == 3
    away = database.url.replace(f":{database.url.rpartition(':')[2].partition('/')[0]}/", ":1/")
    ended = image.run("--wait-timeout-seconds", 1, MIGRATOR_TARGET_URL=away)
    assert ended.code == 3, ended.stderr
    assert "does not exist" in ended.message
