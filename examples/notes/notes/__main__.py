"""
The application: ``python -m notes add NOTEBOOK TEXT`` writes a note, ``python -m notes list`` prints them all as JSON.

DATABASE_URL says where they are, be it SQLite or PostgreSQL.
"""

import json
import os
import sys
from datetime import UTC, datetime

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from notes.models import Note, Notebook


def add(session: Session, notebook: str, body: str) -> None:
    """Write a note into a notebook, which is made where it isn't there."""
    found = session.scalar(select(Notebook).where(Notebook.name == notebook)) or Notebook(name=notebook)
    found.notes.append(Note(body=body, written_at=datetime.now(UTC), length=len(body), tags=["new"]))
    session.add(found)
    session.commit()


def listed(session: Session) -> list[dict[str, object]]:
    """Return all notes in their order."""
    notes = session.scalars(select(Note).order_by(Note.id))
    return [{"notebook": n.notebook.name, "body": n.body, "tags": n.tags, "length": n.length} for n in notes]


if __name__ == "__main__":
    with Session(create_engine(os.environ["DATABASE_URL"])) as session:
        if sys.argv[1] == "add":
            add(session, *sys.argv[2:])
        else:
            print(json.dumps(listed(session), ensure_ascii=False))
