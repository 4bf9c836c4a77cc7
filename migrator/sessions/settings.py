"""
Lists every setting of PostgreSQL that a role may have, and the values that the job's sessions set.

``ALTER ROLE … SET`` and ``ALTER DATABASE … SET`` change how values are read and written, how long a statement may take,
and which rows are visible (PostgreSQL, "Server Configuration"). So each setting is decided here. Either the sessions
that read and write rows set it to one value, or it has no effect on stored values, and the reason is given. A test asks
servers for all their settings, and fails if this module lacks a setting.

The settings are set by a statement after the login. They are not start-up parameters, because a pooler refuses start-up
parameters even if it keeps sessions apart. So RESET restores the role's settings for the sessions in which the
application's own scripts run.
"""

import json
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from migrator.sessions.address import (
    KEEPALIVE_COUNT,
    KEEPALIVE_IDLE_SECONDS,
    KEEPALIVE_INTERVAL_SECONDS,
    UNACKNOWLEDGED_MILLISECONDS,
)


class Pin(Struct, frozen=True):
    """A setting that the job's sessions set to one value."""

    value: str
    reason: str
    for_scripts_too: bool = False
    """Whether sessions of the init SQL and of the application's migrations keep the value: no data depends on it."""


_LONG = "a limit for the application's short statements would cut a long one of the job"

_SPELLING = "a value is written and read by it"

_ROWS = "rows would be seen or changed in another way"

_GONE = "a server that isn't told keeps the locks of a lost session for hours"

PINNED: Final[Mapping[str, Pin]] = {
    # These settings decide how values are spelled.
    "array_nulls": Pin("on", "NULL in an array would become the word"),
    "bytea_output": Pin("hex", _SPELLING),
    "client_encoding": Pin("UTF8", _SPELLING, for_scripts_too=True),
    "datestyle": Pin("ISO, YMD", _SPELLING),
    "extra_float_digits": Pin("1", "fewer digits are another number"),
    "intervalstyle": Pin("postgres", _SPELLING),
    "lc_monetary": Pin("C", "money is read and written by it"),
    "lc_messages": Pin("C", "what the server says goes into logs, in one language", for_scripts_too=True),
    "quote_all_identifiers": Pin("off", "types and names would be spelled in another way"),
    "standard_conforming_strings": Pin("on", "a backslash in a literal would have a meaning"),
    "timezone": Pin("UTC", "text without an offset is read in it"),
    "timezone_abbreviations": Pin("Default", "EST is one offset here and another there"),
    "xmlbinary": Pin("base64", _SPELLING),
    "xmloption": Pin("content", "a fragment would be refused"),
    # These settings decide which rows are visible, and how rows are changed.
    "default_transaction_deferrable": Pin("off", "a transaction would wait for others before it begins"),
    "default_transaction_isolation": Pin("read committed", _ROWS),
    "default_transaction_read_only": Pin("off", "nothing could be written", for_scripts_too=True),
    "gin_fuzzy_search_limit": Pin("0", "an index would give a random part of the rows"),
    "restrict_nonsystem_relation_kind": Pin("", "a view couldn't be read"),
    "row_security": Pin("off", "a policy would hide rows without a word; so it is an error"),
    "session_replication_role": Pin("origin", "constraints and triggers would work in another way"),
    "transform_null_equals": Pin("off", "a comparison with NULL would mean another thing"),
    # These settings are time limits.
    "idle_in_transaction_session_timeout": Pin("0", _LONG, for_scripts_too=True),
    "idle_session_timeout": Pin("0", "the session that holds the job's lock is idle", for_scripts_too=True),
    "lock_timeout": Pin("0", _LONG, for_scripts_too=True),
    "statement_timeout": Pin("0", _LONG, for_scripts_too=True),
    "transaction_timeout": Pin("0", _LONG, for_scripts_too=True),
    # These settings decide what happens to a session, and to the rows that it has written.
    "client_min_messages": Pin("notice", "warnings of the server are told", for_scripts_too=True),
    "debug_parallel_query": Pin("off", "a parallel worker doesn't know all settings of its session"),
    "exit_on_error": Pin("off", "a refused value would end the session", for_scripts_too=True),
    "force_parallel_mode": Pin("off", "the name of debug_parallel_query until PostgreSQL 15"),
    "jit": Pin("off", "to compile a question takes longer than to answer it"),
    "log_parameter_max_length_on_error": Pin("0", "an error would quote rows", for_scripts_too=True),
    "synchronous_commit": Pin("on", "what the job takes for done has to outlive a crash", for_scripts_too=True),
    "tcp_keepalives_count": Pin(str(KEEPALIVE_COUNT), _GONE, for_scripts_too=True),
    "tcp_keepalives_idle": Pin(str(KEEPALIVE_IDLE_SECONDS), _GONE, for_scripts_too=True),
    "tcp_keepalives_interval": Pin(str(KEEPALIVE_INTERVAL_SECONDS), _GONE, for_scripts_too=True),
    "tcp_user_timeout": Pin(str(UNACKNOWLEDGED_MILLISECONDS), _GONE, for_scripts_too=True),
    "track_activities": Pin("on", "whether a session is still at work is asked", for_scripts_too=True),
}
"""The pinned settings, by their names in small letters. If the role is no superuser, a setting that only a superuser
may set keeps its value."""

READING: Final[Mapping[str, str]] = {
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "repeatable read",
}
"""The values of ``PINNED`` that are different in a read-only session."""

_GROUPS: Final[Mapping[str, str]] = {
    "how an answer is found, not what it is": """
        constraint_exclusion cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost cursor_tuple_fraction
        default_statistics_target effective_cache_size enable_async_append enable_bitmapscan
        enable_distinct_reordering enable_gathermerge enable_group_by_reordering enable_hashagg enable_hashjoin
        enable_incremental_sort enable_indexonlyscan enable_indexscan enable_material enable_memoize enable_mergejoin
        enable_nestloop enable_parallel_append enable_parallel_hash enable_partition_pruning
        enable_partitionwise_aggregate enable_partitionwise_join enable_presorted_aggregate enable_self_join_elimination
        enable_seqscan enable_sort enable_tidscan from_collapse_limit geqo geqo_effort
        geqo_generations geqo_pool_size geqo_seed geqo_selection_bias geqo_threshold jit_above_cost jit_expressions
        jit_inline_above_cost jit_optimize_above_cost jit_tuple_deforming join_collapse_limit
        min_parallel_index_scan_size min_parallel_table_scan_size parallel_leader_participation parallel_setup_cost
        parallel_tuple_cost plan_cache_mode random_page_cost recursive_worktable_factor seq_page_cost
        ignore_system_indexes""",
    "how much memory, how many processes and how many requests at once": """
        backend_flush_after effective_io_concurrency file_copy_method hash_mem_multiplier io_combine_limit
        logical_decoding_work_mem maintenance_io_concurrency maintenance_work_mem max_parallel_maintenance_workers
        max_parallel_workers max_parallel_workers_per_gather temp_buffers work_mem""",
    "a limit whose end is an error that names it": "max_stack_depth temp_file_limit",
    "what the server writes into its own log and statistics": """
        backtrace_functions compute_query_id debug_pretty_print debug_print_parse debug_print_plan debug_print_rewritten
        jit_dump_bitcode jit_debugging_support jit_profiling_support log_connections log_disconnections log_duration
        log_error_verbosity log_executor_stats log_lock_failures log_lock_waits log_min_duration_sample
        log_min_duration_statement log_min_error_statement log_min_messages log_parameter_max_length log_parser_stats
        log_planner_stats log_replication_commands log_statement log_statement_sample_rate log_statement_stats
        log_temp_files log_transaction_sample_rate md5_password_warnings stats_fetch_consistency trace_notify trace_sort
        track_cost_delay_timing track_counts track_functions track_io_timing track_wal_io_timing
        update_process_title""",
    "how and when what is written reaches the disk; a commit has reached it all the same": """
        commit_delay commit_siblings gin_pending_list_limit wal_compression wal_consistency_checking wal_init_zero
        wal_recycle wal_skip_threshold""",
    "where and in which form tables are stored, which is the operator's choice": """
        default_table_access_method default_tablespace default_toast_compression temp_tablespaces
        allow_in_place_tablespaces""",
    "how a table is cleaned; no row that is seen goes by it": """
        vacuum_buffer_usage_limit vacuum_cost_delay vacuum_cost_limit vacuum_cost_page_dirty vacuum_cost_page_hit
        vacuum_cost_page_miss vacuum_failsafe_age vacuum_freeze_min_age vacuum_freeze_table_age
        vacuum_max_eager_freeze_failure_rate vacuum_multixact_failsafe_age vacuum_multixact_freeze_min_age
        vacuum_multixact_freeze_table_age vacuum_truncate""",
    "it holds for one transaction, and the sessions' own are set by default_transaction_…": """
        transaction_deferrable transaction_isolation transaction_read_only""",
    "statements that the job doesn't use: roles, functions, large objects, replication, to_char, full-text search": """
        check_function_bodies createrole_self_grant debug_logical_replication_streaming default_text_search_config
        dynamic_library_path extension_control_path extension_destdir icu_validation_level lc_numeric lc_time
        lo_compat_privileges local_preload_libraries output_plugin_libraries password_encryption scram_iterations
        session_preload_libraries wal_sender_timeout""",
    "how a literal with a backslash is read, and the job writes none": "backslash_quote escape_string_warning",
    "damaged pages and system tables: what is read there is compared all the same": """
        allow_system_table_mods debug_discard_caches ignore_checksum_failure zero_damaged_pages""",
    "the order of rows that nobody ordered": "synchronize_seqscans",
    "the operator's: the name of the session, and triggers on DDL": "application_name event_triggers",
    "how long a login takes and a lock is waited for before somebody looks": """
        client_connection_check_interval deadlock_timeout post_auth_delay""",
    "the application's tables are looked for in it; only pg_catalog goes to its front": "search_path",
}

WITHOUT_EFFECT: Final[Mapping[str, str]] = {name: reason for reason, names in _GROUPS.items() for name in names.split()}
"""Settings that the job doesn't change, with the reason."""


def settle(changes: Mapping[str, str] | None = None) -> str:
    """
    Return the statement that settles a session's settings.

    The statement returns the number of the session's server process, the number of settings that had to be changed, and
    whether all names were quoted before (``quote_all_identifiers``).

    ``changes`` replace values of ``PINNED``. The statement has no bound values and no backslash. So it has the same
    meaning under any setting, and works with any driver.
    """
    values = {name: pin.value for name, pin in PINNED.items()} | dict(changes or {})
    return _SETTLE.format(values=", ".join(f"('{name}', '{value}')" for name, value in values.items()))


# If a server lacks a setting, pg_settings lacks it too, and it is not set. If the search_path named pg_catalog after
# another schema, a table or function of that schema could hide an object of pg_catalog with the same name. If the
# search_path doesn't name pg_catalog, PostgreSQL searches pg_catalog first.
_SETTLE = """
SELECT pg_catalog.pg_backend_pid() AS backend,
       pg_catalog.count(pg_catalog.set_config(s.name, g.value, false)) AS settled,
       coalesce(pg_catalog.bool_or(g.name OPERATOR(pg_catalog.=) 'quote_all_identifiers'), false) AS quoted
FROM pg_catalog.pg_settings s JOIN (VALUES {values}, ('search_path', (
    SELECT coalesce(pg_catalog.string_agg(pg_catalog.quote_ident(n), ', '), '')
    FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) n WHERE n OPERATOR(pg_catalog.<>) 'pg_catalog'
))) AS g (name, value) ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) g.name
WHERE s.setting OPERATOR(pg_catalog.<>) g.value
  AND (s.context OPERATOR(pg_catalog.=) 'user'
       OR pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on')
  AND (g.name OPERATOR(pg_catalog.<>) 'search_path'
       OR 'pg_catalog'::name OPERATOR(pg_catalog.=) ANY (pg_catalog.current_schemas(false)))
"""

RELEASE: Final = (
    "SELECT set_config(name, NULL, false) FROM pg_settings WHERE lower(name) IN ("
    + ", ".join(["'search_path'", *(f"'{name}'" for name, pin in PINNED.items() if not pin.for_scripts_too)])
    + ") AND (context = 'user' OR current_setting('is_superuser') = 'on')"
)
"""Restores the settings of role and database, for sessions in which scripts of the application or operator run."""

GIVEN: Final = "SELECT set_config(key, value, false) FROM json_each_text($1::json)"
"""Sets the settings in the address's ``options``; ``$1`` is the result of ``as_json``."""


def as_json(settings: Mapping[str, str]) -> str:
    """Return settings in the form that the statement ``GIVEN`` takes."""
    return json.dumps(dict(settings))
