"""The application goes to PostgreSQL, writes there through its ORM, and goes back: the same code reads it all."""

from pathlib import Path

import pytest
from fix_job import INIT_SQL, dryad_settings
from fix_postgres import Database
from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from test_orm_end_to_end import browse, everything, write

from migrator.demo.dryad.models import Conversation, Message, User
from migrator.demo.dryad.vocabulary import MessageRole
from migrator.engine import Settings, create_engine
from migrator.job import run
from migrator.monitoring.tracker import Tracker
from migrator.rollback.command import rollback

pytestmark = [
    pytest.mark.one_server,
    pytest.mark.filterwarnings("ignore:Dialect sqlite:sqlalchemy.exc.SAWarning"),
]


def engine_of(url: str) -> AsyncEngine:
    """Return the application's engine."""
    return create_engine(Settings(DATABASE_URL=url, DATABASE_URL_FILE=None))


async def go_on(engine: AsyncEngine) -> int:
    """Be the application on PostgreSQL: new, changed and deleted objects, a cascade; return the id of a new message."""
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        conversation = (await session.scalars(select(Conversation).where(Conversation.id == "first"))).one()
        conversation.title = "grüner Faden 🌱"
        conversation.is_pinned = not conversation.is_pinned
        message = Message(conversation=conversation, position=7, role=MessageRole.USER, content="on PostgreSQL")
        session.add(message)
        newest = (await session.scalars(select(Conversation.id).where(Conversation.id != "first").limit(1))).one()
        await session.execute(delete(Message).where(Message.conversation_id == newest))
        user = (await session.scalars(select(User).where(User.email != "vera@example.org").limit(1))).one()
        user.preferences = {"theme": "light", "nested": [1, 2.5, None]}
    return int(message.id)


async def test_dryad_goes_back(dryad_file: Path, database: Database, tmp_path: Path) -> None:
    """Every object is the same Python value on both sides; the application goes on with ids that were never given."""
    sqlite = engine_of(f"sqlite:///{dryad_file}")
    await write(sqlite)
    await sqlite.dispose()
    await run.run(dryad_settings(dryad_file, database, init_sql=INIT_SQL), Tracker())
    postgres = engine_of(database.url)
    message = await go_on(postgres)
    new = tmp_path / "back.db"
    settings = dryad_settings(dryad_file, database, like=str(dryad_file), to=str(new))
    report = await rollback(settings, Tracker())
    assert sum(table.changed for table in report.tables) >= 2
    back = engine_of(f"sqlite:///{new}")
    there, here = await everything(postgres), await everything(back)
    assert {name: len(rows) for name, rows in here.items()} == {name: len(rows) for name, rows in there.items()}
    assert [
        (name, attribute, then[attribute], now[attribute])
        for name, rows in there.items()
        for then, now in zip(rows, here[name], strict=True)
        for attribute in then
        if now[attribute] != then[attribute]
    ] == []
    assert await browse(back) == await browse(postgres)
    async with AsyncSession(back, expire_on_commit=False) as session, session.begin():
        added = Message(conversation_id="first", position=8, role=MessageRole.USER, content="back")
        session.add(added)
    assert added.id == message + 1
    async with back.connect() as connection:
        assert (await connection.execute(text("PRAGMA foreign_key_check"))).all() == []
        assert (await connection.execute(select(func.count()).select_from(Message))).scalar_one() > 0
    await back.dispose()
    await postgres.dispose()
