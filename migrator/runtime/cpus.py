"""Tells how much CPU this process may use: the CPUs of its affinity, or less if a control group limits its time."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cpus(proc: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """
    Return how many CPUs this process can keep busy, at least 1.

    A container's limit (``docker run --cpus``, ``resources.limits.cpu``) is a limit of its control group. A part of a
    CPU counts as one. ``proc`` names the process's groups, and ``groups`` is where they are mounted.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *map(math.ceil, _limits(proc, groups))]))


def _limits(proc: Path, groups: Path) -> Iterator[float]:
    """Yield the limits, in CPUs, of the process's group and of the groups around it."""
    try:
        lines = proc.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A container usually sees its own group as the mount's root, whatever path the process is said to have.
        root = groups / "cpu" if controllers else groups
        own = root / path.lstrip("/")
        for folder in {root, own, *(parent for parent in own.parents if parent.is_relative_to(root))}:
            yield from _limit(folder)


def _limit(folder: Path) -> Iterator[float]:
    """Yield the limit of one group, if it has one: in the files of version 2 or of version 1."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = ((folder / name).read_text(encoding="ascii").strip() for name in names)
        if quota not in {"max", "-1"}:
            yield int(quota) / int(period)
    except (OSError, ValueError):  # no such group, or a form that nobody knows yet
        return
