"""
Defines Dryad's tables as SQLAlchemy 2 models, for SQLite and for PostgreSQL.

    users ──┬─▶ conversations ◀──▶ messages        (a conversation knows its last message: a cycle)
            ├─▶ documents ──▶ document_chunks
            └─▶ groves ──▶ branches ◀─╮ ──▶ vessels
                              │  ╰────╯            (a branch has a parent branch)
                              ╰─▶ dialogues ──▶ dialogue_messages

The types are as mixed as in an old application: UUIDs as text and as ``uuid``, three integer keys that the database
generates, JSON, BLOBs, decimals, native enums. ``migrations`` builds the same schema; a test compares the two schemas.
"""

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, ClassVar, Final
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from migrator.demo.dryad.vocabulary import (
    NAMING_CONVENTION,
    TYPES,
    ConversationStatus,
    DialogueState,
    DocumentStatus,
    GroveVisibility,
    MessageRole,
    Speaker,
    UserRole,
    VesselKind,
    now,
    type_counted,
    type_json,
    uuid_text,
)

SYSTEM_USER_ID: Final = "00000000-0000-4000-8000-000000000001"
"""The id of the account that every Dryad database has; a migration inserts it."""


class Base(DeclarativeBase):
    """The base of Dryad's tables, with their names of constraints and their types."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[Mapping[Any, Any]] = TYPES


class User(Base):
    """An account. Its rows are deleted with it, but an account with documents can't be deleted."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid_text)
    email: Mapped[str] = mapped_column(String(320), index=True, unique=True)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    display_name: Mapped[str | None] = mapped_column(String(200))
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[UserRole] = mapped_column(default=UserRole.MEMBER, server_default=text("'member'"))
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    date_of_birth: Mapped[date | None]
    credit: Mapped[Decimal] = mapped_column(Numeric(12, 2), default=Decimal(0), server_default=text("0"))
    preferences: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    avatar: Mapped[bytes | None]
    last_login_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=now)

    conversations: Mapped[list["Conversation"]] = relationship(
        back_populates="user", cascade="all, delete-orphan", passive_deletes=True
    )
    groves: Mapped[list["Grove"]] = relationship(
        back_populates="owner", cascade="all, delete-orphan", passive_deletes=True
    )
    documents: Mapped[list["Document"]] = relationship(back_populates="owner", passive_deletes="all")


class Conversation(Base):
    """A conversation of one user with the agent."""

    __tablename__ = "conversations"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid_text)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    title: Mapped[str | None] = mapped_column(String(500))
    status: Mapped[ConversationStatus] = mapped_column(
        default=ConversationStatus.ACTIVE, server_default=text("'active'")
    )
    model: Mapped[str] = mapped_column(String(100))
    temperature: Mapped[float | None]
    token_budget: Mapped[int | None] = mapped_column(BigInteger)
    cost: Mapped[Decimal] = mapped_column(Numeric(14, 6), default=Decimal(0), server_default=text("0"))
    is_pinned: Mapped[bool] = mapped_column(default=False, server_default=false())
    context: Mapped[dict[str, Any] | None]
    last_message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id", ondelete="SET NULL", use_alter=True))
    archived_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=now)

    user: Mapped[User] = relationship(back_populates="conversations")
    messages: Mapped[list["Message"]] = relationship(
        back_populates="conversation",
        foreign_keys="Message.conversation_id",
        order_by="Message.position",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )
    last_message: Mapped["Message | None"] = relationship(foreign_keys=last_message_id, post_update=True)

    __table_args__ = (
        Index(
            "idx_conversations_open",
            "user_id",
            "updated_at",
            sqlite_where=text("archived_at IS NULL"),
            postgresql_where=text("archived_at IS NULL"),
        ),
    )


class Message(Base):
    """A message in a conversation, at its own position."""

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(type_counted, primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    author_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    position: Mapped[int]
    role: Mapped[MessageRole]
    content: Mapped[str] = mapped_column(Text)
    token_count: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    latency_ms: Mapped[float | None]
    cost: Mapped[Decimal | None] = mapped_column(Numeric(10, 6))
    attachments: Mapped[list[Any] | None] = mapped_column(type_json)
    embedding: Mapped[bytes | None]
    is_edited: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)

    conversation: Mapped[Conversation] = relationship(back_populates="messages", foreign_keys=conversation_id)
    author: Mapped[User | None] = relationship()

    __table_args__ = (
        UniqueConstraint("conversation_id", "position"),
        CheckConstraint("token_count >= 0", name="token_count_not_negative"),
        {"sqlite_autoincrement": True},
    )


class Document(Base):
    """A file that the agent has read."""

    __tablename__ = "documents"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    title: Mapped[str] = mapped_column(String(500))
    source_uri: Mapped[str | None] = mapped_column(Text)
    mime_type: Mapped[str] = mapped_column(String(127))
    status: Mapped[DocumentStatus] = mapped_column(default=DocumentStatus.PENDING, server_default=text("'pending'"))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    checksum: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    body: Mapped[str | None] = mapped_column(Text)
    attributes: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict, server_default=text("'{}'"))
    language: Mapped[str | None] = mapped_column(String(35))
    published_on: Mapped[date | None]
    is_public: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=now)

    owner: Mapped[User] = relationship(back_populates="documents")
    chunks: Mapped[list["DocumentChunk"]] = relationship(
        back_populates="document",
        order_by="DocumentChunk.chunk_index",
        cascade="all, delete-orphan",
        passive_deletes=True,
    )

    __table_args__ = (
        UniqueConstraint("owner_id", "checksum"),
        Index("idx_documents_metadata", "metadata", postgresql_using="gin"),
    )


class DocumentChunk(Base):
    """A passage of a document with its embedding: a vector of little-endian 32-bit floats."""

    __tablename__ = "document_chunks"

    document_id: Mapped[UUID] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True)
    chunk_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content: Mapped[str] = mapped_column(Text)
    token_count: Mapped[int]
    start_offset: Mapped[int] = mapped_column(BigInteger)
    embedding: Mapped[bytes | None]
    embedding_norm: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    document: Mapped[Document] = relationship(back_populates="chunks")


class Grove(Base):
    """A space of branches that one user grows."""

    __tablename__ = "groves"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(200))
    slug: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
    visibility: Mapped[GroveVisibility] = mapped_column(
        default=GroveVisibility.PRIVATE, server_default=text("'private'")
    )
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    seed: Mapped[int] = mapped_column(BigInteger)
    founded_on: Mapped[date | None]
    quiet_from: Mapped[time | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    owner: Mapped[User] = relationship(back_populates="groves")
    branches: Mapped[list["Branch"]] = relationship(
        back_populates="grove", cascade="all, delete-orphan", passive_deletes=True
    )

    __table_args__ = (UniqueConstraint("owner_id", "slug"),)


class Branch(Base):
    """A line of thought in a grove. It may have a parent branch."""

    __tablename__ = "branches"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    grove_id: Mapped[UUID] = mapped_column(ForeignKey("groves.id", ondelete="CASCADE"))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("branches.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    priority: Mapped[int] = mapped_column(SmallInteger, default=5, server_default=text("5"))
    weight: Mapped[float] = mapped_column(default=0.0, server_default=text("0"))
    score: Mapped[Decimal | None] = mapped_column(Numeric(15, 9))
    observation: Mapped[Any | None] = mapped_column(type_json)
    is_merged: Mapped[bool | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    grove: Mapped[Grove] = relationship(back_populates="branches")
    parent: Mapped["Branch | None"] = relationship(back_populates="children", remote_side="Branch.id")
    children: Mapped[list["Branch"]] = relationship(
        back_populates="parent", cascade="all, delete-orphan", passive_deletes=True
    )
    vessel: Mapped["Vessel | None"] = relationship(
        back_populates="branch", cascade="all, delete-orphan", passive_deletes=True
    )

    __table_args__ = (
        UniqueConstraint("grove_id", "name"),
        CheckConstraint("priority BETWEEN 0 AND 9", name="priority_is_a_digit"),
        CheckConstraint("parent_id <> id", name="parent_is_another"),
    )


class Vessel(Base):
    """Data of a branch. A branch has at most one vessel."""

    __tablename__ = "vessels"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid_text)
    branch_id: Mapped[int] = mapped_column(ForeignKey("branches.id", ondelete="CASCADE"), unique=True)
    kind: Mapped[VesselKind]
    storage_path: Mapped[str] = mapped_column(Text)
    state: Mapped[bytes | None]
    manifest: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    capacity_bytes: Mapped[int | None] = mapped_column(BigInteger)
    fill_ratio: Mapped[float] = mapped_column(default=0.0, server_default=text("0"))
    price: Mapped[Decimal | None] = mapped_column(Numeric(9, 4))
    expires_on: Mapped[date | None]
    sealed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    branch: Mapped[Branch] = relationship(back_populates="vessel")

    __table_args__ = (CheckConstraint("fill_ratio >= 0 AND fill_ratio <= 1", name="fill_ratio_is_a_part"),)


class Dialogue(Base):
    """A dialogue about a branch. A branch with dialogues can't be deleted."""

    __tablename__ = "dialogues"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    branch_id: Mapped[int] = mapped_column(ForeignKey("branches.id", ondelete="RESTRICT"), index=True)
    vessel_id: Mapped[str | None] = mapped_column(ForeignKey("vessels.id", ondelete="SET NULL"), index=True)
    opened_by: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    topic: Mapped[str] = mapped_column(String(300))
    state: Mapped[DialogueState] = mapped_column(default=DialogueState.OPEN, server_default=text("'open'"))
    parameters: Mapped[dict[str, Any] | None]
    summary: Mapped[str | None] = mapped_column(Text)
    wall_clock: Mapped[datetime | None] = mapped_column(DateTime(timezone=False))
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]

    branch: Mapped[Branch] = relationship()
    vessel: Mapped[Vessel | None] = relationship()
    messages: Mapped[list["DialogueMessage"]] = relationship(
        back_populates="dialogue", order_by="DialogueMessage.id", cascade="all, delete-orphan", passive_deletes=True
    )

    __table_args__ = (Index("idx_dialogues_state_started_at", "state", "started_at"),)


class DialogueMessage(Base):
    """An utterance in a dialogue."""

    __tablename__ = "dialogue_messages"

    id: Mapped[int] = mapped_column(type_counted, primary_key=True)
    dialogue_id: Mapped[UUID] = mapped_column(ForeignKey("dialogues.id", ondelete="CASCADE"), index=True)
    speaker: Mapped[Speaker]
    content: Mapped[str] = mapped_column(Text)
    tool_calls: Mapped[list[Any] | None] = mapped_column(type_json)
    confidence: Mapped[float | None]
    audio: Mapped[bytes | None]
    spoken_at: Mapped[datetime] = mapped_column(server_default=func.now())

    dialogue: Mapped[Dialogue] = relationship(back_populates="messages")
