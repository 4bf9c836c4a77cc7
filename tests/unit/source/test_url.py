"""Source URLs: all the spellings in use lead to a file, and what names none is refused."""

from pathlib import Path

import pytest

from migrator.errors import ConfigurationError
from migrator.source.url import names_a_file, path_of


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("dryad.db", "dryad.db"),
        ("/data/dryad.db", "/data/dryad.db"),
        ("sqlite:///dryad.db", "dryad.db"),
        ("sqlite:///./dryad.db", "./dryad.db"),
        ("sqlite:////data/dryad.db", "/data/dryad.db"),
        ("sqlite+aiosqlite:////data/dryad.db", "/data/dryad.db"),
        ("sqlite+pysqlite:///dryad.db?mode=ro", "dryad.db"),
        ("sqlite:///a%20grove.db", "a grove.db"),
        ("sqlite://localhost/dryad.db", "dryad.db"),
        ("odd?name.db", "odd?name.db"),
        ("my #1 folder/d%41;.db", "my #1 folder/d%41;.db"),
        ("/data/a://b.db", "/data/a://b.db"),
        ("~nobody-of-this-name/a.db", "~nobody-of-this-name/a.db"),
        ("sqlite:///my #1.db", "my #1.db"),
        ("sqlite:////data/what?now/a.db", "/data/what?now/a.db"),
        ("sqlite:////data/a.db?mode=ro&uri=true", "/data/a.db"),
        ("sqlite:///file:/data/a%23b.db?mode=ro&uri=true", "/data/a#b.db"),
        ("sqlite:///file:///data/a.db?mode=ro&uri=true", "/data/a.db"),
        ("sqlite:///file:a.db?mode=ro", "file:a.db"),
        ("sqlite:////data//a.db", "/data//a.db"),
    ],
)
def test_sources(text: str, path: str) -> None:
    """A path, or any of SQLAlchemy's spellings of one; the file needn't exist yet."""
    assert path_of(names_a_file(text)) == Path(path)


def test_a_percent_sign_in_a_name_that_exists(tmp_path: Path) -> None:
    """SQLAlchemy before 2.1 took the path literally, so a file of that very name is the one meant."""
    literal = tmp_path / "a%20b.db"
    literal.touch()
    assert path_of(f"sqlite:///{literal}") == literal


def test_a_percent_sign_that_may_mean_two_files(tmp_path: Path) -> None:
    """Both readings exist: neither is taken, and the path itself decides."""
    for name in ("d%41.db", "dA.db"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match="both exist"):
        path_of(f"sqlite:///{tmp_path / 'd%41.db'}")
    assert path_of(str(tmp_path / "d%41.db")) == tmp_path / "d%41.db"


def test_a_tilde_that_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is there under that very name is the one meant; else it is the home directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert path_of("~/a.db") == Path("/home/somebody/a.db")
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "a.db").touch()
    assert path_of("~/a.db") == Path("~/a.db")


IN_MEMORY = ("sqlite://", "sqlite:///", ":memory:", "sqlite:///:memory:", "sqlite+aiosqlite://")
SHARED = ("sqlite:///file::memory:?cache=shared&uri=true", "sqlite:///file:x?mode=memory&uri=true")


@pytest.mark.parametrize("text", [*IN_MEMORY, *SHARED])
def test_a_source_in_memory_is_none(text: str) -> None:
    """A database in memory belongs to another process; there is nothing to read."""
    with pytest.raises(ValueError, match="names no file"):
        names_a_file(text)


@pytest.mark.parametrize("text", ["postgresql://u:s3cret@h/d", "mysql://u:s3cret@h", "file:///x.db"])
def test_another_scheme(text: str) -> None:
    """The message says what is accepted, and quotes the scheme only: the rest may hold a password."""
    with pytest.raises(ValueError, match="sqlite:///path is accepted") as caught:
        names_a_file(text)
    assert text.partition(":")[0] in str(caught.value)
    assert "s3cret" not in str(caught.value)
