"""
Lists the commands, each with its summary, its groups of options, and its function.

A command's function is imported only when the command is called. So ``--help``, ``--version`` and a wrong flag don't
import drivers.
"""

import gc
from collections.abc import Awaitable, Callable, Collection
from importlib import import_module
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from migrator.cli.confirmation import Confirmation
from migrator.config.fields import Group
from migrator.config.settings import Settings
from migrator.monitoring.tracker import Tracker
from migrator.reports.outcome import Outcome

Call = Callable[[Settings, Tracker, UUID], Awaitable[Outcome]]
"""Calls a command with the settings, the tracker of what is done, and the id of the run."""

Argument = Literal["settings", "tracker", "run_id", "confirm"]


class Command(Struct, frozen=True):
    """One command: its summary in the help, its groups of options, and the function that it calls."""

    summary: str
    groups: Collection[Group]
    call: Call


def deferred(name: str, *arguments: Argument) -> Call:
    """
    Return a function that imports and calls ``name``, which has the form ``module:function``.

    The imported function gets only the ``arguments`` that are named here, in this order.
    """

    def call(settings: Settings, tracker: Tracker, run_id: UUID) -> Awaitable[Outcome]:
        module, _, function = name.partition(":")
        action = getattr(import_module(module), function)
        if not gc.isenabled():  # imported modules stay, and need no garbage collection
            gc.freeze()
            gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
            gc.enable()
        values = {"settings": settings, "tracker": tracker, "run_id": run_id, "confirm": Confirmation(settings.yes)}
        outcome: Awaitable[Outcome] = action(*(values[argument] for argument in arguments))
        return outcome

    return call


_OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000
"""Python would look for garbage after each 700 new objects, most often while a command imports its drivers: 0.1 s."""

_OF_OTHERS: Final = frozenset({Group.CONFIRMATION, Group.DEMO, Group.STATUS, Group.ROLLBACK, Group.NEW_FILE})
"""The groups that have no meaning for ``run`` and ``check``."""

COMMANDS: Final = {
    "run": Command(
        "Do the whole job: wait, prepare, copy, verify. Running it again is safe.",
        tuple(group for group in Group if group not in {Group.CHECK, *_OF_OTHERS}),
        deferred("migrator.job.run:run", "settings", "tracker", "run_id"),
    ),
    "check": Command(
        "Say whether the source can be carried into the target as both are. Writes nothing that lasts.",
        tuple(group for group in Group if group not in {Group.RERUN, Group.CUT_OVER, *_OF_OTHERS}),
        deferred("migrator.job.cut_over.check_refresh:check", "settings", "tracker"),
    ),
    "verify": Command(
        "Compare every value of both sides. Writes nothing.",
        (Group.SOURCE, Group.TARGET, Group.SPEED, Group.TIMEOUTS, Group.OUTPUT),
        deferred("migrator.job.verify:verify", "settings", "tracker"),
    ),
    "status": Command(
        "Tell how far the migration is and what to do now; with --follow to its end, with --wait for an application.",
        (Group.TARGET, Group.STATUS, Group.TIMEOUTS, Group.OUTPUT),
        deferred("migrator.job.status:status", "settings"),
    ),
    "repair": Command(
        "Bring back keys and indexes that an interrupted run took away. Copies nothing.",
        (Group.TARGET, Group.SPEED, Group.TIMEOUTS, Group.OUTPUT),
        deferred("migrator.job.maintenance:repair", "settings", "run_id", "tracker"),
    ),
    "reset": Command(
        "Empty the tables that this job filled, if nobody has written to them since.",
        (Group.TARGET, Group.SPEED, Group.TIMEOUTS, Group.RERUN, Group.CONFIRMATION, Group.OUTPUT),
        deferred("migrator.job.maintenance:reset", "settings", "run_id", "confirm", "tracker"),
    ),
    "forget": Command(
        "Drop the rows that gave way to the source's and were kept in the ledger's schema.",
        (Group.TARGET, Group.TIMEOUTS, Group.CONFIRMATION, Group.OUTPUT),
        deferred("migrator.job.maintenance:forget", "settings", "run_id", "confirm", "tracker"),
    ),
    "rollback": Command(
        "Write a SQLite file like the old one with PostgreSQL's present rows, and prove it. Changes nothing.",
        (Group.ROLLBACK, Group.NEW_FILE, Group.SOURCE, Group.TARGET, Group.SPEED, Group.TIMEOUTS, Group.OUTPUT),
        deferred("migrator.rollback.command:rollback", "settings", "tracker"),
    ),
    "backup": Command(
        "Copy a SQLite file that may be in use, check the copy, and write its SHA-256 beside it.",
        (Group.NEW_FILE, Group.SOURCE, Group.OUTPUT),
        deferred("migrator.rollback.backup:backup", "settings", "tracker"),
    ),
    "demo": Command(
        "Show the whole job on sample data and a PostgreSQL of its own.",
        (Group.DEMO, Group.SPEED, Group.OUTPUT),
        deferred("migrator.demo.run:demo", "settings", "tracker", "run_id"),
    ),
}
