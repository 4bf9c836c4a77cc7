"""The application before and after: the same session code on SQLite, then, when the job has run, on PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from fix_job import INIT_SQL, dryad_settings
from fix_postgres import Database
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from migrator.demo.dryad.models import (
    SYSTEM_USER_ID,
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
    MessageRole,
    Speaker,
    UserRole,
    VesselKind,
)
from migrator.engine import Settings, create_engine
from migrator.job import run
from migrator.monitoring.tracker import Tracker

# SQLAlchemy warns of every Numeric that it stores as a double. Dryad lives with that, as do most applications.
pytestmark = [
    pytest.mark.one_server,
    pytest.mark.filterwarnings("ignore:Dialect sqlite:sqlalchemy.exc.SAWarning"),
]

USER = "b5f1c4de-5d0a-4a36-8f35-3f4f2c6d9a01"
GROVE = UUID("6fa459ea-ee8a-4ca4-894e-db77e160355e")
DOCUMENT = UUID("16fd2706-8baf-433b-82eb-8c7fada847da")
DIALOGUE = UUID("886313e1-3b8a-4372-9b90-0c9aee199e5d")


@pytest_asyncio.fixture
async def sqlite(dryad_file: Path) -> AsyncIterator[AsyncEngine]:
    """Give the application's engine on the sample, with what the application itself has written there."""
    engine = create_engine(Settings(DATABASE_URL=f"sqlite:///{dryad_file}", DATABASE_URL_FILE=None))
    await write(engine)
    yield engine
    await engine.dispose()


@pytest_asyncio.fixture
async def postgres(sqlite: AsyncEngine, dryad_file: Path, database: Database) -> AsyncIterator[AsyncEngine]:
    """Give the application's engine on PostgreSQL, after the job has moved the sample there."""
    assert sqlite.dialect.name == "sqlite"
    await run.run(dryad_settings(dryad_file, database, init_sql=INIT_SQL), Tracker())
    engine = create_engine(Settings(DATABASE_URL=database.url, DATABASE_URL_FILE=None))
    yield engine
    await engine.dispose()


async def write(engine: AsyncEngine) -> None:
    """Be the application for a moment: a user with a conversation, a document, a grove, and a dialogue about it."""
    async with AsyncSession(engine) as session, session.begin():
        user = User(id=USER, email="vera@example.org", username="vera", password_hash="!", credit=Decimal("0.10"))
        question = Message(
            position=0, role=MessageRole.USER, content="¿Qué? 🌱\r\n", author=user, attachments=[{"a": 1.5}]
        )
        conversation = Conversation(id="first", model="m", user=user, messages=[question], context={"ü": None})
        conversation.last_message = question
        chunks = [
            DocumentChunk(
                chunk_index=i, content=f"passage {i}", token_count=i, start_offset=2**40 + i, embedding=bytes(8)
            )
            for i in range(3)
        ]
        document = Document(
            id=DOCUMENT, owner=user, title="t", mime_type="text/plain", size_bytes=1, checksum=bytes(32), chunks=chunks
        )
        root = Branch(name="root", observation=False)
        leaf = Branch(name="leaf", parent=root, score=Decimal("-1.000000001"))
        vessel = Vessel(id="vessel", branch=leaf, kind=VesselKind.TOOLBOX, storage_path="/", state=b"\x00\xff")
        grove = Grove(id=GROVE, owner=user, name="Hain", slug="hain", seed=-(2**63), branches=[root, leaf])
        said = DialogueMessage(speaker=Speaker.ORACLE, content="", confidence=0.1 + 0.2)
        talk = Dialogue(id=DIALOGUE, branch=leaf, vessel=vessel, opened_by=USER, topic="…", messages=[said])
        session.add_all([user, conversation, document, grove, talk])
        await session.flush()
        regretted = Message(conversation=conversation, position=1, role=MessageRole.USER, content="No.")
        session.add(regretted)
        await session.flush()
        await session.delete(regretted)


async def everything(engine: AsyncEngine) -> dict[str, list[dict[str, Any]]]:
    """Read every object of every class through a session, in the order of their keys."""
    found = {}
    async with AsyncSession(engine) as session:
        for mapper in Base.registry.mappers:
            objects = (await session.scalars(select(mapper.class_))).all()
            names = [attribute.key for attribute in mapper.column_attrs]
            rows = [{name: comparable(getattr(one, name)) for name in names} for one in objects]
            keys = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
            found[mapper.class_.__name__] = sorted(rows, key=lambda row: [str(row[key]) for key in keys])
    return found


def comparable(value: Any) -> Any:  # noqa: ANN401 - whatever a column or a JSON document holds
    """
    Return the value, the large numbers of a JSON document as floats.

    jsonb keeps a number's digits and not its spelling: 6.02e23 comes back as 24 digits, which Python takes for an int.
    """
    match value:
        case dict():
            return {key: comparable(one) for key, one in value.items()}
        case list():
            return [comparable(one) for one in value]
        case int() if abs(value) > 2**64:
            return float(value)
    return value


async def browse(engine: AsyncEngine) -> list[Sequence[Any]]:
    """Ask what the application asks: joins, aggregates, filters on each kind of column, JSON within."""
    questions = (
        select(User.username, func.count(Message.id))
        .join(Conversation, Conversation.user_id == User.id)
        .join(Message, Message.conversation_id == Conversation.id)
        .group_by(User.username)
        .order_by(User.username),
        select(Conversation.id).where(Conversation.is_pinned, Conversation.archived_at.is_(None)).order_by("id"),
        select(Message.id).where(Message.role == MessageRole.TOOL, Message.cost > Decimal("0.01")).order_by("id"),
        select(Message.id).where(Message.created_at >= datetime(2024, 1, 1, tzinfo=UTC)).order_by("id"),
        select(Document.id).where(Document.status == DocumentStatus.READY, ~Document.is_public).order_by("id"),
        select(DocumentChunk.content).where(DocumentChunk.document_id == DOCUMENT).order_by(DocumentChunk.chunk_index),
        select(Grove.owner_id, func.sum(Branch.priority))
        .join(Branch)
        .group_by(Grove.owner_id)
        .order_by(Grove.owner_id),
        select(Dialogue.id).where(Dialogue.state == DialogueState.OPEN, Dialogue.vessel_id.is_not(None)).order_by("id"),
        select(User.id).where(User.preferences["theme"].as_string() == "dark").order_by("id"),
        select(Vessel.id).where(Vessel.state == b"\x00\xff"),
    )
    async with AsyncSession(engine) as session:
        return [(await session.execute(question)).all() for question in questions]


async def count(engine: AsyncEngine, model: type[Base]) -> int:
    """Return how many objects there are."""
    async with AsyncSession(engine) as session:
        return (await session.execute(select(func.count()).select_from(model))).scalar_one()


async def test_reads_are_equal(sqlite: AsyncEngine, postgres: AsyncEngine) -> None:
    """Every attribute of every object is the same Python value, and every question has the same answer."""
    before = await everything(sqlite)
    assert all(before.values())
    after = await everything(postgres)
    assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}
    changed = [
        (name, attribute, then[attribute], now[attribute])
        for name, rows in before.items()
        for then, now in zip(rows, after[name], strict=True)
        for attribute in then
        if now[attribute] != then[attribute]
    ]
    assert changed == []
    answers = await browse(sqlite)
    assert all(answers)
    assert await browse(postgres) == answers


async def test_new_objects_get_ids_that_were_never_given(sqlite: AsyncEngine, postgres: AsyncEngine) -> None:
    """Each counted key goes on beyond all that SQLite has ever given, deleted ones included, in steps of one."""
    async with sqlite.connect() as connection:
        given = {row.name: row.seq for row in await connection.execute(text("SELECT name, seq FROM sqlite_sequence"))}
        largest = {
            model: (await connection.execute(select(func.max(model.id)))).scalar_one()
            for model in (Message, Branch, DialogueMessage)
        }
    assert given["messages"] > largest[Message]
    async with AsyncSession(postgres, expire_on_commit=False) as session, session.begin():
        messages = [Message(conversation_id="first", position=i, role=MessageRole.USER, content="") for i in (1, 2)]
        branches = [Branch(grove_id=GROVE, name=name) for name in ("new", "newer")]
        said = [DialogueMessage(dialogue_id=DIALOGUE, speaker=Speaker.HUMAN, content="") for _ in range(2)]
        session.add_all([*messages, *branches, *said])
    assert sorted(one.id for one in messages) == [given["messages"] + 1, given["messages"] + 2]
    assert sorted(one.id for one in branches) == [largest[Branch] + 1, largest[Branch] + 2]
    assert sorted(one.id for one in said) == [largest[DialogueMessage] + 1, largest[DialogueMessage] + 2]


async def test_the_application_goes_on_writing(postgres: AsyncEngine) -> None:
    """Objects that were moved can be changed, and get new ones beside them."""
    async with AsyncSession(postgres) as session, session.begin():
        user = await session.get_one(User, USER)
        user.preferences = {**user.preferences, "theme": "dark"}
        user.credit += Decimal("0.20")
        conversation = await session.get_one(Conversation, "first")
        conversation.status = ConversationStatus.ARCHIVED
        conversation.last_message = Message(
            conversation=conversation, position=1, role=MessageRole.ASSISTANT, content="Eso."
        )
    async with AsyncSession(postgres) as session:
        user = await session.get_one(User, USER)
        assert (user.credit, user.preferences) == (Decimal("0.30"), {"theme": "dark"})
        assert user.updated_at > user.created_at
        said = await session.scalars(select(Message).where(Message.conversation_id == "first").order_by(Message.id))
        question, answer = said.all()
        assert (question.content, answer.content) == ("¿Qué? 🌱\r\n", "Eso.")
        conversation = await session.get_one(Conversation, "first")
        assert (conversation.status, conversation.last_message_id) == (ConversationStatus.ARCHIVED, answer.id)


async def test_the_same_code_writes_on_either_side(sqlite: AsyncEngine, postgres: AsyncEngine) -> None:
    """What the application wrote to SQLite it can delete from PostgreSQL and write there again, to the same effect."""
    async with AsyncSession(postgres) as session, session.begin():
        for model, key in ((Dialogue, DIALOGUE), (Document, DOCUMENT), (User, USER)):
            await session.delete(await session.get_one(model, key))
    await write(postgres)
    for mapper in Base.registry.mappers:
        assert await count(postgres, mapper.class_) == await count(sqlite, mapper.class_), mapper


async def test_the_database_fills_in_what_is_left_out(postgres: AsyncEngine) -> None:
    """Server defaults are those of the models: a row of which only the necessary is given is a whole one."""
    async with AsyncSession(postgres) as session, session.begin():
        needed = "'x', 'x@example.org', 'x', '!'"
        await session.execute(text(f"INSERT INTO users (id, email, username, password_hash) VALUES ({needed})"))
        await session.execute(text("INSERT INTO conversations (id, user_id, model) VALUES ('x', 'x', 'm')"))
        await session.execute(text(f"INSERT INTO branches (grove_id, name) VALUES ('{GROVE}', 'x')"))
    async with AsyncSession(postgres) as session:
        user = await session.get_one(User, "x")
        assert (user.role, user.is_active, user.credit, user.preferences) == (UserRole.MEMBER, True, Decimal(0), {})
        assert abs(datetime.now(UTC) - user.created_at) < timedelta(hours=1)
        conversation = await session.get_one(Conversation, "x")
        assert (conversation.status, conversation.is_pinned) == (ConversationStatus.ACTIVE, False)
        branch = (await session.scalars(select(Branch).where(Branch.name == "x"))).one()
        assert (branch.priority, branch.weight) == (5, 0.0)


async def test_what_hangs_on_a_row_goes_with_it(postgres: AsyncEngine) -> None:
    """ON DELETE CASCADE, down all levels, across the cycle and the table that refers to itself; nothing else goes."""
    models: tuple[type[Base], ...] = (Conversation, Message, Grove, Branch, Vessel)
    before = {model: await count(postgres, model) for model in models}
    async with postgres.begin() as connection:
        for model in (Dialogue, Document):
            await connection.execute(delete(model).where(model.id.in_([DIALOGUE, DOCUMENT])))
        await connection.execute(delete(User).where(User.id == USER))
    gone: dict[type[Base], int] = {Conversation: 1, Message: 1, Grove: 1, Branch: 2, Vessel: 1}
    for table, number in gone.items():
        assert await count(postgres, table) == before[table] - number, table.__name__
    async with AsyncSession(postgres) as session:
        for orphans in (
            select(DocumentChunk).where(DocumentChunk.document_id == DOCUMENT),
            select(DialogueMessage).where(DialogueMessage.dialogue_id == DIALOGUE),
        ):
            assert (await session.scalars(orphans)).all() == []


async def test_what_pointed_at_something_deleted_forgets_it(postgres: AsyncEngine) -> None:
    """ON DELETE SET NULL: the conversation outlives its last message, the dialogue its vessel."""
    async with postgres.begin() as connection:
        await connection.execute(delete(Message).where(Message.conversation_id == "first"))
        await connection.execute(delete(Vessel).where(Vessel.id == "vessel"))
    async with AsyncSession(postgres) as session:
        assert (await session.get_one(Conversation, "first")).last_message_id is None
        assert (await session.get_one(Dialogue, DIALOGUE)).vessel_id is None


BROKEN = {
    "a user with documents": delete(User).where(User.id == USER),
    "a branch that is talked about": delete(Branch).where(Branch.name == "leaf", Branch.grove_id == GROVE),
    "no such conversation": insert(Message).values(conversation_id="?", position=0, role="user", content=""),
    "a position taken": insert(Message).values(conversation_id="first", position=0, role="user", content=""),
    "an email taken": insert(User).values(id="x", email="vera@example.org", username="x", password_hash="!"),
    "its own parent": insert(Branch).values(id=10**6, grove_id=GROVE, name="x", parent_id=10**6),
    "a second system account": insert(User).values(id=SYSTEM_USER_ID, email="x", username="x", password_hash="!"),
}


async def test_what_is_forbidden_stays_so(postgres: AsyncEngine) -> None:
    """ON DELETE RESTRICT, foreign keys, unique, primary and check constraints are all back after the load."""
    for name, statement in BROKEN.items():
        async with postgres.connect() as connection:
            with pytest.raises(IntegrityError, match="violates"):
                assert await connection.execute(statement) is None, name
