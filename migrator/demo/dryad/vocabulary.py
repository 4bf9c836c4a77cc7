"""Defines the words that columns of Dryad may hold, and the types that need more than SQLAlchemy has."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Enum, Float, Integer, LargeBinary, TypeDecorator, Uuid
from sqlalchemy.dialects.postgresql import JSONB

NAMING_CONVENTION: Final = {
    "ix": "idx_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

type_json: Final = JSON().with_variant(JSONB(), "postgresql")

# SQLite generates keys only for a column declared INTEGER: a BIGINT PRIMARY KEY is no alias of the rowid.
type_counted: Final = BigInteger().with_variant(Integer(), "sqlite")


class UserRole(StrEnum):
    """The rights of an account."""

    ADMIN = "admin"
    MEMBER = "member"
    GUEST = "guest"


class ConversationStatus(StrEnum):
    """The state of a conversation."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    DELETED = "deleted"


class MessageRole(StrEnum):
    """The author of a message in a conversation."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class DocumentStatus(StrEnum):
    """The progress of a document's ingestion."""

    PENDING = "pending"
    IN_REVIEW = "in review"
    READY = "ready"
    FAILED = "failed"


class GroveVisibility(StrEnum):
    """The users who can see a grove."""

    PRIVATE = "private"
    SHARED = "shared"
    PUBLIC = "public"


class VesselKind(StrEnum):
    """The content of a vessel."""

    MEMORY = "memory"
    TOOLBOX = "toolbox"
    ARCHIVE = "archive"


class DialogueState(StrEnum):
    """The state of a dialogue."""

    OPEN = "open"
    PAUSED = "paused"
    CLOSED = "closed"


class Speaker(StrEnum):
    """The speaker of an utterance in a dialogue."""

    HUMAN = "human"
    GREMLIN = "gremlin"
    ORACLE = "oracle"


def enum_of(members: type[StrEnum], name: str) -> Enum:
    """Return the type of a column that holds one of the words."""
    # SQLAlchemy would store the names of the members, but other programs expect their values.
    return Enum(members, name=name, values_callable=lambda enum: [member.value for member in enum])


class UtcDateTime(TypeDecorator[datetime]):
    """
    A moment with time zone, in UTC in both databases.

    SQLite has no time zones: SQLAlchemy would store the local time of the value's zone, and return a naive value. So
    naive values are refused when they are stored, and all values are UTC when they are read.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC. Raises ValueError if it has no time zone."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC. A value from SQLite is UTC already."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """Return the moment, in UTC."""
    return datetime.now(UTC)


def uuid_text() -> str:
    """Return a new UUID as text."""
    return str(uuid4())


TYPES: Final[Mapping[Any, Any]] = {
    datetime: UtcDateTime(),
    float: Float(),
    dict[str, Any]: type_json,
    bytes: LargeBinary(),
    UUID: Uuid(),
    UserRole: enum_of(UserRole, "user_role"),
    ConversationStatus: enum_of(ConversationStatus, "conversation_status"),
    MessageRole: enum_of(MessageRole, "message_role"),
    DocumentStatus: enum_of(DocumentStatus, "document_status"),
    GroveVisibility: enum_of(GroveVisibility, "grove_visibility"),
    VesselKind: enum_of(VesselKind, "vessel_kind"),
    DialogueState: enum_of(DialogueState, "dialogue_state"),
    Speaker: enum_of(Speaker, "speaker"),
}
"""The type of a column by the Python type of its values."""
