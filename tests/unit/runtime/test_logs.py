"""The log: one line an event, fixed words, fields in order, libraries included, and never a secret."""

import asyncio
import json
import logging
import logging.config
import warnings
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
import structlog
from adbc_driver_postgresql import dbapi
from fix_postgres import Database
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from migrator.config.settings import Settings
from migrator.events import Event
from migrator.runtime import logs

HOSTILE = """p%40@:/#[ ]"'"""
Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("restored_logs", "environment")
log = structlog.get_logger()


@pytest.fixture(params=["json", "console"])
def form(request: pytest.FixtureRequest) -> logs.Form:
    """Run the test once for programs and once for people."""
    found: logs.Form = request.param
    return found


def lines(capsys: Capture) -> list[dict[str, Any]]:
    """Read what was logged as JSON, one event a line."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_one_json_object_a_line_with_fields_in_order(capsys: Capture) -> None:
    """Programs read it, and people who look at it find the same things in the same place."""
    logs.configure("info", "json")
    structlog.contextvars.bind_contextvars(stage="copy", run_id="r1")
    log.info(Event.TABLE_COPIED, rows=3, table="naïve\n🌳")
    [event] = lines(capsys)
    assert list(event) == ["timestamp", "level", "event", "run_id", "stage", "table", "rows"]
    assert (event["event"], event["level"], event["table"], event["rows"]) == ("table.copied", "info", "naïve\n🌳", 3)
    assert event["timestamp"].endswith("Z")


def test_lines_go_to_stderr_only(capsys: Capture, form: logs.Form) -> None:
    """Stdout belongs to the report."""
    logs.configure("info", form)
    log.info(Event.JOB_STARTED)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.replace(" ", ".").count("job.started") == captured.err.count("\n") == 1


@pytest.mark.parametrize(("level", "seen"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(capsys: Capture, level: logs.Level, seen: int) -> None:
    """What is less important than asked for isn't written."""
    logs.configure(level, "json")
    for write in (log.debug, log.info, log.warning, log.error):
        write(Event.JOB_STARTED)
    assert len(lines(capsys)) == seen


@pytest.mark.parametrize("level", ["info", "debug"])
def test_tracebacks_only_with_debug(capsys: Capture, level: logs.Level, form: logs.Form) -> None:
    """An operator reads one line; who looks for a bug asks for more."""
    logs.configure(level, form)
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        log.exception(Event.JOB_FAILED)
    written = capsys.readouterr().err
    assert "ZeroDivisionError" in written
    assert ("Traceback" in written) is (level == "debug")


@pytest.mark.filterwarnings("always")
def test_libraries_speak_through_the_same_log(capsys: Capture) -> None:
    """Their text is a field, the event is one of our words, and bound fields are there."""
    logs.configure("info", "json")
    structlog.contextvars.bind_contextvars(stage="schema")
    logging.getLogger("alembic.runtime.migration").info("Running upgrade %s -> %s", "a", "b")
    logging.getLogger("sqlalchemy.pool").warning("pool is tired")
    warnings.warn("careful", UserWarning, stacklevel=1)
    told = [(e["event"], e["stage"], e["logger"]) for e in lines(capsys)]
    names = ["alembic.runtime.migration", "sqlalchemy.pool", "py.warnings"]
    assert told == [("library.message", "schema", name) for name in names]


def test_libraries_never_get_to_say_everything(capsys: Capture) -> None:
    """SQLAlchemy and aiosqlite put parameters and rows into their debug lines, which are personal data."""
    logs.configure("debug", "json")
    logging.getLogger("sqlalchemy.engine.Engine").info("SELECT …")
    logging.getLogger("aiosqlite").debug("returning [('row',)]")
    assert lines(capsys) == []


def test_migrations_can_not_replace_the_set_up(capsys: Capture) -> None:
    """Alembic's template calls fileConfig, whose handlers would write past the redaction and silence loggers."""
    logs.configure("info", "json", {"s3cret"})
    everything = {"version": 1, "root": {"level": "DEBUG", "handlers": []}, "disable_existing_loggers": True}
    with logs.undisturbed():
        from logging.config import dictConfig, fileConfig  # noqa: PLC0415 - as an env.py does

        dictConfig(everything)
        fileConfig("/no/such/file.ini")
    logging.getLogger("alembic.runtime.migration").info("s3cret")
    assert [event["message"] for event in lines(capsys)] == ["***"]
    logging.config.dictConfig({"version": 1, "incremental": True})  # works again


def test_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log collector that died is no reason to fail a migration."""

    class Gone:
        def write(self, _text: str) -> None:
            raise BrokenPipeError

    logs.configure("info", "json")
    monkeypatch.setattr("sys.stderr", Gone())
    log.info(Event.JOB_STARTED)
    logging.getLogger("alembic.runtime.migration").info("hello")


@pytest.fixture
def secret(environment: pytest.MonkeyPatch) -> str:
    """Set up settings with a hostile password and give it."""
    environment.setenv("MIGRATOR_TARGET_URL", f"postgresql://u:{quote(HOSTILE, safe='')}@h/d")
    return HOSTILE


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_password_never_appears(capsys: Capture, secret: str, level: logs.Level, form: logs.Form) -> None:
    """In whatever part of a URL, a message, a nested value, an exception, a library's line or a warning it stands."""
    settings = Settings.load()
    logs.configure(level, form, settings.secrets())
    address, error = settings.target, ValueError(f"no login with {secret!r}")
    log.info(Event.JOB_STARTED, url=address.libpq_uri(), nested={"a": [f"x{secret}y", {"b": error}]}, error=error)
    log.info(
        Event.JOB_STARTED, url=address.sqlalchemy_url().render_as_string(hide_password=False), raw=settings.target_url
    )
    log.info(Event.JOB_STARTED, ini=quote(secret).replace("%", "%%"), document=json.dumps({"password": secret}))
    try:
        try:
            raise error
        except ValueError as cause:
            raise RuntimeError(secret) from cause
    except RuntimeError:
        log.exception(secret)
        logging.getLogger("asyncio").exception("Task exception: %s", secret)
    warnings.warn(secret, stacklevel=1)
    written = capsys.readouterr().err
    assert written.count("***") >= 9
    assert "p%40@" not in written
    assert "%2540" not in written


@pytest.mark.one_server
async def test_real_errors_hold_no_password(database: Database, capsys: Capture, form: logs.Form) -> None:
    """What three drivers raise for a wrong password, with traceback, and what asyncio says of a lost task."""
    wrong = database.url.replace(f"{database.role}:", f"{database.role}:wr0ng-")
    settings = Settings.load({"target_url": wrong})
    logs.configure("debug", form, settings.secrets())
    engine = create_async_engine(settings.target.sqlalchemy_url())

    async def by_sqlalchemy() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def by_asyncpg() -> None:
        await asyncpg.connect(**settings.target.asyncpg_arguments())

    async def by_adbc() -> None:
        dbapi.connect(settings.target.libpq_uri())

    for attempt in (by_sqlalchemy, by_asyncpg, by_adbc):
        with pytest.raises(Exception, match="password authentication failed") as caught:
            await attempt()
        log.error(Event.JOB_FAILED, exc_info=caught.value, uri=settings.target.libpq_uri())
        asyncio.get_running_loop().call_exception_handler({"message": wrong, "exception": caught.value})
    await engine.dispose()
    written = capsys.readouterr().err
    assert written.count("job.failed" if form == "json" else "job failed") == 3
    assert "Traceback" in written
    assert "wr0ng" not in written


def test_a_password_that_is_one_of_our_words(capsys: Capture) -> None:
    """It masks what people and libraries say, not the words by which programs read the log."""
    logs.configure("info", "json", {"copy", "info", "job.started"})
    structlog.contextvars.bind_contextvars(stage="copy", run_id="copy")
    log.info(Event.JOB_STARTED, message="copy")
    [event] = lines(capsys)
    assert (event["event"], event["stage"], event["level"], event["message"]) == ("job.started", "copy", "info", "***")


@pytest.mark.parametrize("event", Event)
def test_every_event_has_its_word_and_meaning(event: Event) -> None:
    """The words are a contract, and the manual's page of events is compared with these meanings."""
    assert str(event) == event.value
    assert event.islower()
    assert event.count(".") <= 1
    assert event.meaning.endswith(".")
