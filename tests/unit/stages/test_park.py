"""Stages park and restore: what is taken away for the load comes back exactly as it was, or is named."""

from collections.abc import Sequence

import pytest
from fix_job import begin_ledger, catalogs, run_ledger
from fix_postgres import Database

from migrator.errors import TargetRefused
from migrator.names import TableName
from migrator.planning.plan import Plan, TablePlan
from migrator.sessions.url import from_url
from migrator.source.schema import SourceTable
from migrator.stages.park import park
from migrator.stages.restore import restore
from migrator.target.database import Target
from migrator.target.schema import CopyFormat, TargetTable

# One thing of each kind that an application's schema may hold; names are long, strange, or of several schemas.
SCHEMA = """
CREATE SCHEMA other;
CREATE TABLE parents (id bigint PRIMARY KEY, code text, note text, CONSTRAINT parents_code UNIQUE (code));
CREATE TABLE children (
    id bigint, parent bigint NOT NULL, twin bigint, code text, at timestamptz, tags text[], span int4range, doc jsonb,
    CONSTRAINT "the key" PRIMARY KEY (id) INCLUDE (code) WITH (fillfactor = 70),
    CONSTRAINT deferred_key UNIQUE (parent, code) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT deferrable_key UNIQUE (twin) DEFERRABLE,
    CONSTRAINT no_nulls UNIQUE NULLS NOT DISTINCT (at),
    CONSTRAINT positive CHECK (id > 0) NOT VALID,
    CONSTRAINT "no overlap" EXCLUDE USING gist (span WITH &&)
);
CREATE TABLE other.elsewhere (id bigint PRIMARY KEY, child bigint, CONSTRAINT "far: key" FOREIGN KEY (child)
    REFERENCES children (id) ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE bystander (id int PRIMARY KEY, peer int REFERENCES bystander);
ALTER TABLE children
    ADD CONSTRAINT to_parent FOREIGN KEY (parent) REFERENCES parents ON DELETE CASCADE,
    ADD CONSTRAINT to_itself FOREIGN KEY (twin) REFERENCES children (id) MATCH FULL NOT VALID;
"""
INDEXES = """
CREATE INDEX plain ON children (code);
CREATE UNIQUE INDEX partial ON children (lower(code)) WHERE code <> ' WHERE ' AND twin IS NULL;
CREATE INDEX "exp: (%s)" ON children ((id % 7), (parent + 1) DESC NULLS LAST) INCLUDE (at) WITH (fillfactor = 50);
CREATE INDEX by_hash ON children USING hash (code);
CREATE INDEX by_gin ON children USING gin (tags);
CREATE INDEX by_doc ON children USING gin (doc jsonb_path_ops) WITH (fastupdate = off);
CREATE INDEX by_brin ON children USING brin (at) WITH (pages_per_range = 4);
CREATE INDEX by_pattern ON children (code text_pattern_ops, code COLLATE "C" DESC);
ALTER INDEX "exp: (%s)" ALTER COLUMN 1 SET STATISTICS 321;
CREATE UNIQUE INDEX for_replication ON children (parent, id);
ALTER TABLE children ALTER COLUMN parent SET NOT NULL, REPLICA IDENTITY USING INDEX for_replication;
ALTER TABLE children CLUSTER ON plain;
CREATE STATISTICS both_of (dependencies) ON parent, code FROM children;
COMMENT ON INDEX plain IS 'it''s 100 % :plain \\';
COMMENT ON CONSTRAINT "the key" ON children IS 'a "key"';
COMMENT ON INDEX "the key" IS 'the index of the key';
COMMENT ON CONSTRAINT to_parent ON children IS 'owned';
COMMENT ON CONSTRAINT deferred_key ON children IS 'later';
CREATE INDEX ON other.elsewhere (child);
"""
NAMES = (TableName("public", "parents"), TableName("public", "children"), TableName("other", "elsewhere"))


def planned(tables: Sequence[TableName]) -> Plan:
    """Return a plan over tables of which only the names matter."""
    return Plan(
        "public",
        tuple(
            TablePlan(
                SourceTable(name.name, (), None),
                TargetTable(name, (), (), partitioned=False, owned=True),
                (),
                CopyFormat.BINARY,
            )
            for name in tables
        ),
    )


@pytest.fixture
async def target(database: Database) -> Target:
    """Give a target with a ledger and one of each kind of key and index."""
    await database.execute(SCHEMA + INDEXES)
    target = Target(from_url(database.url, {}))
    await begin_ledger(target)
    return target


async def test_everything_comes_back_exactly(target: Target, database: Database) -> None:
    """After park the load meets bare tables; after restore the catalogs are equal, line by line."""
    before = await catalogs(database)
    taken = await park(planned(NAMES), dict.fromkeys(NAMES, 1_000_000), run_ledger(target))
    bare = await catalogs(database)
    left = " ".join(bare["indexes"])
    assert all(name not in left for name in ("the key", "deferred_key", "partial", "by_gin", "for_replication"))
    assert "no overlap" in left
    assert not [line for line in bare["constraints"] if "'f'" in line and "bystander" not in line]
    assert await restore(run_ledger(target), 2) == taken
    assert await catalogs(database) == before
    assert await restore(run_ledger(target), 2) == 0


@pytest.mark.one_server
async def test_small_tables_keep_their_indexes(target: Target, database: Database) -> None:
    """Only foreign keys go where building an index again would cost more than it saves."""
    before = await catalogs(database)
    await park(planned(NAMES), dict.fromkeys(NAMES, 1), run_ledger(target))
    assert (await catalogs(database))["indexes"] == before["indexes"]
    assert (await catalogs(database))["constraints"] != before["constraints"]
    await restore(run_ledger(target), 1)
    assert await catalogs(database) == before


@pytest.mark.one_server
async def test_parking_again_after_a_failure_takes_only_what_is_left(target: Target, database: Database) -> None:
    """A second run finds some things parked already: nothing is written down twice, and all come back."""
    before = await catalogs(database)
    first = await park(planned(NAMES[:1]), {NAMES[0]: 1_000_000}, run_ledger(target))
    second = await park(planned(NAMES), dict.fromkeys(NAMES, 1_000_000), run_ledger(target))
    assert first > 0
    assert second > 0
    assert await restore(run_ledger(target), 1) == first + second
    assert await catalogs(database) == before


async def test_a_view_that_leans_on_a_key_keeps_it(database: Database) -> None:
    """A key that can't be dropped without dropping something else stays where it is."""
    await database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE VIEW v AS SELECT id, n FROM t GROUP BY id;"
        "CREATE TABLE u (id int PRIMARY KEY)"
    )
    target = Target(from_url(database.url, {}))
    await begin_ledger(target)
    before = await catalogs(database)
    names = [TableName("public", "t"), TableName("public", "u")]
    assert await park(planned(names), dict.fromkeys(names, 1_000_000), run_ledger(target)) == 1
    assert await restore(run_ledger(target), 1) == 1
    assert await catalogs(database) == before


async def test_orphans_and_duplicates_are_named(target: Target, database: Database) -> None:
    """What can't come back is reported with what is in its way; the rest is back, and the next run tries again."""
    await park(planned(NAMES), dict.fromkeys(NAMES, 1_000_000), run_ledger(target))
    await database.execute(
        "INSERT INTO parents VALUES (1, 'same'), (2, 'same');"
        "INSERT INTO children (id, parent, span) VALUES (1, 99, '[1,2)')"
    )
    with pytest.raises(TargetRefused) as caught:
        await restore(run_ledger(target), 2)
    said = str(caught.value)
    assert "unique key 'parents_code' of public.parents" in said
    assert "(code)=(same)" in said
    assert "foreign key 'to_parent' of public.children" in said
    assert "(parent)=(99)" in said
    missing = caught.value.facts["missing"]
    assert isinstance(missing, list)
    assert len(missing) == 2
    await database.execute("UPDATE parents SET code = 'other' WHERE id = 2; INSERT INTO parents VALUES (99, 'x')")
    assert await restore(run_ledger(target), 2) == 2


@pytest.mark.one_server
async def test_what_an_operator_brought_back_by_hand_is_not_an_error(target: Target, database: Database) -> None:
    """Somebody created a parked index or key meanwhile, as it was: restore sees it and writes it down as back."""
    before = await catalogs(database)
    await park(planned(NAMES), dict.fromkeys(NAMES, 1_000_000), run_ledger(target))
    await database.execute("ALTER TABLE parents ADD PRIMARY KEY (id)")
    await restore(run_ledger(target), 1)
    assert await catalogs(database) == before


async def test_an_index_goes_back_to_its_table_space(database: Database) -> None:
    """To the one it was in, also where the role's default is another, and whatever its expression holds."""
    space = f"{database.name} space"
    database.server.administer(
        "SET allow_in_place_tablespaces = on",
        f"CREATE TABLESPACE \"{space}\" OWNER {database.role} LOCATION ''",
    )
    try:
        await database.execute(
            "CREATE TABLE t (id int, t text);"
            f"CREATE INDEX there ON t ((t = ' WHERE ')) TABLESPACE \"{space}\" WHERE t <> ' WHERE ';"
            "CREATE INDEX here ON t (id)"
        )
        await database.execute(f"ALTER ROLE {database.role} SET default_tablespace = '{space}'", as_admin=True)
        target = Target(from_url(database.url, {}))
        await begin_ledger(target)
        before = await catalogs(database)
        name = TableName("public", "t")
        await park(planned([name]), {name: 1_000_000}, run_ledger(target))
        assert await restore(run_ledger(target), 1) == 2
        assert await catalogs(database) == before
        await database.execute("DROP TABLE t; DROP SCHEMA migrator CASCADE")
    finally:
        database.server.administer(f'DROP TABLESPACE "{space}"')
