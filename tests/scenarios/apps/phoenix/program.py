"""
Drives Phoenix through its own models and its own code for the database; runs under Phoenix's own Python.

``program.py create|start|fill|tell|continue URL``: ``create`` runs the migrations alone, ``start`` writes as well what
the server writes when it starts: roles, a user of the system, models with their prices, evaluators, languages.
"""
# ruff: noqa: E402 - Phoenix reads its settings when it is imported

import asyncio
import json
import logging
import os
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

HOME = tempfile.TemporaryDirectory()
os.environ |= {
    "PHOENIX_WORKING_DIR": HOME.name,
    "PHOENIX_TELEMETRY_ENABLED": "false",
    "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    "PHOENIX_SECRET": "a1" * 20,
}
logging.disable(logging.WARNING)

import sqlalchemy as sa
from phoenix.db import models
from phoenix.db.engines import create_engine
from phoenix.db.facilitator import Facilitator
from phoenix.server.encryption import EncryptionService
from phoenix.server.types import DbSessionFactory
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

Database = Any


@asynccontextmanager
async def opened(url: str, *, started: bool) -> AsyncIterator[DbSessionFactory]:
    """Give Phoenix's own factory of sessions; its migrations have run, and what its start writes is there."""
    engine = create_engine(url.replace("postgresql+psycopg2", "postgresql"), log_migrations=False)
    maker = async_sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def session() -> AsyncIterator[AsyncSession]:
        async with maker.begin() as one:
            yield one

    database = DbSessionFactory(db=session, dialect=engine.dialect.name)
    if started:
        await Facilitator(db=database)()
    yield database
    await engine.dispose()


NOON = datetime(2024, 3, 31, 12, 30, 0, 123456, tzinfo=UTC)
TIMES = (
    NOON,
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    datetime(2024, 10, 27, 2, 30, tzinfo=timezone(timedelta(hours=2))),
    datetime(9998, 12, 31, tzinfo=UTC),
    datetime(1, 1, 2, tzinfo=UTC),
)
TEXTS = ("größe 🌱", "", "a\nb\t\\ 'quoted' \"double\"", "x" * 50_000)
DEEP = {"llm": {"token_count": {"prompt": 2**53, "completion": None}, "ü": [1, 1.5, 1e-300, True, "", {"leer": {}}]}}


async def fill(database: DbSessionFactory) -> None:
    """Fill every kind of thing, with what is hard in each, and delete some of them again."""
    async with database() as session:
        role = await session.scalar(sa.select(models.UserRole.id).filter_by(name="MEMBER"))
        user = models.LocalUser(
            user_role_id=role, username="größe", email="ü@example.com", reset_password=False,
            password_hash=bytes(range(256)), password_salt=b"\x00\xff\x00",
        )  # fmt: skip
        session.add_all([user, models.OAuth2User(user_role_id=role, username="oauth", email="o@example.com")])
        await session.flush()
        await _traces(session, user.id)
        await _dataset(session, user.id)
        _agent(session, user.id)
        secret = EncryptionService().encrypt("pässword 🌱".encode())
        session.add(models.Secret(key="SCHLÜSSEL", value=secret, user_id=user.id))
        session.add(models.ApiKey(user_id=user.id, name="schlüssel", description="", expires_at=TIMES[3]))
    async with database() as session:
        await session.execute(sa.delete(models.Project).where(models.Project.name == "gone"))


async def _traces(session: AsyncSession, user: int) -> None:
    for name in ("größe 🌱 / 'quoted'", "gone", "empty"):
        project = models.Project(name=name, description=None if name == "empty" else "")
        session.add(project)
        await session.flush()
        if name == "empty":
            continue
        talk = models.ProjectSession(
            session_id=f"sitzung {name}", project_id=project.id, start_time=NOON, end_time=NOON + timedelta(days=1)
        )
        session.add(talk)
        await session.flush()
        for number, when in enumerate(TIMES):
            await _trace(session, (project.id, talk.id if number % 2 else None, user), f"{name}{number}", when)


async def _trace(session: AsyncSession, owners: "tuple[int, int | None, int]", name: str, when: datetime) -> None:
    project, talk, user = owners
    trace = models.Trace(
        project_rowid=project, trace_id=uuid.uuid5(uuid.NAMESPACE_URL, name).hex, project_session_rowid=talk,
        start_time=when, end_time=when + timedelta(microseconds=1),
    )  # fmt: skip
    session.add(trace)
    await session.flush()
    for number, text in enumerate(TEXTS):
        span = models.Span(
            trace_rowid=trace.id, span_id=uuid.uuid5(uuid.NAMESPACE_URL, f"{name}/{number}").hex[:16],
            parent_id=None if number == 0 else "p", name=text[:50], span_kind="LLM", start_time=when,
            end_time=when + timedelta(seconds=number), attributes=DEEP | {"input": {"value": text}},
            events=[{"name": text[:9], "timestamp": when.isoformat()}] * number,
            status_code=("OK", "ERROR", "UNSET")[number % 3], status_message=text, cumulative_error_count=number,
            cumulative_llm_token_count_prompt=number, cumulative_llm_token_count_completion=0,
            llm_token_count_prompt=None if number % 2 else 0, llm_token_count_completion=number,
        )  # fmt: skip
        session.add(span)
        await session.flush()
        session.add(
            models.SpanAnnotation(
                span_rowid=span.id,
                name="güte",
                label=text[:9] or None,
                score=(0.1 + 0.2, None, -1e-300, 1e300)[number],
                explanation=text,
                metadata_={"ü": [None]},
                annotator_kind="HUMAN",
                source="API",
                identifier=text[:5],
                user_id=user,
            )
        )


async def _dataset(session: AsyncSession, user: int) -> None:
    dataset = models.Dataset(name="größe", description="", metadata_={"a": None}, user_id=user)
    session.add(dataset)
    await session.flush()
    version = models.DatasetVersion(dataset_id=dataset.id, description=None, metadata_={})
    split = models.DatasetSplit(name="teil", color="#ffffff", metadata_={}, description="")
    session.add_all([version, split])
    await session.flush()
    experiment = models.Experiment(
        dataset_id=dataset.id, dataset_version_id=version.id, name="versuch", repetitions=2, metadata_=DEEP,
        project_name="empty", is_ephemeral=False,
    )  # fmt: skip
    session.add(experiment)
    await session.flush()
    for number, text in enumerate(TEXTS):
        example = models.DatasetExample(dataset_id=dataset.id, external_id=f"e{number}")
        session.add(example)
        await session.flush()
        session.add(
            models.DatasetExampleRevision(
                dataset_example_id=example.id,
                dataset_version_id=version.id,
                input={"q": text},
                output={},
                metadata_={},
                content_hash=bytes([number]) * 32,
                revision_kind="CREATE",
            )
        )
        session.add(models.DatasetSplitDatasetExample(dataset_split_id=split.id, dataset_example_id=example.id))
        session.add(
            models.ExperimentRun(
                experiment_id=experiment.id,
                dataset_example_id=example.id,
                repetition_number=1,
                output={"task_output": text},
                start_time=NOON,
                end_time=NOON,
                error=text or None,
            )
        )


def _agent(session: AsyncSession, user: int) -> None:
    for number in range(3):
        talk = models.AgentSession(
            project_name="größe", user_id=user, title="ü" * number, model_provider="OPENAI", model_name="m",
            is_ephemeral=number == 2,
        )  # fmt: skip
        talk.messages = [_message(f"{number}/{turn}", TEXTS[turn]) for turn in range(number)]
        talk.snapshot = models.AgentSessionSnapshot(bashkit_snapshot=bytes(range(256)) * 40 if number else None)
        session.add(talk)


def _message(name: str, text: str) -> Any:
    from phoenix.db.types.data_stream_protocol.phoenix_types import PhoenixUIMessage

    told = {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)), "role": "user", "parts": [{"type": "text", "text": text}]}
    return models.AgentSessionMessage(message=PhoenixUIMessage.model_validate(told))


async def tell(database: DbSessionFactory) -> None:
    """Print every value of every model, as the models give it."""
    told: dict[str, list[str]] = {}
    async with database() as session:
        for mapper in sorted(models.Base.registry.mappers, key=lambda one: one.class_.__name__):
            columns = [attribute.key for attribute in mapper.column_attrs]
            keys = mapper.primary_key
            found = await session.scalars(sa.select(mapper.class_).order_by(*keys))
            told[mapper.class_.__name__] = [
                repr([(name, _plain(getattr(row, name))) for name in columns]) for row in found.unique()
            ]
    print(json.dumps(told))


def _plain(value: object) -> object:
    """Return a value whose ``repr`` says all of it; members of an object in one order, since ``jsonb`` keeps none."""
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump())
    if isinstance(value, dict):
        return {name: _plain(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.pattern if hasattr(value, "pattern") else value


async def go_on(database: DbSessionFactory) -> None:
    """Write anew: ids follow on, unique keys hold, what depends on a row goes with it, a secret can be read."""
    told: dict[str, object] = {}
    async with database() as session:
        project = models.Project(name="neu")
        session.add(project)
        await session.flush()
        await _trace(session, (project.id, None, 1), "neu", NOON)
        talk = models.AgentSession(project_name="neu", title="", model_provider="OPENAI", model_name="m")
        talk.messages = [_message("neu", "ü")]
        session.add(talk)
        await session.flush()
        told["ids"] = [project.id, talk.id, talk.messages[0].id, await session.scalar(sa.func.max(models.Span.id))]
        generated = sa.select(models.AgentSessionMessage.message_id, models.AgentSessionMessage.is_compaction_message)
        told["generated"] = [list(row) for row in await session.execute(generated.order_by("message_id"))]
        secret = await session.scalar(sa.select(models.Secret.value))
        told["secret"] = EncryptionService().decrypt(secret).decode()
    try:
        async with database() as session:
            session.add(models.Project(name="neu"))
    except Exception as error:  # noqa: BLE001 - of a driver that SQLAlchemy doesn't know
        told["twice"] = type(error).__name__
    async with database() as session:
        await session.execute(sa.delete(models.Project).where(models.Project.name.startswith("größe")))
        for model in (models.Trace, models.Span, models.SpanAnnotation, models.ProjectSession):
            told[model.__name__] = await session.scalar(sa.select(sa.func.count()).select_from(model))
    print(json.dumps(told))


async def main(verb: str, url: str) -> None:
    """Do one of the commands."""
    async with opened(url, started=verb in {"start", "fill", "continue"}) as database:
        if verb in COMMANDS:
            await COMMANDS[verb](database)


COMMANDS = {"fill": fill, "tell": tell, "continue": go_on}

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
