"""
Reads the declarations that no PRAGMA returns from a definition's text: CHECKs, conflict clauses, generated columns.

It also reads the terms of indexes. The text comes from ``sqlite_schema`` and has passed SQLite's own parser (SQLite,
"CREATE TABLE", "CREATE INDEX").
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from migrator.sql.lexing import Kind, Token, Unreadable, fold, text_of, tokens


class Clause(Struct, frozen=True):
    """One constraint or clause of a column or of the table."""

    words: str
    """The kind, in capitals: CHECK, UNIQUE, PRIMARY KEY, NOT NULL, FOREIGN KEY, GENERATED, COLLATE, DEFAULT."""
    name: str | None
    column: str | None
    """The column of a column's constraint; None for a constraint of the table."""
    inner: str
    """The text in its parentheses, or the collation's name in capitals; empty if there is neither."""
    conflict: str = ""
    """IGNORE or REPLACE if its ON CONFLICT clause has this word; else empty."""
    deferred: bool = False


class IndexText(Struct, frozen=True):
    """The terms and the condition in a CREATE INDEX."""

    terms: tuple[str, ...]
    """Each term's expression, without COLLATE and ASC or DESC."""
    where: str | None
    """The condition of a partial index; None if there is none."""


def clauses(sql: str) -> tuple[Clause, ...]:
    """Return the constraints of a CREATE TABLE. Raises Unreadable if its text isn't understood."""
    words = tokens(sql)
    start = next((at for at, word in enumerate(words) if word.is_operator("(")), None)
    if start is None:
        return ()  # every stored CREATE TABLE has parentheses, also after CREATE TABLE … AS SELECT
    body, _ = _parentheses(words, start)
    constraints: list[Clause] = []
    in_columns = True
    for part in _split(body):
        if in_columns and part[0].is_word("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"):
            in_columns = False
        if in_columns:
            constraints += _constraints(sql, part[1:], part[0].value)
        else:
            constraints += _constraints(sql, part, None)
    return tuple(constraints)


def index_text(sql: str) -> IndexText:
    """Return the terms and the condition of a CREATE INDEX. Raises Unreadable if its text isn't understood."""
    words = tokens(sql)
    on = next((at for at, word in enumerate(words) if word.is_word("ON")), None)
    if on is None:
        raise Unreadable("an index is on a table")
    start = next(at for at in range(on, len(words)) if words[at].is_operator("("))
    body, end = _parentheses(words, start)
    remaining = words[end + 1 :]
    where = text_of(sql, [word for word in remaining[1:] if not word.is_operator(";")]) if remaining else ""
    return IndexText(tuple(text_of(sql, _bare(part)) for part in _split(body)), where or None)


def _bare(term: list[Token]) -> list[Token]:
    """Return an index's term without its order and collation, which a PRAGMA returns."""
    if term[-1].is_word("ASC", "DESC"):
        term = term[:-1]
    if len(term) > 2 and term[-2].is_word("COLLATE"):  # noqa: PLR2004 - COLLATE and its name
        term = term[:-2]
    return term


def _parentheses(words: Sequence[Token], start: int) -> tuple[list[Token], int]:
    """Return the words between the parenthesis at ``start`` and its closing one, and the position of the latter."""
    depth = 0
    for at in range(start, len(words)):
        depth += words[at].is_operator("(") - words[at].is_operator(")")
        if depth == 0:
            return list(words[start + 1 : at]), at
    raise Unreadable("a parenthesis isn't closed")


def _split(words: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield the parts between commas. Commas inside parentheses don't separate parts."""
    part: list[Token] = []
    depth = 0
    for word in words:
        depth += word.is_operator("(") - word.is_operator(")")
        if word.is_operator(",") and depth == 0:
            yield part
            part = []
        else:
            part.append(word)
    if part:
        yield part


def _constraints(sql: str, words: Sequence[Token], column: str | None) -> Iterator[Clause]:
    """Yield the constraints of a column, or of the table, where the commas between constraints may be missing."""
    at, name = 0, None
    starts: list[tuple[int, str | None]] = []
    while at < len(words):
        word = words[at]
        if word.is_operator("("):
            at = _parentheses(words, at)[1] + 1
            continue
        if word.is_word("CONSTRAINT") and at + 1 < len(words):
            name = words[at + 1].value
            at += 2
            continue
        if _begins(words, at):
            starts.append((at, name))
            name = None
        at += 1
    for (start, own_name), (end, _) in pairwise([*starts, (len(words), None)]):
        yield _clause(sql, words[start:end], own_name, column)


_BEGINNINGS = ("CHECK", "UNIQUE", "PRIMARY", "NOT", "FOREIGN", "REFERENCES", "GENERATED", "AS", "DEFAULT", "COLLATE")


def _begins(words: Sequence[Token], at: int) -> bool:
    """Return whether a constraint begins at ``at``. The NOT of ``NOT DEFERRABLE`` and the AS of ``ALWAYS AS`` don't."""
    word = words[at]
    if not word.is_word(*_BEGINNINGS):
        return False
    if word.is_word("NOT"):
        return at + 1 < len(words) and words[at + 1].is_word("NULL")
    if word.is_word("AS"):
        return not (at and words[at - 1].is_word("ALWAYS"))
    if word.is_word("DEFAULT"):
        return not (at and words[at - 1].is_word("SET"))
    # FOREIGN KEY (…) REFERENCES is one constraint.
    return not (word.is_word("REFERENCES") and any(earlier.is_word("FOREIGN") for earlier in words[:at]))


def _clause(sql: str, words: Sequence[Token], name: str | None, column: str | None) -> Clause:
    first = words[0].text.upper()
    kind = {
        "PRIMARY": "PRIMARY KEY",
        "NOT": "NOT NULL",
        "FOREIGN": "FOREIGN KEY",
        "REFERENCES": "FOREIGN KEY",
        "AS": "GENERATED",
    }.get(first, first)
    start = next((at for at, word in enumerate(words) if word.is_operator("(")), None)
    inner = text_of(sql, _parentheses(words, start)[0]) if start is not None else ""
    if first == "COLLATE" and len(words) > 1:
        inner = words[1].value.upper()
    upper = [word.text.upper() if word.kind is Kind.WORD else "" for word in words]
    conflict = ""
    if "CONFLICT" in upper[:-1]:
        conflict = upper[upper.index("CONFLICT") + 1]
    deferred = ("INITIALLY", "DEFERRED") in pairwise(upper)
    negated = ("NOT", "DEFERRABLE") in pairwise(upper)
    return Clause(
        kind,
        name,
        column,
        inner,
        conflict if conflict in {"IGNORE", "REPLACE"} else "",
        deferred=deferred and not negated,
    )


def foreign_key_columns(clause: Clause) -> tuple[str, ...]:
    """Return the folded names of the columns of a foreign key."""
    if clause.column is not None:
        return (fold(clause.column),)
    return tuple(fold(word.value) for word in tokens(clause.inner) if not word.is_operator(","))
