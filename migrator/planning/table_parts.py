"""Describes the parts of a table that the job creates (CHECKs, keys, defaults), and what it can't create."""

from dataclasses import dataclass

from migrator.names import TableName


@dataclass(frozen=True, slots=True)
class Part:
    """Something that the source declares for a table besides its columns."""

    table: TableName
    what: str
    """The part in words: ``the CHECK positive``."""
    handle: str
    """The name for ``--leave-out``: ``orders.positive``."""
    guards: bool
    """Whether it refuses rows, or fills in a value where none may be missing."""


@dataclass(frozen=True, slots=True)
class AlterStatement:
    """A part that is added to a table when all tables exist."""

    part: Part
    statement: str
    refers_to: TableName | None = None
    """The table that a foreign key refers to."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part that the source's table has and the target's will not have."""

    part: Part
    reason: str
    is_named: bool = False
    """Whether the operator has named the part, or something that it depends on."""

    def line(self) -> str:
        """Return one line for a person."""
        return f"{self.part.table} is without {self.part.what}: {self.reason}"

    @property
    def stands_in_the_way(self) -> bool:
        """Whether the job creates nothing until the operator has decided about the part."""
        return self.part.guards and not self.is_named


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something in a source table that PostgreSQL can't have, whichever parts are left out."""

    table: str
    """The source's name of the table."""
    what: str
    settled_by: str
    """The rule that settles it, as it is written in the file of rules, or the flag."""

    def line(self) -> str:
        """Return one line for a person."""
        return f"{self.table}: {self.what} (settled by {self.settled_by})"
