"""Stage analyze: the planner knows what came."""

import pytest
from fix_job import settings_of
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.job import run
from migrator.monitoring.tracker import Tracker


@pytest.mark.one_server
async def test_filled_tables_have_statistics_and_others_are_left_alone(
    make_sqlite: MakeSqlite, database: Database
) -> None:
    """The planner knows rows and most common values of each filled table, by whatever name; of no other."""
    rows = [(n, "often") for n in range(500)]
    source = make_sqlite('CREATE TABLE "a ""t" (id INTEGER, t TEXT)', {'a "t': rows})
    await database.execute(
        'CREATE TABLE "a ""t" (id int, t text); CREATE TABLE mine AS SELECT generate_series(1, 9) AS n;'
        'ALTER TABLE "a ""t" SET (autovacuum_enabled = off); ALTER TABLE mine SET (autovacuum_enabled = off)'
    )
    await run.run(settings_of(source, database), Tracker())
    known = await database.fetch(
        "SELECT tablename::text, attname::text, most_common_vals::text FROM pg_stats WHERE schemaname = 'public'"
    )
    assert {tuple(row) for row in known} == {('a "t', "id", None), ('a "t', "t", "{often}")}
    [(counted,)] = await database.fetch('SELECT reltuples FROM pg_class WHERE oid = \'"a ""t"\'::regclass')
    assert counted == len(rows)
