"""The wheel: what is built and installed runs the demo, away from the checkout."""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

from migrator import __version__

ROOT = Path(__file__).resolve().parents[2]
PIP = (sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check")
OWN = ("migrator", "__editable__")
"""How the names begin that this checkout has in site-packages."""


def run(*command: object, folder: Path) -> str:
    """Run a command in a folder, with an environment that names nothing of ours; return what it prints."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8", "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, because a build leaves files beside its sources. Nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    shutil.copytree(ROOT / "migrator", copy / "migrator", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "migrator.1", copy / "docs")
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, copy, folder=folder)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Install the wheel with the extra ``demo`` in an environment of its own and return the folder of its commands.

    What it requires is linked from this environment, so nothing is fetched; pip refuses if something is missing.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", symlinks=True, with_pip=False)
    python = folder / "venv" / "bin" / "python"
    packages = folder / "packages"
    packages.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(OWN):
            (packages / entry.name).symlink_to(entry)
    site_packages = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    )
    (site_packages / "linked.pth").write_text(f"{packages}\n")
    run(*PIP, "--python", python, "install", f"{wheel}[demo]", folder=folder)
    return python.parent


def test_it_holds_what_the_package_holds(wheel: Path) -> None:
    """Every file of the package is in the wheel, data files included, and no test is; beside it the manual page."""
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    page = f"migrator-{__version__}.data/data/share/man/man1/migrator.1"
    assert page in names
    names.remove(page)
    package = ROOT / "migrator"
    ours = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert names == {str(path.relative_to(ROOT)) for path in ours}


def test_it_says_its_version(installed: Path, tmp_path: Path) -> None:
    """The installed command is the wheel's, not the checkout's."""
    assert run(installed / "migrator", "--version", folder=tmp_path).split()[-1] == __version__
    where = run(installed / "python", "-c", "import migrator; print(migrator.__file__)", folder=tmp_path).strip()
    assert Path(where).is_relative_to(installed.parent)


def test_the_demo_runs(installed: Path, tmp_path: Path) -> None:
    """Sample, server, Dryad's migrations and the script for the database all come from the wheel."""
    report = json.loads(run(installed / "migrator", "demo", "--scale", "0.01", "--format", "json", folder=tmp_path))
    assert report["rows"] > 0
    assert all(table["verified"] for table in report["tables"])


def test_the_manual_page_is_where_man_looks(installed: Path) -> None:
    """Beside the commands: `man migrator` finds it through PATH."""
    page = installed.parent / "share" / "man" / "man1" / "migrator.1"
    assert page.read_text(encoding="utf-8") == (ROOT / "docs" / "migrator.1").read_text(encoding="utf-8")
