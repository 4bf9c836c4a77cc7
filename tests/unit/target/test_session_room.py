"""``target.session_room``: how many sessions a run has, by what both ends have."""

import pytest
from fix_postgres import Database

from migrator.sessions.url import from_url
from migrator.target.database import Target
from migrator.target.session_room import Offer, choose_sessions, offer


@pytest.mark.parametrize(
    ("jobs", "is_chosen", "offered", "expected"),
    [
        (2, False, Offer(97, 8), (2, 4)),
        (4, False, Offer(97, 8), (4, 4)),
        (2, False, Offer(97, 2), (2, 2)),
        (2, False, Offer(97, 0), (2, 2)),
        (1, True, Offer(97, 8), (1, 1)),
        (8, True, Offer(97, 8), (8, 8)),
        (2, False, Offer(14, 8), (2, 4)),
        (2, False, Offer(10, 8), (2, 2)),
        (4, False, Offer(10, 8), (3, 1)),
        (8, True, Offer(6, 8), (1, 1)),
        (2, False, Offer(0, 8), (1, 1)),
    ],
)
def test_chosen(jobs: int, is_chosen: bool, offered: Offer, expected: tuple[int, int]) -> None:  # noqa: FBT001
    """The server works beside the job; a set number holds for both; connections are left for others."""
    sessions = choose_sessions(jobs, offered, is_chosen=is_chosen)
    assert (sessions.rows, sessions.keys) == expected
    assert ("more sessions are allowed" in sessions.reason) == (offered.free < 14)


def test_less_for_another_reason() -> None:
    """The reason says why, and nothing changes where there is room."""
    sessions = choose_sessions(2, Offer(97, 8), is_chosen=False)
    assert sessions.at_most(4, "no room") == sessions
    few = sessions.at_most(1, "no room")
    assert (few.rows, few.keys, few.reason.endswith("; no room")) == (1, 1, True)


@pytest.mark.one_server
async def test_what_a_server_offers(database: Database) -> None:
    """Every role may ask; a limit of the role or of the database is the least that counts."""
    target = Target(from_url(database.url, {}))
    async with target.connect() as connection:
        free = await offer(connection)
    assert (free.free > 10, free.workers >= 1) == (True, True)
    await database.execute(f"ALTER ROLE {database.role} CONNECTION LIMIT 9", as_admin=True)
    async with target.connect() as connection:
        assert (await offer(connection)).free <= 9 - 1
    await database.execute(f"ALTER DATABASE {database.name} CONNECTION LIMIT 5", as_admin=True)
    async with target.connect() as connection:
        assert (await offer(connection)).free <= 5 - 1
    await target.close()
