"""Loads the fixtures; each plugin is named for what it gives. Property tests draw the same examples in every run."""

import os

from hypothesis import settings

# New examples are for the long runs (scripts/property.sh): there a failure is looked at, and not taken for bad luck.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("exploring")
settings.load_profile("exploring" if "MIGRATOR_TEST_BATCHES" in os.environ else "repeatable")

pytest_plugins = [
    "fix_logs",
    "fix_postgres",
    "fix_settings",
    "fix_sqlite",
    "fix_job",
    "fix_values",
    "fix_stack",
    "fix_browser",
    "fix_reports",
    "fix_cluster",
    "fix_warm",
    "fix_kinds",
    "fix_proxy",
    "fix_obstacle",
    "fix_application",
]
