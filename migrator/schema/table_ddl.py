"""Builds the DDL of one table: a statement for its columns and key, and one for each further part."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from migrator.names import TableName, cut, pattern, quote_postgres
from migrator.planning.rules import Rules
from migrator.planning.table_parts import AlterStatement, LeftOut, Obstacle, Part
from migrator.schema.column_types import Held, Holding, Undecidable, type_of
from migrator.schema.defaults import default_of
from migrator.schema.literals import NoEqual
from migrator.schema.operands import Operand, Sort, Untranslatable, column, folded
from migrator.schema.translation import condition, translated
from migrator.source.declarations import Check, ForeignKey, Index, TableDeclarations, Term
from migrator.source.schema import Affinity, SourceColumn, SourceTable
from migrator.sql.lexing import Unreadable, fold, tokens

_WHOLE = frozenset({"bigint", "integer", "int", "int4", "int8", "smallint", "int2"})

_OF_SQLITE = frozenset({"BINARY", "NOCASE", "RTRIM"})

Parts = Iterator[AlterStatement | LeftOut]


class TableDdl:
    """One table, under the names that it and its columns will have."""

    def __init__(
        self, schema: str, table: SourceTable, declared: TableDeclarations, rules: Rules, storage_classes: Held
    ) -> None:
        """Decide on names and types; what no type holds becomes one of ``obstacles``."""
        self.table = table
        self.name = TableName(schema, cut(rules.of_table(table.name).rename or table.name))
        self.obstacles: list[Obstacle] = []
        self._declared = declared
        self._rules = {one.name: rules.of_column(table.name, one.name) for one in table.columns}
        self._operator = rules
        self.columns_made = [one for one in table.columns if not self._rules[one.name].exclude]
        self.names = {fold(one.name): cut(self._rules[one.name].rename or one.name) for one in self.columns_made}
        self.types = {one.name: self._type(one, storage_classes) for one in self.columns_made}
        self._operands = {fold(one.name): self._operand(one) for one in self.columns_made}
        self._expressions: dict[str, str] = {}
        self._left_out_expressions = list(self._generated())

    def statement(self) -> str:
        """Return the statement that makes the table with its columns and its primary key."""
        lines = [self._column(one) for one in self.columns_made]
        key = self.columns([one.name for one in self.table.key])
        if key:
            lines.append(f"PRIMARY KEY ({key})")
        return f"CREATE TABLE {self.name.quoted} ({', '.join(lines)})"

    def columns(self, names: Iterable[str]) -> str | None:
        """Return columns as a list in SQL; None if there are none, or not all of them are in the target."""
        found = [self.names.get(fold(name)) for name in names]
        return (
            ", ".join(quote_postgres(name) for name in found if name is not None)
            if found and None not in found
            else None
        )

    @property
    def relations(self) -> Iterator[str]:
        """The names that the table takes, which indexes can't have: its own, and those that PostgreSQL makes for it."""
        yield self.name.name
        yield cut(f"{self.name.name}_pkey")
        yield from (cut(f"{self.name.name}_{name}_seq") for name in self.names.values())

    def parts(self, taken: set[str]) -> Parts:
        """Yield everything but columns, primary key and foreign keys; names of indexes are added to those ``taken``."""
        if self._declared.unreadable:
            yield self._without(
                self._part("what only its definition's text says", "definition"), self._declared.unreadable
            )
        yield from self._left_out_expressions
        for one in self.columns_made:
            given = self._declared.defaults.get(one.name)
            if given is not None and one != self.table.rowid_alias:  # whose default SQLite never takes
                yield from self._default(one, given)
        if key := self._declared.primary_key:
            yield from self._primary_key(key)
        # Indexes with names of their own come first: PostgreSQL finds a free name for the others.
        for index in sorted(self._declared.indexes, key=lambda index: index.name is None):
            yield self._index(index, taken)
            if any(term.collation not in _OF_SQLITE for term in index.terms):
                what = f"the collation of the index {index.name or 'of a UNIQUE constraint'}"
                yield LeftOut(self._part(what, f"{index.name or 'unique'}_collation", guards=False), _STRANGE)
        for number, check in enumerate(self._declared.checks, 1):
            yield self._check(check, number)
        for trigger in self._declared.triggers:
            yield LeftOut(self._part(f"the trigger {trigger}", trigger, guards=False), "it is a program of SQLite's")
        for conflict in self._declared.conflicts:
            yield LeftOut(
                self._part(f"the clause {conflict}", "conflict", guards=False),
                "the key holds, and a statement that breaks it is an error",
            )

    def foreign_keys(self, others: Mapping[str, "TableDdl"], sources: Collection[str]) -> Parts:
        """Yield the foreign keys; ``others`` are the tables that are made, ``sources`` all, by their folded names."""
        return (self._foreign_key(key, others, sources) for key in self._declared.foreign_keys)

    def _part(self, what: str, handle: str, *, guards: bool = True) -> Part:
        return Part(self.name, what, pattern(f"{self.table.name}.{handle}"), guards)

    def _offered(self, part: Part, statement: str) -> AlterStatement | LeftOut:
        """Return a part that can be made, unless the operator has named it."""
        if self._operator.leaves_out(part.handle):
            return LeftOut(part, "it was named to be left out", is_named=True)
        return AlterStatement(part, statement)

    def _without(self, part: Part, reason: str, mentioned: Iterable[str] = ()) -> LeftOut:
        """Return a part that can't be made; the operator has named it, or one of the columns that it mentions."""
        known = {fold(one.name) for one in self.table.columns}
        is_of_excluded = any(fold(name) in known and fold(name) not in self.names for name in mentioned)
        is_named = self._operator.leaves_out(part.handle) or is_of_excluded
        return LeftOut(part, "a column of it is excluded" if is_of_excluded else reason, is_named=is_named)

    def _type(self, one: SourceColumn, storage_classes: Held) -> str:
        rule = self._rules[one.name]
        if rule.type is not None:
            return rule.type
        holding = storage_classes.get((self.table.name, one.name), Holding())
        if holding.is_empty and re.search(_HAS_OFFSET, self._declared.defaults.get(one.name, "")):
            holding = Holding(all_have_offsets=True)
        try:
            return type_of(one, holding)
        except Undecidable as error:
            rule_text = f'[columns."{pattern(self.table.name)}.{pattern(one.name)}"] with type = "…"'
            self.obstacles.append(Obstacle(self.table.name, f"column {one.name}: {error}", rule_text))
            return "text"

    def _operand(self, one: SourceColumn) -> Operand:
        collation = self._declared.collations.get(fold(one.name), "BINARY")
        sql = quote_postgres(self.names[fold(one.name)])
        found = column(sql, self.types[one.name], one.affinity, collation)
        return replace(found, sort=Sort.OTHER, kind="") if self._rules[one.name].changes_values else found

    def _generated(self) -> Iterator[LeftOut]:
        """Decide on the expressions of generated columns, of which PostgreSQL lets none refer to another."""
        generated = {fold(one.name) for one in self.table.columns if one.generated}
        stored = {name: operand for name, operand in self._operands.items() if name not in generated}
        for one in self.columns_made:
            if not one.generated:
                continue
            given = self._declared.generated.get(fold(one.name), "")
            part = self._part(f"the expression of the generated column {one.name}", f"{one.name}_expression")
            if self._operator.leaves_out(part.handle):
                yield LeftOut(part, "its values are copied, and new ones are not computed", is_named=True)
                continue
            try:
                self._expressions[one.name] = _as_column(translated(given, stored), self._operands[fold(one.name)])
            except Untranslatable as error:
                yield self._without(part, str(error), _names_in(given))

    def _column(self, one: SourceColumn) -> str:
        kind = self.types[one.name]
        words = [quote_postgres(self.names[fold(one.name)]), kind]
        if one == self.table.rowid_alias and kind in _WHOLE:
            words.append("GENERATED BY DEFAULT AS IDENTITY")
        if expression := self._expressions.get(one.name):
            words.append(f"GENERATED ALWAYS AS ({expression}) STORED")
        if one.not_null:
            words.append("NOT NULL")
        return " ".join(words)

    def _default(self, one: SourceColumn, given: str) -> Parts:
        part = self._part(f"the default {given} of {one.name}", f"{one.name}_default", guards=one.not_null)
        try:
            default = default_of(one, given, self.types[one.name], self._rules[one.name])
        except (NoEqual, Untranslatable) as error:
            yield self._without(part, str(error))
            return
        if default is not None:
            name = quote_postgres(self.names[fold(one.name)])
            yield self._offered(part, f"ALTER TABLE {self.name.quoted} ALTER {name} SET DEFAULT {default}")

    def _primary_key(self, key: Index) -> Parts:
        """Yield what the primary key is beside the statement that makes the table."""
        names = [term.column or "" for term in key.terms]
        shown = f"the PRIMARY KEY on {', '.join(names)}"
        if self.columns(names) is None:
            yield self._without(self._part(shown, "primary_key"), "not all of its columns are there", names)
        elif any(term.collation not in _OF_SQLITE for term in key.terms):
            yield LeftOut(self._part(f"the collation of {shown}", "primary_key", guards=False), _STRANGE)
        elif any(term.collation != "BINARY" for term in key.terms):
            part = self._part(f"{shown} that doesn't tell cases apart", "primary_key_collation")
            listed = ", ".join(self._term(term) for term in key.terms)
            yield self._offered(part, f"CREATE UNIQUE INDEX ON {self.name.quoted} ({listed})")

    def _index(self, index: Index, taken: set[str]) -> AlterStatement | LeftOut:
        shown = ", ".join(term.column or "(an expression)" for term in index.terms)
        unique = "UNIQUE " if index.unique else ""
        part = self._part(
            f"the {unique}{f'index {index.name}' if index.name else f'constraint on {shown}'}",
            index.name or "_".join([*(term.column or "" for term in index.terms), "key"]),
            guards=index.unique,
        )
        mentioned = [term.column or "" for term in index.terms]
        mentioned += [name for term in index.terms for name in _names_in(term.expression)]
        try:
            terms = [self._term(term) for term in index.terms]
            where = ""
            if index.where is not None:
                mentioned += _names_in(index.where)
                where = f" WHERE {condition(index.where, self._operands)}"
        except Untranslatable as error:
            return self._without(part, str(error), mentioned)
        is_plain = all(term.column and self._is_exact(term) for term in index.terms)
        if index.name is None and is_plain:
            listed = ", ".join(self._plain(term) for term in index.terms)
            return self._offered(part, f"ALTER TABLE {self.name.quoted} ADD UNIQUE ({listed})")
        # A name that is taken, or is another's after the cut, gives way to one that PostgreSQL finds.
        is_free = index.name is not None and cut(index.name) not in taken
        name = f"{quote_postgres(cut(index.name))} " if index.name is not None and is_free else ""
        taken.add(cut(index.name or ""))
        return self._offered(part, f"CREATE {unique}INDEX {name}ON {self.name.quoted} ({', '.join(terms)}){where}")

    def _plain(self, term: Term) -> str:
        found = self._operands.get(fold(term.column or ""))
        if found is None:
            raise Untranslatable("not all of its columns are there")
        return found.sql

    def _term(self, term: Term) -> str:
        """Return what an index is on; raises Untranslatable."""
        order = " DESC" if term.descending else ""
        if term.column is None:
            found = translated(term.expression, self._operands)
            if term.collation in {"NOCASE", "RTRIM"} and found.sort is Sort.TEXT:
                found = replace(found, sql=folded(found, term.collation))
            return f"({found.sql}){order}"
        operand = self._operands.get(fold(term.column))
        if operand is None:
            raise Untranslatable("not all of its columns are there")
        if operand.sort is Sort.TEXT and term.collation in {"NOCASE", "RTRIM"}:
            return f"({folded(operand, term.collation)}){order}"
        return f"{operand.sql}{order}"

    def _is_exact(self, term: Term) -> bool:
        """Return whether values are told apart byte by byte here: a UUID or a moment has no case."""
        return (
            term.collation not in {"NOCASE", "RTRIM"} or self._operands[fold(term.column or "")].sort is not Sort.TEXT
        )

    def _check(self, check: Check, number: int) -> AlterStatement | LeftOut:
        part = self._part(f"the CHECK {check.name or check.sql}", check.name or f"check_{number}")
        try:
            expression = condition(check.sql, self._operands)
        except Untranslatable as error:
            return self._without(part, str(error), _names_in(check.sql))
        names = [one.name for one in self._declared.checks if one.name]
        is_alone = check.name and [cut(name) for name in names].count(cut(check.name)) == 1
        name = f"CONSTRAINT {quote_postgres(cut(check.name))} " if check.name and is_alone else ""
        return self._offered(part, f"ALTER TABLE {self.name.quoted} ADD {name}CHECK ({expression})")

    def _foreign_key(
        self, key: ForeignKey, others: Mapping[str, "TableDdl"], sources: Collection[str]
    ) -> AlterStatement | LeftOut:
        part = self._part(
            f"the foreign key from {', '.join(key.columns)} to {key.table}", "_".join([*key.columns, "fkey"])
        )
        other, own = others.get(fold(key.table)), self.columns(key.columns)
        if other is None:
            is_excluded = fold(key.table) in sources
            reason = "the table is excluded" if is_excluded else "there is no such table"
            return replace(self._without(part, reason), is_named=is_excluded or self._operator.leaves_out(part.handle))
        referred = key.referred or tuple(one.name for one in other.table.key)
        there = other.columns(referred)
        if own is None:
            return self._without(part, "not all of its columns are there", key.columns)
        if there is None:
            return replace(other._without(part, "not all of its columns are there", referred), part=part)  # noqa: SLF001
        if reason := self._obstacle(key, other, referred):
            return self._without(part, reason)
        deferred = " DEFERRABLE INITIALLY DEFERRED" if key.deferred else ""
        found = self._offered(
            part,
            f"ALTER TABLE {self.name.quoted} ADD FOREIGN KEY ({own}) REFERENCES {other.name.quoted} ({there}) "
            f"ON UPDATE {key.on_update} ON DELETE {key.on_delete}{deferred}",
        )
        return replace(found, refers_to=other.name) if isinstance(found, AlterStatement) else found

    def _obstacle(self, key: ForeignKey, other: "TableDdl", referred: Collection[str]) -> str:
        """Return why PostgreSQL can't have the foreign key, as far as that is seen from here."""
        wanted = {fold(name) for name in referred}
        keys = [index for index in other._declared.indexes if index.unique and index.where is None]  # noqa: SLF001
        keys += [other._declared.primary_key] if other._declared.primary_key else []  # noqa: SLF001
        fitting = [index for index in keys if {fold(term.column or "") for term in index.terms} == wanted]
        is_key = wanted == {fold(one.name) for one in other.table.key}
        if not fitting and not is_key:
            return "no unique key is on what it refers to"
        text = [name for name in referred if other._operands[fold(name)].sort is Sort.TEXT]  # noqa: SLF001
        blind = any(term.collation in {"NOCASE", "RTRIM"} for index in fitting for term in index.terms)
        if text and blind:
            return "what it refers to is compared without regard to case, which a foreign key can't do"
        for own, there in zip(key.columns, referred, strict=False):
            mine, theirs = self._kind(own), other._kind(there)  # noqa: SLF001
            if mine != theirs and "text" in {mine, theirs}:
                return f"{mine} can't refer to {theirs}"
        return ""

    def _kind(self, name: str) -> str:
        return next(self.types[one.name] for one in self.columns_made if fold(one.name) == fold(name))


_HAS_OFFSET = r"\d\d:\d\d(:[\d.]+)?(Z|[+-]\d\d:\d\d)['\"]$"

_STRANGE = "it is the application's own; here keys are told apart byte by byte"


def _names_in(sql: str) -> list[str]:
    """Return what may be names of columns in an expression."""
    try:
        return [word.value for word in tokens(sql) if word.kind in {"word", "name"}]
    except Unreadable:
        return []


def _as_column(found: Operand, wanted: Operand) -> str:
    """Return an expression as a value of a column; raises Untranslatable."""
    if found.sort is wanted.sort or found.sort is Sort.NOTHING:
        return found.sql
    if found.sort is Sort.TRUTH and wanted.sort is Sort.INTEGER:
        return f"({found.sql})::integer"
    if found.sort is Sort.INTEGER and wanted.sort is Sort.TEXT and wanted.affinity is Affinity.TEXT:
        return f"({found.sql})::text"
    raise Untranslatable(f"its values are no {wanted.kind or 'such values'} by SQLite's rules")
