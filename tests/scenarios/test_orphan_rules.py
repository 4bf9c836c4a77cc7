"""Rules for orphans, in the whole job: what refers to nothing stays behind or loses its reference, and is counted."""

import json
import re
from pathlib import Path

import pytest
from fix_job import contents, settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from test_row_rules import change, ruled

from migrator.errors import ConfigurationError, GaveUp, Mismatch, SourceChanged, TargetRefused, ValuesRefused
from migrator.job import check, run, verify
from migrator.monitoring.tracker import Tracker

pytestmark = pytest.mark.one_server  # test_property_row_rules.py is for the other as well

SOURCE = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, deleted INTEGER);
CREATE TABLE posts (
    id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users, reply_to INTEGER REFERENCES posts
);
CREATE TABLE tags (post_id INTEGER REFERENCES posts, tag TEXT, PRIMARY KEY (post_id, tag)) WITHOUT ROWID;
"""
THERE = """
CREATE TABLE users (id bigint PRIMARY KEY, name text, deleted int);
CREATE TABLE posts (id bigint PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, reply_to bigint REFERENCES posts);
CREATE TABLE tags (post_id bigint REFERENCES posts, tag text, PRIMARY KEY (post_id, tag));
"""
ROWS: dict[str, list[tuple[object, ...]]] = {
    "users": [(1, "a", 0), (2, "b", 1), (3, "c", 0)],
    # 10 refers to no user, 11 replies to it, 12 replies to 11; 13 replies to nothing that is there; 14 is user 2's.
    "posts": [(10, 99, None), (11, 1, 10), (12, 3, 11), (13, 1, 77), (14, 2, None), (15, 1, 14), (16, 3, None)],
    "tags": [(10, "x"), (11, "x"), (12, "x"), (14, "x"), (16, "x"), (16, "y"), (98, "z")],
}
WHERE = """[tables."users"]\nwhere = "deleted = 0"\n"""
DROP_ALL = """
[columns."posts.user_id"]
orphans = "drop"
[columns."posts.reply_to"]
orphans = "drop"
[columns."tags.post_id"]
orphans = "drop"
"""
NULL_REPLIES = DROP_ALL.replace('reply_to"]\norphans = "drop"', 'reply_to"]\norphans = "null"')


FOREIGN_KEYS = "SELECT FROM pg_constraint WHERE contype = 'f' AND conrelid = 'posts'::regclass"


async def interrupted(*_given: object, **_more: object) -> None:
    """End the run where a stage would begin."""
    raise GaveUp("interrupted")


async def rows_of(database: Database) -> dict[str, list[str]]:
    """Return the rows of all tables of the target."""
    return {name: await contents(database, name) for name in ("users", "posts", "tags")}


@pytest.mark.parametrize("schema_mode", ["existing", "create"])
async def test_a_dropped_row_takes_along_what_refers_to_it(
    schema_mode: str, make_sqlite: MakeSqlite, database: Database
) -> None:
    """A cascade through a table that refers to itself to one without a rowid, begun by ``where`` and by orphans."""
    source = make_sqlite(SOURCE, ROWS)
    if schema_mode == "existing":
        await database.execute(THERE)
    keys = source.with_name("left.ndjson")
    settings = ruled(source, database, WHERE + DROP_ALL, schema_mode=schema_mode, left_behind=keys, jobs=1)
    looked = await check.check(settings, Tracker())
    assert looked.failure is None
    numbers = {table["table"]: table["left_behind"] for table in looked.to_json()["tables"]}
    assert numbers == {"public.users": 1, "public.posts": 6, "public.tags": 5}
    report = await run.run(settings, Tracker())
    assert await rows_of(database) == {
        "users": ["(1,a,0)", "(3,c,0)"],
        "posts": ["(16,3,)"],
        "tags": ["(16,x)", "(16,y)"],
    }
    assert {line.table: (line.source_rows, line.left_behind) for line in report.tables} == {
        "public.users": (2, 1),
        "public.posts": (1, 6),
        "public.tags": (2, 5),
    }
    [posts] = [line for line in report.tables if line.table == "public.posts"]
    assert {(entry["column"], entry["rule"]) for entry in posts.orphans} == {("user_id", "drop"), ("reply_to", "drop")}
    assert sum(entry["rows"] for entry in posts.orphans) == 6
    lines = [json.loads(line) for line in keys.read_text().splitlines()]
    assert len(lines) == 11
    assert {
        "table": "tags",
        "foreign_key": "tags_post_id_fkey",
        "rule": "drop",
        "key": {"post_id": "98", "tag": "'z'"},
        "reference": {"post_id": "98"},
    } in lines
    assert keys.stat().st_mode & 0o777 == 0o600
    again = await verify.verify(settings, Tracker())
    assert {line.table: line.left_behind for line in again.tables} == {
        "public.users": 1,
        "public.posts": 6,
        "public.tags": 5,
    }


async def test_a_reference_can_be_set_to_null(make_sqlite: MakeSqlite, database: Database) -> None:
    """The row is carried without it; its children have their parent, and the comparison expects NULL."""
    source = make_sqlite(SOURCE, ROWS)
    await database.execute(THERE)
    keys = source.with_name("left.ndjson")
    settings = ruled(source, database, NULL_REPLIES, left_behind=keys, mask_values=True)
    report = await run.run(settings, Tracker())
    there = await rows_of(database)
    assert there["posts"] == ["(11,1,)", "(12,3,11)", "(13,1,)", "(14,2,)", "(15,1,14)", "(16,3,)"]
    assert there["tags"] == ["(11,x)", "(12,x)", "(14,x)", "(16,x)", "(16,y)"]
    assert "2 rows are carried with NULL in the place of the reference" in " ".join(report.notes)
    assert [json.loads(line) for line in keys.read_text().splitlines() if '"null"' in line] == [
        {"table": "posts", "foreign_key": "posts_reply_to_fkey", "rule": "null", "key": {"id": key}}
        for key in ("11", "13")
    ]
    await verify.verify(settings, Tracker())
    await database.execute("UPDATE posts SET reply_to = 16 WHERE id = 13")
    with pytest.raises(Mismatch):
        await verify.verify(settings, Tracker())


async def test_the_remedy_of_each_finding_leads_out(make_sqlite: MakeSqlite, database: Database) -> None:
    """Each key of the cascade needs its own rule; the first line of each finding, followed literally, ends with 0."""
    source = make_sqlite(SOURCE, ROWS)
    await database.execute(THERE)
    rules = WHERE
    for _ in range(4):
        report = await check.check(ruled(source, database, rules), Tracker())
        if report.failure is None:
            break
        assert isinstance(report.failure, ValuesRefused)
        for finding in report.findings:
            assert finding.settled_by.startswith('orphans = "drop"')
            assert ('orphans = "null"' in finding.settled_by) == (finding.column == "reply_to")
            rules += f'[columns."{finding.table}.{finding.column}"]\n{finding.settled_by.splitlines()[0]}\n'
    await run.run(ruled(source, database, rules), Tracker())
    assert await contents(database, "posts") == ["(16,3,)"]


async def test_a_row_that_a_rule_leaves_behind_is_told_from_one_that_is_not_there(
    make_sqlite: MakeSqlite, database: Database
) -> None:
    """The finding says in how many rows the reference is to a row that ``where`` leaves behind."""
    source = make_sqlite(SOURCE, ROWS)
    await database.execute(THERE)
    with pytest.raises(ValuesRefused, match=r"posts.user_id: 2 rows .*in 1 of these rows .* a rule leaves behind"):
        await run.run(ruled(source, database, WHERE), Tracker())


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ('[columns."posts.user_id"]\norphans = "null"\n', "NOT NULL in the target"),
        ('[columns."posts.id"]\norphans = "drop"\n', "no foreign key of the target begins there"),
        ('[columns."tags.post_id"]\norphans = "keep"\n', "orphans"),
    ],
)
async def test_a_rule_that_can_not_be_used(
    rules: str, reason: str, make_sqlite: MakeSqlite, database: Database
) -> None:
    """Under NOT NULL, ``drop`` is the way out."""
    source = make_sqlite(SOURCE, ROWS)
    await database.execute(THERE)
    for command in (check.check, run.run):
        with pytest.raises(ConfigurationError, match=reason) as raised:
            await command(ruled(source, database, rules), Tracker())
        assert "NOT NULL" not in reason or 'orphans = "drop"' in raised.value.next_step
    assert await contents(database, "users") == []


async def test_a_run_that_was_interrupted_goes_on_without_the_parked_keys(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The foreign keys are gone from the target by then: the ledger knows them, and the same rows stay behind."""
    source = make_sqlite(SOURCE, ROWS)
    await database.execute(THERE)
    settings = ruled(source, database, WHERE + DROP_ALL)

    with monkeypatch.context() as patched:
        patched.setattr("migrator.job.migrate.copy", interrupted)
        with pytest.raises(GaveUp):
            await run.run(settings, Tracker())
    assert await database.fetch(FOREIGN_KEYS) == []
    await run.run(settings, Tracker())
    assert (await rows_of(database))["posts"] == ["(16,3,)"]
    assert len(await database.fetch(FOREIGN_KEYS)) == 2


async def test_a_complete_migration_is_held_to_the_rows_that_it_carried(
    make_sqlite: MakeSqlite, database: Database
) -> None:
    """Also after the application has dropped its keys; a row that would be carried now is a change."""
    source = make_sqlite(SOURCE, ROWS)
    await database.execute(THERE)
    settings = ruled(source, database, WHERE + DROP_ALL)
    await run.run(settings, Tracker())
    await database.execute("ALTER TABLE tags DROP CONSTRAINT tags_post_id_fkey")
    await verify.verify(settings, Tracker())
    change(source, "UPDATE tags SET tag = 'other' WHERE post_id = 10", "DELETE FROM posts WHERE id = 12")
    assert (await run.run(settings, Tracker())).headline.startswith("already migrated")
    with pytest.raises(TargetRefused, match=r"posts.reply_to \(orphans = 'drop' then, orphans = 'null' now\)"):
        await run.run(ruled(source, database, WHERE + NULL_REPLIES), Tracker())
    change(source, "UPDATE users SET deleted = 0 WHERE id = 2")
    with pytest.raises(SourceChanged, match="tags"):
        await run.run(ruled(source, database, WHERE + DROP_ALL), Tracker())


async def test_a_key_of_two_columns(make_sqlite: MakeSqlite, database: Database) -> None:
    """The rule stands at the first column; what can be NULL becomes NULL, what can't keeps its value."""
    source = make_sqlite(
        "CREATE TABLE p (tenant INTEGER, id INTEGER, PRIMARY KEY (tenant, id));"
        "CREATE TABLE c (id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, p INTEGER)",
        {"p": [(1, 1), (1, 2)], "c": [(1, 1, 1), (2, 1, 3), (3, 2, 1), (4, 2, None)]},
    )
    await database.execute(
        "CREATE TABLE p (tenant bigint, id bigint, PRIMARY KEY (tenant, id));"
        "CREATE TABLE c (id bigint PRIMARY KEY, tenant bigint NOT NULL, p bigint,"
        " CONSTRAINT of_p FOREIGN KEY (tenant, p) REFERENCES p)"
    )
    wrong = ruled(source, database, '[columns."c.p"]\norphans = "null"\n')
    with pytest.raises(ConfigurationError) as raised:
        await run.run(wrong, Tracker())
    first = re.search(r'\[columns\."(.*)"\]', raised.value.next_step)
    assert first
    await run.run(ruled(source, database, f'[columns."{first[1]}"]\norphans = "null"\n'), Tracker())
    assert await contents(database, "c") == ["(1,1,1)", "(2,1,)", "(3,2,)", "(4,2,)"]


async def test_a_key_to_rows_that_do_not_come_from_the_source(make_sqlite: MakeSqlite, database: Database) -> None:
    """Only PostgreSQL sees such parents: the rule isn't offered, and refused where it is written; ``where`` works."""
    source = make_sqlite("CREATE TABLE c (id INTEGER PRIMARY KEY, kind INTEGER)", {"c": [(1, 1), (2, 5)]})
    await database.execute(
        "CREATE TABLE kinds (id bigint PRIMARY KEY); INSERT INTO kinds VALUES (1);"
        "CREATE TABLE c (id bigint PRIMARY KEY, kind bigint NOT NULL REFERENCES kinds)"
    )
    report = await check.check(settings_of(source, database), Tracker())
    assert ["orphans" in finding.settled_by for finding in report.findings] == [False]
    with pytest.raises(ConfigurationError, match=r"c_kind_fkey refers to public\.kinds") as raised:
        await run.run(ruled(source, database, '[columns."c.kind"]\norphans = "drop"\n'), Tracker())
    assert '[tables."c"] and where' in raised.value.next_step
    await run.run(ruled(source, database, '[tables."c"]\nwhere = "kind = 1"\n'), Tracker())
    assert await contents(database, "c") == ["(1,1)"]


async def test_nulls_of_a_rule_under_a_key_that_takes_one_null(make_sqlite: MakeSqlite, database: Database) -> None:
    """NULLS NOT DISTINCT (PostgreSQL 15): two references that become NULL are one key, which preflight finds."""
    source = make_sqlite(
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER UNIQUE)",
        {"p": [(1,)], "c": [(1, 1), (2, 7), (3, 8)]},
    )
    await database.execute(
        "CREATE TABLE p (id bigint PRIMARY KEY);"
        "CREATE TABLE c (id bigint PRIMARY KEY, p bigint REFERENCES p, UNIQUE NULLS NOT DISTINCT (p))"
    )
    with pytest.raises(ValuesRefused, match=r"c.p: 2 rows where the value is there more than once"):
        await run.run(ruled(source, database, '[columns."c.p"]\norphans = "null"\n'), Tracker())


async def test_other_rules_between_two_runs_of_a_copy(
    make_sqlite: MakeSqlite, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent's condition decides about its children too: a child that was begun under another one is refused."""
    source = make_sqlite(SOURCE, ROWS)
    await database.execute(THERE)
    settings = ruled(source, database, WHERE + DROP_ALL)

    with monkeypatch.context() as patched:
        patched.setattr("migrator.job.migrate.restore", interrupted)
        with pytest.raises(GaveUp):
            await run.run(settings_of(source, database, rules=settings.rules, in_turn=True), Tracker())
    with pytest.raises(TargetRefused):
        await run.run(ruled(source, database, DROP_ALL), Tracker())
    await run.run(ruled(source, database, WHERE + DROP_ALL), Tracker())


def test_the_file_is_no_link(tmp_path: Path) -> None:
    """Like every private file of the job, it isn't written through a link."""
    from migrator.cli.outcome_files import OutcomeFiles  # noqa: PLC0415
    from migrator.config.settings import Settings  # noqa: PLC0415

    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    given = {"source_url": "a.db", "target_url": "postgresql://h/d", "left_behind": tmp_path / "link"}
    with pytest.raises(ConfigurationError, match="symbolic link"):
        OutcomeFiles.of(Settings.load(given))
