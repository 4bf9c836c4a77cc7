"""Ctrl-C while the program is still being loaded."""

import os
import subprocess
import sys
from pathlib import Path

from fix_job import ROOT


def test_ctrl_c_in_the_middle_of_an_import(tmp_path: Path) -> None:
    """It ends with 130, and prints no traceback of whatever was being imported."""
    (tmp_path / "structlog.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "migrator", "status"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
