"""
Decides which tables are the storage of a virtual table, and which virtual tables hold rows of their own.

SQLite recognises a shadow table by its name alone (``PRAGMA table_list``). So it also counts a table of the
application: ``posts_content``, to which a full-text index ``posts`` refers. The virtual table's module and the module's
arguments decide which tables really are storage.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, field

_TOKEN = re.compile(
    r"""\s+|--[^\n]*|/\*.*?(?:\*/|$)"""
    r"""|(?P<quoted>"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^\]]*\])"""
    r"""|(?P<word>[\w$\x80-\U0010ffff]+)|(?P<sign>.)""",
    re.DOTALL,
)

_NO_ROWS = frozenset({"fts4aux", "fts3tokenize", "fts5vocab", "dbstat", "sqlite_dbpage", "unionvtab", "swarmvtab"})
"""Modules whose virtual tables only show values that are stored elsewhere."""


class VirtualTable(Struct, frozen=True):
    """A virtual table, as its definition describes it."""

    name: str
    module: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Arguments of the form ``name = value``, without quotes."""
    columns: tuple[str, ...] = ()
    """The first word of each other argument, which is a column's name."""

    @property
    def storage(self) -> frozenset[str]:
        """The names, in small letters, of the tables in which the module keeps the virtual table's rows."""
        return frozenset(f"{self.name}_{part}".casefold() for part in self._parts())

    @property
    def content(self) -> str | None:
        """The table with one row for each of the virtual table's own rows; None if it has no own rows or is unknown."""
        match self.module:
            case "fts3":
                return f"{self.name}_content"
            case "fts4" | "fts5" if "content" not in self.options or self._keeps_some:
                return f"{self.name}_content"
            case "rtree" | "rtree_i32" | "geopoly":
                return f"{self.name}_rowid"
            case _:
                return None

    @property
    def refers(self) -> bool:
        """Whether the virtual table has no rows of its own: it shows other tables' rows, or is an index over them."""
        return self.module in _NO_ROWS or (self.module in {"fts4", "fts5"} and self.content is None)

    @property
    def indexed(self) -> tuple[str, ...]:
        """The columns of a full-text index that stores the text of all its columns unchanged; else empty."""
        keeps_all = self.module in {"fts3", "fts4", "fts5"} and not {"content", "compress"} & self.options.keys()
        return self.columns if keeps_all else ()

    @property
    def _keeps_some(self) -> bool:
        """Whether a full-text index without a table of content stores some of its columns (SQLite, "FTS5", 4.4.4)."""
        return self.options.get("content") == "" and self.options.get("contentless_unindexed", "0") not in {"0", ""}

    def _parts(self) -> Iterator[str]:
        """
        Yield the second half of each storage table's name.

        Sources: SQLite, fts3.c ``fts3CreateTables``; fts5_storage.c ``sqlite3Fts5StorageOpen``; rtree.c
        ``rtreeSqlInit``.
        """
        match self.module:
            case "fts3" | "fts4":
                yield from ("segments", "segdir")
                if self.content:
                    yield "content"
                if self.module == "fts4":
                    yield "stat"
                    if self.options.get("matchinfo", "").casefold() != "fts3":
                        yield "docsize"
            case "fts5":
                yield from ("data", "idx", "config")
                if self.content:
                    yield "content"
                if self.options.get("columnsize", "1") != "0":
                    yield "docsize"
            case "rtree" | "rtree_i32" | "geopoly":
                yield from ("node", "parent", "rowid")
            case _:
                return


_STAT_OF_FTS3 = re.compile(r"""CREATE TABLE ['"].*_stat['"]\(id INTEGER PRIMARY KEY, value BLOB\)""", re.DOTALL)
"""The definition of the ``_stat`` table, which an fts3 table gets at its first incremental merge (SQLite, fts3.c
``sqlite3Fts3CreateStatTable``)."""


def owner_of(table: str, definition: str, virtual: Sequence[VirtualTable]) -> VirtualTable | None:
    """
    Return the virtual table that keeps its rows in ``table``; None if the table is no virtual table's storage.

    ``definition`` is the table's SQL. It decides if the table is named like the ``_stat`` table of an fts3 table.
    """
    name = table.casefold()
    for owner in virtual:
        if name in owner.storage:
            return owner
        if owner.module == "fts3" and name == f"{owner.name}_stat".casefold() and _STAT_OF_FTS3.fullmatch(definition):
            return owner
    return None


def virtual_table(name: str, definition: str) -> VirtualTable:
    """Read a definition from ``sqlite_schema``: ``CREATE VIRTUAL TABLE name USING module(argument, ...)``."""
    tokens = list(_tokens(definition))
    at = next((i for i, token in enumerate(tokens) if i > 2 and token.casefold() == "using"), len(tokens))  # noqa: PLR2004 - CREATE VIRTUAL TABLE, and a name that may be "using"
    module = _unquoted(tokens[at + 1]) if at + 1 < len(tokens) else ""
    options: dict[str, str] = {}
    columns: list[str] = []
    for argument in _arguments(tokens[at + 3 : -1]):
        if len(argument) > 1 and argument[1] == "=":
            options[_unquoted(argument[0]).casefold()] = " ".join(map(_unquoted, argument[2:]))
        elif argument and argument[0].casefold() != "tokenize":  # fts3 has `tokenize porter`, without a sign
            columns.append(_unquoted(argument[0]))
    return VirtualTable(name, module.casefold(), options, tuple(columns))


def _tokens(sql: str) -> Iterator[str]:
    return (match[0] for match in _TOKEN.finditer(sql) if match.lastgroup)


def _arguments(tokens: Sequence[str]) -> Iterator[list[str]]:
    """Yield the tokens of each argument. Commas inside parentheses don't separate arguments."""
    depth = 0
    argument: list[str] = []
    for token in tokens:
        depth += (token == "(") - (token == ")")  # noqa: S105 - no password
        if token == "," and not depth:  # noqa: S105
            yield argument
            argument = []
        else:
            argument.append(token)
    yield argument


def _unquoted(token: str) -> str:
    if token[:1] in {'"', "'", "`"}:
        return token[1:-1].replace(token[0] * 2, token[0])
    return token[1:-1] if token.startswith("[") else token
