"""
A process with everything imported that forks jobs: real ones, for a real SIGKILL, without the second of imports.

Run as a program by ``fix_warm``, which talks to it in lines of JSON.

It has no threads of its own, so that a fork of it is as good as a new process.
"""

import asyncio
import faulthandler
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import migrator.commands
import migrator.stages.park
from migrator import cli, digest

LATE = (
    "concurrent.futures.thread",
    "importlib.resources.readers",
    "asyncpg.protocol.protocol",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "aiosqlite",
    "rich._emoji_codes",
)
"""What a job imports when it is already on its way, beside modules of the product."""


def main() -> None:
    """Start a job for each line that asks for one, wait for it for each line that asks for that."""
    for late in (*LATE, *_ours()):
        import_module(late)
    digest.database()
    gc.freeze()  # what is there already is not looked at again, and so not copied, in every child
    print("ready", flush=True)  # noqa: T201 - this is how it talks
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _wait(**asked["wait"]) if "wait" in asked else _start(**asked["start"])
        print(json.dumps(answer), flush=True)  # noqa: T201


def _ours() -> Iterator[str]:
    """Name every module of the product, but those that are programs or migrations."""
    for module in walk_packages(migrator.__path__, "migrator."):
        if not module.ispkg and not {"__main__", "env", "versions"} & set(module.name.split(".")):
            yield module.name


def _start(arguments: list[str], environment: dict[str, str], folder: str, log: str, park_all: bool) -> int:  # noqa: FBT001
    number = os.fork()
    if number:
        return number
    try:
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        os.chdir(folder)
        for path, descriptor, flags in (("/dev/null", 0, os.O_RDONLY), (f"{log}.out", 1, os.O_WRONLY | os.O_CREAT)):
            os.dup2(os.open(path, flags, 0o600), descriptor)
        os.dup2(os.open(log, os.O_WRONLY), 2)
        signal.signal(signal.SIGUSR1, lambda *_: _tell_where())
        if park_all:
            migrator.stages.park.PAYS_FROM_ROWS = 1
        code = cli.main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:  # noqa: BLE001 - whatever it is, this process must not go on as its parent
        Path(f"{log}.err").write_text(repr(error), encoding="utf-8")
        code = 99
    os._exit(code)


def _tell_where() -> None:
    """Write what every task and every thread is at: for a job that doesn't end."""
    for task in asyncio.all_tasks():
        sys.stderr.write(f"{task.get_name()}\n")
        waits: Any = task.get_coro()
        while (frame := getattr(waits, "cr_frame", None) or getattr(waits, "ag_frame", None)) is not None:
            sys.stderr.write(f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}\n")
            waits = getattr(waits, "cr_await", None) or getattr(waits, "ag_await", None)
        sys.stderr.write(f"  {waits!r}\n")
    faulthandler.dump_traceback(sys.stderr)
    sys.stderr.flush()


def _wait(number: int, seconds: float) -> int | None:
    """Return the exit code, negative for a signal, or None if it still runs after that many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        gone, status = os.waitpid(number, os.WNOHANG)
        if gone:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


if __name__ == "__main__":
    main()
