"""DuckDB's extensions: loaded from their packages alone, with their signatures checked."""

import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import duckdb
import pytest
from packaging.requirements import Requirement

from migrator.runtime import duckdb_extensions
from migrator.runtime.duckdb_extensions import LOCKED, Extension, extension_file, load

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("extension", Extension)
def test_it_is_loaded_and_the_database_looks_for_no_other(extension: Extension) -> None:
    """A second time, and with a statement that another extension would serve, nothing is downloaded either."""
    with duckdb.connect(config=LOCKED) as database:
        assert load(database, extension) == ""
        assert load(database, extension) == ""
        loaded = "SELECT loaded, installed FROM duckdb_extensions() WHERE extension_name = ?"
        assert database.execute(loaded, [extension]).fetchall() == [(True, False)]
        with pytest.raises(duckdb.Error):
            database.execute("SELECT * FROM iceberg_scan('nowhere')")
        with pytest.raises(duckdb.Error):
            database.execute("LOAD spatial")


@pytest.mark.parametrize("extension", Extension)
def test_it_has_the_version_of_duckdb(extension: Extension) -> None:
    """The package demands the version that it is built for, and the range in pyproject.toml lets no other in."""
    package = f"duckdb-extension-{extension}".replace("_", "-")
    assert version(package) == duckdb.__version__
    assert f"duckdb=={duckdb.__version__}" in (requires(package) or [])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges = {one.name: one.specifier for one in map(Requirement, project["dependencies"])}
    assert ranges[package] == ranges["duckdb"]
    for lock in ("runtime", "test"):
        pinned = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
        assert f"{package}=={duckdb.__version__} ;" in pinned


def test_one_that_is_missing_or_spoilt_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is raised: the other readers do the work. A changed byte is not loaded."""
    file = extension_file(Extension.SQLITE)
    assert file is not None
    spoilt = tmp_path / file.name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    spoilt.write_bytes(content)
    with duckdb.connect(config=LOCKED) as database:
        monkeypatch.setattr(duckdb_extensions, "extension_file", lambda _: None)
        assert load(database, Extension.SQLITE) == (
            f"no package has DuckDB's extension sqlite_scanner for version {duckdb.__version__}"
        )
        monkeypatch.setattr(duckdb_extensions, "extension_file", lambda _: spoilt)
        assert "refuses its extension sqlite_scanner" in load(database, Extension.SQLITE)
