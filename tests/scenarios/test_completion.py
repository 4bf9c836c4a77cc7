"""
Completion in the real shells.

In bash and zsh the Tab key is pressed on a terminal. fish tells without one what it would offer.
"""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE_SECONDS = 60
READY = "ready-to-type"
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
LOAD = {
    "bash": "source {script}",
    "zsh": "fpath=({script.parent} $fpath) && autoload -U compinit && compinit -u -D",
}
CLEAR_LINE = "\x15"


class Typist:
    """Types into a shell on a terminal, and reads what it shows."""

    def __init__(self, shell: str, script: Path, folder: Path) -> None:
        """Start the shell in a folder and load the script."""
        self._leader, follower = pty.openpty()
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb", "PS1": "$ ", "LANG": "C.UTF-8"}
        self._process = subprocess.Popen(
            START[shell], stdin=follower, stdout=follower, stderr=follower, cwd=folder, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(follower)
        self.shown = ""
        # Said in two parts, so that the echo of the command isn't taken for its answer.
        self.type(f"{LOAD[shell].format(script=script)}; echo ready-to''-type\n")
        self.until(READY)

    def type(self, text: str) -> None:
        """Press these keys."""
        self.shown = ""
        os.write(self._leader, text.encode())

    def until(self, words: str) -> str:
        """Read until these words are shown since the last keys."""
        end = time.monotonic() + PATIENCE_SECONDS
        while words not in self.shown:
            if not select.select([self._leader], [], [], max(0.0, end - time.monotonic()))[0]:
                pytest.fail(f"not within {PATIENCE_SECONDS} s; the shell shows {self.shown!r}")
            self.shown += os.read(self._leader, 65536).decode(errors="replace")
        return self.shown

    def close(self) -> None:
        """End the shell."""
        self._process.kill()
        self._process.wait()
        os.close(self._leader)


def script_of(shell: str, folder: Path) -> Path:
    """Write the script that the command prints for a shell into a folder; skip where the shell isn't installed."""
    if not shutil.which(shell):
        pytest.skip(f"no {shell} on this machine; scripts/terminal.sh installs it")
    command = [sys.executable, "-m", "migrator", "completion", shell]
    script = folder / "_migrator"
    script.write_text(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    (folder / "rules-of-the-house.toml").touch()
    return script


@pytest.fixture(params=["bash", "zsh"])
def typist(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Typist]:
    """Give a shell on a terminal that has loaded its script."""
    typist = Typist(request.param, script_of(request.param, tmp_path), tmp_path)
    yield typist
    typist.close()


CASES = {
    "migrator ver": "verify",
    "migrator run --schema-c": "--schema-command",
    "migrator run --schema exi": "existing",
    "migrator check --rules rules-of": "rules-of-the-house.toml",
    "migrator help rep": "repair",
}
"""What is typed, and what its last word becomes."""


@pytest.mark.timeout(240)
def test_the_tab_key_completes(typist: Typist) -> None:
    """A command, a flag, a choice of a flag, a file, and a command to be explained; in one shell, which is slow."""
    for typed, word in CASES.items():
        whole = f"{typed.rpartition(' ')[0]} {word}"
        typist.type(f"{CLEAR_LINE}{typed}\t")
        typist.until(whole)


def test_fish_offers_the_same(tmp_path: Path) -> None:
    """``complete -C`` prints what the Tab key would offer for a line."""
    script = script_of("fish", tmp_path)
    for typed, word in CASES.items():
        asked = ["fish", "--no-config", "-c", f"source {script}; complete -C '{typed}'"]
        told = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
        assert told.stderr == ""
        assert [line.partition("\t")[0] for line in told.stdout.splitlines()] == [word], typed
