"""What a table that the job makes is put together from, and what can't be put there."""

from dataclasses import dataclass

from migrator.names import TableName


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that the source declares of a table beside its columns."""

    table: TableName
    what: str
    """In words: ``the CHECK positive``."""
    handle: str
    """What it is called after the table's name, to leave it out: ``orders.positive``."""
    guards: bool
    """Whether it keeps rows out, or puts a value where none may be missing."""


@dataclass(frozen=True, slots=True)
class AlterStatement:
    """A part that a table gets when all tables are there."""

    part: Part
    statement: str
    refers_to: TableName | None = None
    """The table that a foreign key is to."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part that the source's table has and the target's will not have."""

    part: Part
    reason: str
    is_named: bool = False
    """Whether the operator has named it, or named what it can't do without."""

    def line(self) -> str:
        """Return it in words."""
        return f"{self.part.table} is without {self.part.what}: {self.reason}"

    @property
    def stands_in_the_way(self) -> bool:
        """Whether nothing is made until the operator has decided."""
        return self.part.guards and not self.is_named


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that PostgreSQL can't have, whatever is left out of a table."""

    table: str
    """As the source calls it."""
    what: str
    settled_by: str
    """The rule that settles it, as it stands in the file of rules, or the flag."""

    def line(self) -> str:
        """Return it in words."""
        return f"{self.table}: {self.what} (settled by {self.settled_by})"
