"""``runtime.cpus``: how much CPU a process may use, in the files of both versions of control groups."""

import os
from pathlib import Path

import pytest

from migrator.runtime.cpus import usable_cpus

ALL = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, ALL),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}, 1),
        ("0::/elsewhere\n", {"cpu.max": "100000 100000"}, 1),
        ("0::/\n", {"cpu.max": "of another kind"}, ALL),
        ("4:cpu,cpuacct:/x\n3:memory:/\n", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ("4:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000"}, ALL),
        ("0::/\n", {}, ALL),
    ],
)
def test_limits(tmp_path: Path, lines: str, files: dict[str, str], expected: int) -> None:
    """A group's limit counts, and that of every group around it; a part of a CPU is one; nonsense is no limit."""
    (tmp_path / "cgroup").write_text(lines)
    for name, content in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert usable_cpus(tmp_path / "cgroup", tmp_path / "groups") == min(expected, ALL)


def test_another_system(tmp_path: Path) -> None:
    """Without these files only the affinity counts."""
    assert usable_cpus(tmp_path / "none", tmp_path) == ALL
