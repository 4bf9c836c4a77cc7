"""Runs one command and tells how long it took, how much memory it and its children held, and how it ended."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LOOK_SECONDS: Final = 0.1
_SAID_BYTES: Final = 20_000
_PROC: Final = Path("/proc")
_SIZES: Final = re.compile(r"^Vm(RSS|HWM):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code (negative for a signal, None if it took too long), and its last words."""

    code: int | None
    seconds: float
    peak_bytes: int
    """Most resident memory at one time, of the whole tree; pages that processes share count for each of them."""
    said: str
    cpu_seconds: float = 0.0
    """Of the command and of its children that it has waited for."""


def run(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path, timeout_seconds: float, folder: Path
) -> Ended:
    """
    Run a command in ``folder`` to its end, or kill it and its children after ``timeout_seconds``, or when interrupted.

    What it says goes to ``log``. The peak is the larger of two, both looked at ten times a second: the sum over the
    processes of its session, and the kernel's high-water mark of the largest. Elsewhere than on Linux it is the largest
    process's alone.
    """
    with log.open("wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        watch = _Watch(process.pid, timeout_seconds)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C is not handed on to another session
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            watch.end()
        seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    # Not on Linux: what `wait4` tells there begins with the memory of the process that started the command, ours.
    largest = usage.ru_maxrss if sys.platform == "darwin" else 0
    code = None if watch.killed else process.returncode
    cpu = usage.ru_utime + usage.ru_stime
    return Ended(code, seconds, max(largest, watch.peak_bytes), _tail(log), cpu)


class _Watch:
    """Looks at a session of processes, every tenth of a second, until it is told to end."""

    def __init__(self, session: int, timeout_seconds: float) -> None:
        self.peak_bytes, self.killed = 0, False
        self._session, self._deadline = session, time.monotonic() + timeout_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            found = list(_memory(self._session))
            self.peak_bytes = max(self.peak_bytes, sum(now for now, _ in found), *(peak for _, peak in found))
            if time.monotonic() > self._deadline and not self.killed:
                self.killed = True
                os.killpg(self._session, signal.SIGKILL)


def _memory(session: int) -> Iterator[tuple[int, int]]:
    """Yield the resident bytes of each process of a session, now and at their highest; see proc(5)."""
    for entry in _PROC.glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            told = (entry / "status").read_text() if int(fields[3]) == session else ""
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the two looks
        if sizes := dict(_SIZES.findall(told)):
            yield int(sizes["RSS"]) * 1024, int(sizes["HWM"]) * 1024


def _tail(log: Path) -> str:
    with log.open("rb") as said:
        said.seek(max(0, log.stat().st_size - _SAID_BYTES))
        return said.read().decode(errors="replace")
