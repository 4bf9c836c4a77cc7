"""Lists what a command is about to remove, and asks at a terminal; elsewhere ``--yes`` has to have been given."""

import asyncio
import os
import shlex
import sys
from contextvars import ContextVar
from typing import Final

import structlog

from migrator.errors import ConfigurationError
from migrator.events import Event
from migrator.job.confirmation import Removals

GIVEN: Final[ContextVar[tuple[str, ...]]] = ContextVar("GIVEN", default=())
"""The arguments of the process, for messages that name the command as it was given."""

_LONGEST_ANSWER_BYTES: Final = 4096

log = structlog.get_logger()


class Confirmation:
    """Has a removal confirmed: by ``--yes``, or by whoever sits at the terminal."""

    def __init__(self, is_given: bool) -> None:  # noqa: FBT001 - the value of a setting
        """``is_given`` says that ``--yes`` was."""
        self._is_given = is_given

    async def __call__(self, removals: Removals) -> None:
        """
        List the tables with their rows, and return if the removal is confirmed; with nothing to remove it is.

        Raises ConfigurationError if the answer isn't yes, or if there is no terminal to ask at.
        """
        if not removals.tables:
            return
        if not self._is_given and sys.stdin.isatty() and sys.stderr.isatty():
            await _ask(removals)
            return
        for removal in removals.tables:
            more = {"note": removal.note} if removal.note else {}
            log.info(Event.ROWS_LEAVE, table=removal.table, rows=removal.rows, **more)
        if not self._is_given:
            command = shlex.join(["migrator", *(GIVEN.get() or (removals.command,)), "--yes"])
            raise ConfigurationError(
                f"{removals.command} would remove {removals.counts}, and there is no terminal to ask at",
                next_step=f"Give --yes if they are to go: `{command}`.",
            )


async def _ask(removals: Removals) -> None:
    """Ask on stderr, since stdout is for the report; raise ConfigurationError if the answer isn't yes."""
    width = max(len(removal.table) for removal in removals.tables)
    for removal in removals.tables:
        note = f"  {removal.note}" if removal.note else ""
        print(f"  {removal.table:{width}}  {removal.rows:>12,} rows{note}", file=sys.stderr)  # noqa: T201
    print(f"{removals.counts}. {removals.question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
    if (await _line()).strip().lower() not in {"y", "yes"}:
        raise ConfigurationError(
            f"{removals.command} has removed nothing: the answer was not yes",
            next_step="Give the command again and answer y, if the rows are to go.",
        )


async def _line() -> str:
    """
    Return the line that is typed at the terminal.

    A thread in ``input`` couldn't be stopped: Ctrl-C would end the process only after the time of grace.
    """
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not typed.done():
            typed.set_result(os.read(sys.stdin.fileno(), _LONGEST_ANSWER_BYTES).decode(errors="replace"))

    loop.add_reader(sys.stdin.fileno(), read)
    try:
        return await typed
    finally:
        loop.remove_reader(sys.stdin.fileno())
