"""The repository itself: what no tracked file may hold, what every lock must, and scripts that can be run."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted([*ROOT.glob("scripts/**/*.sh"), ROOT / ".ci" / "run"])
LOCKS = sorted([*ROOT.glob("requirements/**/*.txt"), *ROOT.glob("tests/containers/*/requirements.txt")])

# In pieces, because this file is searched like every other. Who installs says where from; an address in the repository
# would send others to an index that is not theirs.
INDEXES = (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("deb", "debian", "org"))
ADDRESSES = tuple(r"\.".join(pieces) for pieces in INDEXES)
PLACES = (
    *ADDRESSES,
    "://",
    r"\bfile:/",
    r"(^|\s)/\w",
    *("--" + name for name in ("index", "extra", "find", "trusted")),
)


def tracked_texts() -> dict[str, str]:
    """Return every text file that git tracks, by its path; without git, as in an unpacked archive, skip the test."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    paths = [name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]
    assert paths
    return {name: (ROOT / name).read_bytes().decode(errors="replace") for name in paths}


def found(patterns: tuple[str, ...], texts: dict[str, str]) -> list[str]:
    """Return where a pattern occurs, as ``path:line: text``."""
    searched = re.compile("|".join(patterns))
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if searched.search(line)
    ]


def test_no_file_names_a_package_index() -> None:
    """No tracked file names a package index: whoever installs decides where from, in their own configuration."""
    assert found(ADDRESSES, tracked_texts()) == []


@pytest.mark.parametrize(
    ("patterns", "line"),
    [
        *((ADDRESSES, f"https://{'.'.join(pieces)}/project") for pieces in INDEXES),
        (PLACES, "--" + "index-url somewhere"),
        (PLACES, "package @ file:///wheels/package.whl"),
        (PLACES, "    # via -r /home/somebody/requirements.in"),
    ],
)
def test_the_search_finds_what_it_is_for(patterns: tuple[str, ...], line: str) -> None:
    """A line with an address, an option that names a place, or a path is found, and its place is told."""
    assert found(patterns, {"file": f"first\n{line}"}) == [f"file:2: {line.strip()}"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_requirement_is_pinned_with_hashes(lock: Path) -> None:
    """A lock gives each package one version and at least one hash, and no place to fetch it from."""
    text = lock.read_text()
    assert found(PLACES, {lock.name: text}) == []
    requirements = re.sub(r"\\\n", "", re.sub(r"(?m)^\s*#.*$", "", text)).split("\n")
    requirements = [line for line in requirements if line.strip()]
    assert requirements
    for requirement in requirements:
        pinned = r"[a-z0-9.-]+==\S+( ; .+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*"
        assert re.fullmatch(pinned, requirement), requirement


def test_locks_cover_what_is_declared() -> None:
    """Every package that pyproject.toml asks for is in the lock that serves it, and both locks agree on versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = project["project"]["dependencies"]
    groups = project["dependency-groups"]
    demo = project["project"]["optional-dependencies"]["demo"]
    test = [*runtime, *demo, *groups["test"], *groups["lint"], *project["build-system"]["requires"]]
    pins = {path.stem: dict(re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)", path.read_text())) for path in LOCKS}
    assert names(runtime) - pins["runtime"].keys() == set()
    assert names(test) - pins["test"].keys() == set()
    assert pins["runtime"].items() - pins["test"].items() == set()
    assert pins["build"].items() - pins["test"].items() == set()


def names(requirements: list[str]) -> set[str]:
    """Return the bare names of requirements, as locks spell them."""
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_run_and_parsed(script: Path) -> None:
    """A shell script has the run bit, an interpreter that is found on every system, stops at errors, and parses."""
    first, text = script.read_text().split("\n", 1)
    assert os.access(script, os.X_OK)
    assert first in {"#!/usr/bin/env bash", "#!/bin/sh"}
    assert re.search(r"(?m)^set -eu", text)
    shell = first.rpartition("/")[2].rpartition(" ")[2]
    subprocess.run([shell, "-n", script], check=True)


def test_the_two_front_doors_are_there() -> None:
    """The commands of the README exist, and git knows that they are to be run."""
    doors = {"scripts/test.sh", "scripts/demo.sh", ".ci/run"}
    tracked_texts()
    listed = subprocess.run(
        ["git", "ls-files", "-s", *doors], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[3]: line.split()[0] for line in listed.splitlines()} == dict.fromkeys(doors, "100755")
