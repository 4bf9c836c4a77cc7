"""
Runs the demo: the whole job, with sample data of the reference application and its own PostgreSQL server.

Nothing remains afterwards: the SQLite file, the server and its data are in temporary directories. The job logs in as an
ordinary role, as in production. The server's superuser only creates the role and its database.
"""

import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Final
from uuid import UUID

from pydantic import SecretStr

from migrator.config.settings import Settings
from migrator.demo.dryad import ALEMBIC_INI, sample
from migrator.demo.server import EmbeddedServer
from migrator.job import run
from migrator.monitoring.tracker import Tracker
from migrator.reports.run_report import Report

DATABASE = ROLE = SCHEMA = "dryad"

INIT_SQL: Final = Path(__file__).parents[1] / "stages" / "init.sql"
"""A copy of ``scripts/database/init-postgres.sql`` in the package, for an installed demo."""


async def demo(settings: Settings, tracker: Tracker, run_id: UUID | None = None) -> Report:
    """
    Make a sample of ``settings.scale`` times 20,000 rows, migrate it to an embedded server, and return the report.

    Raises ConfigurationError if the embedded server isn't installed or can't start. Errors of the job pass through.
    """
    with tempfile.TemporaryDirectory(prefix="migrator-demo-") as folder, EmbeddedServer() as server:
        source = Path(folder) / "dryad.db"
        rows = sample.generate(source, settings.scale)
        size = source.stat().st_size / 1e6
        _say(f"sample: {sum(rows.values()):,} rows in {len(rows)} tables, a SQLite file of {size:.1f} MB")
        password = secrets.token_urlsafe(16)
        server.create_role(ROLE, password)
        server.create_database(DATABASE, ROLE)
        _say(f"target: an embedded PostgreSQL on port {server.port}, where an ordinary role owns database {DATABASE!r}")
        return await run.run(_settings(settings, source, server.url(DATABASE, ROLE, password)), tracker, run_id)


def _settings(settings: Settings, source: Path, url: str) -> Settings:
    """Return the settings of ``migrator run`` in production, with the demo's own source and target."""
    init = {"init_sql": INIT_SQL, "init_schema": SCHEMA, "init_role": ROLE}
    databases = {"source_url": os.fspath(source), "target_url": SecretStr(url), "alembic_config": ALEMBIC_INI}
    return settings.model_copy(update={**databases, **init})


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
