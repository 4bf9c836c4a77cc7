"""Describes the tables and columns of the target, with every property that decides how a value is carried."""

from enum import StrEnum

from msgspec import Struct

from migrator.names import TableName, quote_postgres


class CopyFormat(StrEnum):
    """The two formats in which COPY takes rows (PostgreSQL, "COPY")."""

    BINARY = "binary"
    TEXT = "text"


class TargetColumn(Struct, frozen=True):
    """A column as the catalogs describe it. For a domain, the properties are those of its base type."""

    name: str
    type_name: str
    """``pg_type.typname`` of the base type: int4, timestamptz, bpchar, …"""
    declared: str
    """The type as PostgreSQL writes it: ``numeric(10,2)``."""
    not_null: bool
    has_default: bool
    identity: str
    """``a`` for GENERATED ALWAYS AS IDENTITY, ``d`` for BY DEFAULT, empty for none."""
    generated: bool
    enum_labels: tuple[str, ...] = ()
    modifier: int = -1
    domain: bool = False
    deterministic: bool = True
    """Whether its collation distinguishes all texts that differ in a byte."""
    generation: str = ""
    """The expression of a generated column, as PostgreSQL writes it."""
    folded: bool = False
    """Whether a unique index on ``lower()`` or ``upper()`` of the column makes texts equal that differ in case."""
    trigger: str = ""
    """The trigger of PostgreSQL's own that fills the column from other columns, or empty."""

    @property
    def quoted(self) -> str:
        """The name as it stands in a statement."""
        return quote_postgres(self.name)

    @property
    def fills_itself(self) -> bool:
        """Whether PostgreSQL fills the column if a row has no value for it."""
        return self.has_default or bool(self.identity) or self.generated or bool(self.trigger)

    @property
    def left_to_target(self) -> bool:
        """Whether the column gets its value from the target alone, whatever the source has under this name."""
        return bool(self.trigger) or (self.generated and self.type_name in _LEXEMES)

    @property
    def length(self) -> int | None:
        """The n of varchar(n) and char(n) in characters; None if there is no limit."""
        return self.modifier - _HEADER if self.type_name in {"varchar", "bpchar"} and self.modifier >= _HEADER else None

    @property
    def precision(self) -> int | None:
        """The p of numeric(p, s), in digits; None for numeric without limits."""
        return (self.modifier - _HEADER) >> 16 if self._is_bounded_numeric() else None

    @property
    def scale(self) -> int | None:
        """The s of numeric(p, s), in digits, negative for numeric(2, -3); None for numeric without limits."""
        # The scale has eleven bits with a sign since PostgreSQL 15 (src/backend/utils/adt/numeric.c:
        # numeric_typmod_scale).
        return (((self.modifier - _HEADER) & 0x7FF) ^ 1024) - 1024 if self._is_bounded_numeric() else None

    def _is_bounded_numeric(self) -> bool:
        return self.type_name == "numeric" and self.modifier >= _HEADER


_LEXEMES = frozenset({"tsvector", "tsquery"})
"""Types whose values are computed from text. No text of the source says the same as they do."""

_HEADER = 4  # VARHDRSZ, which is included in the type modifiers of varchar, bpchar and numeric


class TargetTable(Struct, frozen=True):
    """A table that can take rows."""

    name: TableName
    columns: tuple[TargetColumn, ...]
    key: tuple[str, ...]
    """The columns of the primary key, or of a unique index of NOT NULL columns, in its order; empty without any."""
    partitioned: bool
    owned: bool
    """Whether the job's role owns the table, or is a member of the role that owns it."""


class TargetDatabase(Struct, frozen=True):
    """The tables of one schema of the target."""

    schema: str
    tables: tuple[TargetTable, ...]
