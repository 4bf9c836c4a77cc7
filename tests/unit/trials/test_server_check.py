"""What only PostgreSQL can judge is judged before anything is written: ``check`` names it, and so does ``run``."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace

import asyncpg
import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from fix_values import MakeMove
from structlog.testing import capture_logs

from migrator.concurrency.blocking import BlockingConnection
from migrator.errors import NotTried, TargetRefused, ValuesRefused
from migrator.findings.finding import Finding
from migrator.job import check, run
from migrator.monitoring.tracker import Tracker
from migrator.source.scan import ScanSession
from migrator.target.database import Target
from migrator.trials import server_check
from migrator.trials.trial_load import Offence, try_rows
from migrator.trials.trial_table import ROW, Trial

Rows = Mapping[str, Iterable[Sequence[object]]]


@dataclass(frozen=True, slots=True)
class Case:
    """A target, a source, and what is refused of it."""

    target: str
    source: str
    rows: Rows
    refused: set[tuple[str, str, str]] = field(default_factory=set)
    """Column, a part of the reason, and the key of every row that is named."""
    exclude: tuple[str, ...] = ()


ID_V = "CREATE TABLE t (id INTEGER PRIMARY KEY, v)"
LONG = "".join(f"{n * 2654435761 % 2**32:08x}" for n in range(2500))
"""Twenty thousand characters that can't be made much shorter."""
DULL = "a" * 20_000
"""As many that can."""

CASES = {
    "a value too long for an index": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE INDEX t_v ON t (v)",
        ID_V,
        {"t": [(1, "short"), (2, LONG), (3, DULL), (4, None)]},
        {("v", "too long for index t_v of the target (v)", "id = 2")},
    ),
    "a value that is compressed, and still too long": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v text UNIQUE)",
        ID_V,
        {"t": [(1, LONG[:2500]), (2, LONG[:7000])]},
        {("v", "too long for index t_v_key", "id = 2")},
    ),
    "columns that are too long together": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v text, w text); CREATE INDEX t_vw ON t (v) INCLUDE (w)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v, w)",
        {"t": [(1, LONG[:1500], LONG[:1000]), (2, LONG[:1500], LONG[1500:3500])]},
        {("v", "too long for index t_vw of the target (v, w)", "id = 2")},
    ),
    "a hash of it has no limit": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE INDEX ON t USING hash (v)", ID_V, {"t": [(1, LONG)]}
    ),
    "an element too long for a GIN index": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v text[]); CREATE INDEX t_v ON t USING gin (v)",
        ID_V,
        {"t": [(1, f"{{{LONG}}}"), (2, "{" + ",".join(LONG[n : n + 9] for n in range(2000)) + "}")]},
        {("v", "too long for index t_v", "id = 1")},
    ),
    "too many words for a tsvector": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE INDEX t_v ON t USING gin (to_tsvector('simple', v))",
        ID_V,
        {"t": [(1, LONG), (2, " ".join(f"w{n}" for n in range(200_000)))]},
        {("v", "can't pass index t_v of the target (v): string is too long for tsvector", "id = 2")},
    ),
    "an expression that not every value has": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE INDEX t_v ON t ((v::int))",
        ID_V,
        {"t": [(1, "12"), (2, "twelve"), (3, None)]},
        {("v", "invalid input syntax for type integer", "id = 2")},
    ),
    "a unique expression": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE UNIQUE INDEX t_v ON t (lower(v))",
        ID_V,
        {"t": [(1, "Ada"), (2, "ada"), (3, "bob"), (4, None), (5, None), (6, "e")]},
        {("v", "is there more than once, and t_v", f"id = {n}") for n in (1, 2)},
    ),
    "a partial unique index": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v text, w boolean); CREATE UNIQUE INDEX t_v ON t (v) WHERE w",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v, w)",
        {"t": [(1, "a", 1), (2, "a", 0), (3, "b", 1), (4, "b", 1), (5, "a", 0)]},
        {("v", "is there more than once, and t_v", f"id = {n}") for n in (3, 4)},
    ),
    "documents that are one": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v jsonb UNIQUE)",
        ID_V,
        {"t": [(1, '{"a": 1, "b": 2}'), (2, '{"b":2,"a":1.0}'), (3, "{}")]},
        {("v", "is there more than once, and t_v_key", f"id = {n}") for n in (1, 2)},
    ),
    "digits beyond those of a double": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v numeric UNIQUE)",
        ID_V,
        {"t": [(1, "0.12345678901234567891"), (2, "0.12345678901234567892"), (3, "7.0"), (4, 7)]},
        {("v", "is there more than once, and t_v_key", f"id = {n}") for n in (3, 4)},
    ),
    "a day and 24 hours": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v interval UNIQUE)",
        ID_V,
        {"t": [(1, "1 day"), (2, "24:00:00"), (3, "2 days")]},
        {("v", "is there more than once, and t_v_key", f"id = {n}") for n in (1, 2)},
    ),
    "a collation that ignores case": Case(
        "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
        "CREATE TABLE t (id int PRIMARY KEY, v text COLLATE any_case UNIQUE)",
        ID_V,
        {"t": [(1, "Ada"), (2, "ADA"), (3, "bob")]},
        {("v", "is there more than once, and t_v_key", f"id = {n}") for n in (1, 2)},
    ),
    "an exclusion constraint": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v box, EXCLUDE USING gist (v WITH &&) DEFERRABLE INITIALLY DEFERRED)",
        ID_V,
        {"t": [(1, "(2,2),(0,0)"), (2, "(3,3),(1,1)"), (3, "(9,9),(8,8)"), (4, None)]},
        {("v", "can't stand beside another row's, by exclusion constraint t_v_excl", f"id = {n}") for n in (1, 2)},
    ),
    "a CHECK of one column": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v int CONSTRAINT small CHECK (v < 10))",
        ID_V,
        {"t": [(1, 9), (2, 10), (3, None), (4, 11)]},
        {("v", "breaks check constraint small of the target: CHECK ((v < 10))", f"id = {n}") for n in (2, 4)},
    ),
    "CHECKs of several columns, and two at once": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v int, w int, CONSTRAINT ordered CHECK (v < w));"
        "ALTER TABLE t ADD CONSTRAINT odd CHECK (w % 2 = 1)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v, w)",
        {"t": [(1, 1, 3), (2, 3, 1), (3, 1, 2)]},
        {
            ("v", "breaks check constraint ordered", "id = 2"),
            ("w", "breaks check constraint odd", "id = 3"),
        },
    ),
    "a CHECK that isn't validated holds for new rows": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t ADD CONSTRAINT small CHECK (v < 10) NOT VALID",
        ID_V,
        {"t": [(1, 9), (2, 10)]},
        {("v", "breaks check constraint small", "id = 2")},
    ),
    "a generated column": Case(
        "CREATE TABLE t (id int PRIMARY KEY, v int, w int GENERATED ALWAYS AS (100 / v) STORED)",
        ID_V,
        {"t": [(1, 5), (2, 0)]},
        {("v", "division by zero", "id = 2")},
    ),
    "a row for which there is no partition": Case(
        "CREATE TABLE t (id int, v date) PARTITION BY RANGE (v);"
        "CREATE TABLE t24 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
        ID_V,
        {"t": [(1, "2024-05-01"), (2, "2031-01-01"), (3, None)]},
        {("v", "finds no partition of public.t that takes it (v)", f"id = {n}") for n in (2, 3)},
    ),
    "partitions of partitions, with what is their own": Case(
        "CREATE TABLE t (id int, v text, w int) PARTITION BY LIST (v);"
        "CREATE TABLE ta PARTITION OF t (CONSTRAINT positive CHECK (w > 0)) FOR VALUES IN ('a') PARTITION BY HASH (w);"
        "CREATE TABLE ta0 PARTITION OF ta FOR VALUES WITH (MODULUS 1, REMAINDER 0);"
        "CREATE TABLE tb PARTITION OF t (w NOT NULL) FOR VALUES IN ('b'); CREATE UNIQUE INDEX tb_w ON tb ((w + 0))",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v, w)",
        {"t": [(1, "a", 1), (2, "a", -1), (3, "b", 7), (4, "b", 7), (5, "b", None), (6, "c", 1), (7, "a", 7)]},
        {
            ("w", "breaks check constraint positive", "id = 2"),
            ("w", "is there more than once, and tb_w", "id = 3"),
            ("w", "is there more than once, and tb_w", "id = 4"),
            ("w", "null value in column", "id = 5"),
            ("v", "finds no partition", "id = 6"),
        },
    ),
    "a row wider than a page": Case(
        f"CREATE TABLE t (id int PRIMARY KEY, {', '.join(f'c{n} bigint' for n in range(1100))})",
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(f'c{n}' for n in range(1100))})",
        {"t": [(1, *[1] * 1100), (2, *[1] * 900, *[None] * 200)]},
        {("id", "makes a row that is wider than a page of the target: row is too big", "id = 1")},
    ),
    "a parent that is not in the source": Case(
        "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1);"
        "CREATE TABLE t (id int PRIMARY KEY, v int REFERENCES p)",
        ID_V,
        {"t": [(1, 1), (2, 2), (3, None)]},
        {("v", "refers to a row of public.p in the target that isn't there, and t_v_fkey wants it", "id = 2")},
    ),
    "a parent that is excluded": Case(
        "CREATE TABLE p (a int, b int, PRIMARY KEY (a, b));"
        "CREATE TABLE t (id int PRIMARY KEY, v int, w int, FOREIGN KEY (v, w) REFERENCES p MATCH FULL)",
        "CREATE TABLE p (a, b); CREATE TABLE t (id INTEGER PRIMARY KEY, v, w)",
        {"p": [(1, 1)], "t": [(1, 1, 1), (2, None, None), (3, 1, None)]},
        {("v", "refers to a row of public.p in the target", f"id = {n}") for n in (1, 3)},
        exclude=("p",),
    ),
    "a key that is whole or not there": Case(
        "CREATE TABLE p (a int, b int, PRIMARY KEY (a, b));"
        "CREATE TABLE t (id int PRIMARY KEY, v int, w int, FOREIGN KEY (v, w) REFERENCES p MATCH FULL)",
        "CREATE TABLE p (a, b); CREATE TABLE t (id INTEGER PRIMARY KEY, v, w)",
        {"p": [(1, 1)], "t": [(1, 1, 1), (2, None, None), (3, 1, None)]},
        {("v", "refers to a row of p that isn't there", "id = 3")},
    ),
    "a key to rows that nobody has to look for": Case(
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, v int);"
        "ALTER TABLE t ADD CONSTRAINT later FOREIGN KEY (v) REFERENCES p NOT VALID",
        ID_V,
        {"t": [(1, 1)]},
    ),
}


def named(findings: Iterable[Finding]) -> set[tuple[str, str, str]]:
    """Return column, reason and key of every row that is named."""
    return {(one.column, one.reason, example.key) for one in findings if one.refuses for example in one.examples}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
async def test_whatever_check_accepts_run_carries(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, case: Case
) -> None:
    """Rows that are refused are named beforehand, all of them and no others; ``run`` refuses as well, or ends well."""
    make_sqlite(case.source, case.rows)
    try:
        await database.execute(case.target)
    except asyncpg.FeatureNotSupportedError:
        pytest.skip("this server is built without ICU")
    moving = move(exclude=list(case.exclude))
    found = named((await moving.check()).findings)
    left = set(found)
    for column, part, key in case.refused:
        met = {one for one in left if one[0] == column and part in one[1] and one[2] == key}
        assert met, (column, part, key, found)
        left -= met
    assert not left
    if case.refused:
        with pytest.raises(ValuesRefused):
            await moving.run()
        assert await database.fetch("SELECT FROM t") == []
    else:
        await moving.run()
    assert await database.fetch("SELECT FROM pg_class WHERE relname LIKE 'trial%'") == []


async def test_rows_of_the_target_that_refer_to_the_source(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """A table that stays as it is refers to one that is filled: what it refers to has to come."""
    make_sqlite(ID_V, {"t": [(1, 10), (2, 20)]})
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v int UNIQUE); CREATE TABLE c (v int REFERENCES t (v))")
    await database.execute("ALTER TABLE c DISABLE TRIGGER ALL; INSERT INTO c VALUES (20), (30), (NULL)", as_admin=True)
    [finding] = (await move().check()).findings
    assert (finding.table, finding.column, finding.rows) == ("t", "v", 1)
    assert (
        "is missing for rows of public.c in the target, which refer to it by c_v_fkey, for example v = '30'"
        in finding.reason
    )
    with pytest.raises(ValuesRefused):
        await move().run()
    await database.execute("DELETE FROM c WHERE v = 30")
    assert not (await move().check()).findings
    await move().run()


@pytest.mark.parametrize("beside", ["", ", extra inet"], ids=["binary", "text"])
async def test_an_encoding_that_lacks_a_character(
    environment: pytest.MonkeyPatch, database: Database, make_sqlite: MakeSqlite, beside: str
) -> None:
    """In a database in LATIN1: what has no place there is named, also as an escape in JSON; the rest arrives."""
    del environment  # cleaned, so that only what is given counts
    latin = replace(database, name=f"{database.name}_latin")
    options = "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    database.server.administer(f'CREATE DATABASE "{latin.name}" {options} OWNER "{database.role}"')
    try:
        rows = [(1, "plain", "{}"), (2, "caf\u00e9", '"\u00e9"'), (3, "5 \u20ac", "1"), (4, "x", '"\\u20ac"')]
        source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v, w)", {"t": rows})
        await latin.execute(f"CREATE TABLE t (id int PRIMARY KEY, v varchar(9), w jsonb{beside})")
        found = (await check.check(settings_of(source, latin), Tracker())).findings
        assert {example.key for finding in found for example in finding.examples} == {"id = 3", "id = 4"}
        assert "has a character that LATIN1, the target's encoding, doesn't have" in str(found)
        with pytest.raises(ValuesRefused):
            await run.run(settings_of(source, latin), Tracker())
        with closing(sqlite3.connect(source)) as connection:
            connection.execute("DELETE FROM t WHERE id > 2")
            connection.commit()
        await run.run(settings_of(source, latin), Tracker())
        assert [tuple(row) for row in await latin.fetch("SELECT v FROM t ORDER BY id")] == [("plain",), ("caf\u00e9",)]
    finally:
        database.server.administer(f'DROP DATABASE "{latin.name}" WITH (FORCE)')


async def take_from_role(database: Database, *privileges: str) -> None:
    """Take what the role may do in the database away, from everybody."""
    for privilege in privileges:
        for role in ("PUBLIC", f'"{database.role}"'):
            await database.execute(f'REVOKE {privilege} ON DATABASE "{database.name}" FROM {role}', as_admin=True)


SMALL = "CREATE TABLE t (id int PRIMARY KEY, v int CONSTRAINT small CHECK (v + 1 < 11))"


async def test_without_temporary_tables_a_schema_of_its_own_will_do(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """The trial is made in a schema that is rolled back with it: rows are named, and nothing of it is left."""
    make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v, w)", {"t": [(1, 5, "a"), (2, 50, "b"), (3, 1, "A")]})
    await database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v int CONSTRAINT small CHECK (v + 1 < 11), w text);"
        "CREATE UNIQUE INDEX t_w ON t (lower(w))"
    )
    await take_from_role(database, "TEMPORARY")
    found = named((await move().check()).findings)
    assert {(column, key) for column, _, key in found} == {("v", "id = 2"), ("w", "id = 1"), ("w", "id = 3")}
    assert await database.fetch("SELECT FROM pg_namespace WHERE nspname LIKE 'migrator%'") == []


async def test_what_cannot_be_tried_is_refused_unless_named(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """Where no trial can be made: table and constraint are named; allowed by name, the copy names the row."""
    make_sqlite(ID_V, {"t": [(1, 5), (2, 50)]})
    await database.execute(f"{SMALL}; CREATE SCHEMA migrator")
    await take_from_role(database, "TEMPORARY", "CREATE")
    found = await move().check()
    assert isinstance(found.failure, NotTried)
    assert "small of public.t: permission denied" in str(found.failure)
    assert "--untried 't.small'" in found.failure.next_step
    with pytest.raises(NotTried):
        await move().run()
    allowed = move(untried=("t.small",))
    with capture_logs() as events:
        assert (await allowed.check()).failure is None
    [warning] = [event for event in events if event["event"] == "constraint.untried"]
    assert (warning["table"], warning["constraints"]) == ("public.t", ["small"])
    with pytest.raises(TargetRefused, match=r"the row id = 2 of 't' violates check constraint 'small' of public\.t"):
        await allowed.run()


STRANGE = {
    "a CHECK over the whole row": "ALTER TABLE t ADD CONSTRAINT small CHECK (t IS NOT NULL)",
    "an event trigger": "ALTER TABLE t ADD CONSTRAINT small CHECK (v + 1 < 11);"
    "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not here'; END $$;"
    "CREATE EVENT TRIGGER no ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION no()",
}


@pytest.mark.parametrize("target", STRANGE.values(), ids=STRANGE)
async def test_what_takes_no_trial(move: MakeMove, database: Database, make_sqlite: MakeSqlite, target: str) -> None:
    """Whatever keeps a trial from being made, ``check`` ends with 4 and names the constraint."""
    make_sqlite(ID_V, {"t": [(1, 5), (2, 50)]})
    await database.execute(f"CREATE TABLE t (id int PRIMARY KEY, v int); {target}", as_admin=True)
    await database.execute(f'ALTER TABLE t OWNER TO "{database.role}"', as_admin=True)
    failure = (await move().check()).failure
    assert isinstance(failure, NotTried)
    assert "small of public.t: " in str(failure)


async def test_what_is_about_no_column(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """A unique index on a constant takes one row."""
    make_sqlite(ID_V, {"t": [(1, 5), (2, 50)]})
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE UNIQUE INDEX one ON t ((true))")
    assert isinstance((await move().check()).failure, ValuesRefused)


FUNCTIONS = {
    "by its argument alone": ("RETURN $1 > 0;", None),
    "by other rows": ("RETURN (SELECT count(*) < 3 FROM t);", NotTried),
    "by another function": ("RETURN other($1);", NotTried),
}


@pytest.mark.parametrize(("body", "error"), FUNCTIONS.values(), ids=FUNCTIONS)
async def test_a_function_that_may_answer_otherwise(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, body: str, error: type[Exception] | None
) -> None:
    """A CHECK by a function that isn't immutable is tried; if that may read other rows it is refused unless named."""
    make_sqlite(ID_V, {"t": [(1, 5), (2, 50)]})
    await database.execute(
        "CREATE FUNCTION other(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 > 0';"
        "CREATE TABLE t (id int PRIMARY KEY, v int);"
        f"CREATE FUNCTION fits(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN {body} END $$;"
        "ALTER TABLE t ADD CONSTRAINT fit CHECK (fits(v))"
    )
    failure = (await move().check()).failure
    assert failure is None if error is None else isinstance(failure, error)
    await move(untried=("t.fit",)).run()


TABLE_ITSELF = {
    "holds only there": ("tableoid = 't'::regclass", None),
    "is broken only there": ("tableoid <> 't'::regclass OR v < 10", TargetRefused),
    "by the statement": ("current_query() NOT LIKE 'COPY \"public\"%'", TargetRefused),
}


@pytest.mark.parametrize(("check", "error"), TABLE_ITSELF.values(), ids=TABLE_ITSELF)
async def test_a_check_that_tells_the_table_from_the_trial(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, check: str, error: type[Exception] | None
) -> None:
    """No trial answers for it: it is refused unless named, and what the copy makes of it is the truth."""
    make_sqlite(ID_V, {"t": [(1, 5), (2, 50)]})
    await database.execute(
        f"CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t ADD CONSTRAINT itself CHECK ({check})"
    )
    failure = (await move().check()).failure
    assert isinstance(failure, NotTried)
    assert "--untried 't.itself'" in failure.next_step
    with pytest.raises(error) if error else nullcontext():
        await move(untried=("t.itself",)).run()


async def test_words_of_a_text_are_no_column(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """A CHECK whose text speaks of the table's own columns is tried like any."""
    make_sqlite(ID_V, {"t": [(1, "a"), (2, "tableoid")]})
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text CHECK (upper(v) <> upper('tableoid')))")
    assert isinstance((await move().check()).failure, ValuesRefused)


async def test_a_row_that_only_a_function_of_the_application_refuses(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """Its CHECK is tried although it isn't immutable; the row is named by its key, and values aren't shown."""
    make_sqlite(ID_V, {"t": [(1, "12"), (2, "secret")]})
    await database.execute(
        "CREATE FUNCTION number(text) RETURNS int LANGUAGE sql AS 'SELECT $1::int';"
        "CREATE TABLE t (id int PRIMARY KEY, v text CHECK (number(v) > 0))"
    )
    with pytest.raises(ValuesRefused, match="invalid input syntax for type integer") as raised:
        await move().run()
    assert "id = 2" in str(raised.value)


async def test_many_rows_are_not_tried_one_by_one(move: MakeMove, database: Database, make_sqlite: MakeSqlite) -> None:
    """After enough rows a constraint has had its turn: the number is a least one, and the next gets all rows."""
    make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, v, w)", {"t": [(n, n, n) for n in range(3000)]})
    await database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v int CONSTRAINT a CHECK (v + 0 < 100), "
        "w int CONSTRAINT b CHECK (w + 0 <> 2999))"
    )
    found = (await move().check()).findings
    assert {(one.column, one.rows, one.at_least) for one in found} == {("v", 1000, True), ("w", 1, False)}


async def test_rows_near_a_limit_are_shown_to_the_server(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a table is made: rows beyond a size, here a small one, are tried as they will be sent."""
    monkeypatch.setattr(server_check, "_MOST_ROW_BYTES", 10_000)
    tried = []

    async def noted(target: Target, reading: BlockingConnection[ScanSession], trial: Trial) -> list[Offence]:
        tried.append((trial.where, [column.target.name for column in trial.table.columns]))
        return await try_rows(target, reading, trial)

    monkeypatch.setattr(server_check, "try_rows", noted)
    make_sqlite(ID_V, {"t": [(1, "short"), (2, DULL)]})
    await database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    await move().run()
    [(where, columns)] = tried
    assert "> 10000" in where
    assert columns == ["id", "v", ROW]


async def test_a_sequence_of_the_target_is_not_drawn_from(
    move: MakeMove, database: Database, make_sqlite: MakeSqlite
) -> None:
    """``check`` changes nothing: a column that fills itself is filled from a sequence of the trial's own."""
    make_sqlite("CREATE TABLE t (v)", {"t": [(n,) for n in range(100)]})
    await database.execute("CREATE TABLE t (id serial PRIMARY KEY, v int, CHECK (id > v OR v > 0))")
    await move().check()
    assert [row["last_value"] for row in await database.fetch("SELECT last_value FROM t_id_seq")] == [1]
