"""What stands in the text of a definition is found, however it is written."""

import pytest

from migrator.sql.definitions import Clause, clauses, foreign_key_columns, index_text
from migrator.sql.lexing import Unreadable

TABLE = """CREATE TABLE IF NOT EXISTS main."a (b" ( -- ) CHECK (1)
    id integer constraint pk primary key on conflict replace autoincrement,
    [check] char(1) NOT NULL DEFAULT 'CHECK (x)' COLLATE nocase
      CONSTRAINT "my name" CHECK ([check] IN ('a)', 'b')) UNIQUE,
    `w` text generated always as (lower("check")) virtual not null, v AS (id /* CHECK ( */ + 1),
    o int references other (x) on delete set default on update cascade not deferrable initially deferred,
    p int references other deferrable initially deferred
    , CONSTRAINT k CHECK (id > 0 AND (o IS NULL)) UNIQUE (id, o) ON CONFLICT IGNORE,
    FOREIGN KEY ("O", p) REFERENCES other (x, y) DEFERRABLE INITIALLY DEFERRED
) STRICT"""


def found(words: str) -> list[Clause]:
    """Return the constraints of one kind."""
    return [one for one in clauses(TABLE) if one.words == words]


def test_checks() -> None:
    """Of columns and of the table; none in a comment, a text or a name."""
    assert [(one.name, one.column, one.inner) for one in found("CHECK")] == [
        ("my name", "check", "[check] IN ('a)', 'b')"),
        ("k", None, "id > 0 AND (o IS NULL)"),
    ]


def test_what_is_done_on_conflict() -> None:
    """Where that isn't an error."""
    assert [(one.words, one.conflict) for one in clauses(TABLE) if one.conflict] == [
        ("PRIMARY KEY", "REPLACE"),
        ("UNIQUE", "IGNORE"),
    ]


def test_generated_columns_and_collations() -> None:
    """With and without the words GENERATED ALWAYS."""
    assert [(one.column, one.inner) for one in found("GENERATED")] == [
        ("w", 'lower("check")'),
        ("v", "id /* CHECK ( */ + 1"),
    ]
    assert [(one.column, one.inner) for one in found("COLLATE")] == [("check", "NOCASE")]


def test_foreign_keys_that_are_deferred() -> None:
    """NOT DEFERRABLE is not, whatever follows."""
    assert [(foreign_key_columns(one), one.deferred) for one in found("FOREIGN KEY")] == [
        (("o",), False),
        (("p",), True),
        (("o", "p"), True),
    ]


def test_an_index() -> None:
    """Terms without their order and collation, which PRAGMAs tell; and the condition."""
    read = index_text(
        "CREATE UNIQUE INDEX \"on\" ON t (lower(a) COLLATE nocase DESC, \"b,c\", x || ',' ASC) WHERE a > '(' -- x"
    )
    assert read.terms == ("lower(a)", '"b,c"', "x || ','")
    assert read.where == "a > '('"
    assert index_text("CREATE INDEX i ON t(a)").where is None


@pytest.mark.parametrize("sql", ["CREATE TABLE t (a", "CREATE TABLE t (a ¤)", "CREATE TABLE t ('a)"])
def test_what_is_no_definition(sql: str) -> None:
    """It is said, and nothing is made up."""
    with pytest.raises(Unreadable):
        clauses(sql)
