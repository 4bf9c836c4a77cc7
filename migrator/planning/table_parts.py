"""Describes the parts of a table that the job creates (CHECKs, keys, defaults), and what it can't create."""

from msgspec import Struct

from migrator.names import TableName


class Part(Struct, frozen=True):
    """A part of a table that the source declares besides the columns: a CHECK, a key or a default."""

    table: TableName
    what: str
    """The part in words: ``the CHECK positive``."""
    handle: str
    """The name for ``--leave-out``: ``orders.positive``."""
    guards: bool
    """Whether the part refuses rows, or fills in a value that must not be missing."""


class AlterStatement(Struct, frozen=True):
    """A statement that adds a part to a table after all tables exist."""

    part: Part
    statement: str
    refers_to: TableName | None = None
    """The table that a foreign key refers to."""
    without_name: str = ""
    """The statement without the part's own name, for a target in which another relation has this name; or empty."""


class LeftOut(Struct, frozen=True):
    """A part that the source's table has and that the target's table will not have."""

    part: Part
    reason: str
    is_named: bool = False
    """Whether the operator has named the part, or another part that it depends on."""

    def line(self) -> str:
        """Return one line for a person."""
        return f"{self.part.table} is without {self.part.what}: {self.reason}"

    @property
    def stands_in_the_way(self) -> bool:
        """Whether the job creates nothing until the operator has decided about the part."""
        return self.part.guards and not self.is_named


class Obstacle(Struct, frozen=True):
    """A property of a source table that PostgreSQL doesn't allow, whichever parts are left out."""

    table: str
    """The name of the source table."""
    what: str
    settled_by: str
    """The rule that settles the obstacle, as it is written in the rules file, or the flag."""
    rule: str = ""
    """Lines for the rules file that settle the obstacle as they are; empty if the operator has to complete them."""

    def line(self) -> str:
        """Return one line for a person."""
        return f"{self.table}: {self.what} (settled by {self.settled_by})"
