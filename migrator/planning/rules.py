"""
``migrator.toml``: what the operator decides where the source leaves it open. Nothing ambiguous is decided without it.

    [tables."legacy_users"]
    rename = "users"                 # or: exclude = true

    [columns."*.created_at"]         # table.column; * and ? are wildcards, case doesn't count
    epoch = "ms"

    [columns."users.is_admin"]
    true = ["t", "yes"]
    false = ["f", "no"]

Where several patterns cover a column, each of them counts, and the later in the file wins where they disagree.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from migrator.errors import ConfigurationError
from migrator.names import nearest


def _timezone(name: str) -> str:
    import pyarrow as pa  # noqa: PLC0415 - --help shall not wait for it
    import pyarrow.compute as pc  # noqa: PLC0415

    try:
        pc.assume_timezone(pa.scalar(0, pa.timestamp("us")), name)
    except pa.ArrowInvalid:
        raise ValueError("this machine knows no such time zone (the package tzdata has them)") from None
    return name


Stored = str | int | float


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TableRule(_Rule):
    """What is decided about a table."""

    rename: str | None = None
    exclude: bool = False


class ColumnRule(_Rule):
    """What is decided about a column. Each field is described in ``docs/types.md``."""

    expression: str | None = Field(default=None, min_length=1)
    null: tuple[Stored, ...] = Field(default=(), strict=False)
    empty_as_null: bool = False
    true: tuple[Stored, ...] = Field(default=(), strict=False)
    false: tuple[Stored, ...] = Field(default=(), strict=False)
    epoch: Literal["s", "ms", "us", "ns"] | None = None
    julian: bool = False
    go_time: bool = False
    timezone: Annotated[str, AfterValidator(_timezone)] | None = None
    nul_bytes: Literal["refuse", "strip"] = "refuse"
    invalid_utf8: Literal["refuse", "replace", "latin-1"] = "refuse"
    duplicate_keys: Literal["refuse", "last"] = "refuse"
    truncate: bool = False
    round: bool = False
    type: (
        Annotated[str, Field(pattern=r"^[A-Za-z_][\w ]*(\(\d+(, ?\d+)?\))?( with(out)? time zone)?(\[\])?$")] | None
    ) = None
    rename: str | None = None
    exclude: bool = False

    def words(self) -> str:
        """Return what the rule sets, as it stands in the file."""
        return ", ".join(f"{name} = {json.dumps(getattr(self, name))}" for name in sorted(self.model_fields_set))

    @property
    def changes_values(self) -> bool:
        """Whether it may make another value of one that the source has."""
        return bool(self.model_fields_set - {"type", "rename", "exclude"})

    def over(self, earlier: "ColumnRule") -> "ColumnRule":
        """Return both rules together; what this one says counts."""
        return earlier.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})


NO_RULE = ColumnRule()


class _File(_Rule):
    tables: dict[str, TableRule] = {}
    columns: dict[str, ColumnRule] = {}


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules, and which of them have met something."""

    tables: Mapping[str, TableRule] = field(default_factory=dict)
    columns: Mapping[str, ColumnRule] = field(default_factory=dict)
    leave_out: Sequence[str] = ()
    """What of a table the job is to make without, as ``table.name``; ``--leave-out``."""
    _met: set[str] = field(default_factory=set, compare=False)

    @classmethod
    def load(cls, path: Path | None, exclude: Sequence[str] = (), leave_out: Sequence[str] = ()) -> Self:
        """
        Read the file, if there is one, and add what ``--exclude`` and ``--leave-out`` name.

        Raises ConfigurationError for a file that can't be read, and for every key and value that has no meaning.
        """
        file = _File() if path is None else _parse(path)
        tables = {pattern: TableRule(exclude=True) for pattern in exclude}
        columns = {pattern: ColumnRule(exclude=True) for pattern in exclude}
        return cls({**file.tables, **tables}, {**file.columns, **columns}, tuple(leave_out))

    def of_table(self, table: str) -> TableRule:
        """Return what is decided about a table, by the last pattern that covers its name."""
        covering = [rule for pattern, rule in self.tables.items() if self._covers(pattern, table)]
        return covering[-1] if covering else TableRule()

    def of_column(self, table: str, column: str) -> ColumnRule:
        """Return what is decided about a column, by all patterns that cover ``table.column``."""
        merged = NO_RULE
        for pattern, rule in self.columns.items():
            if self._covers(pattern, f"{table}.{column}"):
                merged = rule.over(merged)
        return merged

    def leaves_out(self, handle: str) -> bool:
        """Return whether the operator wants tables made without something, which is called ``table.name``."""
        return any(_matches(pattern, handle) for pattern in self.leave_out)

    def check_left_out(self, known: Iterable[str]) -> None:
        """Raise ConfigurationError for a ``--leave-out`` that is none of the ``known`` names."""
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
        """Return the rule whose pattern is this very column, without a wildcard."""
        wanted = f"{table}.{column}".casefold()
        return next((rule for pattern, rule in self.columns.items() if pattern.casefold() == wanted), None)

    def check_all_met(self, known: Iterable[str]) -> None:
        """Raise ConfigurationError for a pattern that has covered nothing, with the nearest of the ``known`` names."""
        names = list(known)
        for pattern in [*self.tables, *self.columns]:
            if pattern in self._met or any(_matches(pattern, name) for name in names):
                continue
            hint = nearest(pattern, names)
            raise ConfigurationError(
                f"the rule or exclusion {pattern!r} matches no table or column of the source",
                next_step=f"Write {hint!r} if that is meant, or take it out." if hint else "Take it out.",
                pattern=pattern,
            )

    def _covers(self, pattern: str, name: str) -> bool:
        if not _matches(pattern, name):
            return False
        self._met.add(pattern)
        return True


def _matches(pattern: str, name: str) -> bool:
    return fnmatchcase(name.casefold(), pattern.casefold())


def _parse(path: Path) -> _File:
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        problem = f"can't be read: {error.strerror}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problem = f"is no TOML: {error}"
    except ValidationError as error:
        problem = "; ".join(_complaint(one["loc"], one["msg"], one["input"]) for one in error.errors(include_url=False))
    raise ConfigurationError(
        f"rules {str(path)!r}: {problem}", next_step="Correct the file; docs/types.md lists the rules."
    )


def _complaint(place: Sequence[str | int], message: str, given: object) -> str:
    where = ".".join(str(part) if str(part).isidentifier() else f'"{part}"' for part in place)
    if message.startswith("Extra inputs") and len(place) > 2 and isinstance(given, dict):  # noqa: PLR2004 - a name's dots
        name = ".".join(map(str, place[1:]))
        return f'{where} is read as a table in a table: a name with a dot has to be in quotes, [{place[0]}."{name}"]'
    if message.startswith("Extra inputs"):
        models: dict[str, type[BaseModel]] = {"tables": TableRule, "columns": ColumnRule}
        hint = nearest(str(place[-1]), models.get(str(place[0]), _File).model_fields)
        return f"{where} is no rule" + (f" (did you mean {hint!r}?)" if hint else "")
    return f"{where}: {message.removeprefix('Value error, ')[0].lower()}{message.removeprefix('Value error, ')[1:]}"
