"""
Drives Langflow through its own models and services; runs under Langflow's own Python.

``program.py create|start|fill|tell|continue URL``: ``create`` runs the migrations alone, ``start`` writes as well what
the services write when the server starts: a superuser, the default folder, the starter projects.
"""
# ruff: noqa: E402 - Langflow reads its settings when it is imported

import asyncio
import json
import logging
import os
import sys
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any
from uuid import UUID

HOME = tempfile.TemporaryDirectory()
VERB, URL = sys.argv[1:]
os.environ |= {
    "LANGFLOW_DATABASE_URL": URL,
    "LANGFLOW_CONFIG_DIR": HOME.name,
    "LANGFLOW_SECRET_KEY": "ZGVhZGJlZWZkZWFkYmVlZmRlYWRiZWVmZGVhZGJlZWY=",
    "LANGFLOW_AUTO_LOGIN": "true",
    "LANGFLOW_LOG_LEVEL": "critical",
    "LANGFLOW_STORE_ENVIRONMENT_VARIABLES": "false",
    "DO_NOT_TRACK": "true",
}
logging.disable(logging.WARNING)

import sqlalchemy as sa
from langflow.services.auth.utils import get_password_hash
from langflow.services.database.models.api_key.crud import create_api_key
from langflow.services.database.models.api_key.model import ApiKey, ApiKeyCreate
from langflow.services.database.models.file.model import File
from langflow.services.database.models.flow.model import Flow
from langflow.services.database.models.flow_version.model import FlowVersion
from langflow.services.database.models.folder.model import Folder
from langflow.services.database.models.message.model import MessageTable
from langflow.services.database.models.traces.model import SpanTable, TraceTable
from langflow.services.database.models.transactions.model import TransactionTable
from langflow.services.database.models.user.model import User
from langflow.services.database.models.variable.model import Variable
from langflow.services.database.models.vertex_builds.model import VertexBuildTable
from langflow.services.database.utils import initialize_database
from langflow.services.deps import get_db_service, get_variable_service, session_scope
from langflow.services.utils import initialize_services, register_all_service_factories
from sqlmodel import SQLModel

NOON = datetime(2024, 3, 31, 12, 30, 0, 123456, tzinfo=UTC)
TIMES = (
    NOON,
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    datetime(2024, 10, 27, 2, 30, tzinfo=timezone(timedelta(hours=2))),
    datetime(9998, 12, 31, tzinfo=UTC),
)
TEXTS = ("größe 🌱", "", "a\nb\t\\ 'quoted' \"double\"", "x" * 300_000)
DEEP = {"nodes": [{"id": "ü-1", "position": {"x": 0.1 + 0.2, "y": -1e-300}, "data": {"n": None, "leer": {}}}]}


async def fill() -> None:
    """Fill every kind of thing, with what is hard in each, and delete some of them again."""
    async with session_scope() as session:
        user = User(username="größe", password=get_password_hash("pässword 🌱"), is_active=True, last_login_at=NOON)
        gone = User(username="gone", password=get_password_hash("x"), profile_image="")
        session.add_all([user, gone])
        await session.flush()
        await create_api_key(session, ApiKeyCreate(name="schlüssel 🌱"), user.id)
        for number, text in enumerate(TEXTS):
            variables = get_variable_service()
            await variables.create_variable(
                user.id, f"V{number}", text or "leer", default_fields=["ü", ""], type_="Credential", session=session
            )
            session.add(File(user_id=user.id, name=f"datei {number}", path=f"ü/{number}.txt", size=2**31 - 1 - number))
        for owner in (user, gone):
            folder = Folder(name="ordner 🌱", description=None, user_id=owner.id, auth_settings={"ü": None})
            session.add(folder)
            await session.flush()
            session.add(Folder(name="", description="", user_id=owner.id, parent_id=folder.id))
            for number, text in enumerate(TEXTS):
                await _flow(session, owner.id, folder.id, (f"fluss {number}", text, TIMES[number]))
    await _forget(sa.select(Flow.id).join(User, Flow.user_id == User.id).where(User.username == "gone"))
    async with session_scope() as session:
        owned = sa.select(User.id).where(User.username == "gone").scalar_subquery()
        await session.execute(sa.delete(Folder).where(Folder.user_id == owned, Folder.parent_id.is_not(None)))
        await session.execute(sa.delete(Folder).where(Folder.user_id == owned))
        await session.execute(sa.delete(User).where(User.username == "gone"))


async def _flow(session: Any, user: UUID, folder: UUID, told: tuple[str, str, datetime]) -> None:
    """Write a flow with a version, and what its runs leave: messages, transactions, builds, traces."""
    name, text, when = told
    flow = Flow(
        name=name, description=text[:500], data=DEEP | {"text": text}, user_id=user, folder_id=folder,
        tags=[text[:9], ""],
        endpoint_name=None if text else f"end-{user}", updated_at=when, locked=not text, icon=text[:4] or None,
    )  # fmt: skip
    session.add(flow)
    await session.flush()
    version = FlowVersion(flow_id=flow.id, user_id=user, data=flow.data, version_number=1, created_at=when)
    message = MessageTable(
        timestamp=when, sender="User", sender_name=text[:50], session_id="sitzung", text=text, files=[text[:9]],
        flow_id=flow.id, properties={"ü": [None, 1.5]}, category="message", content_blocks=[], session_metadata={},
    )  # fmt: skip
    trace = TraceTable(name=text[:50], start_time=when, end_time=None, flow_id=flow.id, session_id="sitzung")
    session.add_all([version, message, trace])
    session.add(
        TransactionTable(vertex_id="ü-1", timestamp=when, inputs={"q": text}, status="success", flow_id=flow.id)
    )
    session.add(VertexBuildTable(id="ü-1", timestamp=when, data=DEEP, params=text, valid=not text, flow_id=flow.id))
    await session.flush()
    session.add(SpanTable(name=text[:50], trace_id=trace.id, start_time=when, inputs={"t": text}, error=text or None))


async def _forget(flows: Any) -> None:
    """Delete flows with all that Langflow deletes with them: in SQLite it doesn't leave that to foreign keys."""
    async with session_scope() as session:
        found = [*(await session.execute(flows)).scalars()]
        spans = sa.select(TraceTable.id).where(TraceTable.flow_id.in_(found))
        await session.execute(sa.delete(SpanTable).where(SpanTable.trace_id.in_(spans)))
        for model in (MessageTable, TransactionTable, VertexBuildTable, TraceTable, FlowVersion):
            await session.execute(sa.delete(model).where(model.flow_id.in_(found)))
        await session.execute(sa.delete(Flow).where(Flow.id.in_(found)))


async def tell() -> None:
    """Print every value of every model, as the models give it."""
    told: dict[str, list[str]] = {}
    async with session_scope() as session:
        for mapper in sorted(SQLModel._sa_registry.mappers, key=lambda one: one.class_.__name__):
            columns = [attribute.key for attribute in mapper.column_attrs]
            found = (await session.execute(sa.select(*(getattr(mapper.class_, name) for name in columns)))).all()
            told[mapper.class_.__name__] = sorted(repr([*zip(columns, map(_plain, row), strict=True)]) for row in found)
    print(json.dumps(told))


def _plain(value: object) -> object:
    """Return a value whose ``repr`` says all of it; a moment in UTC, which Langflow takes one without a zone for."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {name: _plain(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, UUID) else value


async def go_on() -> None:
    """Write anew: unique keys hold, secrets can be read, deletes reach what they should."""
    told: dict[str, object] = {}
    async with session_scope() as session:
        user = (await session.execute(sa.select(User).where(User.username == "größe"))).scalar_one()
        secret = await get_variable_service().get_variable(user.id, "V0", "", session)
        told["secret"] = secret.get_secret_value() if hasattr(secret, "get_secret_value") else secret
        folder = (await session.execute(sa.select(Folder).where(Folder.name == "ordner 🌱"))).scalar_one()
        await _flow(session, user.id, folder.id, ("neu", "ü", NOON))
        await create_api_key(session, ApiKeyCreate(name="neu"), user.id)
        session.add(Variable(name="neu", value="ü", user_id=user.id, type="Generic", default_fields=[]))
        who, where = user.id, folder.id
    for name, twice in (
        ("flow", Flow(name="neu", user_id=who, folder_id=where)),
        ("file", File(user_id=who, name="datei 0", path="", size=0)),
        ("user", User(username="größe", password="")),
        ("folder", Folder(name="ordner 🌱", user_id=who)),
    ):
        try:
            async with get_db_service().async_session_maker() as session:
                session.add(twice)
                await session.commit()
            told[name] = "taken"
        except sa.exc.IntegrityError as error:
            told[name] = type(error).__name__
    await _forget(sa.select(Flow.id).where(Flow.user_id == who, Flow.name != "neu"))
    async with session_scope() as session:
        for model in (Flow, FlowVersion, Folder, TraceTable, SpanTable, MessageTable, Variable, ApiKey):
            told[model.__name__] = await session.scalar(sa.select(sa.func.count()).select_from(model))
    print(json.dumps(told))


async def main(verb: str) -> None:
    """Do one of the commands."""
    if verb == "create":
        register_all_service_factories()
        await initialize_database()
    else:
        await initialize_services(skip_superuser_setup=verb not in {"fill", "start"})
    if verb in {"fill", "start"}:
        from langflow.initial_setup.setup import create_or_update_starter_projects

        await create_or_update_starter_projects({})
    if verb in COMMANDS:
        await COMMANDS[verb]()
    await get_db_service().engine.dispose()


COMMANDS = {"fill": fill, "tell": tell, "continue": go_on}

if __name__ == "__main__":
    asyncio.run(main(VERB))
    sys.stdout.flush()
    os._exit(0)  # threads of its services would keep it
