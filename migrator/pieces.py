"""A piece of a large table: read, committed and compared by itself, several side by side; ``cutting`` makes them."""

from dataclasses import dataclass

from migrator.contents import SourceTable


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of rows in the order of the table's key, its bounds written as SQL literals. Without bounds, all rows."""

    after: str | None = None
    """The key of the row before the first."""
    last: str | None = None
    """The key of the last row."""

    def where(self, table: SourceTable) -> str:
        """Return the condition in SQLite's SQL; empty for the whole table."""
        row = f"({', '.join(key_of(table))})"
        begin = f"{row} > ({self.after})" if self.after is not None else ""
        end = f"{row} <= ({self.last})" if self.last is not None else ""
        return " AND ".join(part for part in (begin, end) if part)


WHOLE = Piece()


def key_of(table: SourceTable) -> list[str]:
    """Return what a table is walked along: its rowid, or the columns of its key; nothing if it has neither."""
    return [table.rowid] if table.rowid else [column.quoted for column in table.key]
