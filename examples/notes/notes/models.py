"""The tables, as the application sees them."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, String, Text, false
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """What the tables have in common: nothing."""


class Notebook(Base):
    """Holds notes."""

    __tablename__ = "notebooks"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    notes: Mapped[list["Note"]] = relationship(back_populates="notebook", order_by="Note.id")


class Note(Base):
    """A text, with what is to be known of it."""

    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    notebook_id: Mapped[int] = mapped_column(ForeignKey(Notebook.id, ondelete="CASCADE"), index=True)
    body: Mapped[str] = mapped_column(Text)
    pinned: Mapped[bool] = mapped_column(server_default=false())
    written_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    tags: Mapped[list[Any]] = mapped_column(JSON().with_variant(JSONB(), "postgresql"), default=list)
    due: Mapped[date | None]
    length: Mapped[int] = mapped_column(default=0)
    notebook: Mapped[Notebook] = relationship(back_populates="notes")
