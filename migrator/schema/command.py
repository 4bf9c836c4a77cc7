"""
Runs the operator's command that makes the target's tables (`--schema command`).

The command gets the target's address in DATABASE_URL. It runs in a separate process group, so that the job can end the
command together with all of its processes.
"""

import asyncio
import os
import shlex
import signal
from contextlib import suppress
from typing import Final

from migrator.errors import ConfigurationError, TargetRefused
from migrator.target.database import Target

_GRACE_SECONDS: Final = 3  # the job itself has at most eight seconds when it is stopped


async def run_schema_command(target: Target, command: str | None) -> None:
    """
    Run the operator's command with the target's address in DATABASE_URL, and wait for its end.

    Raises ConfigurationError if ``command`` is empty. Raises TargetRefused with the last line of the command's output
    if the command fails.
    """
    if not command:
        raise ConfigurationError(
            "no schema command is set", next_step="Set MIGRATOR_SCHEMA_COMMAND, or choose another --schema."
        )
    url = target.address.sqlalchemy_url("postgresql").render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(
        *shlex.split(command),
        env={**os.environ, "DATABASE_URL": url},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # a separate process group, so that all of its processes can be ended together
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            await _end(process)
    if process.returncode:
        [last_line] = output.decode(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
        raise TargetRefused(
            f"the schema command ended with {process.returncode}: {last_line}",
            next_step="Run the command by hand to see its whole output.",
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a cancelled command, since it would otherwise still run during the next run of the job."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
