"""Refuses tables and columns of one side that have no match on the other side, and prints what settles each of them."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import asdict

from migrator.errors import NoMatch
from migrator.names import NamingStyle, TableName, find_match, nearest, pattern, quote_literal, quote_postgres, styled
from migrator.runtime.reason import Reason
from migrator.runtime.settlement import NOTHING_TO_PASTE, RuleSection, Settlement
from migrator.runtime.wording import listed
from migrator.target.schema import TargetColumn

SUPPOSED: Final = "supposed"
"""The fact of a NoMatch that has the fields of WhatSettles, if the error can be settled without making tables."""


class WhatSettles(Struct, frozen=True):
    """What settles missing matches, if each name that is similar to another means the same."""

    exclude: tuple[str, ...] = ()
    """Patterns for ``--exclude``."""
    renames: dict[str, str] = field(default_factory=dict)
    """Names of the target by sections of the rules."""
    names: NamingStyle | None = None
    """The naming style by which other names match."""
    filled: tuple[str, ...] = ()
    """Columns of the target that need a default."""


class UnfilledColumn(Struct, frozen=True):
    """A column of the target that must have a value and gets none from the source."""

    table: TableName
    column: TargetColumn
    excluded: str = ""
    """The source's column of that name, as ``table.column``, if it is there and excluded."""

    def __str__(self) -> str:
        """Return the name as people write it."""
        return f"{self.table}.{self.column.name}"

    @property
    def statement(self) -> str:
        """A statement that gives the column a default."""
        name = quote_postgres(self.column.name)
        return f"ALTER TABLE {self.table.quoted} ALTER COLUMN {name} SET DEFAULT {_default(self.column)}"


class Unmatched(Struct, frozen=True):
    """Collects the tables and columns without a match, and the names that their matches could have."""

    tables: dict[str, str] = field(default_factory=dict)
    """Names of source tables, each with the name that was looked for in the target."""
    columns: dict[tuple[str, str], str] = field(default_factory=dict)
    """Names of source tables and columns, each with the column's name that was looked for in the target."""
    unfilled: list[UnfilledColumn] = field(default_factory=list)
    free_columns: dict[str, list[str]] = field(default_factory=dict)
    """The target's columns that get no value from the source, by source table."""

    def refuse(self, schema: str, target: Sequence[str], matched: Sequence[str]) -> None:
        """
        Raise NoMatch for tables and columns of either side without a match.

        ``target`` has the names of the target's tables in ``schema``. ``matched`` has those that are the match of some
        source table, which may be excluded.
        """
        if self.tables or self.columns:
            missing = [_missing_table(name, target) for name in self.tables.values()]
            missing += [f"column {table}.{column}" for table, column in self.columns]
            error = f"the target's schema {schema!r} has no match for: {', '.join(missing)}"
            found = NoMatch(
                f"{error}; {self._unfilled()}" if self.unfilled else error,
                next_step=" ".join([*self._steps(target, matched), *self._fillings()]),
                missing=missing,
                columns=list(map(str, self.unfilled)),
                **self._what_settles(target, matched),
            ).settled_with(self._settlement(target, matched))
            short = f"the target's schema {schema!r} has no match for: {listed(missing)}"
            raise found.told_as(
                f"{short}; {self._unfilled()}" if self.unfilled else short, self._reasons(target, matched)
            )
        if self.unfilled:
            raise NoMatch(
                self._unfilled(),
                next_step=" ".join(self._fillings()),
                columns=list(map(str, self.unfilled)),
                **self._what_settles(target, matched),
            ).told_as(self._unfilled(), self._reasons(target, matched))

    def _reasons(self, target: Sequence[str], matched: Sequence[str]) -> Iterator[Reason]:
        """Yield each table and column without a match as a row of the table of a refusal."""
        free = [name for name in target if name not in matched]
        near = dict(self._renamed(list(self._in_snake_case(free)), free))
        names = [*self.tables, *(f"{table}.{column}" for table, column in self.columns)]
        patterns = [*map(pattern, self.tables), *(f"{pattern(one)}.{pattern(two)}" for one, two in self.columns)]
        for name, wanted in zip(names, patterns, strict=True):
            is_table = name in self.tables
            renamed = near.get(_section_of(wanted, self.tables))
            remedy = f'rename = "{renamed}"' if renamed else "exclude = true" if matched else ""
            yield Reason(name, f"the target has no such {'table' if is_table else 'column'}", remedy=remedy)
        for column in self.unfilled:
            yield Reason(str(column), "it is NOT NULL without a default, and the source has no values for it")

    def _unfilled(self) -> str:
        listed = ", ".join(map(str, self.unfilled))
        return f"these target columns are NOT NULL without a default, and the source has no values for them: {listed}"

    def _steps(self, target: Sequence[str], matched: Sequence[str]) -> Iterator[str]:
        """Yield what settles tables and columns of the source without a match."""
        free = [name for name in target if name not in matched]
        found = list(self._in_snake_case(free))
        if found:
            yield f"Add --names snake_case, which finds {', '.join(found)}."
        elif not matched:
            yield (
                "Make the tables with the application's own migrations (--schema alembic, or --schema command), have "
                "the job make them (--schema create), or name the schema that has them with --target-schema."
            )
            return
        renamed = self._renamed(found, free)
        if renamed:
            yield f"Write into the rules (MIGRATOR_RULES), if only names have changed: {_renames(renamed)}."
        names = self._without_match(found)
        if not names:
            return
        yield f"Add --exclude {shlex.quote(','.join(names))} to leave behind what the application needs no more."
        yield "Or, if it needs them, upgrade the target's schema with its own migrations."

    def _what_settles(self, target: Sequence[str], matched: Sequence[str]) -> dict[str, Any]:
        """Return what the next run is supposed to have, as a fact; none if no table has a match."""
        free = [name for name in target if name not in matched]
        found = list(self._in_snake_case(free))
        if not matched and not found:
            return {}
        renames = dict(self._renamed(found, free))
        tables, columns = _sections_of(self.tables, self.columns)
        exclude = [
            *(pattern(name) for name in self.tables if name not in found and tables[name] not in renames),
            *(
                f"{pattern(table)}.{pattern(column)}"
                for table, column in self.columns
                if f"{table}.{column}" not in found and columns[table, column] not in renames
            ),
        ]
        style: NamingStyle | None = "snake_case" if found else None
        return {SUPPOSED: asdict(WhatSettles(tuple(exclude), renames, style, tuple(map(str, self.unfilled))))}

    def _settlement(self, target: Sequence[str], matched: Sequence[str]) -> Settlement:
        """Return flags and rules that settle tables and columns of the source; where names are near, they are taken."""
        free = [name for name in target if name not in matched]
        found = list(self._in_snake_case(free))
        if not found and not matched:
            return NOTHING_TO_PASTE
        renamed = dict(self._renamed(found, free))
        left_out = "the target has no match for it"
        settlement = Settlement(
            sections=tuple(
                RuleSection(section, f'rename = "{near}"', ("exclude = true",), left_out)
                for section, near in renamed.items()
            )
        )
        if found:
            style = RuleSection("", 'names = "snake_case"', about=f"it finds {', '.join(found)}")
            settlement += Settlement(("--names=snake_case",), flag_sections=(("--names=snake_case", (style,)),))
        names = [name for name in self._without_match(found) if _section_of(name, self.tables) not in renamed]
        if names:
            flag = f"--exclude={shlex.quote(','.join(names))}"
            excluded = (RuleSection(_section_of(name, self.tables), "exclude = true", about=left_out) for name in names)
            settlement += Settlement((flag,), flag_sections=((flag, tuple(excluded)),))
        return settlement

    def _renamed(self, found: Sequence[str], free: Sequence[str]) -> list[tuple[str, str]]:
        """Return the sections of rules for names that are similar to a ``free`` one, each with that name."""
        tables, columns = _sections_of(self.tables, self.columns)
        return [
            *(
                (tables[name], near)
                for name, wanted in self.tables.items()
                if name not in found and (near := _similar(wanted, free))
            ),
            *(
                (columns[table, column], near)
                for (table, column), wanted in self.columns.items()
                if f"{table}.{column}" not in found and (near := self._near(table, wanted))
            ),
        ]

    def _without_match(self, found: Sequence[str]) -> list[str]:
        """Return the patterns of all tables and columns but the ``found`` ones."""
        return [
            *(pattern(name) for name in self.tables if name not in found),
            *(
                f"{pattern(table)}.{pattern(column)}"
                for table, column in self.columns
                if f"{table}.{column}" not in found
            ),
        ]

    def _in_snake_case(self, free: Sequence[str]) -> Iterator[str]:
        """Yield the tables and columns that the naming style snake_case would match with one of the ``free`` tables."""
        for name, wanted in self.tables.items():
            if find_match(styled(wanted, "snake_case"), free) is not None:
                yield name
        for (table, column), wanted in self.columns.items():
            if find_match(styled(wanted, "snake_case"), self.free_columns.get(table, [])) is not None:
                yield f"{table}.{column}"

    def _fillings(self) -> Iterator[str]:
        """Yield what settles target columns that would get no value."""
        excluded = [column.excluded for column in self.unfilled if column.excluded]
        if excluded:
            yield f"Take {', '.join(excluded)} out of MIGRATOR_EXCLUDE (--exclude) and out of the rules."
        unfilled = [column for column in self.unfilled if not column.excluded]
        if unfilled:
            statements = "; ".join(column.statement for column in unfilled)
            yield (
                "Upgrade the source with the application's migrations first, if it is of an older version. Or give the "
                f"columns a default for the migration, with the value that the application means: {statements}."
            )

    def _near(self, table: str, column: str) -> str | None:
        """Return the target's column that may be the source's under another name."""
        free = self.free_columns.get(table, [])
        return next((name for name in free if _plain(name) == _plain(column)), None) or _similar(column, free)


def _section_of(name: str, tables: Iterable[str]) -> str:
    """Return the first line of the section about a table or a column; ``name`` is its pattern."""
    return f'[{"tables" if name in map(pattern, tables) else "columns"}."{name}"]'


def _sections_of(
    tables: Iterable[str], columns: Iterable[tuple[str, str]]
) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Return the sections of the rules for tables and columns, by their names."""
    return (
        {name: f'[tables."{pattern(name)}"]' for name in tables},
        {(table, column): f'[columns."{pattern(table)}.{pattern(column)}"]' for table, column in columns},
    )


def _similar(name: str, candidates: Sequence[str]) -> str | None:
    """Return the candidate that may be the same thing under another name: a wrong one would fill the wrong table."""
    return next(iter(get_close_matches(name, candidates, n=1, cutoff=_SIMILARITY)), None)


_SIMILARITY: Final = 0.75


def _missing_table(name: str, target: Sequence[str]) -> str:
    hint = nearest(name, target)
    return f"table {name!r}" + (f" (did you mean {hint!r}?)" if hint else "")


def _renames(sections: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f'{section} with rename = "{name}"' for section, name in sections)


def _plain(name: str) -> str:
    return name.casefold().replace("_", "").replace(" ", "").replace("-", "")


_DEFAULTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("int2", "int4", "int8", "numeric", "float4", "float8", "money", "oid"), "0"),
    "bool": "false",
    "date": "CURRENT_DATE",
    "time": "LOCALTIME",
    **dict.fromkeys(("timestamp", "timestamptz"), "now()"),
    **dict.fromkeys(("json", "jsonb", "hstore"), "'{}'"),
    "uuid": "gen_random_uuid()",
    "interval": "'0'",
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "name", "bytea", "tsvector", "char"), "''"),
}


def _default(column: TargetColumn) -> str:
    """Return an expression that the column's type accepts; an ellipsis if no expression is known."""
    if column.enum_labels:
        return quote_literal(column.enum_labels[0])
    if column.type_name.startswith("_"):
        return "'{}'"
    return _DEFAULTS.get(column.type_name, "…")
