"""
What each command calls.

``cli`` imports this when it knows the command: ``--help``, ``--version`` and a slip of the pen don't wait for drivers.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from migrator.config.settings import Settings
from migrator.job import maintenance, run, status
from migrator.job.reports import CheckReport, Report, Status
from migrator.runtime.progress import Progress


async def _check(settings: Settings, progress: Progress) -> CheckReport:
    from migrator.job import check  # noqa: PLC0415 - with the drivers of the bulk way, as ``job.run`` has it

    return await check.check(settings, progress)


async def _verify(settings: Settings, progress: Progress) -> Report:
    from migrator.job import verify  # noqa: PLC0415 - as above

    return await verify.verify(settings, progress)


async def _status(settings: Settings, _progress: Progress) -> Status:
    return await status.status(settings)


async def _repair(settings: Settings, _progress: Progress) -> Report:
    return await maintenance.repair(settings)


async def _reset(settings: Settings, _progress: Progress) -> Report:
    return await maintenance.reset(settings)


async def _demo(settings: Settings, progress: Progress) -> Report:
    from migrator.demo import run as demo_run  # noqa: PLC0415 - it needs more than the job does, and that need not be installed

    return await demo_run.demo(settings, progress)


CALLS: Final[dict[str, Callable[[Settings, Progress], Awaitable[Report | CheckReport | Status]]]] = {
    "run": run.run,
    "check": _check,
    "verify": _verify,
    "status": _status,
    "repair": _repair,
    "reset": _reset,
    "demo": _demo,
}
"""By the command's name."""
