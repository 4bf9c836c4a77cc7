"""The manual page: docs/migrator.1 has every command and setting, and renders without a warning."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from migrator.cli.commands import COMMANDS
from migrator.config.fields import flag_of, option_info
from migrator.config.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migrator.1"
RENDERERS = {
    "groff": ["groff", "-man", "-Tutf8", "-ww", "-P-c", str(PAGE)],
    "mandoc": ["mandoc", "-T", "utf8", "-W", "warning", str(PAGE)],
}


def test_every_command_and_setting_is_there() -> None:
    """With its flags; a dash in a flag is one that can be searched for and copied."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.isascii()
    for name in COMMANDS:
        assert f"\n.TP\n\\fB{name}\\fR\n" in text
    for name, field in Settings.model_fields.items():
        if not option_info(field).no_flag:
            assert flag_of(name).replace("-", "\\-") in text


@pytest.mark.parametrize("renderer", RENDERERS)
def test_it_renders_without_a_warning(renderer: str) -> None:
    """As `man` shows it, with a line of each section."""
    if not shutil.which(renderer):
        pytest.skip(f"no {renderer} on this machine")
    done = subprocess.run(RENDERERS[renderer], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    told = " ".join(re.sub(".\b", "", done.stdout).split())
    for words in ("EXIT STATUS", "--on-existing-rows", "Environment: MIGRATOR_MASK_VALUES."):
        assert words in told
