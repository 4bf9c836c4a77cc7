"""
Random databases, changed at random between two runs: after ``run --refresh`` the target is that of a fresh run.

Or it is refused, and nothing has changed. ``MIGRATOR_TEST_REFRESHES`` says how many databases are tried;
``scripts/refreshes.sh`` tries thousands, and one by its number again.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fix_postgres import Database, Server, database_on
from refresh.trial import try_case
from structlog.testing import capture_logs

from migrator.refresh.pages import page_look

COUNT = int(os.environ.get("MIGRATOR_TEST_REFRESHES", "12"))
FIRST = int(os.environ.get("MIGRATOR_TEST_FIRST_REFRESH", "1"))
LOT = 6
"""Databases that one test tries: enough to be worth a test's own cost, few enough to spread over processes."""


@pytest.fixture
def pair(server: Server) -> Iterator[tuple[Database, Database]]:
    """Give two databases of one role."""
    with database_on(server) as one:
        other = Database(server, f"{one.name}_fresh", one.role, one.password)
        server.administer(f'CREATE DATABASE "{other.name}" OWNER "{one.role}" TEMPLATE template0')
        yield one, other
        server.administer(f'DROP DATABASE "{other.name}" WITH (FORCE)')


@pytest.mark.one_server
@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, LOT))
def test_a_refreshed_target_is_a_fresh_one(
    first: int, pair: tuple[Database, Database], environment: pytest.MonkeyPatch
) -> None:
    """Each database of a lot ends as a fresh run would end, or is refused with nothing changed."""
    # Only what is given counts, and the pages of small tables are looked at, too.
    environment.setattr(page_look, "LEAST_ROWS", 1)
    failures = []
    outcomes: Counter[str] = Counter()
    for seed in range(first, min(first + LOT, FIRST + COUNT)):
        with TemporaryDirectory(prefix="migrator-refresh-") as folder, capture_logs():
            try:
                outcomes.update(asyncio.run(try_case(seed, *pair, Path(folder))))
            except Exception as error:  # noqa: BLE001 - all of a lot are tried
                failures.append(str(error))
    print(dict(outcomes))  # noqa: T201 - what a lot has tried, for who looks at it
    if failures:
        pytest.fail("\n\n".join(failures), pytrace=False)
