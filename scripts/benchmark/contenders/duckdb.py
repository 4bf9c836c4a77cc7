"""DuckDB's own extensions: both databases attached, and one INSERT … SELECT a table."""

import json
import subprocess
from functools import cache
from typing import Final

from benchmark.contenders.contender import PROGRAMS, Bench, Contender, Outcome
from benchmark.dataset import Dataset

_SCRIPT: Final = PROGRAMS / "duckdb_copy.py"


def load(bench: Bench, url: str) -> Outcome:
    """Run the script in the Python that was named for it."""
    tables = json.dumps([kind.name for kind in bench.data.kinds])
    return bench.execute([bench.duckdb, _SCRIPT, bench.source, url, tables])


def missing(bench: Bench) -> str:
    """Say why it can't be run: the extensions are no part of DuckDB and are downloaded when first asked for."""
    return _missing(bench.duckdb)


@cache
def _missing(python: str) -> str:
    done = subprocess.run([python, str(_SCRIPT)], capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines()
    return f"its extensions can't be loaded here: {lines[-1]}" if done.returncode else ""


DUCKDB = Contender(
    "duckdb",
    "DuckDB, sqlite and postgres extensions",
    "`INSERT INTO postgres.… SELECT * FROM sqlite.…` for each table, into the application's tables.",
    Dataset.target_schema,
    load,
    missing,
)
