"""Loads the fixtures; each plugin is named for what it gives."""

pytest_plugins = [
    "fix_logs",
    "fix_postgres",
    "fix_settings",
    "fix_sqlite",
    "fix_job",
    "fix_values",
    "fix_stack",
    "fix_cluster",
    "fix_warm",
    "fix_kinds",
    "fix_proxy",
    "fix_obstacle",
    "fix_application",
]
