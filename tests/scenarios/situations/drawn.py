"""
Small whole situations, each from its number alone: a source, a target, what happens to them, and the settings.

``draw(seed)`` is a pure function, so a number that failed can be tried again by itself. A situation carries what it is
made of and its obstacles: what stands in the way of a run, each with the exit codes that are right because of it.
"""

import string
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random

from situations.kinds import KINDS, Stored

NAMES = (
    *("users", "Order", "order", "a b", "x'y", 'q"t', "Ä ö", "漢字", "select", "%s", "a.b", "$1", "{0}", "a:b", "a\\b"),
    *("posts_content", "posts_stat", "role", "xyz_data", "t_fts", "migrator", "parked", "UPPER", "Mixed Case", "it's"),
)
COLUMN_NAMES = ("v", "select", "Ä ö", 'q"uote', "a:b", "%s", "x'y", "é\u0301", "$1", "UPPER", "{0}", "a\\b", "user")
FILES = (
    "app.db",
    "a b.db",
    "a#b.db",
    "a?b.db",
    "%41.db",
    "ö'\".db",
    "a;b&c=d.db",
    "100%.sqlite3",
    "+.db",
    "x.db?mode=rw",
)
SCHEMAS = ("public", "public", "app", 'Mi"x d', "select", "a.b")
KEYS = ("integer", "integer", "autoincrement", "text", "without rowid", "composite", "none")
SHAPES = ("plain",) * 8 + (
    "hash",
    "range",
    "identity",
    "serial",
    "unlogged",
    "inherited",
    "trigger",
    "partition trigger",
)
JOURNALS = ("delete",) * 5 + ("wal", "wal", "wal left", "hot", "truncate")
STORIES = (
    *("once",) * 6,
    *("killed", "killed", "killed", "killed exclude", "killed changed", "killed restart"),
    *("inserted", "updated", "deleted", "wal inserted", "vacuumed", "gone"),
    *("tenant", "tenant", "same source twice", "reset", "edited", "edited reset"),
)
FAULTS = ("rows", "rows", "no table", "no column", "column too many", "check", "no partition", "not null")
"""What may be wrong with a target, see ``Situation.broken``."""
ROLE_SETTINGS = (
    *("array_nulls = off", "quote_all_identifiers = on", "DateStyle = 'German'", "IntervalStyle = sql_standard"),
    *("bytea_output = escape", "extra_float_digits = -15", "standard_conforming_strings = off", "row_security = off"),
    *("TimeZone = 'Asia/Kathmandu'", "default_transaction_isolation = serializable", "enable_seqscan = off"),
    *("default_transaction_read_only = on", "transform_null_equals = on", "backslash_quote = off"),
    *(
        "session_replication_role = origin",
        "client_encoding = 'LATIN1'",
        "search_path = 'nowhere'",
        "work_mem = '64kB'",
    ),
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column besides the key."""

    name: str
    kind: str
    nullable: bool = True
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the source with its rows, and what its partner in the target is like."""

    name: str
    key: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Stored, ...], ...]
    """Each with the key's value first."""
    parent: str | None = None
    """The table that the first column refers to, in the target too."""
    shape: str = "plain"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something in the way, and the exit codes that are right because of it."""

    what: str
    codes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a situation is made of."""

    seed: int
    file: str
    as_url: bool
    journal: str
    encoding: str
    tables: tuple[Table, ...]
    schema: str
    mode: str
    story: str
    role_settings: tuple[str, ...]
    flags: tuple[str, ...]
    excluded: tuple[str, ...]
    """Names of tables that are left behind."""
    check_first: bool
    others: frozenset[str]
    """What else is in the target: ``view``, ``namesake`` (tables of the same names in another schema), ``index``."""
    broken: tuple[str, str] | None = None
    """What is wrong with the target, and for which table."""
    odd: tuple[tuple[str, str], ...] = ()
    """Table and column of each value that may be refused."""
    obstacles: tuple[Obstacle, ...] = field(default=())
    more: frozenset[str] = frozenset()
    """What else there is, drawn apart, so that a number's situation stays what it was: see ``_more``."""
    referred: str | None = None
    """The table that a table of others refers to by a foreign key; no row of it does."""

    @property
    def carried(self) -> tuple[Table, ...]:
        """The tables that are not excluded."""
        return tuple(table for table in self.tables if table.name not in self.excluded)

    @property
    def codes(self) -> frozenset[int]:
        """The exit codes that an undisturbed run may end with."""
        if not self.obstacles:
            return frozenset({0})
        possible = frozenset(code for one in self.obstacles for code in one.codes)
        return possible if all(0 in one.codes for one in self.obstacles) else possible - {0}

    def __str__(self) -> str:
        """Say in a few lines what it is, for the message of a failure."""
        tables = "; ".join(
            f"{t.name!r} ({t.key}, {t.shape}{', of ' + repr(t.parent) if t.parent else ''}, {len(t.rows)} rows: "
            + ", ".join(
                f"{c.name!r} {c.kind}{'' if c.nullable else ' not null'}{' unique' if c.unique else ''}"
                for c in t.columns
            )
            + ")"
            for t in self.tables
        )
        return (
            f"seed {self.seed}: {self.story} | {self.file!r}{' as URL' if self.as_url else ''}, {self.journal}, "
            f"{self.encoding} | schema {self.schema!r}, {self.mode}, {sorted(self.others)} | "
            f"role {self.role_settings} | flags {self.flags} | excluded {self.excluded} | "
            f"broken {self.broken} | odd {self.odd} | more {sorted(self.more)} {self.referred!r} | "
            f"obstacles {[(one.what, sorted(one.codes)) for one in self.obstacles]} | {tables}"
        )


def draw(seed: int) -> Situation:
    """Make the situation of this number."""
    random = Random(seed)  # noqa: S311 - it shall be repeatable
    story = random.choice(STORIES)
    mode = random.choice(["existing", "existing", "existing", "create", "command"])
    tables, odd = _tables(random, mode)
    schema = random.choice(SCHEMAS)
    excluded = _excluded(random, tables)
    journal = random.choice(JOURNALS) if story in {"once", "killed", "tenant"} else random.choice(["delete", "wal"])
    snapshot = random.random() < 0.15
    broken = _broken(random, tables, mode) if random.random() < 0.2 else None
    flags = _flags(random, excluded) + (("--snapshot",) if snapshot else ())
    situation = Situation(
        seed=seed,
        file=random.choice(FILES) if random.random() < 0.4 else "app.db",
        as_url=random.random() < 0.2,
        journal=journal,
        encoding="UTF-16" if random.random() < 0.1 else "UTF-8",
        tables=tables,
        schema=schema,
        mode=mode,
        story=story,
        role_settings=tuple(random.sample(ROLE_SETTINGS, 3)) if random.random() < 0.25 else (),
        flags=flags,
        excluded=excluded,
        check_first=random.random() < 0.25 and mode == "existing",
        others=frozenset(one for one in ("view", "namesake", "index") if random.random() < 0.3),
        broken=broken,
        odd=odd,
    )
    return _with_more(_with_obstacles(situation, snapshot=snapshot))


def _with_more(situation: Situation) -> Situation:
    """
    Draw what was thought of later, from numbers of its own.

    ``seeded``: the command that makes the tables puts a row into the first. ``second file``: another source is migrated
    into other tables of the schema, under a name. And a table of others that refers to one of these.
    """
    random = Random(f"{situation.seed}/more")  # noqa: S311 - it shall be repeatable
    seeded, second, referring = (random.random() < chance for chance in (0.5, 0.3, 0.3))
    more = set()
    first = situation.tables[0]
    quiet = first.shape not in {"trigger", "partition trigger"}
    if seeded and situation.mode == "command" and quiet and situation.story != "killed exclude":
        more.add("seeded")
    if second and situation.mode == "existing" and situation.story in {"once", "killed"}:
        more.add("second file")
    keyed = [
        table.name
        for table in situation.tables
        if table.key in {"integer", "autoincrement", "without rowid"} and table.shape != "unlogged"
    ]
    may_refer = referring and keyed and situation.mode == "existing" and not situation.broken
    referred = random.choice(keyed) if may_refer else None
    flags = tuple(_fewer_pieces(flag, max(len(table.rows) for table in situation.tables)) for flag in situation.flags)
    return replace(situation, more=frozenset(more), referred=referred, flags=flags)


def _fewer_pieces(flag: str, rows: int) -> str:
    """Let no table come in a hundred pieces: twenty show what many pieces do, in a tenth of the time."""
    return "--chunk-bytes=1000" if rows > 20 and flag in {"--chunk-bytes=1", "--chunk-bytes=100"} else flag


def _tables(random: Random, mode: str) -> tuple[tuple[Table, ...], tuple[tuple[str, str], ...]]:
    tables: list[Table] = []
    odd: list[tuple[str, str]] = []
    folded: set[str] = set()
    for _ in range(random.choice([1, 2, 2, 3, 4])):
        name = random.choice(NAMES)
        if name.lower() in folded:
            continue
        folded.add(name.lower())
        table = _table(
            random,
            name,
            [one for one in tables if one.key in {"integer", "autoincrement"} and one.rows and one.shape != "unlogged"],
        )
        if mode == "create":
            table = Table(table.name, table.key, table.columns, table.rows, table.parent)
        if (
            random.random() < 0.06
            and table.rows
            and any(KINDS[c.kind].odd for c in table.columns[bool(table.parent) :])
        ):
            table, column = _with_odd_value(random, table)
            odd.append((table.name, column))
        tables.append(table)
    return tuple(tables), tuple(odd)


def _table(random: Random, name: str, parents: list[Table]) -> Table:
    key = random.choice(KEYS)
    parent = random.choice(parents) if parents and random.random() < 0.4 else None
    columns = [Column("parent", "bigint")] if parent else []
    names = random.sample(COLUMN_NAMES, random.randint(1, 5))
    for one in names:
        kind = random.choice(list(KINDS))
        columns.append(Column(one, kind, random.random() < 0.7, kind in {"uuid", "bigint"} and random.random() < 0.2))
    shape = random.choice(SHAPES)
    if shape in {"identity", "serial"} and key not in {"integer", "autoincrement"}:
        shape = "plain"
    if shape in {"hash", "range", "partition trigger"} and (key == "text" or any(c.unique for c in columns)):
        shape = "plain"
    count = random.choice([0, 1, 3, 20, 20, 120])
    rows = []
    used: set[tuple[int, Stored]] = set()
    for number in random.sample(range(1, 5000), count):
        row: list[Stored] = [f"k{number}" if key == "text" else number]
        for at, column in enumerate(columns):
            if column.name == "parent" and parent:
                value: Stored = random.choice(parent.rows)[0] if random.random() < 0.8 else None
            elif column.nullable and random.random() < 0.15:
                value = None
            else:
                value = KINDS[column.kind].plain(random)
            if column.unique and value is not None:
                while (at, value) in used:
                    value = number * 1000 if column.kind == "bigint" else KINDS[column.kind].plain(random)
                used.add((at, value))
            row.append(value)
        rows.append(tuple(row))
    return Table(name, key, tuple(columns), tuple(rows), parent.name if parent else None, shape)


def _with_odd_value(random: Random, table: Table) -> tuple[Table, str]:
    at = random.randrange(bool(table.parent), len(table.columns))
    column = table.columns[at]
    which = random.randrange(len(table.rows))
    value = random.choice(KINDS[column.kind].odd)
    rows = [
        (*row[: at + 1], value, *row[at + 2 :]) if number == which else row for number, row in enumerate(table.rows)
    ]
    return Table(table.name, table.key, table.columns, tuple(rows), table.parent, table.shape), column.name


def _excluded(random: Random, tables: tuple[Table, ...]) -> tuple[str, ...]:
    """Choose a table that nothing refers to, and whose name is no pattern and no table with a column."""
    parents = {table.parent for table in tables}
    names = [t.name for t in tables if t.name not in parents and set(t.name) <= set(string.ascii_letters + "_ ")]
    if not names or random.random() < 0.8:
        return ()
    chosen = random.choice(names)
    return tuple(table.name for table in tables if table.name.lower() == chosen.lower())


def _broken(random: Random, tables: tuple[Table, ...], mode: str) -> tuple[str, str] | None:
    if mode != "existing":
        return None
    kind, table = random.choice(FAULTS), random.choice(tables)
    if kind == "no partition" and table.shape != "range":
        return None
    if kind in {"no table", "check"} and any(one.parent == table.name for one in tables):
        return None  # there would be no key to refer to
    return kind, table.name


def _flags(random: Random, excluded: Iterable[str]) -> tuple[str, ...]:
    flags = [f"--jobs={random.choice([1, 2, 3])}"]
    if random.random() < 0.4:
        flags.append(f"--chunk-bytes={random.choice([1, 100, 2000])}")
    if random.random() < 0.2:
        flags.append("--batch-bytes=65536")
    if random.random() < 0.15:
        flags.append("--in-turn")
    if random.random() < 0.1:
        flags.append("--mask-values")
    return (*flags, *(f"--exclude={name}" for name in excluded))


def _with_obstacles(situation: Situation, *, snapshot: bool) -> Situation:
    found = [
        Obstacle(f"the value of {table}.{column}", frozenset({0, 3}))
        for table, column in situation.odd
        if table not in situation.excluded
    ]
    if not situation.carried:
        found.append(Obstacle("nothing is left to carry", frozenset({2, 3})))
    if situation.journal == "hot" and not snapshot:
        found.append(Obstacle("a hot journal", frozenset({3})))
    carried = {table.name: table for table in situation.carried}
    if situation.broken and situation.broken[1] in carried:
        kind, table = situation.broken[0], carried[situation.broken[1]]
        codes = {
            "rows": {4},
            "no table": {4},
            "no column": {4},
            "column too many": {4} if table.rows else {0, 4},
            "check": {3, 4} if table.rows else {0, 3, 4},
            "no partition": {3, 4} if table.rows else {0},
            "not null": {3} if any(row[-1] is None for row in table.rows) else {0},
        }[kind]
        found.append(Obstacle(f"{kind}: {table.name}", frozenset(codes)))
    if "default_transaction_read_only = on" in situation.role_settings:
        found.append(Obstacle("a role that may only read", frozenset({0, 2, 4})))
    found += [
        Obstacle(f"{table.name} has an heir with rows", frozenset({0, 4}))
        for table in situation.carried
        if table.shape == "inherited"
    ]
    return Situation(**{name: getattr(situation, name) for name in Situation.__slots__} | {"obstacles": tuple(found)})
