"""
The application of the end-to-end tests: conversations and messages over HTTP, on whichever database it is given.

It knows no database by name. Its engine comes from ``migrator.engine``, so ``DATABASE_URL`` alone says where it works,
and its answers show every column: what differs between the two databases is seen from outside.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from json import JSONDecodeError
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from migrator.demo.dryad.models import Conversation, Message, User
from migrator.demo.dryad.vocabulary import MessageRole
from migrator.engine import Settings, create_engine

MOST: Final = 1000
"""Rows in one answer, at most."""

engine = create_engine(Settings())
session = async_sessionmaker(engine, expire_on_commit=False)


async def health(_request: Request) -> JSONResponse:
    """Say which database answers, and how much there is."""
    async with session() as database:
        counts = {
            model.__tablename__: await database.scalar(select(func.count()).select_from(model))
            for model in (User, Conversation, Message)
        }
    return JSONResponse({"database": engine.dialect.name, "rows": counts})


async def list_conversations(request: Request) -> JSONResponse:
    """Return conversations in the order of their keys, beginning after ``?after=``."""
    query = select(Conversation).order_by(Conversation.id).limit(MOST)
    if after := request.query_params.get("after"):
        query = query.where(Conversation.id > after)
    async with session() as database:
        return JSONResponse([_shown(row) for row in await database.scalars(query)])


async def show_conversation(request: Request) -> JSONResponse:
    """Return one conversation with its messages, the first first."""
    async with session() as database:
        found = await _conversation(database, request)
        messages = select(Message).where(Message.conversation_id == found.id).order_by(Message.position)
        rows = [_shown(row) for row in await database.scalars(messages)]
    return JSONResponse({**_shown(found), "messages": rows})


async def start_conversation(request: Request) -> JSONResponse:
    """Begin a conversation; the body names ``user_id`` and ``title``."""
    wanted = await _body(request, "user_id", "title")
    async with session() as database, database.begin():
        made = Conversation(**wanted, model="gremlin-1", created_at=datetime.now(UTC), updated_at=datetime.now(UTC))
        database.add(made)
    return JSONResponse(_shown(made), status_code=201)


async def say(request: Request) -> JSONResponse:
    """Add a message to the end of a conversation; the body has its ``content``."""
    wanted = await _body(request, "content")
    async with session() as database, database.begin():
        found = await _conversation(database, request)
        last = await database.scalar(select(func.max(Message.position)).where(Message.conversation_id == found.id))
        made = Message(
            **wanted,
            conversation_id=found.id,
            position=0 if last is None else last + 1,
            role=MessageRole.USER,
            created_at=datetime.now(UTC),
        )
        database.add(made)
        await database.flush()
        found.last_message_id = made.id
    return JSONResponse(_shown(made), status_code=201)


async def _conversation(database: AsyncSession, request: Request) -> Conversation:
    found: Conversation | None = await database.get(Conversation, request.path_params["id"])
    if found is None:
        raise HTTPException(404, "no such conversation")
    return found


async def _body(request: Request, *names: str) -> dict[str, str]:
    try:
        body = await request.json()
        return {name: str(body[name]) for name in names}
    except (JSONDecodeError, KeyError, TypeError):
        raise HTTPException(400, f"a JSON object with {', '.join(names)} is wanted") from None


def _shown(row: DeclarativeBase) -> dict[str, Any]:
    return {column.key: _plain(getattr(row, column.key)) for column in type(row).__mapper__.column_attrs}


def _plain(value: object) -> object:
    match value:
        case Enum():
            return value.value
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return str(value)
        case bytes():
            return value.hex()
        case _:
            return value


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """Give the connections back at the end."""
    yield
    await engine.dispose()


app = Starlette(
    routes=[
        Route("/health", health),
        Route("/conversations", list_conversations),
        Route("/conversations", start_conversation, methods=["POST"]),
        Route("/conversations/{id}", show_conversation),
        Route("/conversations/{id}/messages", say, methods=["POST"]),
    ],
    lifespan=lifespan,
)
