"""What a SQLite table becomes where nobody else makes the target's: types, keys, and what stands in the way."""

from collections.abc import Mapping

import pytest

from migrator.errors import TargetRefused
from migrator.names import TableName
from migrator.planning.rules import ColumnRule, Rules, TableRule
from migrator.schema.column_types import Holding
from migrator.schema.ddl import SchemaDdl, build_ddl, refuse
from migrator.source.declarations import Check, ForeignKey, Index, TableDeclarations, Term
from migrator.source.scan import StorageClass
from migrator.source.schema import SourceColumn, SourceTable

T = TableName("public", "t")
NOTHING = TableDeclarations()


def table(*columns: tuple[str, str], key: int = 0, name: str = "t") -> SourceTable:
    """Return a table of columns given as name and declared type, the first ``key`` of them its primary key."""
    numbered = enumerate(columns, 1)
    made = [
        SourceColumn(own, kind, not_null=False, key_position=n if n <= key else 0, generated=False)
        for n, (own, kind) in numbered
    ]
    return SourceTable(name, tuple(made), "rowid")


def drawn(
    *tables: SourceTable,
    declared: TableDeclarations = NOTHING,
    rules: Rules | None = None,
    storage_classes: Mapping[tuple[str, str], Holding] | None = None,
) -> SchemaDdl:
    """Draw tables of which the first has these declarations; columns hold these classes."""
    named = {one.name: declared if one is tables[0] else NOTHING for one in tables}
    return build_ddl("public", tables, named, rules or Rules(), storage_classes or {})


def kind(declared: str, *storage_classes: StorageClass, offsets: bool = False) -> str:
    """Return the type that a column gets."""
    statement = drawn(
        table(("c", declared)), storage_classes={("t", "c"): Holding(set(storage_classes), offsets)}
    ).tables[T]
    return statement.removeprefix('CREATE TABLE "public"."t" ("c" ')[:-1]


@pytest.mark.parametrize(
    ("declared", "wanted"),
    [
        ("INTEGER", "bigint"),
        ("tinyint(1)", "bigint"),
        ("UNSIGNED BIG INT", "bigint"),
        ("int(10) unsigned", "bigint"),
        ("int8", "bigint"),
        ("uint32", "bigint"),
        ("BIGSERIAL", "bigint"),
        ("Boolean", "boolean"),
        ("DOUBLE PRECISION", "double precision"),
        ("float", "double precision"),
        ("VARCHAR(40)", "text"),
        ("NATIVE CHARACTER(70)", "text"),
        ("string", "text"),
        ("DECIMAL(10, 2)", "numeric(10, 2)"),
        ("decimal (5)", "numeric(5, 0)"),
        ("decimal(2, 4)", "numeric(4, 4)"),
        ("NUMERIC", "numeric"),
        ("DATE", "date"),
        ("datetime", "timestamp"),
        ("SMALLDATETIME", "timestamp"),
        ("TIMESTAMP(6)", "timestamp"),
        ("timestamp  with time zone", "timestamptz"),
        ("timestamptz(6)", "timestamptz"),
        ("DATETIMEOFFSET", "timestamptz"),
        ("JSON", "jsonb"),
        ("uuid", "uuid"),
        ("VARBINARY(16)", "bytea"),
        ("BLOB", "bytea"),
    ],
)
def test_the_declaration_decides(declared: str, wanted: str) -> None:
    """What is stored is then held to it by preflight."""
    assert kind(declared) == wanted


@pytest.mark.parametrize(
    ("declared", "storage_classes", "wanted"),
    [
        ("", [], "text"),
        ("", [StorageClass.INTEGER], "bigint"),
        ("", [StorageClass.REAL, StorageClass.INTEGER], "double precision"),
        ("POINT", [StorageClass.TEXT], "text"),
        ("FANCY", [StorageClass.BLOB], "bytea"),
        *(
            (declared, [], "text")
            for declared in ("INTERVAL", "POINT", "ENUM('a','b')", "ULID", "INET", "XML", "FANCY")
        ),
    ],
)
def test_where_it_says_nothing_the_values_do(declared: str, storage_classes: list[StorageClass], wanted: str) -> None:
    """POINT has INT in it and is an integer to SQLite, which doesn't keep anybody from storing text there."""
    assert kind(declared, *storage_classes) == wanted


def test_moments_that_all_say_their_offset() -> None:
    """They are moments of the world, not of a clock on a wall."""
    assert kind("DATETIME", offsets=True) == "timestamptz"
    assert kind("DATETIME") == "timestamp"


def test_what_postgresql_cannot_have_is_named_all_at_once() -> None:
    """Mixtures, too many digits, names of its own: each with the rule that settles it."""
    source = table(("c", ""), ("price", "DECIMAL(2000,3)"), ("xmin", "REAL"), ("", "TEXT"), ("XMAX", "REAL"))
    mixed = {("t", "c"): Holding({StorageClass.TEXT, StorageClass.BLOB})}
    long = "é" * 40
    twins = table((long + "1", "INT"), (long + "2", "INT"), name="twins")
    wide = table(*((f"c{number}", "INT") for number in range(1700)), name="wide")
    blueprint = drawn(source, twins, wide, storage_classes=mixed)
    with pytest.raises(TargetRefused) as caught:
        refuse([], blueprint.obstacles)
    for said in (
        't: column c: no type of PostgreSQL holds what is in it: blob and text (settled by [columns."t.c"] with type',
        "t: column price: DECIMAL(2000,3) has more digits",
        '[columns."t.xmin"] with rename = "xmin_1"',
        't: the name of a column is empty (settled by [columns."t."] with rename = "column_1")',
        f"twins: column {long}2: the name is that of {long}1, cut at 63 bytes",
        "wide: it has 1700 columns",
    ):
        assert said in str(caught.value)
    assert "XMAX" not in str(caught.value)
    ruled = Rules(
        {"wide": TableRule(exclude=True)},
        {
            "t.c": ColumnRule(type="varchar(10)"),
            "t.price": ColumnRule(type="numeric"),
            "t.xmin": ColumnRule(rename="x"),
            "t.": ColumnRule(rename="none"),
            "twins.*2": ColumnRule(exclude=True),
        },
    )
    settled = drawn(source, twins, wide, rules=ruled, storage_classes=mixed)
    assert settled.obstacles == ()
    assert '"c" varchar(10)' in settled.tables[T]


def test_tables_whose_names_are_one_after_the_cut() -> None:
    """The second is named; renamed it stands."""
    first, second = (table(("a", "INT"), name="n" * 63 + end) for end in "xy")
    assert [one.table for one in drawn(first, second).obstacles] == ["n" * 63 + "y"]
    assert not drawn(first, second, rules=Rules({"*y": TableRule(rename="other")})).obstacles


def test_names_that_sqlite_tells_apart() -> None:
    """Beyond ASCII it folds no letter: both tables and both columns arrive."""
    blueprint = drawn(table(("Ä", "INT"), ("ä", "INT"), name="É"), table(("x", "INT"), name="é"))
    assert [name.name for name in blueprint.tables] == ["É", "é"]
    assert '("Ä" bigint, "ä" bigint)' in blueprint.tables[TableName("public", "É")]


@pytest.mark.parametrize("kind", ["int; DROP TABLE x", "text, b int", "text)--", ""])
def test_a_type_is_a_type(kind: str) -> None:
    """Nothing else gets into the statement by that way."""
    with pytest.raises(ValueError, match="type"):
        ColumnRule(type=kind)


def test_keys_and_names() -> None:
    """The rowid's alias counts on by itself; a column may be NULL or not, and names are as rules have them."""
    source = table(("id", "INTEGER"), ('we ird"', "TEXT"), ("gone", "TEXT"), key=1)
    rules = Rules({"t": TableRule(rename="T2")}, {"t.gone": ColumnRule(exclude=True), "t.id": ColumnRule(rename="no")})
    [statement] = drawn(source, rules=rules).tables.values()
    assert statement == (
        'CREATE TABLE "public"."T2" ("no" bigint GENERATED BY DEFAULT AS IDENTITY, "we ird""" text, PRIMARY KEY ("no"))'
    )
    assert not drawn(source, rules=Rules({"t": TableRule(exclude=True)})).tables


def index(name: str | None, *columns: str, unique: bool = True, where: str | None = None) -> Index:
    """Return an index on columns."""
    return Index(name, tuple(Term(column) for column in columns), unique, where)


PARTS = TableDeclarations(
    {"b": "0", "at": "current_timestamp", "n": "1 + 1", "s": "'it''s'", "day": "date('now', 'localtime')"},
    (
        Index("i", (Term("s", collation="NOCASE"), Term("n", descending=True)), unique=False),
        index(None, "n"),
        index("part", "n", where="N > 3"),
        Index("expr", (Term(None, "soundex(s)"),), unique=False),
        Index("lower", (Term(None, "lower(S)"),), unique=True),
        index("unread", "s", where=""),
    ),
    None,
    (
        ForeignKey(("N",), "OTHER", (), "NO ACTION", "CASCADE", deferred=True),
        ForeignKey(("n",), "nowhere", ("x",), "NO ACTION", "NO ACTION", deferred=False),
        ForeignKey(("s",), "other", (), "NO ACTION", "NO ACTION", deferred=False),
    ),
    (Check("positive", "N > 0"), Check(None, "json_valid(s)")),
    ("tr",),
    conflicts=("UNIQUE ON CONFLICT REPLACE",),
)
SOURCE = table(("n", "INT"), ("b", "BOOL"), ("at", "DATETIME"), ("s", "TEXT"), ("day", "TEXT"))
OTHER = table(("id", "INT"), key=1, name="Other")


def test_what_is_added() -> None:
    """Defaults, keys, indexes, CHECKs and foreign keys, as far as they mean the same at both ends."""
    blueprint = drawn(SOURCE, OTHER, declared=PARTS)
    own = '"public"."t"'
    assert [one.statement for one in blueprint.additions] == [
        f'ALTER TABLE {own} ALTER "n" SET DEFAULT 2',
        f'ALTER TABLE {own} ALTER "b" SET DEFAULT false',
        (
            f"ALTER TABLE {own} ALTER \"at\" SET DEFAULT (to_char(timezone('UTC', statement_timestamp()), "
            "'YYYY-MM-DD HH24:MI:SS'))::timestamp"
        ),
        f"ALTER TABLE {own} ALTER \"s\" SET DEFAULT 'it''s'",
        f'CREATE INDEX "i" ON {own} ((lower("s" COLLATE "C")), "n" DESC)',
        f'CREATE UNIQUE INDEX "part" ON {own} ("n") WHERE ("n" > 3)',
        f'CREATE UNIQUE INDEX "lower" ON {own} ((lower("s" COLLATE "C")))',
        f'ALTER TABLE {own} ADD UNIQUE ("n")',
        f'ALTER TABLE {own} ADD CONSTRAINT "positive" CHECK (("n" > 0))',
        (
            f'ALTER TABLE {own} ADD FOREIGN KEY ("n") REFERENCES "public"."Other" ("id") '
            "ON UPDATE NO ACTION ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
        ),
    ]
    assert {one.part.handle: one.stands_in_the_way for one in blueprint.left_out} == {
        "t.day_default": False,
        "t.expr": False,
        "t.unread": True,
        "t.check_2": True,
        "t.tr": False,
        "t.conflict": False,
        "t.n_fkey": True,
        "t.s_fkey": True,
    }


def test_what_guards_is_left_out_only_by_name() -> None:
    """The refusal prints what to add, and with just that it passes; what is named isn't made, though it could be."""
    with pytest.raises(TargetRefused) as caught:
        refuse(drawn(SOURCE, OTHER, declared=PARTS).left_out)
    assert "--leave-out 't.unread,t.check_2,t.n_fkey,t.s_fkey'" in caught.value.next_step
    assert "the CHECK json_valid(s): it calls json_valid" in str(caught.value)
    rules = Rules(leave_out=("t.unread", "T.check_?", "t.*_fkey", "t.positive"))
    blueprint = drawn(SOURCE, OTHER, declared=PARTS, rules=rules)
    refuse(blueprint.left_out)
    assert not any("positive" in one.statement for one in blueprint.additions)


def test_what_is_on_an_excluded_column_or_table_goes_with_it() -> None:
    """The operator has named the column; nothing else has to be said."""
    rules = Rules({"other": TableRule(exclude=True)}, {"t.s": ColumnRule(exclude=True)})
    left_out = drawn(SOURCE, OTHER, declared=PARTS, rules=rules).left_out
    assert {one.part.handle for one in left_out if one.stands_in_the_way} == {"t.n_fkey"}  # to no table at all


def test_names_of_indexes_that_are_taken() -> None:
    """An index whose name PostgreSQL has given away, or that is another's after the cut, gets one that is free."""
    long = "i" * 63
    declared = TableDeclarations(
        indexes=(index("t_pkey", "a"), index(long + "1", "a"), index(long + "2", "b"), index("u", "b"))
    )
    tables = (table(("id", "INTEGER"), ("a", "INT"), ("b", "INT"), key=1), table(("x", "INT"), name="u"))
    own = 'ON "public"."t"'
    assert [one.statement for one in drawn(*tables, declared=declared).additions] == [
        f'CREATE UNIQUE INDEX {own} ("a")',
        f'CREATE UNIQUE INDEX "{long}" {own} ("a")',
        f'CREATE UNIQUE INDEX {own} ("b")',
        f'CREATE UNIQUE INDEX {own} ("b")',
    ]


def test_a_default_that_sqlite_never_takes() -> None:
    """The rowid's alias counts on by itself, whatever its default says; PostgreSQL refuses both in one column."""
    source = table(("id", "INTEGER"), ("n", "INT"), key=1)
    blueprint = drawn(source, declared=TableDeclarations({"id": "5", "n": "5"}))
    assert [one.statement for one in blueprint.additions] == ['ALTER TABLE "public"."t" ALTER "n" SET DEFAULT 5']
    assert not blueprint.left_out
