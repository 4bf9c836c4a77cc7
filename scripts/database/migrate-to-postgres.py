#!/usr/bin/env python3
"""
Moves Dryad's SQLite database to PostgreSQL and compares every value of both afterwards.

    python scripts/database/migrate-to-postgres.py sqlite:///dryad.db postgresql://user:password@host/dryad

It is ``migrator run`` with Dryad's migrations and init SQL, unless MIGRATOR_ALEMBIC_CONFIG and MIGRATOR_INIT_SQL name
others; every other setting comes from its environment variable too. Exit code 0 means that every value has arrived, now
or in an earlier run, and that both sides were compared; ``migrator --help`` lists the others.
"""

import argparse
import os
import sys
from pathlib import Path

try:
    from migrator.cli import main as cli_main
    from migrator.demo.dryad import ALEMBIC_INI
except ModuleNotFoundError as missing:
    print(f"{missing}: run ./scripts/setup.sh, and then this with .venv/bin/python", file=sys.stderr)
    sys.exit(2)

INIT_SQL = Path(__file__).with_name("init-postgres.sql")


def main() -> int:
    """Run the job and return its exit code, which is the one of ``migrator run``; 2 with usage for wrong arguments."""
    parser = argparse.ArgumentParser(description="Move Dryad's SQLite database to PostgreSQL, and verify it.")
    parser.add_argument("sqlite_url", help="such as sqlite:///dryad.db, or the file's path; it is only read")
    parser.add_argument("postgres_url", help="such as postgresql://user:password@host:5432/dryad")
    arguments = parser.parse_args()
    os.environ.setdefault("MIGRATOR_ALEMBIC_CONFIG", str(ALEMBIC_INI))
    os.environ.setdefault("MIGRATOR_INIT_SQL", str(INIT_SQL))
    return cli_main.main(["run", f"--source-url={arguments.sqlite_url}", f"--target-url={arguments.postgres_url}"])


if __name__ == "__main__":
    sys.exit(main())
