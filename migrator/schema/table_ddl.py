"""Builds the DDL of one table: a statement for its columns and primary key, and a statement for each further part."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec.structs import replace

from migrator.names import TableName, cut, pattern, quote_postgres
from migrator.planning.rules import Rules
from migrator.planning.table_parts import AlterStatement, LeftOut, Obstacle, Part
from migrator.schema.column_types import Held, Holding, Undecidable, type_of
from migrator.schema.defaults import default_of
from migrator.schema.literals import NoEqual
from migrator.schema.operands import Operand, Sort, Untranslatable, as_column, column, folded
from migrator.schema.translation import condition, translated
from migrator.source.declarations import Check, ForeignKey, Index, TableDeclarations, Term
from migrator.source.schema import SourceColumn, SourceTable
from migrator.sql.lexing import fold, names_in

_WHOLE = frozenset({"bigint", "integer", "int", "int4", "int8", "smallint", "int2"})

_OF_SQLITE = frozenset({"BINARY", "NOCASE", "RTRIM"})

Parts = Iterator[AlterStatement | LeftOut]


class TableDdl:
    """The DDL of one table, with the names that the table and its columns have in the target."""

    def __init__(
        self, schema: str, table: SourceTable, declared: TableDeclarations, rules: Rules, storage_classes: Held
    ) -> None:
        """Decide on names and types; a column that no type fits gives an entry in ``obstacles``."""
        self.table = table
        self.name = TableName(schema, cut(rules.table_names(table.name)[0]))
        self.obstacles: list[Obstacle] = []
        self._declared = declared
        self._rules = {
            source_column.name: rules.of_created_column(table.name, source_column.name, source_column.declared_type)
            for source_column in table.columns
        }
        self._operator = rules
        self.columns_made = [
            source_column for source_column in table.columns if not self._rules[source_column.name].exclude
        ]
        self.names = {fold(made.name): cut(rules.column_names(table.name, made.name)[0]) for made in self.columns_made}
        self.types = {made.name: self._type(made, storage_classes) for made in self.columns_made}
        self._operands = {fold(made.name): self._operand(made) for made in self.columns_made}
        self._expressions: dict[str, str] = {}
        self._left_out_expressions = list(self._generated())

    def statement(self) -> str:
        """Return the statement that makes the table with its columns and its primary key."""
        lines = [self._column(source_column) for source_column in self.columns_made]
        key = self.columns([source_column.name for source_column in self.table.key])
        if key:
            lines.append(f"PRIMARY KEY ({key})")
        return f"CREATE TABLE {self.name.quoted} ({', '.join(lines)})"

    def columns(self, names: Iterable[str]) -> str | None:
        """Return columns as a list in SQL; None if ``names`` is empty, or if not all columns are in the target."""
        target_names = [self.names.get(fold(name)) for name in names]
        return (
            ", ".join(quote_postgres(name) for name in target_names if name is not None)
            if target_names and None not in target_names
            else None
        )

    @property
    def undecided(self) -> list[SourceColumn]:
        """The columns whose type no rule decides."""
        return [made for made in self.columns_made if self._rules[made.name].type is None]

    @property
    def checks(self) -> list[str]:
        """The SQL of the source's CHECKs."""
        return [check.sql for check in self._declared.checks]

    @property
    def relations(self) -> Iterator[str]:
        """The names that indexes can't have: the table's name, and the names that PostgreSQL makes for the table."""
        yield self.name.name
        yield cut(f"{self.name.name}_pkey")
        yield from (cut(f"{self.name.name}_{name}_seq") for name in self.names.values())

    def parts(self, taken: set[str]) -> Parts:
        """Yield all parts except columns, primary key and foreign keys; add the names of indexes to ``taken``."""
        if self._declared.unreadable:
            yield self._without(
                self._part("what only its definition's text says", "definition"), self._declared.unreadable
            )
        yield from self._left_out_expressions
        for source_column in self.columns_made:
            default = self._declared.defaults.get(source_column.name)
            # SQLite never uses the default of a rowid alias.
            if default is not None and source_column != self.table.rowid_alias:
                yield from self._default(source_column, default)
        if key := self._declared.primary_key:
            yield from self._primary_key(key)
        # Indexes with names come first: PostgreSQL finds a free name for each of the others.
        for index in sorted(self._declared.indexes, key=lambda index: index.name is None):
            yield self._index(index, taken)
            if any(term.collation not in _OF_SQLITE for term in index.terms):
                what = f"the collation of the index {index.name or 'of a UNIQUE constraint'}"
                yield LeftOut(self._part(what, f"{index.name or 'unique'}_collation", guards=False), _STRANGE)
        for number, check in enumerate(self._declared.checks, 1):
            yield self._check(check, number)
        for trigger in self._declared.triggers:
            part = self._part(f"the trigger {trigger}", trigger, guards=trigger in self._declared.guarding_triggers)
            reason = "it refuses rows, and is a program of SQLite's" if part.guards else "it is a program of SQLite's"
            yield LeftOut(part, reason, is_named=self._operator.leaves_out(part.handle))
        for conflict in self._declared.conflicts:
            yield LeftOut(
                self._part(f"the clause {conflict}", "conflict", guards=False),
                "the key holds, and a statement that breaks it is an error",
            )

    def foreign_keys(self, others: Mapping[str, "TableDdl"], sources: Collection[str]) -> Parts:
        """Yield the foreign keys; ``others`` are the tables that are made, ``sources`` all tables, by folded names."""
        return (self._foreign_key(key, others, sources) for key in self._declared.foreign_keys)

    def _part(self, what: str, handle: str, *, guards: bool = True) -> Part:
        return Part(self.name, what, pattern(f"{self.table.name}.{handle}"), guards)

    def _offered(self, part: Part, statement: str) -> AlterStatement | LeftOut:
        """Return the statement for a part; if the operator has named the part, return it as left out."""
        if self._operator.leaves_out(part.handle):
            return LeftOut(part, "it was named to be left out", is_named=True)
        return AlterStatement(part, statement)

    def _without(self, part: Part, reason: str, mentioned: Iterable[str] = ()) -> LeftOut:
        """Return a part that can't be made as left out; it counts as named if it mentions an excluded column."""
        known = {fold(source_column.name) for source_column in self.table.columns}
        is_of_excluded = any(fold(name) in known and fold(name) not in self.names for name in mentioned)
        is_named = self._operator.leaves_out(part.handle) or is_of_excluded
        return LeftOut(part, "a column of it is excluded" if is_of_excluded else reason, is_named=is_named)

    def _type(self, source_column: SourceColumn, storage_classes: Held) -> str:
        rule = self._rules[source_column.name]
        if rule.type is not None:
            return rule.type
        holding = storage_classes.get((self.table.name, source_column.name), Holding())
        if holding.is_empty and re.search(_HAS_OFFSET, self._declared.defaults.get(source_column.name, "")):
            holding = Holding(all_have_offsets=True)
        try:
            return type_of(source_column, holding)
        except Undecidable as error:
            rule_text = f'[columns."{pattern(self.table.name)}.{pattern(source_column.name)}"] with type = "…"'
            self.obstacles.append(Obstacle(self.table.name, f"column {source_column.name}: {error}", rule_text))
            return "text"

    def _operand(self, source_column: SourceColumn) -> Operand:
        collation = self._declared.collations.get(fold(source_column.name), "BINARY")
        sql = quote_postgres(self.names[fold(source_column.name)])
        operand = column(sql, self.types[source_column.name], source_column.affinity, collation)
        return replace(operand, sort=Sort.OTHER, kind="") if self._rules[source_column.name].changes_values else operand

    def _generated(self) -> Iterator[LeftOut]:
        """Translate the expressions of generated columns; PostgreSQL lets none refer to another generated column."""
        generated = {fold(source_column.name) for source_column in self.table.columns if source_column.generated}
        stored = {name: operand for name, operand in self._operands.items() if name not in generated}
        for source_column in self.columns_made:
            if not source_column.generated:
                continue
            expression = self._declared.generated.get(fold(source_column.name), "")
            part = self._part(
                f"the expression of the generated column {source_column.name}", f"{source_column.name}_expression"
            )
            if self._operator.leaves_out(part.handle):
                yield LeftOut(part, "its values are copied, and new ones are not computed", is_named=True)
                continue
            try:
                self._expressions[source_column.name] = as_column(
                    translated(expression, stored), self._operands[fold(source_column.name)]
                )
            except Untranslatable as error:
                yield self._without(part, str(error), names_in(expression))

    def _column(self, source_column: SourceColumn) -> str:
        kind = self.types[source_column.name]
        words = [quote_postgres(self.names[fold(source_column.name)]), kind]
        if source_column == self.table.rowid_alias and kind in _WHOLE:
            words.append("GENERATED BY DEFAULT AS IDENTITY")
        if expression := self._expressions.get(source_column.name):
            words.append(f"GENERATED ALWAYS AS ({expression}) STORED")
        if source_column.not_null:
            words.append("NOT NULL")
        return " ".join(words)

    def _default(self, source_column: SourceColumn, expression: str) -> Parts:
        part = self._part(
            f"the default {expression} of {source_column.name}",
            f"{source_column.name}_default",
            guards=source_column.not_null,
        )
        try:
            default = default_of(
                source_column, expression, self.types[source_column.name], self._rules[source_column.name]
            )
        except (NoEqual, Untranslatable) as error:
            yield self._without(part, str(error))
            return
        if default is not None:
            name = quote_postgres(self.names[fold(source_column.name)])
            yield self._offered(part, f"ALTER TABLE {self.name.quoted} ALTER {name} SET DEFAULT {default}")

    def _primary_key(self, key: Index) -> Parts:
        """Yield the parts of the primary key that the statement of the table does not contain."""
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
        mentioned += [name for term in index.terms for name in names_in(term.expression)]
        try:
            terms = [self._term(term) for term in index.terms]
            where = ""
            if index.where is not None:
                mentioned += names_in(index.where)
                where = f" WHERE {condition(index.where, self._operands)}"
        except Untranslatable as error:
            return self._without(part, str(error), mentioned)
        is_plain = all(term.column and self._is_exact(term) for term in index.terms)
        if index.name is None and is_plain:
            listed = ", ".join(self._plain(term) for term in index.terms)
            return self._offered(part, f"ALTER TABLE {self.name.quoted} ADD UNIQUE ({listed})")
        # If the name is taken, or equals another name after it is cut, PostgreSQL chooses a name.
        own_name = self._own_name(index.name)
        name = f"{quote_postgres(own_name)} " if own_name and own_name not in taken else ""
        taken.add(own_name)
        on = f"ON {self.name.quoted} ({', '.join(terms)}){where}"
        addition = self._offered(part, f"CREATE {unique}INDEX {name}{on}")
        if not name or isinstance(addition, LeftOut):
            return addition
        return replace(addition, without_name=f"CREATE {unique}INDEX {on}")

    def _own_name(self, name: str | None) -> str:
        """Return the target's name of an index or CHECK; empty if it has no name in the source."""
        return cut(self._operator.names.name(name)) if name else ""

    def _plain(self, term: Term) -> str:
        operand = self._operands.get(fold(term.column or ""))
        if operand is None:
            raise Untranslatable("not all of its columns are there")
        return operand.sql

    def _term(self, term: Term) -> str:
        """Return SQL for one term of an index; raise Untranslatable."""
        order = " DESC" if term.descending else ""
        if term.column is None:
            expression = translated(term.expression, self._operands)
            if term.collation in {"NOCASE", "RTRIM"} and expression.sort is Sort.TEXT:
                expression = replace(expression, sql=folded(expression, term.collation))
            return f"({expression.sql}){order}"
        operand = self._operands.get(fold(term.column))
        if operand is None:
            raise Untranslatable("not all of its columns are there")
        if operand.sort is Sort.TEXT and term.collation in {"NOCASE", "RTRIM"}:
            return f"({folded(operand, term.collation)}){order}"
        return f"{operand.sql}{order}"

    def _is_exact(self, term: Term) -> bool:
        """Return whether the source compares the term's values as PostgreSQL does; a UUID or a moment has no case."""
        return (
            term.collation not in {"NOCASE", "RTRIM"} or self._operands[fold(term.column or "")].sort is not Sort.TEXT
        )

    def _check(self, check: Check, number: int) -> AlterStatement | LeftOut:
        part = self._part(f"the CHECK {check.name or check.sql}", check.name or f"check_{number}")
        try:
            expression = condition(check.sql, self._operands)
        except Untranslatable as error:
            return self._without(part, str(error), names_in(check.sql))
        own_name = self._own_name(check.name)
        is_alone = own_name and [self._own_name(each.name) for each in self._declared.checks].count(own_name) == 1
        name = f"CONSTRAINT {quote_postgres(own_name)} " if is_alone else ""
        return self._offered(part, f"ALTER TABLE {self.name.quoted} ADD {name}CHECK ({expression})")

    def _foreign_key(
        self, key: ForeignKey, others: Mapping[str, "TableDdl"], sources: Collection[str]
    ) -> AlterStatement | LeftOut:
        part = self._part(
            f"the foreign key from {', '.join(key.columns)} to {key.table}", "_".join([*key.columns, "fkey"])
        )
        other, own_columns = others.get(fold(key.table)), self.columns(key.columns)
        if other is None:
            is_excluded = fold(key.table) in sources
            reason = "the table is excluded" if is_excluded else "there is no such table"
            return replace(self._without(part, reason), is_named=is_excluded or self._operator.leaves_out(part.handle))
        referred = key.referred or tuple(source_column.name for source_column in other.table.key)
        referred_columns = other.columns(referred)
        if own_columns is None:
            return self._without(part, "not all of its columns are there", key.columns)
        if referred_columns is None:
            return replace(other._without(part, "not all of its columns are there", referred), part=part)  # noqa: SLF001
        if reason := self._obstacle(key, other, referred):
            return self._without(part, reason)
        deferred = " DEFERRABLE INITIALLY DEFERRED" if key.deferred else ""
        addition = self._offered(
            part,
            f"ALTER TABLE {self.name.quoted} ADD FOREIGN KEY ({own_columns}) "
            f"REFERENCES {other.name.quoted} ({referred_columns}) "
            f"ON UPDATE {key.on_update} ON DELETE {key.on_delete}{deferred}",
        )
        return replace(addition, refers_to=other.name) if isinstance(addition, AlterStatement) else addition

    def _obstacle(self, key: ForeignKey, other: "TableDdl", referred: Collection[str]) -> str:
        """Return why PostgreSQL can't have the foreign key; empty if the definitions show no reason."""
        referred_names = {fold(name) for name in referred}
        keys = [index for index in other._declared.indexes if index.unique and index.where is None]  # noqa: SLF001
        keys += [other._declared.primary_key] if other._declared.primary_key else []  # noqa: SLF001
        fitting = [index for index in keys if {fold(term.column or "") for term in index.terms} == referred_names]
        is_key = referred_names == {fold(source_column.name) for source_column in other.table.key}
        if not fitting and not is_key:
            return "no unique key is on what it refers to"
        text = [name for name in referred if other._operands[fold(name)].sort is Sort.TEXT]  # noqa: SLF001
        blind = any(term.collation in {"NOCASE", "RTRIM"} for index in fitting for term in index.terms)
        if text and blind:
            return "what it refers to is compared without regard to case, which a foreign key can't do"
        for own, referred_column in zip(key.columns, referred, strict=False):
            own_type, referred_type = self._kind(own), other._kind(referred_column)  # noqa: SLF001
            if own_type != referred_type and "text" in {own_type, referred_type}:
                return f"{own_type} can't refer to {referred_type}"
        return ""

    def _kind(self, name: str) -> str:
        return next(self.types[made.name] for made in self.columns_made if fold(made.name) == fold(name))


_HAS_OFFSET = r"\d\d:\d\d(:[\d.]+)?(Z|[+-]\d\d:\d\d)['\"]$"

_STRANGE = "it is the application's own; here keys are told apart byte by byte"
