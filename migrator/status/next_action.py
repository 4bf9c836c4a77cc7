"""Tells an operator what to do now, with the command to paste."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from migrator.config.fields import Group, flag_of, option_info
from migrator.config.options import Options
from migrator.status.failures import Failure
from migrator.status.state import MigrationStatus, State


class NextAction(Struct, frozen=True):
    """What an operator has to do."""

    text: str
    command: str = ""
    """A command as a shell takes it; empty if there is none to give."""
    rules: str = ""
    """Lines that the file of ``--rules`` needs first."""

    def to_json(self) -> dict[str, str | None]:
        """Return the action for programs."""
        return {"text": self.text, "command": self.command or None, "rules": self.rules or None}


def next_action(found: MigrationStatus, source_url: str | None, *, named: bool) -> NextAction:
    """
    Return what to do in the state that a migration is in.

    ``source_url`` is the source to begin with, if it is set. ``named`` says that the ledger knows other migrations too,
    so a command has to name this one.
    """
    name = ["--migration", found.name] if named else []
    if found.state is State.COMPLETE:
        return NextAction("Nothing is left to do. Start the application on PostgreSQL.")
    if found.state is State.UNDER_WAY and found.refreshed and (found.settings or {}).get("watch"):
        return NextAction(
            "It refreshes until somebody stops it. To cut over, stop the application, then the watch, and run:",
            _cut_over(found, name),
        )
    if found.state is State.UNDER_WAY:
        return NextAction(
            "Wait; this command shows it to its end:", shlex.join(["migrator", "status", "--follow", *name])
        )
    if found.state is not State.FAILED:
        return _to_run(found, source_url, name)
    again = _command(found.settings or {}, name)
    failure = found.failure or Failure(_UNKNOWN)
    if found.newest_run is None or found.newest_run.exit_code is None:
        return NextAction(failure.next_step)
    flags = [*failure.flags, *(["--rules migrator.toml"] if failure.rules and "--rules" not in again else [])]
    return NextAction(failure.next_step or "Then run it again where it ran.", " ".join([again, *flags]), failure.rules)


def _to_run(found: MigrationStatus, source_url: str | None, name: list[str]) -> NextAction:
    """Return the run that begins a migration, goes on with it, or cuts over."""
    known = found.settings or {"source_url": source_url or "FILE"}
    if found.state is State.NEVER_BEGUN:
        return NextAction("Begin it where the source is:", _command(known, name))
    if found.state is State.REHEARSED:
        return NextAction("Stop the application, and cut over where the source is:", _cut_over(found, name))
    return NextAction("Run it again where it ran; it goes on from there:", _command(known, name))


def _cut_over(found: MigrationStatus, name: list[str]) -> str:
    """Return the command that ends a rehearsal: a refresh after which the application may start."""
    known = {key: value for key, value in (found.settings or {}).items() if key not in _REHEARSING}
    return _command(known | {"refresh": True}, name)


_UNKNOWN = "The run's log says what settles it. Then run it again where it ran:"

_REHEARSING: Final = frozenset({"rehearsal", "watch", "watch_interval"})
"""The settings of a rehearsal that a cut-over goes without."""

_GROUPS: Final = frozenset({Group.SOURCE, Group.TARGET, Group.SCHEMA, Group.EXISTING, Group.REFRESH, Group.CUT_OVER})
"""The options that decide what a run does; all others decide how fast it is, and what it says."""


def _command(settings: Mapping[str, Any], name: list[str]) -> str:
    """Return the command that runs with these settings. The target is set elsewhere: it holds a password."""
    flags = [flag for known in Options.model_fields for flag in _flags(known, settings.get(known))]
    return shlex.join(["migrator", "run", *flags, *([] if "--migration" in flags else name)])


def _flags(name: str, value: object) -> Iterator[str]:
    field = Options.model_fields[name]
    info = option_info(field)
    if info.group not in _GROUPS or info.no_flag or info.in_file or name.startswith("postgres_") or value is None:
        return
    default = field.get_default(call_default_factory=True)
    if value == default or str(value) == str(default) or (isinstance(value, str) and "…" in value):
        return
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    flag = min((flag_of(name), *info.flags), key=len)
    if isinstance(value, bool):
        yield flag if value else flag.replace("--", "--no-", 1)
    elif value:
        yield from (flag, str(value))
