"""docs/types.md is true: every cell of its table is tried on a real server, and every rule stands in it."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fix_values import Carry, Refused

from migrator.rules import ColumnRule, TableRule

PAGE = (Path(__file__).parent.parent / "docs" / "types.md").read_text(encoding="utf-8")
CLASSES = ("INTEGER", "REAL", "TEXT", "BLOB")
# For each storage class values that some type accepts, and values that some type refuses.
PROBES: dict[str, dict[str, object]] = {
    "INTEGER": {"zero": 0, "hundred thousand": 100_000, "2**60 + 1": 2**60 + 1, "last": 2**63 - 1},
    "REAL": {"half": 0.5, "tenth": 0.1, "third": 1 / 3, "infinity": math.inf},
    "TEXT": {
        "empty": "",
        "number": "1.5",
        "word": "ok",
        "long": "n" * 64,
        "nul": "a\0",
        "latin": ("TEXT", b"\xe9"),
        "date": "2024-02-29",
        "time": "12:34:56.789",
        "naive": "2024-02-29 12:34:56.789",
        "zoned": "2024-02-29 12:34:56.789+01:00",
        "now": "now",
        "interval": "1 day",
        "document": '{"a": 1}',
        "nul escape": r'"\u0000"',
        "uuid": "97033619-6371-4874-8591-279e78663470",
        "list": "[1, 2]",
        "array": "{1,2}",
        "host": "10.0.0.1",
    },
    "BLOB": {"no bytes": b"", "16 bytes": bytes(range(16))},
}


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
