"""docs/reference/types.md is true: every cell of its table is tried on a real server, and every rule stands in it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fix_postgres import Database
from fix_values import Carry, Refused
from type_probes import PROBES

from migrator.names import styled
from migrator.planning.rules import ColumnRule, TableRule

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "types.md").read_text(encoding="utf-8")
CLASSES = ("INTEGER", "REAL", "TEXT", "BLOB")


def rows() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows of the table: a type, and what is said of each storage class."""
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 1 + len(CLASSES) and cells[0].startswith("`"):
            yield cells[0].split("`")[1], dict(zip(CLASSES, cells[1:], strict=True))


TABLE = dict(rows())


@pytest.mark.parametrize("declared", TABLE)
@pytest.mark.one_server
async def test_every_cell_is_true(carry: Carry, declared: str) -> None:
    """Under *yes* every probe arrives, under *no* none does, and under a condition some do and some don't."""
    values = {f"{storage} {name}": value for storage in CLASSES for name, value in PROBES[storage].items()}
    outcome = await carry(declared, values, prepare="CREATE TYPE mood AS ENUM ('ok', 'bad')", shown="v::text")
    for storage, said in TABLE[declared].items():
        accepted = {not isinstance(outcome[name], Refused) for name in values if name.startswith(storage)}
        expected = {"yes": {True}, "no": {False}}.get(said, {True, False})
        assert accepted == expected, f"{storage}: {said}"


def test_every_type_that_is_promised_has_a_row() -> None:
    """A family of types that nobody wrote about would be found here."""
    from migrator.types import _FAMILIES  # noqa: PLC0415 - the list that counts

    spelled = {"bool": "boolean", "int2": "smallint", "int4": "integer", "int8": "bigint", "float4": "real"}
    spelled |= {"float8": "double precision", "bpchar": "char(3)", "varchar": "varchar(3)"}
    assert {spelled.get(name, name) for name in _FAMILIES} - {"citext"} <= set(TABLE)
    assert "`citext`" in PAGE


@pytest.mark.parametrize("rule", sorted({*ColumnRule.model_fields, *TableRule.model_fields}))
def test_every_rule_is_described(rule: str) -> None:
    """In the table of rules, with an example of its value."""
    assert re.search(rf"^\| .*`{rule} = ", PAGE, re.MULTILINE)


def named() -> Iterator[tuple[str, str, str]]:
    """Yield the rows of the table of names: a name of the source, and what it becomes in each style."""
    part = PAGE.partition("\n## Names\n")[2].partition("\n## ")[0]
    for line in part.splitlines():
        if line.startswith("| `"):
            own, lower, snake_case = (cell.strip().strip("`") for cell in line.strip("|").split(" | "))
            yield own, lower, snake_case


@pytest.mark.parametrize(("own", "lower", "snake_case"), list(named()))
def test_every_name_becomes_what_is_written(own: str, lower: str, snake_case: str) -> None:
    """In the table of names."""
    assert (styled(own, "lower"), styled(own, "snake_case")) == (lower, snake_case)


# Of each row about types that only the server can read: a column, a text that is exact, and one that isn't.
SAMPLES: dict[str, tuple[str, str, str]] = {
    "arrays": ("int[]", "[1, 2]", "[[1], [2]]"),
    "composites": ("part", "(a,1.50)", "(a,1.505)"),
    "ranges, multiranges": ("int4range", "[1,5]", "1-5"),
    "`boolean`": ("boolean[]", "{yes,0}", "{ye}"),
    "`smallint`, `integer`, `bigint`": ("smallint[]", "{-7,+8}", "{0x1F}"),
    "`oid`": ("oid", "4294967295", "-1"),
    "`numeric`": ("numeric(4,2)[]", "{1.50,NaN}", "{1.505}"),
    "`double precision`": ("float8[]", "{0.1,NaN}", "{0.1000000000000000055}"),
    "`real`": ("float4[]", "{0.5}", "{0.123456789}"),
    "`money`": ("money", "12.34", "12.345"),
    "`date`": ("date[]", "{2024-02-29,infinity}", '{"2024-02-29 12:00"}'),
    "`time`": ("time[]", "{12:34,12:34:56.789}", "{12:34:56+01}"),
    "`timetz`": ("timetz", "12:34Z", "12:34 Europe/Berlin"),
    "`timestamp`": ("timestamp[]", "{2024-02-29T12:34:56.789}", '{"2024-02-29 24:00"}'),
    "`timestamptz`": ("timestamptz[]", '{"2024-02-29 12:34:56+01"}', '{"2024-02-29 24:00+01"}'),
    "`interval`": ("interval", "1 year 2 mons 3 days 04:05:06.7", "1.02:03:04"),
    "`inet`, `cidr`": ("cidr", "10.0.0.0/8", "10"),
    "`macaddr`, `macaddr8`": ("macaddr8", "08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03"),
    "`bit`, `bit varying`": ("bit(3)", "101", "1011"),
    "`uuid`, `bytea`, `jsonb`": ("jsonb[]", '{"{\\"a\\": 1}"}', '{"{\\"a\\": 1, \\"a\\": 2}"}'),
    '`text`, `varchar`, `name`, `"char"`, enumerations, `json`, `citext`': ("name[]", "{a}", "{" + "n" * 64 + "}"),
    "`char(n)`": ("char(3)[]", '{"ab "}', "{abcd}"),
    "`hstore`": ("hstore", "a=>1", "a=>1, a=>2"),
    "`point`, `line`, `lseg`, `path`, `polygon`, `circle`, `box`": ("box", "(3,4),(1,2)", "(1,2),(3,4)"),
    "`tsvector`, `tsquery`": ("tsvector", "'cat' 'fat':2", "the fat cat"),
    "`xml`, `ltree`, `pg_lsn`, `geometry` and all others": ("pg_lsn", "16/B374D848", "16/b374d848"),
}
EXTENSIONS = {"`vector`"}
"""Rows about types of extensions that no server of the tests has."""


def rows_about_the_servers_types() -> Iterator[str]:
    """Yield the first cell of each row of the table of types that only PostgreSQL can read."""
    _, _, section = PAGE.partition("\n## Types that only PostgreSQL can read\n")
    for line in section.partition("\n## ")[0].splitlines():
        cells = line.strip("|").split(" | ")
        if len(cells) == 3 and line.startswith("| ") and cells[0].strip() != "type":
            yield cells[0].strip()


def test_every_type_that_only_the_server_reads_is_tried() -> None:
    """A row that somebody adds has to be shown."""
    assert set(rows_about_the_servers_types()) == {*SAMPLES, *EXTENSIONS}


@pytest.mark.parametrize("row", SAMPLES)
@pytest.mark.one_server
async def test_every_row_about_the_servers_types_is_true(carry: Carry, database: Database, row: str) -> None:
    """What the row calls exact arrives, and what it doesn't is refused."""
    declared, exact, other = SAMPLES[row]
    if declared == "hstore":
        await database.execute("CREATE EXTENSION hstore", as_admin=True)
    prepare = "CREATE TYPE part AS (label text, price numeric(10,2))" if declared == "part" else "SELECT"
    outcome = await carry(declared, {"exact": exact, "other": other}, prepare=prepare, shown="v::text")
    assert {name: isinstance(one, Refused) for name, one in outcome.items()} == {"exact": False, "other": True}
