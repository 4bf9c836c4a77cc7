"""Jobs that start at once, for tests that need many: ``warm``."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pytest
from fix_job import Ended, clean_environment

_PATIENCE_SECONDS = 300
"""Far more than any of these jobs takes; one that is still there then hangs."""


@dataclass(slots=True)
class WarmJob:
    """A job in a process of its own."""

    number: int
    _zygote: "Zygote"
    _log: TextIO
    _path: Path
    _read: list[str] = field(default_factory=list)
    code: int | None = None

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        """Read the log up to the event that fulfils the condition, and return that event; None if the log ends."""
        for line in self._log:
            self._read.append(line)
            event: dict[str, Any] = json.loads(line)
            if condition(event):
                return event
        return None

    def kill(self) -> None:
        """End it without a warning, wherever it is."""
        if self.code is None:
            os.kill(self.number, signal.SIGKILL)

    def ended(self, seconds: float = _PATIENCE_SECONDS) -> Ended:
        """Wait for its end. Fails if it doesn't come in time: nothing may hang."""
        if self.code is None:
            self.code = self._zygote.ask({"wait": {"number": self.number, "seconds": seconds}})
            if self.code is None:
                os.kill(self.number, signal.SIGUSR1)
                self._zygote.ask({"wait": {"number": self.number, "seconds": 1}})
                self.kill()
                self.code = self._zygote.ask({"wait": {"number": self.number, "seconds": 10}})
                said = "".join([*self._read, *self._log])
                self._log.close()
                raise AssertionError(f"the job still runs after {seconds} s; it said: {said}")
            self._read += self._log
            self._log.close()
        return Ended(self.code, Path(f"{self._path}.out").read_text(encoding="utf-8"), "".join(self._read))


class Zygote:
    """The process that forks jobs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = 0
        self._last: list[WarmJob] = []
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environment(),
            text=True,
        )
        assert self._answer() == "ready"

    def start(self, *arguments: object, park_all: bool = True, watched: bool = True, **environment: str) -> WarmJob:
        """
        Start a command with these variables; with ``park_all`` small tables are parked like large ones.

        The log of one that is ``watched`` can be read while it works, and has to be if there is much of it.
        """
        self._started += 1
        path = self._folder / f"job-{self._started}"
        if watched:
            os.mkfifo(path)
        else:
            path.touch()
        asked = {
            "arguments": [str(one) for one in arguments],
            "environment": clean_environment() | environment,
            "folder": str(Path.cwd()),
            "log": str(path),
            "park_all": park_all,
        }
        number = self.ask({"start": asked})
        job = WarmJob(number, self, path.open(encoding="utf-8"), path)
        self._last.append(job)
        return job

    def __call__(self, *arguments: object, **more: Any) -> Ended:  # noqa: ANN401 - as start
        """Run a command to its end."""
        return self.start(*arguments, watched=False, **more).ended()

    def ask(self, question: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Send a line and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def close(self) -> None:
        """End the process, which has no job left."""
        self._process.communicate()

    def clear(self) -> None:
        """End what a test has left behind."""
        for job in self._last:
            job.kill()
            job.ended()
        self._last.clear()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Give what forks jobs for all tests; ask for ``warm``."""
    zygote = Zygote(tmp_path_factory.mktemp("warm"))
    yield zygote
    zygote.close()


@pytest.fixture
def warm(zygote: Zygote) -> Iterator[Zygote]:
    """Give what starts jobs in a few milliseconds instead of more than a second; they end with the test."""
    yield zygote
    zygote.clear()
