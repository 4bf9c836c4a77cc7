"""Defines one reason of a refusal, as people see it: a row of the table that every refused command shows."""

from typing import Any

from msgspec import Struct


class Reason(Struct, frozen=True):
    """One reason why a command refuses to go on."""

    where: str
    """The column, table, or other object that it is about: ``users.age``. Empty if it is about everything."""
    why: str
    """What is wrong there."""
    rows: int | None = None
    """The number of rows that it is about; None if it isn't about rows."""
    at_least: bool = False
    """Whether there may be more rows than were counted."""
    example: str = ""
    """One row by its key, with its value."""
    remedy: str = ""
    """The rule or the flag that settles it, without its comment; empty if nothing short does."""
    is_logged: bool = False
    """Whether the log has an event about it already."""

    @property
    def counted(self) -> str:
        """The number of rows in words; empty if it isn't about rows."""
        return "" if self.rows is None else f"{'≥ ' * self.at_least}{self.rows:,}"

    def line(self) -> str:
        """Return the reason as one line for a person."""
        rows = f" ({self.counted} rows)" if self.rows is not None else ""
        example = f", for example {self.example}" if self.example else ""
        return (f"{self.where}: " if self.where else "") + self.why + rows + example

    def to_json(self) -> dict[str, Any]:
        """Return the reason as fields for the log."""
        fields = {"where": self.where, "why": self.why, "rows": self.rows, "example": self.example}
        return {name: value for name, value in (fields | {"remedy": self.remedy}).items() if value not in {None, ""}}
