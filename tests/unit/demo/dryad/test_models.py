"""Dryad's models: the same code does the same on SQLite and on PostgreSQL."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from fix_dryad import Engines
from sqlalchemy import delete, func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from migrator.demo.dryad.models import (
    Base,
    Branch,
    Conversation,
    Dialogue,
    DialogueMessage,
    Document,
    DocumentChunk,
    Grove,
    Message,
    User,
    Vessel,
)
from migrator.demo.dryad.vocabulary import (
    ConversationStatus,
    DialogueState,
    DocumentStatus,
    GroveVisibility,
    MessageRole,
    Speaker,
    UserRole,
    VesselKind,
)

# SQLAlchemy warns of every Numeric that it stores as a double. Dryad lives with that, as do most applications.
pytestmark = [
    pytest.mark.one_server,
    pytest.mark.filterwarnings("ignore:Dialect sqlite:sqlalchemy.exc.SAWarning"),
]

USER = "6a1f5d2e-7c1b-4b0e-9d3c-1f2e3d4c5b6a"
DOCUMENT = UUID("12345678-1234-4234-a234-123456789abc")
GROVE = UUID("00000000-0000-4000-a000-00000000000f")
MOMENT = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)


def forest() -> User:
    """Return a user with something of everything."""
    user = User(
        id=USER,
        email="ada@example.org",
        username="ada",
        display_name='Ada 🌳 "O\'Lace"',
        password_hash="!",
        role=UserRole.ADMIN,
        is_active=False,
        date_of_birth=date(1, 1, 1),
        credit=Decimal("-9999999999.99"),
        preferences={"a": [1, 2.5, None, {"ü": "\t"}], "": ""},
        avatar=bytes(range(256)),
        last_login_at=datetime.max.replace(tzinfo=UTC),
        created_at=MOMENT,
        updated_at=MOMENT,
    )
    message = Message(
        id=7,
        position=0,
        role=MessageRole.TOOL,
        content="",
        latency_ms=5e-324,
        attachments=[],
        embedding=b"",
        author=user,
    )
    user.conversations = [
        Conversation(
            id="c",
            title="عربى",
            status=ConversationStatus.ARCHIVED,
            model="m",
            token_budget=-(2**63),
            messages=[message],
        )
    ]
    user.conversations[0].last_message = message
    chunk = DocumentChunk(
        chunk_index=0, content="x\r\ny", token_count=3, start_offset=2**63 - 1, embedding_norm=0.1 + 0.2
    )
    user.documents = [
        Document(
            id=DOCUMENT,
            title="t",
            mime_type="text/plain",
            status=DocumentStatus.IN_REVIEW,
            size_bytes=1,
            attributes={"pages": 3},
            checksum=b"\x00" * 32,
            chunks=[chunk],
        )
    ]
    root = Branch(id=1, name="root", weight=1e308, score=Decimal("0.000000001"), observation=42)
    leaf = Branch(id=2, name="leaf", parent=root, is_merged=True)
    vessel = Vessel(
        id="v", branch=leaf, kind=VesselKind.ARCHIVE, storage_path="\\", price=Decimal("12.3400"), state=b"\x00"
    )
    user.groves = [
        Grove(
            id=GROVE,
            name="n",
            slug="s",
            seed=2**63 - 1,
            visibility=GroveVisibility.PUBLIC,
            founded_on=date.max,
            quiet_from=time(23, 59, 59, 1),
            branches=[root, leaf],
        )
    ]
    leaf.vessel = vessel
    return user


def talk(user: User) -> Dialogue:
    """Return a dialogue about the vessel in the user's forest."""
    leaf = user.groves[0].branches[1]
    return Dialogue(
        id=DOCUMENT,
        branch=leaf,
        vessel=leaf.vessel,
        opened_by=user.id,
        topic="t",
        state=DialogueState.PAUSED,
        wall_clock=MOMENT.replace(tzinfo=None),
        messages=[
            DialogueMessage(id=1, speaker=Speaker.GREMLIN, content="hi", tool_calls=[{"name": "x"}], confidence=1.0)
        ],
    )


async def plant(engine: AsyncEngine) -> None:
    """Store the forest and the dialogue."""
    async with AsyncSession(engine) as session, session.begin():
        user = forest()
        session.add_all([user, talk(user)])


async def contents(engine: AsyncEngine) -> dict[str, Sequence[Any]]:
    """Return the rows of every table but what the clock or a counter put there."""
    rows = {}
    async with engine.connect() as connection:
        for table in Base.metadata.tables.values():
            columns = [column for column in table.columns if column.server_default is None or column.name == "id"]
            rows[table.name] = (await connection.execute(select(*columns).order_by(*table.primary_key))).all()
    return rows


async def count(engine: AsyncEngine, table: type[Base]) -> int:
    """Return the number of rows."""
    async with engine.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def test_a_session_reads_what_it_wrote(dryads: Engines) -> None:
    """Every attribute of every kind comes back equal, on both databases: the ends of the ranges, the empty, the odd."""
    for engine in dryads:
        await plant(engine)
        async with AsyncSession(engine) as session:
            original = forest()
            for stored in (original, original.groves[0], original.documents[0], *original.groves[0].branches):
                loaded = await session.get_one(type(stored), inspect(stored).mapper.primary_key_from_instance(stored))
                for name, expected in vars(stored).items():
                    if name in inspect(stored).mapper.column_attrs:
                        assert getattr(loaded, name) == expected, f"{engine.name}: {type(stored).__name__}.{name}"


async def test_both_databases_hold_the_same(dryads: Engines) -> None:
    """What one session stores reads the same from both databases, table by table."""
    sqlite, postgres = dryads
    for engine in dryads:
        await plant(engine)
    assert await contents(sqlite) == await contents(postgres)
    assert all((await contents(sqlite)).values())


async def test_the_database_fills_in_what_is_left_out(dryads: Engines) -> None:
    """A row of which only the necessary is given gets its defaults from the database, the moment in UTC."""
    for engine in dryads:
        async with engine.begin() as connection:
            await connection.execute(
                text("INSERT INTO users (id, email, username, password_hash) VALUES ('x', 'x@y', 'x', '!')")
            )
        async with AsyncSession(engine) as session:
            user = await session.get_one(User, "x")
            assert (user.role, user.is_active) == (UserRole.MEMBER, True)
            assert (user.credit, user.preferences) == (Decimal(0), {})
            assert abs(datetime.now(UTC) - user.created_at) < timedelta(hours=1)
            assert user.created_at.utcoffset() == timedelta(0)


async def test_a_moment_of_another_zone_is_the_same_moment(dryads: Engines) -> None:
    """A moment in Tokyo's time is read back as that moment, in UTC."""
    tokyo = MOMENT.astimezone(timezone(timedelta(hours=9)))
    for engine in dryads:
        async with AsyncSession(engine) as session:
            session.add(User(id="x", email="x", username="x", password_hash="!", last_login_at=tokyo))
            await session.commit()
            stored = (await session.execute(select(User.last_login_at).where(User.id == "x"))).scalar_one()
            assert (stored, stored and stored.tzinfo) == (MOMENT, UTC)


async def test_a_moment_without_a_zone_is_refused(dryads: Engines) -> None:
    """Nobody has to guess what a naive moment means: it isn't stored."""
    for engine in dryads:
        async with engine.begin() as connection:
            with pytest.raises(StatementError, match="has no time zone"):
                await connection.execute(insert(DialogueMessage).values(spoken_at=MOMENT.replace(tzinfo=None)))


async def test_an_update_is_dated(dryads: Engines) -> None:
    """Changing a user moves ``updated_at``, and leaves ``created_at``."""
    for engine in dryads:
        await plant(engine)
        async with AsyncSession(engine) as session:
            user = await session.get_one(User, USER)
            user.display_name = None
            await session.commit()
            await session.refresh(user)
            assert user.updated_at > MOMENT
            assert user.created_at == MOMENT


async def test_who_has_documents_stays(dryads: Engines) -> None:
    """ON DELETE RESTRICT: a user can't be deleted while a document is theirs."""
    for engine in dryads:
        await plant(engine)
        async with engine.begin() as connection:
            with pytest.raises(IntegrityError):
                await connection.execute(delete(User).where(User.id == USER))


async def test_what_hangs_on_a_user_goes_along(dryads: Engines) -> None:
    """ON DELETE CASCADE: conversations, messages, groves, branches and vessels go with their user."""
    for engine in dryads:
        await plant(engine)
        async with engine.begin() as connection:
            for table in (Dialogue, Document):
                await connection.execute(delete(table))
            await connection.execute(delete(User).where(User.id == USER))
        for model in (Conversation, Message, DocumentChunk, Grove, Branch, Vessel, DialogueMessage):
            assert await count(engine, model) == 0, f"{engine.name}: {model.__name__}"


async def test_what_points_at_something_deleted_forgets_it(dryads: Engines) -> None:
    """ON DELETE SET NULL: a conversation outlives its last message, a dialogue its vessel."""
    for engine in dryads:
        await plant(engine)
        async with engine.begin() as connection:
            for table in (Message, Vessel):
                await connection.execute(delete(table))
            assert (await connection.execute(select(Conversation.last_message_id))).all() == [(None,)]
            assert (await connection.execute(select(Dialogue.vessel_id))).all() == [(None,)]


async def test_a_session_deletes_across_the_cycle(dryads: Engines) -> None:
    """Conversation and last message point at each other, and the session can delete them all the same."""
    for engine in dryads:
        await plant(engine)
        async with AsyncSession(engine) as session, session.begin():
            await session.delete(await session.get_one(Conversation, "c"))
        assert await count(engine, Message) == 0


BROKEN: dict[str, tuple[type[Base], dict[str, object]]] = {
    "email": (User, {"id": "x", "email": "ada@example.org", "username": "x", "password_hash": ""}),
    "username": (User, {"id": "x", "email": "x", "username": "ada", "password_hash": ""}),
    "position": (Message, {"conversation_id": "c", "position": 0, "role": "user", "content": ""}),
    "tokens": (Message, {"conversation_id": "c", "position": 1, "role": "user", "content": "", "token_count": -1}),
    "no parent": (Message, {"conversation_id": "?", "position": 1, "role": "user", "content": ""}),
    "two columns": (Branch, {"grove_id": GROVE, "name": "root"}),
    "priority": (Branch, {"grove_id": GROVE, "name": "x", "priority": 10}),
    "its own parent": (Branch, {"id": 9, "grove_id": GROVE, "name": "x", "parent_id": 9}),
    "second vessel": (Vessel, {"id": "x", "branch_id": 2, "kind": "memory", "storage_path": ""}),
    "overfull": (Vessel, {"id": "x", "branch_id": 1, "kind": "memory", "storage_path": "", "fill_ratio": 1.1}),
    "composite key": (
        DocumentChunk,
        {"document_id": DOCUMENT, "chunk_index": 0, "content": "", "token_count": 0, "start_offset": 0},
    ),
}


async def test_constraints_hold(dryads: Engines) -> None:
    """Each unique, check and foreign key constraint refuses the row that breaks it, on both databases."""
    for engine in dryads:
        await plant(engine)
        for table, values in BROKEN.values():
            async with engine.begin() as connection:
                with pytest.raises(IntegrityError):
                    await connection.execute(insert(table).values(**values))


async def test_ids_are_not_given_twice(dryads: Engines) -> None:
    """The id of the newest message, once deleted, isn't given to the next one: AUTOINCREMENT, or a sequence."""
    values = {"conversation_id": "c", "role": MessageRole.USER, "content": ""}
    for engine in dryads:
        await plant(engine)
        async with engine.begin() as connection:
            ids: list[int] = []
            for position in (10, 11):
                result = await connection.execute(insert(Message).values(position=position, **values))
                ids += result.inserted_primary_key or ()
                await connection.execute(delete(Message).where(Message.id == ids[-1]))
        assert ids[0] < ids[1]
