"""The plan: who goes with whom, and what is refused for want of a partner. Nothing is read or written here."""

import pytest

from migrator.errors import ConfigurationError, NoMatch, TargetRefused
from migrator.names import TableName
from migrator.planning.matching import make_plan
from migrator.planning.rules import ColumnRule, Rules, TableRule
from migrator.source.schema import SourceColumn, SourceDatabase, SourceTable
from migrator.target.schema import CopyFormat, TargetColumn, TargetDatabase, TargetTable


def source(**tables: str) -> SourceDatabase:
    """Return a source: names of columns by table, parted by blanks."""
    return SourceDatabase(
        tuple(
            SourceTable(name, tuple(SourceColumn(c, "", False, 0, False) for c in columns.split()), "rowid")  # noqa: FBT003
            for name, columns in tables.items()
        ),
        (),
        (),
    )


def target(**tables: str) -> TargetDatabase:
    """Return a target: ``name:type`` of columns by table; ``!`` for NOT NULL, ``=`` for generated."""
    return TargetDatabase("public", tuple(_table(name, columns) for name, columns in tables.items()))


def _table(name: str, columns: str) -> TargetTable:
    return TargetTable(
        TableName("public", name), tuple(map(_column, columns.split())), (), partitioned=False, owned=True
    )


def _column(written: str) -> TargetColumn:
    name, _, type_name = written.rstrip("!=").partition(":")
    return TargetColumn(
        name,
        type_name or "text",
        type_name or "text",
        not_null="!" in written,
        has_default=False,
        identity="",
        generated="=" in written,
    )


def test_columns_are_paired_by_name_and_not_by_place() -> None:
    """Their order differs between schemas that grew differently."""
    [table] = make_plan(source(t="a b c"), target(t="c b a")).tables
    assert [(column.source.name, column.target.name) for column in table.columns] == [
        ("a", "a"),
        ("b", "b"),
        ("c", "c"),
    ]


def test_one_column_without_a_binary_form_makes_the_table_text() -> None:
    """COPY has one form for a table."""
    tables = make_plan(source(fast="a", mixed="a b"), target(fast="a:int4", mixed="a:int4 b:inet")).tables
    assert [table.form for table in tables] == [CopyFormat.BINARY, CopyFormat.TEXT]


def test_a_generated_column_is_compared_and_not_sent() -> None:
    """And its type has no say in the form of COPY."""
    [table] = make_plan(source(t="a b"), target(t="a:int4 b:inet=")).tables
    assert [column.target.name for column in table.columns] == ["a"]
    assert [column.target.name for column in table.compared] == ["a", "b"]
    assert table.form is CopyFormat.BINARY


def test_all_that_lack_a_partner_are_named_at_once() -> None:
    """With the nearest name of a table."""
    with pytest.raises(NoMatch) as raised:
        make_plan(source(user="id", t="a x"), target(users="id", t="a"))
    assert raised.value.facts["missing"] == ["table 'user' (did you mean 'users'?)", "column t.x"]


def test_a_column_that_would_starve() -> None:
    """NOT NULL, without a default, and nothing in the source for it."""
    with pytest.raises(TargetRefused, match=r"public\.t\.b"):
        make_plan(source(t="a"), target(t="a b!"))


def test_two_tables_that_mean_the_same() -> None:
    """Names that differ in case alone, or a rule, can't fill one table twice."""
    rules = Rules({"old": TableRule(rename="t")})
    with pytest.raises(NoMatch, match="both map to"):
        make_plan(source(t="a", old="a"), target(t="a"), rules)


def test_two_columns_that_mean_the_same() -> None:
    """Neither is dropped in silence."""
    with pytest.raises(NoMatch, match="several columns"):
        make_plan(source(t="a b"), target(t="a"), Rules({}, {"t.b": ColumnRule(rename="a")}))


def test_an_exclusion_that_matches_nothing() -> None:
    """It is a slip of the pen, and would leave rows in the plan that were meant to stay behind."""
    with pytest.raises(ConfigurationError, match="matches no table or column"):
        make_plan(source(audit="a"), target(audit="a"), Rules.load(None, ("audti",)))
