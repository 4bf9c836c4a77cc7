"""Settings of server, database and role: each is decided, and none of them changes what arrives."""

import asyncpg
from fix_job import Cli
from fix_postgres import Database
from fix_sqlite import MakeSqlite

from migrator.sessions.login import login
from migrator.sessions.reader import ReadOnlySession
from migrator.sessions.settings import PINNED, READING, WITHOUT_EFFECT
from migrator.sessions.url import from_url
from migrator.target.database import Target

ASK = "SELECT lower(name) AS name, setting FROM pg_settings"
MAY_BE_GIVEN = """
SELECT lower(name) AS name FROM pg_settings
WHERE context IN ('user', 'superuser', 'backend', 'superuser-backend') AND category <> 'Customized Options'
"""
"""What ALTER ROLE … SET takes; the rest belongs to the server's file, or to extensions."""


async def test_every_setting_that_a_role_may_be_given_is_decided(database: Database) -> None:
    """A new version of PostgreSQL brings new ones, and nobody would think of them."""
    names = {row["name"] for row in await database.fetch(MAY_BE_GIVEN, as_admin=True)}
    assert names - PINNED.keys() - WITHOUT_EFFECT.keys() == set()
    assert not PINNED.keys() & WITHOUT_EFFECT.keys()


ODD = {
    "array_nulls": "off",
    "backslash_quote": "off",
    "bytea_output": "escape",
    "check_function_bodies": "off",
    "client_encoding": "LATIN1",
    "client_min_messages": "error",
    "constraint_exclusion": "on",
    "cursor_tuple_fraction": "0",
    "datestyle": "German, DMY",
    "default_statistics_target": "1",
    "default_tablespace": "pg_default",
    "default_text_search_config": "pg_catalog.german",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "enable_async_append": "off",
    "enable_hashjoin": "off",
    "enable_partition_pruning": "off",
    "enable_seqscan": "off",
    "escape_string_warning": "on",
    "exit_on_error": "on",
    "extra_float_digits": "-15",
    "geqo_threshold": "2",
    "gin_fuzzy_search_limit": "1",
    "hash_mem_multiplier": "1",
    "idle_in_transaction_session_timeout": "1500ms",
    "idle_session_timeout": "1500ms",
    "intervalstyle": "sql_standard",
    "jit": "on",
    "jit_above_cost": "0",
    "lc_messages": "C",
    "lc_numeric": "C",
    "lock_timeout": "1ms",
    "log_parameter_max_length_on_error": "-1",
    "maintenance_work_mem": "1MB",
    "max_parallel_workers_per_gather": "8",
    "min_parallel_table_scan_size": "0",
    "parallel_setup_cost": "0",
    "parallel_tuple_cost": "0",
    "plan_cache_mode": "force_generic_plan",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "session_replication_role": "replica",
    "standard_conforming_strings": "off",
    "statement_timeout": "300ms",
    "stats_fetch_consistency": "snapshot",
    "synchronize_seqscans": "off",
    "synchronous_commit": "off",
    "tcp_keepalives_idle": "1",
    "temp_buffers": "800kB",
    "temp_tablespaces": "pg_default",
    "timezone": "Asia/Kathmandu",
    "timezone_abbreviations": "Australia",
    "track_activities": "off",
    "transaction_read_only": "on",
    "transform_null_equals": "on",
    "vacuum_freeze_min_age": "0",
    "vacuum_freeze_table_age": "0",
    "work_mem": "64kB",
    "xmlbinary": "hex",
    "xmloption": "document",
}
LATER = {
    "createrole_self_grant": "set, inherit",
    "debug_parallel_query": "regress",
    "event_triggers": "off",
    "force_parallel_mode": "regress",
    "restrict_nonsystem_relation_kind": "view, foreign-table",
    "transaction_timeout": "900ms",
    "vacuum_truncate": "off",
}
"""Not every version has these."""
EXTENSIONS = {
    "plpgsql.variable_conflict": "use_column",
    "plpgsql.check_asserts": "off",
    "plpgsql.extra_warnings": "all",
    "plpgsql.print_strict_params": "on",
}


async def _make_odd(database: Database) -> None:
    """Give database and role the oddest value of everything, each the half of it, and a search_path that misleads."""
    have = {row["name"] for row in await database.fetch(ASK, as_admin=True)}
    everything = ODD | {name: value for name, value in LATER.items() if name in have} | EXTENSIONS
    await database.execute(
        "LOAD 'plpgsql'; "
        "CREATE SCHEMA decoys; GRANT USAGE ON SCHEMA decoys TO public; CREATE TABLE decoys.pg_class (relname text); "
        "CREATE FUNCTION decoys.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'decoy' $$; "
        "CREATE FUNCTION decoys.pg_backend_pid() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$; "
        + "".join(
            f"ALTER {('DATABASE', 'ROLE')[place % 2]} {database.name} SET {name} = '{value}'; "
            for place, (name, value) in enumerate(everything.items())
        )
        + f"ALTER ROLE {database.name} SET search_path = public, decoys, pg_catalog",
        as_admin=True,
    )


async def test_sessions_are_settled(database: Database) -> None:
    """Whatever role and database are given, what matters is the job's; scripts have what the application has."""
    await _make_odd(database)
    address = from_url(database.url, {})
    only_for_superusers = {"lc_messages", "session_replication_role", "track_activities"}

    async def shown(connection: asyncpg.Connection) -> dict[str, str]:
        rows = await connection.fetch("SELECT pg_catalog.lower(name) AS name, setting FROM pg_settings")
        return {row["name"]: row["setting"] for row in rows}

    connection = await login(address)
    try:
        settled = await shown(connection)
        assert await connection.fetchval("SELECT current_schema()") == "public"
    finally:
        await connection.close()
    wanted = {name: pin.value for name, pin in PINNED.items() if name in settled and name not in only_for_superusers}
    assert {name: settled[name] for name in wanted} == wanted
    with ReadOnlySession(address) as session:
        reading = dict(session.rows("SELECT pg_catalog.lower(name), setting FROM pg_settings"))
    assert {name: reading[name] for name in wanted} == {**wanted, **READING}
    target = Target(address)
    async with target.script() as driver:
        script = await shown(driver)
    assert script["timezone"] == "Asia/Kathmandu"
    assert script["search_path"].replace('"', "") == "public, decoys, pg_catalog"
    assert (script["statement_timeout"], script["default_transaction_read_only"]) == ("0", "off")


TYPES = {
    "bytes": ("bytea", b"\x00'\xff"),
    "real": ("double precision", 0.1 + 0.2),
    "moment": ("timestamptz", "2024-02-03 04:05:06.789+00:00"),
    "day": ("date", "2024-02-03"),
    "span": ("interval", "1 day -02:03:04"),
    "words": ("text[]", '{a,NULL,"b\\\\c"}'),
    "exact": ("numeric(10,2)", "12.50"),
    "cents": ("money", "12.34"),
    "whole": ("int4range", "[1,3)"),
    "host": ("inet", "10.0.0.1"),
    "doc": ("jsonb", '{"a": null}'),
    "said": ("varchar(20)", "a\\b'c\u20ac"),
    "flag": ("boolean", 1),
}


async def test_the_oddest_settings_change_nothing(database: Database, make_sqlite: MakeSqlite, cli: Cli) -> None:
    """Every value arrives as it would under the server's defaults, and is found equal."""
    affinities = {"bytes": "BLOB", "real": "REAL", "flag": "INTEGER"}
    lite = ", ".join(f"{name} {affinities.get(name, 'TEXT')}" for name in TYPES)
    row = [value for _, value in TYPES.values()]
    source = make_sqlite(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, {lite}); "
        "CREATE TABLE u (id INTEGER, t INTEGER REFERENCES t)",
        {"t": [(n, *row) for n in range(1, 51)], "u": [(n, n) for n in range(1, 51)]},
    )
    columns = ", ".join(f"{name} {declared}" for name, (declared, _) in TYPES.items())
    await database.execute(
        f"CREATE TABLE t (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, {columns}); "
        "CREATE TABLE u (id int, t bigint REFERENCES t); CREATE INDEX ON u (lower(id::text))"
    )
    await _make_odd(database)
    ended = cli("run", "--source-url", source, "--target-url", database.url, "--schema", "existing")
    assert ended.code == 0, ended.stderr
    database.server.administer(*(f"ALTER {what} {database.name} RESET ALL" for what in ("ROLE", "DATABASE")))
    [found] = await database.fetch(FOUND)
    assert dict(found) == {
        "bytes": "0027ff",
        "real": 0.1 + 0.2,
        "moment": True,
        "day": "2024-02-03",
        "span": True,
        "words": True,
        "exact": "12.50",
        "cents": "00000000000004d2",
        "whole": "[1,3)",
        "host": "10.0.0.1/32",
        "doc": '{"a": null}',
        "said": "a\\b'c\u20ac",
        "flag": True,
        "rows": 50,
    }


FOUND = """
SELECT encode(bytes, 'hex') AS bytes, "real", moment = '2024-02-03 04:05:06.789+00' AS moment, day::text,
       span = '1 day -02:03:04'::interval AS span, words[2] IS NULL AS words, exact::text,
       encode(cash_send(cents), 'hex') AS cents, whole::text, host::text, doc::text, said, flag,
       (SELECT count(*) FROM t JOIN u ON u.t = t.id) AS rows
FROM t WHERE id = 7
"""
