"""
Random databases, each from its number alone: tables of a source, their partners in the target, and rules for the move.

``draw(seed)`` is a pure function, so a number that failed can be tried again by itself. The source's rows are changed
later by ``refresh.changes``.
"""

import json
from dataclasses import dataclass, replace
from random import Random

from situations.drawn import COLUMN_NAMES, NAMES
from situations.kinds import KINDS
from situations.staged import quoted

KEYS = ("integer", "integer", "autoincrement", "text", "uuid", "blob", "without rowid", "composite", "none")
NUMBERED = frozenset({"integer", "autoincrement", "without rowid"})
"""Keys that are one number: another table can refer to them."""
ACTIONS = (
    *("", "", "ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE CASCADE ON UPDATE CASCADE"),
    *("ON UPDATE SET NULL", "DEFERRABLE INITIALLY DEFERRED"),
)
FEATURES = (
    *("partial", "expression", "exclude", "deferrable", "generated", "computed", "identity", "always", "serial"),
    *("hash", "range", "trigger", "trigger always", "trigger disabled", "unlogged", "comment", "index", "where"),
)
SPLIT = frozenset({"hash", "range"})
UNIQUE = frozenset({"partial", "expression", "exclude", "deferrable"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column besides the key."""

    name: str
    kind: str
    nullable: bool = True
    unique: bool = False
    """No value comes twice; the source and the target both have a constraint that says so."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The foreign key of a column named ``parent``."""

    parent: str
    action: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the source, and what its partner in the target is like."""

    name: str
    key: str
    columns: tuple[Column, ...]
    features: frozenset[str] = frozenset()
    reference: Reference | None = None
    target_name: str = ""
    rows: int = 0
    """How many rows there are to begin with."""

    @property
    def quoted(self) -> str:
        """The name in SQLite's statements."""
        return quoted(self.name)

    @property
    def there(self) -> str:
        """The name in PostgreSQL's statements."""
        return quoted(self.target_name or self.name)

    @property
    def handle(self) -> str:
        """The column by which SQLite finds one row, whether the table has a key or not."""
        return "id" if self.key == "without rowid" else "rowid"

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of the key; of a table without one, the column that others have as their key."""
        return ("id", "part") if self.key == "composite" else ("id",)


@dataclass(frozen=True, slots=True)
class Case:
    """All that a case is made of before anything changes."""

    seed: int
    tables: tuple[Table, ...]
    rules: str
    """The text of ``migrator.toml``."""
    orphans: bool
    """Whether the rules say what becomes of rows that refer to nothing."""
    options: dict[str, object]
    """Settings of every run."""

    def __str__(self) -> str:
        """Say in a few lines what it is, for the message of a failure."""
        lines = [f"seed {self.seed}, {self.options}, rules: {self.rules!r}"]
        for table in self.tables:
            columns = ", ".join(f"{c.name!r} {c.kind}{'' if c.nullable else ' not null'}" for c in table.columns)
            lines.append(f"  {table.name!r} ({table.key}, {sorted(table.features)}, {table.reference}): {columns}")
        return "\n".join(lines)


def draw(seed: int) -> Case:
    """Make the case of this number."""
    random = Random(seed)  # noqa: S311 - it shall be repeatable
    tables: list[Table] = []
    folded: set[str] = set()
    for _ in range(random.choice([3, 5, 6, 8])):
        name = random.choice(NAMES)
        if name.lower() in folded:
            continue
        folded.add(name.lower())
        tables.append(_twin(random, name, tables) or _table(random, name, tables))
    tables = _with_cycle(random, tables)
    rules, tables, orphans = _rules(random, tables)
    options: dict[str, object] = {"jobs": random.choice([1, 2])}
    if random.random() < 0.4:
        options["chunk_bytes"] = random.choice([500, 2000])
    return Case(seed, tuple(tables), rules, orphans, options)


def _twin(random: Random, name: str, tables: list[Table]) -> Table | None:
    """Return a table with the columns of an earlier one, between which rows can move."""
    if not tables or random.random() < 0.75:
        return None
    model = random.choice(tables)
    return replace(model, name=name, rows=random.choice([0, 5, 30]))


def new_table(random: Random, name: str, tables: tuple[Table, ...]) -> Table:
    """Draw one more table, which may refer to those that are there."""
    return _table(random, name, list(tables))


def _table(random: Random, name: str, tables: list[Table]) -> Table:
    key = random.choice(KEYS)
    features = frozenset(one for one in FEATURES if random.random() < 0.12)
    if key not in NUMBERED:
        features -= {"identity", "always", "serial", "hash", "range"}
    if len(features & {"identity", "always", "serial"}) > 1:
        features -= {"always", "serial"}
    if len(features & {"trigger", "trigger always", "trigger disabled"}) > 1:
        features -= {"trigger", "trigger always"}
    if features & SPLIT:
        features -= {"range"} if "hash" in features else set()
        features -= {*UNIQUE, "unlogged", "identity", "always", "serial"}
    columns = [
        Column(
            column, kind := random.choice(list(KINDS)), random.random() < 0.7, _may_be_unique(random, kind, features)
        )
        for column in random.sample(COLUMN_NAMES, random.randint(1, 4))
    ]
    extra = {
        "partial": [Column("code", "bigint", unique=True), Column("live", "boolean", nullable=False)],
        "expression": [Column("label", "text", unique=True)],
        "exclude": [Column("span", "integer", unique=True)],
        "deferrable": [Column("place", "bigint", unique=True)],
        "generated": [Column("word", "text")],
        "computed": [Column("many", "integer")],
        "where": [Column("kept", "boolean", nullable=False)],
    }
    columns += [column for feature, added in extra.items() if feature in features for column in added]
    parents = [one for one in tables if one.key in NUMBERED and "unlogged" not in one.features and not _splits(one)]
    reference = None
    if random.random() < 0.5 and "unlogged" not in features:
        itself = key in NUMBERED and not features & SPLIT and random.random() < 0.3
        if itself or parents:
            reference = Reference(name if itself else random.choice(parents).name, random.choice(ACTIONS))
            columns.insert(0, Column("parent", "bigint"))
    return Table(name, key, tuple(columns), features, reference, rows=random.choice([0, 1, 5, 30, 30, 150]))


def _splits(table: Table) -> bool:
    return bool(table.features & SPLIT)


def _may_be_unique(random: Random, kind: str, features: frozenset[str]) -> bool:
    return kind in {"bigint", "text", "uuid"} and not features & SPLIT and random.random() < 0.25


def _with_cycle(random: Random, tables: list[Table]) -> list[Table]:
    """Let two tables refer to each other, where that is possible: no order of tables is right for them."""
    able = [at for at, one in enumerate(tables) if one.key in NUMBERED and not one.features & {"unlogged", *SPLIT}]
    if len(able) < 2 or random.random() < 0.6:
        return tables
    for at, other in (able[:2], able[1::-1]):
        action = random.choice(ACTIONS)
        columns = tables[at].columns
        columns = columns if tables[at].reference else (Column("parent", "bigint"), *columns)
        tables[at] = replace(tables[at], columns=columns, reference=Reference(tables[other].name, action))
    return tables


def _rules(random: Random, tables: list[Table]) -> tuple[str, list[Table], bool]:
    lines = []
    left = {table.name for table in tables if "where" in table.features}
    referred = {table.reference.parent for table in tables if table.reference is not None}
    orphans = random.random() < 0.3 or bool(left & referred)  # what `where` leaves behind makes orphans, too
    for at, table in enumerate(tables):
        rule = []
        if "where" in table.features:
            rule.append("where = 'kept = 1'")
        if random.random() < 0.1:
            tables[at] = replace(table, target_name=f"new {at}")
            rule.append(f'rename = "new {at}"')
        if rule:
            lines.append("\n".join([f"[tables.{json.dumps(table.name)}]", *rule]))
        if orphans and table.reference is not None:
            word = "drop" if random.random() < 0.5 else "null"
            lines.append(f'[columns.{json.dumps(table.name + ".parent")}]\norphans = "{word}"')
        excluded = [c for c in table.columns if c.nullable and c.name in {"v", "user", "UPPER"}]
        if excluded and random.random() < 0.2:
            lines.append(f"[columns.{json.dumps(table.name + '.' + excluded[0].name)}]\nexclude = true")
    return "\n".join(lines), tables, orphans


# --- Statements ---


def source_table(table: Table, name: str | None = None) -> list[str]:
    """Return SQLite's statements for a table, under another name if one is given."""
    key = {
        "integer": "id INTEGER PRIMARY KEY",
        "autoincrement": "id INTEGER PRIMARY KEY AUTOINCREMENT",
        "text": "id TEXT PRIMARY KEY",
        "uuid": "id TEXT PRIMARY KEY",
        "blob": "id BLOB PRIMARY KEY",
        "without rowid": "id INTEGER NOT NULL PRIMARY KEY",
        "composite": "id TEXT NOT NULL, part INTEGER NOT NULL",
        "none": "id INTEGER",
    }[table.key]
    lines = [key]
    for column in table.columns:
        words = [quoted(column.name), KINDS[column.kind].sqlite, "" if column.nullable else "NOT NULL"]
        if column.unique and column.name not in {"code", "label"}:
            words.append("UNIQUE")
        if column.name == "parent" and table.reference:
            words.append(f"REFERENCES {quoted(table.reference.parent)} (id) {table.reference.action}")
        lines.append(" ".join(words))
    if "generated" in table.features:
        lines.append("length INT GENERATED ALWAYS AS (length(word)) STORED")
    if table.key == "composite":
        lines.append("PRIMARY KEY (id, part)")
    options = " WITHOUT ROWID" if table.key == "without rowid" else ""
    made = quoted(name or table.name)
    indexes = []
    if "partial" in table.features:
        indexes.append(f"CREATE UNIQUE INDEX {quoted(table.name + '_code')} ON {made} (code) WHERE live")
    if "expression" in table.features:
        indexes.append(f"CREATE UNIQUE INDEX {quoted(table.name + '_label')} ON {made} (lower(label))")
    return [f"CREATE TABLE {made} ({', '.join(lines)}){options}", *indexes]


def target_script(tables: tuple[Table, ...], known: tuple[Table, ...] = ()) -> str:
    """Return PostgreSQL's statements for tables, which may refer to each other and to the ``known`` ones."""
    lines = [line for table in tables for line in _target_table(table)]
    names = {table.name: table.there for table in (*known, *tables)}
    for table in tables:
        if table.reference:
            key = f"FOREIGN KEY (parent) REFERENCES {names[table.reference.parent]} (id) {table.reference.action}"
            lines.append(f"ALTER TABLE {table.there} ADD {key}")
    return ";\n".join(lines) + ";\n"


_MEDDLES = """
CREATE OR REPLACE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'a trigger of the application has fired'; END $$"""


def _target_table(table: Table) -> list[str]:
    words = {"identity": "bigint GENERATED BY DEFAULT AS IDENTITY", "always": "bigint GENERATED ALWAYS AS IDENTITY"}
    number = next((words[one] for one in words if one in table.features), "bigint")
    number = "bigserial" if "serial" in table.features else number
    types = {"text": "text", "uuid": "uuid", "blob": "bytea", "composite": "text"}
    lines = [f"id {types.get(table.key, number)}", *(["part int"] if table.key == "composite" else [])]
    for column in table.columns:
        words_of = [quoted(column.name), KINDS[column.kind].postgres, "" if column.nullable else "NOT NULL"]
        if column.unique and column.name not in {"code", "label", "span", "place"}:
            words_of.append("UNIQUE")
        if column.name == "place":
            words_of.append("UNIQUE DEFERRABLE INITIALLY IMMEDIATE")
        lines.append(" ".join(words_of))
    if "generated" in table.features:
        lines.append("length int GENERATED ALWAYS AS (length(word)) STORED")
    if "computed" in table.features:
        lines.append("twice bigint GENERATED ALWAYS AS (many::bigint * 2) STORED")
    if "exclude" in table.features:
        lines.append("EXCLUDE USING gist (int8range(span, span, '[]') WITH &&) WHERE (span IS NOT NULL)")
    if table.key != "none":
        lines.append(f"PRIMARY KEY ({', '.join(table.key_columns)})")
    split = next((f" PARTITION BY {one.upper()} (id)" for one in ("hash", "range") if one in table.features), "")
    made = "CREATE UNLOGGED TABLE" if "unlogged" in table.features else "CREATE TABLE"
    return [f"{made} {table.there} ({', '.join(lines)}){split}", *_partitions(table), *_beside(table)]


def _partitions(table: Table) -> list[str]:
    bounds = {
        "hash": [f"FOR VALUES WITH (MODULUS 3, REMAINDER {n})" for n in range(3)],
        "range": ["FOR VALUES FROM (MINVALUE) TO (300)", "FOR VALUES FROM (300) TO (2000)", "DEFAULT"],
    }
    name = table.target_name or table.name
    return [
        f"CREATE TABLE {quoted(f'{name} p{n}')} PARTITION OF {table.there} {bound}"
        for feature, parts in bounds.items()
        if feature in table.features
        for n, bound in enumerate(parts)
    ]


def _beside(table: Table) -> list[str]:
    lines = []
    if "partial" in table.features:
        lines.append(f"CREATE UNIQUE INDEX ON {table.there} (code) WHERE live")
    if "expression" in table.features:
        lines.append(f"CREATE UNIQUE INDEX ON {table.there} (lower(label))")
    if "index" in table.features:
        lines.append(f"CREATE INDEX ON {table.there} USING brin (id)" if table.key != "blob" else "SELECT 1")
    if "comment" in table.features:
        lines.append(f"COMMENT ON TABLE {table.there} IS 'it''s a table'")
        lines.append(f"COMMENT ON COLUMN {table.there}.id IS 'its key'")
    for feature, state in (("trigger", ""), ("trigger always", "ENABLE ALWAYS"), ("trigger disabled", "DISABLE")):
        if feature in table.features:
            lines.append(_MEDDLES)
            fires = "BEFORE INSERT OR UPDATE OR DELETE"
            lines.append(f"CREATE TRIGGER meddles {fires} ON {table.there} FOR EACH ROW EXECUTE FUNCTION meddle()")
            lines += [f"ALTER TABLE {table.there} {state} TRIGGER meddles"] if state else []
    return lines
