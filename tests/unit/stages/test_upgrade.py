"""Stage upgrade: from the source's revision to the newest, over the rows that came."""

import pytest
from fix_postgres import Database

from migrator.demo.dryad import ALEMBIC_INI
from migrator.schema.alembic import AlembicProject
from migrator.sessions.url import from_url
from migrator.stages.upgrade import upgrade
from migrator.target.database import Target

ROWS = """
INSERT INTO users (id, email, username, password_hash) VALUES ('u', 'a@example.org', 'a', '-');
INSERT INTO conversations (id, user_id, model) VALUES ('c', 'u', 'm');
INSERT INTO messages (conversation_id, role, content) VALUES ('c', 'user', 'first'), ('c', 'user', 'second');
"""


@pytest.mark.one_server
async def test_data_migrations_meet_the_rows(database: Database) -> None:
    """The newest revision is reached and returned, rows that were there are migrated, and again changes nothing."""
    target, project = Target(from_url(database.url, {})), AlembicProject(ALEMBIC_INI)
    await project.upgrade(target, ["0003"])
    await database.execute(ROWS)
    for _ in range(2):
        assert await upgrade(target, project) == project.head()
        found = await database.fetch("SELECT position, content FROM messages ORDER BY position")
        assert [tuple(row) for row in found] == [(0, "first"), (1, "second")]
        [(revision,)] = await database.fetch("SELECT version_num FROM alembic_version")
        assert revision == project.head()
