"""Names all that a command needs and that isn't set, with an example of the command that has it."""

import shlex
from collections.abc import Collection, Sequence
from typing import Final, Protocol

from msgspec import Struct

from migrator.errors import ConfigurationError

EXAMPLE_SOURCE: Final = "app.db"
EXAMPLE_TARGET: Final = "postgresql://user@localhost:5432/app"
"""Without a password, which the log would mask, and which doesn't belong on a command line."""

ALEMBIC: Final = "Alembic configuration"
_OF_SCHEMA: Final = ("schema_mode", "alembic_config")
_FLAGS: Final = {"source": ("--source", EXAMPLE_SOURCE), "target": ("--target", EXAMPLE_TARGET)}
_VARIABLES: Final = {
    "source": "MIGRATOR_SOURCE_URL",
    "target": "MIGRATOR_TARGET_URL (or MIGRATOR_TARGET_URL_FILE, or POSTGRES_HOST and its companions)",
    ALEMBIC: "MIGRATOR_ALEMBIC_CONFIG",
}


class Given(Protocol):
    """The settings that say what is set."""

    @property
    def source_url(self) -> str | None:
        """The source, or None."""

    @property
    def has_target(self) -> bool:
        """Whether a target is set."""

    @property
    def lacks_alembic_config(self) -> bool:
        """Whether the tables are to come from Alembic, whose configuration isn't set."""

    @property
    def source_only(self) -> bool:
        """Whether the source alone is looked at."""


class Needs(Struct, frozen=True):
    """What a command needs to be set, and the command as it was given."""

    source: bool = False
    target: bool = False
    schema: bool = False
    """Whether it makes tables, so that a missing Alembic configuration is worth telling with the rest."""
    may_do_without_target: bool = False
    """Whether ``--source-only`` makes the target unnecessary."""
    command: tuple[str, ...] = ()
    """The command's name and the arguments that were given; the example continues them. Empty if they aren't known."""


RUN: Final = Needs(source=True, target=True, schema=True)


def missing(given: Given, needs: Needs, faulty: frozenset[str] = frozenset()) -> ConfigurationError | None:
    """
    Return an error that names all that is missing, or None if no source or target is missing.

    Settings in ``faulty`` have a value that can't be used: they aren't missing. A missing Alembic configuration alone
    is no error, because a run whose migration is complete doesn't need it.
    """
    source = needs.source and given.source_url is None and "source_url" not in faulty
    target = needs.target and not given.has_target and faulty.isdisjoint({"target_url", "postgres_host"})
    without_target = needs.may_do_without_target and given.source_only
    target = target and not without_target
    if not source and not target:
        return None
    alembic = needs.schema and not without_target and given.lacks_alembic_config and faulty.isdisjoint(_OF_SCHEMA)
    names = [name for name, lacks in (("source", source), ("target", target), (ALEMBIC, alembic)) if lacks]
    error = nothing_set(names, needs.command[:1] if faulty else needs.command)
    if target and not source and needs.may_do_without_target:
        error.next_step += " Or look at the source alone with --source-only."
    return error


def nothing_set(names: Sequence[str], command: tuple[str, ...] = ()) -> ConfigurationError:
    """Return the error that these are missing. ``command`` is continued by an example that has them."""
    *first, last = [f"no {name}" for name in names]
    listed = f"{', '.join(first)} and {last} are" if first else f"{last} is"
    notes = []
    if ALEMBIC in names:
        notes.append("With Alembic, give --alembic-config alembic.ini in place of --schema create. ")
    if "target" in names:
        notes.append("The password goes into POSTGRES_PASSWORD, or POSTGRES_PASSWORD_FILE names its file. ")
    return ConfigurationError(
        f"{listed} set",
        next_step=f"Give what is missing, as in `{example(names, command or ('run',))}`. "
        f"{''.join(notes)}Or set {' and '.join(_VARIABLES[name] for name in names)}.",
    )


def example(names: Collection[str], command: Sequence[str]) -> str:
    """Return the command, continued by flags for what is missing. Their values are examples."""
    flags = [part for name in names if name in _FLAGS for part in _FLAGS[name]]
    flags += ["--schema", "create"] if ALEMBIC in names else []
    return shlex.join(["migrator", *command, *flags])
