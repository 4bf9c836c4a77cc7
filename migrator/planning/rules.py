"""
Reads ``migrator.toml``, in which the operator decides what the source leaves open. The job never guesses.

    names = "snake_case"             # how names of the source become names of the target

    [tables."legacy_users"]
    rename = "users"                 # or: exclude = true

    [types."datetime"]               # a declared type, in tables that the job makes
    type = "timestamptz"

    [columns."*.created_at"]         # table.column; * and ? are wildcards, case doesn't count
    epoch = "ms"

    [columns."users.is_admin"]
    true = ["t", "yes"]
    false = ["f", "no"]

If several patterns match a column, all of them apply. Where they disagree, the later pattern in the file wins.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from msgspec import Struct, field
from msgspec.structs import replace
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from migrator.errors import ConfigurationError
from migrator.names import NamingStyle, nearest, styled


def _timezone(name: str) -> str:
    import pyarrow as pa  # noqa: PLC0415 - --help does not need it
    import pyarrow.compute as pc  # noqa: PLC0415

    try:
        pc.assume_timezone(pa.scalar(0, pa.timestamp("us")), name)
    except pa.ArrowInvalid:
        raise ValueError("this machine knows no such time zone (the package tzdata has them)") from None
    return name


Stored = str | int | float

OnExistingRows = Literal["refuse", "replace", "keep"]
"""What happens to rows that a target table already holds, if the source doesn't hold the same rows."""


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


PostgresType = Annotated[str, Field(pattern=r"^[A-Za-z_][\w ]*(\(\d+(, ?\d+)?\))?( with(out)? time zone)?(\[\])?$")]
"""A type of PostgreSQL as a rule may write it; nothing else gets into a statement by this way."""


class TypeRule(_Rule):
    """The rule for all columns of a declared type, in tables that the job makes."""

    type: PostgresType


class TableRule(_Rule):
    """The rules for a table."""

    rename: str | None = None
    exclude: bool = False
    on_existing_rows: OnExistingRows = "refuse"
    where: str | None = Field(default=None, min_length=1)

    def over(self, earlier: "TableRule") -> "TableRule":
        """
        Return both rules merged. Where they disagree, this rule wins over the ``earlier`` rule.

        ``rename`` and ``exclude`` belong together: a rule that sets one of them replaces both.
        """
        given = {*self.model_fields_set, *(_FATE if _FATE & self.model_fields_set else ())}
        return earlier.model_copy(update={name: getattr(self, name) for name in given})


_FATE = {"rename", "exclude"}
"""Fields that decide together which target table, if any, gets the rows."""

NO_TABLE_RULE = TableRule()


class ColumnRule(_Rule):
    """The rules for a column. ``docs/reference/types.md`` describes each field."""

    expression: str | None = Field(default=None, min_length=1)
    null: tuple[Stored, ...] = Field(default=(), strict=False)
    empty_as_null: bool = False
    true: tuple[Stored, ...] = Field(default=(), strict=False)
    false: tuple[Stored, ...] = Field(default=(), strict=False)
    epoch: Literal["s", "ms", "us", "ns"] | None = None
    julian: bool = False
    interval_unit: Literal["ns", "us", "ms", "s", "min", "h", "d"] | None = None
    go_time: bool = False
    timezone: Annotated[str, AfterValidator(_timezone)] | None = None
    nul_bytes: Literal["refuse", "strip"] = "refuse"
    invalid_utf8: Literal["refuse", "replace", "latin-1"] = "refuse"
    orphans: Literal["drop", "null"] | None = None
    duplicate_keys: Literal["refuse", "last"] = "refuse"
    truncate: bool = False
    round: bool = False
    sequence: str | Annotated[tuple[str, ...], Field(strict=False)] = ()
    type: PostgresType | None = None
    rename: str | None = None
    exclude: bool = False

    def words(self) -> str:
        """Return the fields that the rule sets, as they are written in the file."""
        return ", ".join(f"{name} = {json.dumps(getattr(self, name))}" for name in sorted(self.model_fields_set))

    @property
    def changes_values(self) -> bool:
        """Whether the rule may change a value."""
        return bool(self.model_fields_set - {"type", "rename", "exclude", "sequence", "orphans"})

    def over(self, earlier: "ColumnRule") -> "ColumnRule":
        """Return both rules merged. Where they disagree, this rule wins over the ``earlier`` rule."""
        return earlier.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})


NO_RULE = ColumnRule()


class SequenceRule(_Rule):
    """The rule for a sequence of the target."""

    at_least: str = Field(min_length=1)


class _File(_Rule):
    names: NamingStyle = "as-is"
    tables: dict[str, TableRule] = {}
    columns: dict[str, ColumnRule] = {}
    types: dict[str, TypeRule] = {}
    sequences: dict[str, SequenceRule] = {}


class Naming(Struct, frozen=True):
    """How the source's names become names of the target, where no rule renames a table or column."""

    style: NamingStyle = "as-is"
    creates: bool = False
    """Whether the job creates the tables, so that they have the names of this style; otherwise they may have."""

    def name(self, name: str) -> str:
        """Return the name that the job gives to a table, column, key or index of the source with this ``name``."""
        return styled(name, self.style)

    def candidates(self, name: str) -> tuple[str, ...]:
        """Return the names by which the target's table or column is looked for, in order of preference."""
        names = (self.name(name), name) if self.creates else (name, self.name(name))
        return tuple(dict.fromkeys(names))


class Rules(Struct, frozen=True):
    """All rules of a run. The object records which patterns have matched a name."""

    tables: Mapping[str, TableRule] = field(default_factory=dict)
    columns: Mapping[str, ColumnRule] = field(default_factory=dict)
    leave_out: Sequence[str] = ()
    """The parts that the job does not create, as ``table.name``, from ``--leave-out``."""
    on_existing_rows: Sequence[tuple[str, TableRule]] = ()
    """Patterns of tables with their rules, from ``--on-existing-rows``. They win over the file's rules."""
    names: Naming = Naming()
    """How names of the source become names of the target."""
    types: Mapping[str, TypeRule] = field(default_factory=dict)
    sequences: Mapping[str, SequenceRule] = field(default_factory=dict)
    """The rules for sequences of the target, by the sequence's name; no patterns."""
    _met: set[str] = field(default_factory=set)

    @classmethod
    def load(
        cls,
        path: Path | None,
        exclude: Sequence[str] = (),
        leave_out: Sequence[str] = (),
        on_existing_rows: Sequence[str] = (),
        names: NamingStyle | None = None,
    ) -> Self:
        """
        Read the file at ``path``, unless it is None, and add the patterns of the command line.

        They come from ``--exclude``, ``--leave-out`` and ``--on-existing-rows``. ``names`` comes from ``--names`` and
        wins over the file's. Raises ConfigurationError for a file that can't be read, and for keys and values that have
        no meaning.
        """
        file = _File() if path is None else _parse(path)
        tables = {pattern: TableRule(exclude=True) for pattern in exclude}
        columns = {pattern: ColumnRule(exclude=True) for pattern in exclude}
        return cls(
            {**file.tables, **tables},
            {**file.columns, **columns},
            tuple(leave_out),
            _on_existing_rows(on_existing_rows),
            Naming(names or file.names),
            file.types,
            file.sequences,
        )

    def for_created_tables(self) -> Self:
        """Return the rules for a run in which the job creates the tables."""
        return replace(self, names=replace(self.names, creates=True))

    def table_names(self, table: str) -> tuple[str, ...]:
        """Return the names that the target's match of a table may have; the first is the name that the job gives it."""
        rename = self.of_table(table).rename
        return (rename,) if rename is not None else self.names.candidates(table)

    def column_names(self, table: str, column: str) -> tuple[str, ...]:
        """Return the names that the target's match of a column may have; the first is the one that the job gives it."""
        rename = self.of_column(table, column).rename
        return (rename,) if rename is not None else self.names.candidates(column)

    def of_table(self, table: str) -> TableRule:
        """Return the rule for a table, merged from all patterns that match its name."""
        merged = NO_TABLE_RULE
        for pattern, rule in (*self.tables.items(), *self.on_existing_rows):
            if self._match(pattern, table):
                merged = rule.over(merged)
        return merged

    def carries(self, table: str) -> bool:
        """Return whether a rule says ``exclude = false`` of a table: its bookkeeping table is carried, too."""
        rule = self.of_table(table)
        return "exclude" in rule.model_fields_set and not rule.exclude

    def of_column(self, table: str, column: str) -> ColumnRule:
        """Return the rules for a column, merged from all patterns that match ``table.column``."""
        merged = NO_RULE
        for pattern, rule in self.columns.items():
            if self._match(pattern, f"{table}.{column}"):
                merged = rule.over(merged)
        return merged

    def of_created_column(self, table: str, column: str, declared: str) -> ColumnRule:
        """Return the rules for a column of a table that the job makes, with the rule for its ``declared`` type."""
        rule = self.of_column(table, column)
        matching = [given.type for pattern, given in self.types.items() if _matches(_bare(pattern), _bare(declared))]
        return rule.over(ColumnRule(type=matching[-1])) if matching else rule

    def leaves_out(self, handle: str) -> bool:
        """Return whether the operator leaves out the part with this ``handle``, which is ``table.name``."""
        return any(_matches(pattern, handle) for pattern in self.leave_out)

    def check_left_out(self, known: Iterable[str]) -> None:
        """Raise ConfigurationError for a ``--leave-out`` that matches none of the ``known`` names."""
        names = list(known)
        for pattern in self.leave_out:
            if not any(_matches(pattern, name) for name in names):
                hint = nearest(pattern, names)
                raise ConfigurationError(
                    f"--leave-out {pattern!r} names nothing that the source's tables have",
                    next_step=f"Write {hint!r} if that is meant, or take it out." if hint else "Take it out.",
                    pattern=pattern,
                )

    def naming(self, table: str, column: str) -> ColumnRule | None:
        """Return the rule whose pattern is the column's name itself, without a wildcard."""
        full_name = f"{table}.{column}".casefold()
        return next((rule for pattern, rule in self.columns.items() if pattern.casefold() == full_name), None)

    def check_all_met(self, known: Iterable[str]) -> None:
        """Raise ConfigurationError for a pattern that matches nothing, with the nearest of the ``known`` names."""
        names = list(known)
        for pattern in [*self.tables, *self.columns, *(pattern for pattern, _ in self.on_existing_rows)]:
            if pattern in self._met or any(_matches(pattern, name) for name in names):
                continue
            hint = nearest(pattern, names)
            raise ConfigurationError(
                f"the rule or exclusion {pattern!r} matches no table or column of the source",
                next_step=f"Write {hint!r} if that is meant, or take it out." if hint else "Take it out.",
                pattern=pattern,
            )

    def check_types_met(self, declared: Iterable[str]) -> None:
        """Raise ConfigurationError for a section about a declared type that none of the source's columns has."""
        known = sorted({_bare(name) for name in declared if name})
        for pattern in self.types:
            if not any(_matches(_bare(pattern), name) for name in known):
                hint = nearest(_bare(pattern), known)
                raise ConfigurationError(
                    f"the rule [types.{json.dumps(pattern)}] matches no declared type of the source",
                    next_step=f"Write {hint!r} if that is meant, or take it out." if hint else "Take it out.",
                    pattern=pattern,
                )

    def _match(self, pattern: str, name: str) -> bool:
        if not _matches(pattern, name):
            return False
        self._met.add(pattern)
        return True


def _on_existing_rows(items: Sequence[str]) -> tuple[tuple[str, TableRule], ...]:
    """Return the rules of ``--on-existing-rows``. Those for all tables come first, so that a named table wins."""
    split = [item.rpartition(":") for item in items]
    rules = [(pattern or "*", TableRule.model_validate({"on_existing_rows": word})) for pattern, _, word in split]
    return tuple(sorted(rules, key=lambda rule: rule[0] != "*"))


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name.casefold(), pattern.casefold())


def _bare(declared: str) -> str:
    """Return a declared type in one spelling: without blanks around signs, and in small letters."""
    return re.sub(r" ?([(),]) ?", r"\1", " ".join(declared.split())).casefold()


def _parse(path: Path) -> _File:
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        problem = f"can't be read: {error.strerror}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problem = f"is no TOML: {error}"
    except ValidationError as error:
        problem = "; ".join(
            _complaint(item["loc"], item["msg"], item["input"]) for item in error.errors(include_url=False)
        )
    raise ConfigurationError(
        f"rules {str(path)!r}: {problem}", next_step="Correct the file; docs/reference/types.md lists the rules."
    )


def _complaint(place: Sequence[str | int], message: str, value: object) -> str:
    where = ".".join(str(part) if str(part).isidentifier() else f'"{part}"' for part in place)
    if message.startswith("Extra inputs") and len(place) > 2 and isinstance(value, dict):  # noqa: PLR2004 - a name's dots
        name = ".".join(map(str, place[1:]))
        return f'{where} is read as a table in a table: a name with a dot has to be in quotes, [{place[0]}."{name}"]'
    if message.startswith("Extra inputs"):
        models: dict[str, type[BaseModel]] = {"tables": TableRule, "columns": ColumnRule, "types": TypeRule}
        models["sequences"] = SequenceRule
        hint = nearest(str(place[-1]), models.get(str(place[0]), _File).model_fields)
        return f"{where} is no rule" + (f" (did you mean {hint!r}?)" if hint else "")
    return f"{where}: {message.removeprefix('Value error, ')[0].lower()}{message.removeprefix('Value error, ')[1:]}"
