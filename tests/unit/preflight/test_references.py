"""References of text and the like: a join says that all have their row, and where it doesn't, SQLite finds the rows."""

from collections.abc import Sequence

import pytest
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import MakeMove

from migrator.planning.plan import TablePlan
from migrator.preflight import table_check
from migrator.preflight.quick import references
from migrator.preflight.quick.references import Reference, all_are_there
from migrator.source.scan import ScanSession
from migrator.source.size import TableSize

pytestmark = pytest.mark.one_server

UUID = "97033619-6371-4874-8591-279e78663470"
LONG = "n" * 1_500

Case = tuple[str, Sequence[object], Sequence[object], bool, int]
CASES: dict[str, Case] = {
    "all there": ("text", ["a", "b", "unused"], ["b", "a", "b", None], True, 0),
    "one orphan": ("text", ["a"], ["a", "b", None], False, 1),
    "no parent at all": ("varchar(9)", [], ["a", "b", None], False, 2),
    "case": ("text", ["a"], ["A"], False, 1),
    "case in citext": ("citext", ["Ada"], ["ADA", "ada"], True, 0),
    "padding": ("char(5)", ["a "], ["a", "a  "], True, 0),
    "spellings of a uuid": (
        "uuid",
        [UUID],
        [UUID.upper(), UUID.replace("-", ""), bytes.fromhex(UUID.replace("-", ""))],
        True,
        0,
    ),
    "orphan of a uuid": ("uuid", [UUID], ["0" * 32], False, 1),
    "bytes": ("bytea", [b"\0\xff"], [b"\0\xff"], True, 0),
    "digits": ("text", [1], ["1"], True, 0),
    "long": ("text", [LONG], [LONG], False, 0),
    "long, and another": ("text", [LONG], [LONG[:-1] + "m"], False, 1),
}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Give the answers of the join, which is asked for few rows too."""
    monkeypatch.setattr(references, "_FEW_REFERENCES", 0)
    given: list[bool] = []

    def noted(
        session: ScanSession, table: TablePlan, reference: Reference, table_size: TableSize, batch_bytes: int
    ) -> bool:
        given.append(all_are_there(session, table, reference, table_size, batch_bytes))
        return given[-1]

    monkeypatch.setattr(table_check, "all_are_there", noted)
    return given


@pytest.mark.parametrize("case", CASES)
async def test_the_join_misses_no_orphan(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, answers: list[bool], case: str
) -> None:
    """It is equal to SQLite's look-up wherever it says that nothing is missing, and says so where that is usual."""
    declared, parents, children, there, orphans = CASES[case]
    make_sqlite(
        "CREATE TABLE p (id); CREATE TABLE t (id INTEGER PRIMARY KEY, p)",
        {"p": [(parent,) for parent in parents], "t": list(enumerate(children))},
    )
    await database.execute(
        f"CREATE EXTENSION IF NOT EXISTS citext; CREATE TABLE p (id {declared} PRIMARY KEY);"
        f"CREATE TABLE t (id bigint PRIMARY KEY, p {declared} REFERENCES p)"
    )
    report = await move().check()
    assert answers == [there]
    assert sum(finding.rows for finding in report.findings) == orphans


async def test_several_columns_and_a_table_that_refers_to_itself(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, answers: list[bool]
) -> None:
    """A reference of which a part is NULL refers to nothing."""
    make_sqlite(
        "CREATE TABLE p (a TEXT, b TEXT, PRIMARY KEY (a, b));"
        "CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT, b TEXT, up TEXT)",
        {
            "p": [("x", "y"), ("left", "behind")],
            "t": [("1", "x", "y", None), ("2", "none", None, "1"), ("3", "left", "behind", "2")],
        },
    )
    await database.execute(
        "CREATE TABLE p (a text, b text, PRIMARY KEY (a, b));"
        "CREATE TABLE t (id text PRIMARY KEY, a text, b text, up text REFERENCES t, FOREIGN KEY (a, b) REFERENCES p)"
    )
    assert not (await move().check()).findings
    assert answers == [True, True]
