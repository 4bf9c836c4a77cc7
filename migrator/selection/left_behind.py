"""
Finds the rows that stay behind as orphans, and what becomes an orphan through them.

A dropped row makes orphans of the rows that refer to it, whose own rules then decide. The keys of all such rows are
collected in a database in scratch space that every session of the source attaches, so memory doesn't grow with their
number. The rows are the smallest set that satisfies all rules, and so don't depend on the order of the keys.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from migrator.names import quote_literal
from migrator.selection.references import DROP, Reference
from migrator.source.chunks import key_of
from migrator.source.database import Source
from migrator.source.file import uri_of
from migrator.source.schema import SourceDatabase, SourceTable
from migrator.sql.selection import Orphans

if TYPE_CHECKING:
    from migrator.source.scan import ScanSession


def without_orphans(source: Source, contents: SourceDatabase, references: Sequence[Reference]) -> SourceDatabase:
    """
    Return ``contents`` in which the tables read only the rows that the rules for orphans carry.

    Reads each table with such a rule once, in a cycle of foreign keys at least twice. Blocks. Raises SourceUnreadable.
    """
    if not references:
        return contents
    file, schema = source.scratch_database()
    with source.session() as session:
        session.ask(f"ATTACH {quote_literal(uri_of(file).replace('?mode=ro', '?mode=rwc'))} AS {schema}")
        session.ask(f"PRAGMA {schema}.journal_mode = OFF")  # nobody needs the file after a crash
        search = _Search(session, schema, {table.name: table for table in contents.tables}, _parents_first(references))
        search.run()
        tables = {name: search.counted(table) for name, table in search.tables.items()}
        session.commit()
    source.attach(file, schema)
    return replace(contents, tables=tuple(tables[table.name] for table in contents.tables))


def _parents_first(references: Sequence[Reference]) -> list[Reference]:
    """Return the references so that what is left behind of a parent is known before its children are looked at."""
    depth: dict[str, int] = {}

    def depth_of(table: str, above: frozenset[str]) -> int:
        if table not in depth:
            parents = {reference.parent for reference in references if reference.table == table} - above
            depth[table] = 1 + max((depth_of(parent, above | {parent}) for parent in parents), default=0)
        return depth[table]

    for reference in references:
        depth_of(reference.table, frozenset({reference.table}))
    return sorted(references, key=lambda reference: depth[reference.table])


class _Search(Struct):
    """The search for orphans, in one session of the source with a scratch database to write to."""

    session: "ScanSession"
    schema: str
    tables: Mapping[str, SourceTable]
    references: Sequence[Reference]
    places: dict[str, int] = field(default_factory=dict)
    """The number of each table in the names of the scratch tables."""

    def run(self) -> None:
        """Collect orphans until no rule finds another one."""
        for reference in self.references:
            place = self.places.setdefault(reference.table, len(self.places))
            self._make(f"dropped_{place}", self.tables[reference.table], "reference, generation")
        for number, reference in enumerate(self.references):
            self._make(f"emptied_{number}", self.tables[reference.table], "reference")
        in_cycle = [reference for reference in self.references if self._reaches(reference.parent, reference.table)]
        while sum([self._look_through(number) for number in range(len(self.references))]) and in_cycle:
            self._follow(in_cycle)

    def _reaches(self, start: str, end: str) -> bool:
        """Return whether a chain of references leads from one table to another."""
        seen, waiting = {start}, [start]
        while waiting:
            here = waiting.pop()
            if here == end:
                return True
            following = {reference.parent for reference in self.references if reference.table == here} - seen
            seen |= following
            waiting += following
        return False

    def _make(self, name: str, table: SourceTable, more: str) -> None:
        """Make a scratch table of rows, each identified by the key of its table."""
        row = ", ".join(_row(table))
        columns = f"r0 INTEGER PRIMARY KEY, {more}" if table.rowid else f"{row}, {more}, PRIMARY KEY ({row})"
        options = "" if table.rowid else " WITHOUT ROWID"
        self.session.ask(f"CREATE TABLE IF NOT EXISTS {self.schema}.{name} ({columns}){options}")

    def _look_through(self, number: int) -> int:
        """Collect the orphans of one reference, and return how many are new."""
        reference = self.references[number]
        child = self.tables[reference.table]
        # The reference is judged by what is stored: what another rule sets to NULL must not hide an orphan.
        condition = reference.condition(self._selected(self.tables[reference.parent]))
        keys = ", ".join(key_of(child))
        into, more = (f"dropped_{self.places[reference.table]}", f"{number}, 0")
        if reference.rule != DROP:
            into, more = f"emptied_{number}", f"{number}"
        return self._changes(
            f"INSERT OR IGNORE INTO {self.schema}.{into} SELECT {keys}, {more} FROM {child.origin} WHERE {condition}"
        )

    def _changes(self, statement: str) -> int:
        before = self._total()
        self.session.ask(statement)
        return self._total() - before

    def _total(self) -> int:
        return int(self.session.ask("SELECT total_changes() AS n")[0]["n"])

    def _follow(self, references: Sequence[Reference]) -> None:
        """
        Follow the references in a cycle from each dropped row to the rows that refer to it, generation by generation.

        Without this, each link of a chain of rows would cost another pass over the table.
        """
        dropping = [reference for reference in references if reference.rule == DROP]
        for place in set(self.places.values()):
            self.session.ask(
                f"CREATE INDEX IF NOT EXISTS {self.schema}.generations_{place} ON dropped_{place} (generation)"
            )
            self.session.ask(f"UPDATE {self.schema}.dropped_{place} SET generation = 0 WHERE generation <> 0")
        for reference in dropping:
            self._make_links(self.references.index(reference), reference)
        generation = 0
        while sum([self._next(self.references.index(each), each, generation) for each in dropping]):
            generation += 1

    def _make_links(self, number: int, reference: Reference) -> None:
        """Make scratch tables of the keys of children and parents, with indexes by which they are found."""
        parent = self._selected(self.tables[reference.parent])
        all_parents = replace(parent, selection=replace(parent.selection, not_dropped=""))
        for name, table, expressions in (
            (f"children_{number}", self.tables[reference.table], reference.own),
            (f"parents_{number}", all_parents, reference.referred.expressions),
        ):
            keys, rows = [f"k{i}" for i in range(len(expressions))], _row(table)
            self.session.ask(f"DROP TABLE IF EXISTS {self.schema}.{name}")
            self.session.ask(f"CREATE TABLE {self.schema}.{name} ({', '.join([*keys, *rows])})")
            self.session.ask(
                f"INSERT INTO {self.schema}.{name} SELECT {', '.join([*expressions, *key_of(table)])} "
                f"FROM {table.origin} WHERE {' AND '.join(f'{one} IS NOT NULL' for one in expressions)}"
            )
            self.session.ask(f"CREATE INDEX {self.schema}.by_key_{name} ON {name} ({', '.join(keys)})")
            self.session.ask(f"CREATE INDEX {self.schema}.by_row_{name} ON {name} ({', '.join(rows)})")

    def _next(self, number: int, reference: Reference, generation: int) -> int:
        """Drop the rows that refer to a row of this generation and to no row that remains; return their number."""
        schema, child, parent = self.schema, self.places[reference.table], self.places.get(reference.parent)
        if parent is None:
            return 0
        rows = _row(self.tables[reference.table])
        parent_rows = _row(self.tables[reference.parent])
        keys = [f"k{i}" for i in range(len(reference.own))]
        gone = " AND ".join(f"d.{row} = p.{row}" for row in parent_rows)
        same = " AND ".join(f"p.{key} = c.{key}" for key in keys)
        remains = f"NOT EXISTS (SELECT 1 FROM {schema}.dropped_{parent} d WHERE {gone})"
        return self._changes(
            f"INSERT OR IGNORE INTO {schema}.dropped_{child} "
            f"SELECT {', '.join(f'c.{row}' for row in rows)}, {number}, {generation + 1} "
            f"FROM {schema}.dropped_{parent} d JOIN {schema}.parents_{number} p ON {gone} "
            f"JOIN {schema}.children_{number} c ON {same} WHERE d.generation = {generation} "
            f"AND NOT EXISTS (SELECT 1 FROM {schema}.parents_{number} p WHERE {same} AND {remains})"
        )

    def _selected(self, table: SourceTable) -> SourceTable:
        """Return a table that reads only the rows that are carried, as far as they are known."""
        key = f"({', '.join(key_of(table))})"
        rows = f"{', '.join(_row(table))} FROM {self.schema}"
        of_table = [entry for entry in enumerate(self.references) if entry[1].table == table.name]
        drops = any(reference.rule == DROP for _, reference in of_table)
        selection = replace(
            table.selection,
            not_dropped=f"{key} NOT IN (SELECT {rows}.dropped_{self.places[table.name]})" if drops else "",
            set_null=tuple(
                (column, f"{key} IN (SELECT {rows}.emptied_{number})")
                for number, reference in of_table
                for column in reference.set_null
            ),
        )
        return replace(table, selection=selection)

    def counted(self, table: SourceTable) -> SourceTable:
        """Return a table that reads only the rows that are carried, with the numbers of the others."""
        orphans = tuple(self._counted(table.name))
        if not any(each.rows for each in orphans):
            return replace(table, selection=replace(table.selection, orphans=orphans))
        selected = self._selected(table)
        return replace(selected, selection=replace(selected.selection, orphans=orphans))

    def _counted(self, table: str) -> Iterator[Orphans]:
        """Yield what each reference of a table has found; a row that is dropped is not counted as set to NULL."""
        for number, reference in enumerate(self.references):
            if reference.table != table:
                continue
            found = self.tables[table]
            key, rows = f"({', '.join(key_of(found))})", ", ".join(_row(found))
            dropped = f"SELECT {rows} FROM {self.schema}.dropped_{self.places[table]}"
            if reference.rule == DROP:
                condition = f"{key} IN ({dropped} WHERE reference = {number})"
            else:
                emptied = f"SELECT {rows} FROM {self.schema}.emptied_{number}"
                condition = f"{key} IN ({emptied}) AND {key} NOT IN ({dropped})"
            [row] = self.session.ask(f"SELECT count(*) AS n FROM {found.stored} WHERE {condition}")
            yield Orphans(
                reference.foreign_key, reference.column, reference.rule, int(row["n"]), reference.columns, condition
            )


def _row(table: SourceTable) -> list[str]:
    """Return the columns of a scratch table that identify a row of ``table``."""
    return [f"r{place}" for place in range(len(key_of(table)))]
