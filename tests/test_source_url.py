"""Source URLs: all the spellings in use lead to a file, and what names none is refused."""

from pathlib import Path

import pytest

from migrator.source_url import names_a_file, path_of


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


@pytest.mark.parametrize("text", ["sqlite://", "sqlite:///", ":memory:", "sqlite:///:memory:", "sqlite+aiosqlite://"])
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
