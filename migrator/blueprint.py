"""
PostgreSQL tables drawn from those of a SQLite file, for an application that has nothing else to make them with.

Types come from what a column was declared as; where that says nothing, from what the column holds. All that belongs to
a table beside its columns is drawn as an addition, which PostgreSQL may refuse and the table does without: what an
expression means differs between the two.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from migrator.contents import Affinity, SourceColumn, SourceTable
from migrator.declared import Check, Declared, ForeignKey, Index
from migrator.errors import ConfigurationError
from migrator.names import TableName, cut, quote_postgres
from migrator.rules import Rules
from migrator.scanning import StorageClass

Held = Mapping[tuple[str, str], AbstractSet[StorageClass]]
"""Which storage classes a table's column holds, NULL left out."""


@dataclass(frozen=True, slots=True)
class Addition:
    """One thing that a table gets when all tables are there."""

    table: TableName
    what: str
    statement: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One thing that the source's table has and the target's will not have."""

    table: TableName
    what: str
    reason: str

    def line(self) -> str:
        """Return it in words."""
        return f"{self.table} is without {self.what}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What is to be made, and what isn't."""

    tables: Mapping[TableName, str]
    """The statement that makes each table."""
    additions: tuple[Addition, ...]
    left_out: tuple[LeftOut, ...]


def draw(
    schema: str, tables: Iterable[SourceTable], declared: Mapping[str, Declared], rules: Rules, held: Held
) -> Blueprint:
    """
    Return how the tables that no rule excludes are made in ``schema`` of the target.

    ``held`` has the columns that ``undecided`` yields. Raises ConfigurationError for one that holds what no type does.
    """
    drawings = {
        table.name.casefold(): _Drawing(schema, table, declared[table.name], rules, held)
        for table in tables
        if not rules.of_table(table.name).exclude
    }
    made = {one.name: one.statement() for one in drawings.values()}
    parts = [part for one in drawings.values() for part in one.parts()]
    parts += [part for one in drawings.values() for part in one.foreign_keys(drawings)]  # to keys that stand by then
    additions = tuple(part for part in parts if isinstance(part, Addition))
    return Blueprint(made, additions, tuple(part for part in parts if isinstance(part, LeftOut)))


def undecided(table: SourceTable, rules: Rules) -> Iterator[SourceColumn]:
    """Yield the columns whose type depends on what they hold; none of a table that a rule excludes."""
    if rules.of_table(table.name).exclude:
        return
    for column in table.columns:
        rule = rules.of_column(table.name, column.name)
        if not rule.exclude and rule.type is None and _declared_type(column) is None:
            yield column


class _Drawing:
    """One table, under the names that it and its columns will have."""

    def __init__(self, schema: str, table: SourceTable, declared: Declared, rules: Rules, held: Held) -> None:
        self.table = table
        self.name = TableName(schema, cut(rules.of_table(table.name).rename or table.name))
        self._declared = declared
        chosen = {column.name: rules.of_column(table.name, column.name) for column in table.columns}
        self._columns = [column for column in table.columns if not chosen[column.name].exclude]
        self._names = {
            column.name.casefold(): cut(chosen[column.name].rename or column.name) for column in self._columns
        }
        self._types = {
            column.name: chosen[column.name].type or _declared_type(column) or _held_type(table, column, held)
            for column in self._columns
        }

    def statement(self) -> str:
        """Return the statement that makes the table with its columns and its primary key."""
        lines = [self._column(column) for column in self._columns]
        key = self.columns([column.name for column in self.table.key])
        if key:
            lines.append(f"PRIMARY KEY ({key})")
        return f"CREATE TABLE {self.name.quoted} ({', '.join(lines)})"

    def columns(self, names: Iterable[str | None]) -> str | None:
        """Return columns as a list in SQL; None if there are none, or not all of them are in the target."""
        found = [self._names.get((name or "").casefold()) for name in names]
        return ", ".join(quote_postgres(name) for name in found if name) if found and all(found) else None

    def foreign_keys(self, others: Mapping[str, "_Drawing"]) -> Iterator[Addition | LeftOut]:
        """Yield the foreign keys; ``others`` are all tables, by their folded names."""
        return (self._foreign_key(key, others) for key in self._declared.foreign_keys)

    def parts(self) -> Iterator[Addition | LeftOut]:
        """Yield everything but columns, primary key and foreign keys."""
        for column in self._columns:
            if given := self._declared.defaults.get(column.name):
                yield self._default(column, given)
        for index in self._declared.indexes:
            yield self._index(index)
        for check in self._declared.checks:
            yield self._check(check)
        for trigger in self._declared.triggers:
            yield LeftOut(self.name, f"the trigger {trigger}", "it is a program of SQLite's")
        for column in self._columns:
            if column.generated:
                reason = "its values are copied, and new ones are not computed"
                yield LeftOut(self.name, f"the expression of the generated column {column.name}", reason)

    def _column(self, column: SourceColumn) -> str:
        kind = self._types[column.name]
        words = [quote_postgres(self._names[column.name.casefold()]), kind]
        if column is self.table.rowid_alias and kind in _WHOLE:
            words.append("GENERATED BY DEFAULT AS IDENTITY")
        if column.not_null:
            words.append("NOT NULL")
        return " ".join(words)

    def _default(self, column: SourceColumn, given: str) -> Addition | LeftOut:
        what = f"the default {given} of {column.name}"
        kind = self._types[column.name]
        if moment := _MOMENTS.get(given.casefold().replace(" ", "")):
            default = _NOW.get((moment, kind))
        else:
            default = given if _LITERAL.fullmatch(given) else None
        if default is None:
            return LeftOut(self.name, what, "it is an expression of SQLite's")
        if kind == "boolean":
            default = {"0": "false", "1": "true"}.get(default, default)
        elif kind in _WHOLE:
            default = {"false": "0", "true": "1"}.get(default.casefold(), default)
        column_name = quote_postgres(self._names[column.name.casefold()])
        return Addition(self.name, what, f"ALTER TABLE {self.name.quoted} ALTER {column_name} SET DEFAULT {default}")

    def _index(self, index: Index) -> Addition | LeftOut:
        unique = "UNIQUE " if index.unique else ""
        shown = index.name or f"on {', '.join(name or '(an expression)' for name in index.columns)}"
        what = f"the {unique}{'index' if index.name else 'constraint'} {shown}"
        columns = self.columns(index.columns)
        if columns is None:
            return LeftOut(self.name, what, "it is on an expression, or on a column that isn't there")
        if index.name is None:
            return Addition(self.name, what, f"ALTER TABLE {self.name.quoted} ADD UNIQUE ({columns})")
        if index.where is not None and not (index.where and is_portable(index.where)):
            return LeftOut(self.name, what, "its condition is an expression of SQLite's")
        where = f" WHERE {index.where}" if index.where else ""
        statement = f"CREATE {unique}INDEX {quote_postgres(cut(index.name))} ON {self.name.quoted} ({columns}){where}"
        return Addition(self.name, what, statement)

    def _check(self, check: Check) -> Addition | LeftOut:
        what = f"the CHECK {check.name or check.sql}"
        if not is_portable(check.sql):
            return LeftOut(self.name, what, "it is an expression of SQLite's")
        name = f"CONSTRAINT {quote_postgres(cut(check.name))} " if check.name else ""
        return Addition(self.name, what, f"ALTER TABLE {self.name.quoted} ADD {name}CHECK ({check.sql})")

    def _foreign_key(self, key: ForeignKey, others: Mapping[str, "_Drawing"]) -> Addition | LeftOut:
        what = f"the foreign key from {', '.join(key.columns)} to {key.table}"
        other, own = others.get(key.table.casefold()), self.columns(key.columns)
        referred = other.columns(key.referred or [column.name for column in other.table.key]) if other else None
        if other is None or own is None or referred is None:
            return LeftOut(self.name, what, "not all of its columns are there")
        deferred = " DEFERRABLE INITIALLY DEFERRED" if key.deferred else ""
        return Addition(
            self.name,
            what,
            f"ALTER TABLE {self.name.quoted} ADD FOREIGN KEY ({own}) REFERENCES {other.name.quoted} ({referred}) "
            f"ON UPDATE {key.on_update} ON DELETE {key.on_delete}{deferred}",
        )


# What a declaration says where SQLite itself only takes an affinity from it. The length of a text is no limit there.
_DECLARED = (
    (r"(UNSIGNED )?(TINY|SMALL|MEDIUM|BIG ?)?INT(EGER)?\d?(\(\d+\))?( UNSIGNED)?", "bigint"),
    (r"BOOL(EAN)?", "boolean"),
    (r"(DOUBLE( PRECISION)?|FLOAT\d?|REAL)(\(\d+(,\d+)?\))?", "double precision"),
    (r"DATE", "date"),
    (r"(DATETIME|TIMESTAMP)(\(\d\))?( WITHOUT TIME ZONE)?", "timestamp"),
    (r"TIMESTAMPTZ|(DATETIME|TIMESTAMP)(\(\d\))? WITH TIME ZONE", "timestamptz"),
    (r"TIME(\(\d\))?", "time"),
    (r"JSONB?", "jsonb"),
    (r"UUID|GUID|UNIQUEIDENTIFIER", "uuid"),
    (r"((TINY|MEDIUM|LONG)?BLOB|BYTEA|(VAR)?BINARY|IMAGE)(\(\d+\))?", "bytea"),
    (r".*(CHAR|CLOB|TEXT).*|STRING(\(\d+\))?", "text"),
)
_NUMERIC = re.compile(r"(?:NUMERIC|DECIMAL|DEC|NUMBER|MONEY)(?:\((\d+)(?:,(\d+))?\))?")
_WHOLE = frozenset({"bigint", "integer", "int", "int4", "int8", "smallint", "int2"})

# The first that has room for all that a column holds.
_BY_CLASSES = (
    (frozenset({StorageClass.INTEGER}), "bigint"),
    (frozenset({StorageClass.INTEGER, StorageClass.REAL}), "double precision"),
    (frozenset({StorageClass.TEXT}), "text"),
    (frozenset({StorageClass.BLOB}), "bytea"),
)
_WITHOUT_VALUES = {
    Affinity.INTEGER: "bigint",
    Affinity.TEXT: "text",
    Affinity.BLOB: "text",  # which is that of a column without a declaration
    Affinity.REAL: "double precision",
    Affinity.NUMERIC: "numeric",
}


def _declared_type(column: SourceColumn) -> str | None:
    declared = re.sub(r"\s+", " ", column.declared_type.strip().upper()).replace(", ", ",").replace(" (", "(")
    if numeric := _NUMERIC.fullmatch(declared):
        precision, scale = numeric.groups()
        return f"numeric({precision}, {scale or 0})" if precision else "numeric"
    return next((kind for pattern, kind in _DECLARED if re.fullmatch(pattern, declared)), None)


def _held_type(table: SourceTable, column: SourceColumn, held: Held) -> str:
    classes = held[table.name, column.name]
    if not classes:
        return _WITHOUT_VALUES[column.affinity]
    for fitting, kind in _BY_CLASSES:
        if classes <= fitting:
            return kind
    raise ConfigurationError(
        f"no type of PostgreSQL holds what is in {table.name}.{column.name}: {' and '.join(sorted(classes))}",
        next_step="say which it is to be with the rule `type`, or leave the column out with --exclude",
    )


_MOMENTS = {
    "current_timestamp": "timestamp",
    "datetime('now')": "timestamp",
    "current_date": "date",
    "date('now')": "date",
    "current_time": "time",
    "time('now')": "time",
}
"""What SQLite takes for the present, always in UTC (SQLite, "CREATE TABLE", 3.2)."""
_UTC = "timezone('UTC', now())"
_NOW = {
    ("timestamp", "timestamptz"): "now()",
    ("timestamp", "timestamp"): f"date_trunc('second', {_UTC})",
    ("timestamp", "text"): f"to_char({_UTC}, 'YYYY-MM-DD HH24:MI:SS')",
    ("date", "date"): f"{_UTC}::date",
    ("date", "text"): f"to_char({_UTC}, 'YYYY-MM-DD')",
    ("time", "time"): f"date_trunc('second', {_UTC})::time",
    ("time", "text"): f"to_char({_UTC}, 'HH24:MI:SS')",
}
_LITERAL = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?|'([^']|'')*'|true|false|null", re.IGNORECASE)

_PARTS = re.compile(r"""\w*'(?:[^']|'')*'|"(?:[^"]|"")*"|\w+|--|/\*|\s+|.""", re.DOTALL)
_WORD = re.compile(r"\w+")
_SAME_THERE = re.compile(
    "abs|and|between|case|coalesce|else|in|length|lower|not|nullif|or|then|trim|upper|when", re.IGNORECASE
)
"""What may stand before a parenthesis: words, and functions that are the same at both ends."""
# SQLite's LIKE takes a and A for one letter.
_NEVER = frozenset({"--", "/*", ";", "$", "`", "[", "\\", "like", "'", '"'})


def is_portable(expression: str) -> bool:
    """
    Return whether text from the source may be put to PostgreSQL as one expression.

    It calls nothing but a few functions that both have, and closes what it opens: nothing in it can become another part
    of the statement, whoever wrote the file.
    """
    depth, before = 0, ""
    for part in _PARTS.findall(expression):
        if part.casefold() in _NEVER or (part == "," and depth == 0):
            return False
        if part == "(" and not _may_open(before):
            return False
        if part.endswith("'") and not part.startswith("'"):  # E'…' is read by other rules
            return False
        depth += (part == "(") - (part == ")")
        if depth < 0:
            return False
        before = before if part.isspace() else part
    return depth == 0


def _may_open(before: str) -> bool:
    """Return whether a parenthesis may follow: not after a name, which would be that of a function."""
    return bool(_SAME_THERE.fullmatch(before)) or not (_WORD.fullmatch(before) or before.startswith('"'))
