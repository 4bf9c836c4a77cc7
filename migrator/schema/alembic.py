"""
Runs the application's Alembic project against the target, with any form of ``env.py``.

An ``env.py`` is a program of the application. It is synchronous or asynchronous. It uses a shared connection (Alembic,
"Sharing a Connection across one or more programmatic migration commands") or connects by itself with a URL. The job
supports all of these forms: it provides the shared connection, ``sqlalchemy.url``, and ``DATABASE_URL`` in the
environment.
"""

import asyncio
import configparser
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from types import CodeType

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

from migrator.errors import ConfigurationError
from migrator.runtime.logs import undisturbed
from migrator.schema.application_code import IDENTITY, LoggedOutput, MigrationObserver, of_application
from migrator.source.schema import SourceDatabase
from migrator.target.database import Target

Command = Callable[[Config], None]


class AlembicProject:
    """An application's migrations, configured in its ``alembic.ini`` or its ``pyproject.toml``."""

    def __init__(self, ini: Path) -> None:
        """Read the configuration in ``ini``; raise ConfigurationError if it is missing or leads to no migrations."""
        if not ini.is_file():
            raise ConfigurationError(
                f"there is no Alembic configuration at {str(ini)!r}",
                next_step="Set MIGRATOR_ALEMBIC_CONFIG to the application's alembic.ini.",
            )
        self.ini = ini
        try:
            self._script = ScriptDirectory.from_config(self._config())
        except (CommandError, configparser.Error, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigurationError(
                f"{str(ini)!r} leads to no migrations: {reason}", next_step="Correct script_location."
            ) from error

    def head(self) -> str | None:
        """
        Return the newest revision; None if the project has no revisions.

        Raises ConfigurationError if there are several newest revisions, or if a revision can't be loaded.
        """
        with of_application(self.folder):
            heads = self._script.get_heads()
        if len(heads) > 1:
            raise ConfigurationError(
                f"the Alembic project has {len(heads)} heads: {', '.join(sorted(heads))}",
                next_step="Merge them with `alembic merge heads`.",
            )
        return heads[0] if heads else None

    def knows(self, revision: str) -> bool:
        """Return whether the project has this revision."""
        try:
            with of_application(self.folder):
                return self._script.get_revision(revision) is not None
        except CommandError:
            return False

    @property
    def folder(self) -> Path:
        """The folder with ``env.py`` and the revisions."""
        return Path(self._script.dir).absolute()

    async def upgrade(self, target: Target, revisions: Sequence[str]) -> None:
        """
        Upgrade the target to ``revisions``, in a transaction if the project's ``env.py`` uses a transaction.

        Raises ConfigurationError if Alembic itself refuses, if the application's code raises an exception, or if it
        connects to another database. Errors of the server in a migration are raised unchanged.
        """
        if not revisions:
            return
        identity = await _identity_of(target)
        observer = MigrationObserver(identity, target.address.redacted())

        def upgrade(config: Config) -> None:
            script = ScriptDirectory.from_config(config)
            for revision in revisions:
                run = partial(observer.run, script, revision)
                with EnvironmentContext(config, script, fn=run, destination_rev=revision):
                    script.run_env()

        try:
            await self._run(target, upgrade)
        except CommandError as error:
            raise ConfigurationError(
                f"Alembic refused: {error}",
                next_step="Check the version of the image: the database and these migrations don't belong together.",
            ) from error
        async with target.connect() as connection:
            await observer.check(connection)

    async def strange_revisions(self, target: Target) -> list[str]:
        """
        Return the target's revisions that the project doesn't have; write nothing.

        Raises ConfigurationError if Alembic refuses or the application's code raises an exception. Errors of the server
        are raised unchanged.
        """
        current: list[str] = []

        def read_revisions(config: Config) -> None:
            def note_revisions(revisions: tuple[str, ...], _context: object) -> list[object]:
                current.extend(revisions)
                return []

            with EnvironmentContext(config, self._script, fn=note_revisions, dont_mutate=True):
                self._script.run_env()

        try:
            await self._run(target, read_revisions)
        except CommandError as error:
            raise ConfigurationError(f"Alembic refused: {error}", next_step="Check the image's version.") from error
        return [revision for revision in current if not self.knows(revision)]

    async def _run(self, target: Target, action: Command) -> None:
        url = target.address.sqlalchemy_url().render_as_string(hide_password=False)
        config = self._config()
        # The parser of the .ini file reads a percent sign as the start of an interpolation.
        config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
        with _in_environment("DATABASE_URL", url), undisturbed():
            if self._starts_its_own_loop():
                await asyncio.to_thread(self._act, config, action)
            else:
                async with target.script_transaction() as connection:
                    await connection.run_sync(self._with_connection, config, action)
        await target.discard_pooled()

    def _act(self, config: Config, action: Command) -> None:
        with of_application(self.folder), redirect_stdout(LoggedOutput()):
            action(config)

    def _with_connection(self, connection: Connection, config: Config, action: Command) -> None:
        config.attributes["connection"] = connection
        self._act(config, action)

    def _config(self) -> Config:
        # Alembic's own command also reads a pyproject.toml beside the .ini file, or only the pyproject.toml.
        in_toml = self.ini.suffix == ".toml"
        toml = self.ini if in_toml else self.ini.with_name("pyproject.toml")
        config = Config(None if in_toml else str(self.ini), toml_file=str(toml))
        # If a file name is set, an env.py configures logging from that file and so changes the log of the job.
        config.get_main_option("script_location")
        config.config_file_name = None
        return config

    def _starts_its_own_loop(self) -> bool:
        """Return whether ``env.py`` is asynchronous without a shared connection: it needs a thread without a loop."""
        env = Path(self._script.env_py_location)
        with of_application(self.folder):
            codes = list(_codes(compile(env.read_bytes(), str(env), "exec", dont_inherit=True)))
        asynchronous = any(code.co_flags & inspect.CO_COROUTINE for code in codes)
        uses_shared_connection = any("attributes" in code.co_names and "connection" in code.co_consts for code in codes)
        return asynchronous and not uses_shared_connection


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a compiled program and of all functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


async def _identity_of(target: Target) -> tuple[object, ...]:
    async with target.connect() as connection:
        return tuple((await connection.execute(text(IDENTITY))).one())


@contextmanager
def _in_environment(name: str, value: str) -> Iterator[None]:
    old_value = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if old_value is None:
            del os.environ[name]
        else:
            os.environ[name] = old_value


def alembic_project(ini: Path | None) -> AlembicProject:
    """Return the project that ``ini`` configures; raise ConfigurationError if it is None or leads to nothing."""
    if ini is None:
        raise ConfigurationError(
            "no Alembic configuration is set",
            next_step="Set MIGRATOR_ALEMBIC_CONFIG to the application's alembic.ini, "
            "choose --schema existing if the tables exist already, "
            "or --schema create to have them made after the source's.",
        )
    return AlembicProject(ini)


async def upgrade_to_source(source: SourceDatabase, target: Target, project: AlembicProject) -> None:
    """
    Upgrade the target to the source's Alembic revisions, or to the newest revision if the source has none.

    Raises ConfigurationError if the project doesn't have a revision of the source, and the errors of
    ``AlembicProject.upgrade``.
    """
    unknown = [revision for revision in source.alembic_revisions if not project.knows(revision)]
    if unknown:
        raise ConfigurationError(
            f"the source is at Alembic revision {', '.join(unknown)}, which {str(project.ini)!r} doesn't have",
            next_step="Use the migrations of the application's version that wrote the source.",
        )
    head = project.head()
    await project.upgrade(target, source.alembic_revisions or ((head,) if head else ()))
