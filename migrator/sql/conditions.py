"""Checks that a text is one condition or one query in SQLite's SQL, with the same answer whenever it is asked."""

from collections.abc import Iterator, Sequence

from migrator.sql.lexing import Kind, Token, Unreadable, fold, tokens

_CHANCE = frozenset({"random", "randomblob", "changes", "total_changes", "last_insert_rowid"})
"""Functions that may give another value at each call (SQLite, "Built-In Scalar SQL Functions")."""

_CLOCKS = frozenset({"date", "time", "datetime", "julianday", "unixepoch", "strftime"})
"""Functions that read the clock if their arguments say so (SQLite, "Date And Time Functions", 2)."""

_NOW = frozenset({"current_date", "current_time", "current_timestamp"})

_HERE = {
    "now": "reads the clock",
    "localtime": "depends on the time zone of this machine",
    "utc": "depends on the time zone of this machine",
}

_FRACTIONS = frozenset({"subsec", "subsecond"})
"""Modifiers which, as the first argument, mean the present moment."""


def check_condition(sql: str) -> None:
    """Raise Unreadable, with the reason, if ``sql`` is no single condition, or if its answer may change with time."""
    _check(sql, "a condition is one expression, without a statement after it", "a later run would carry other rows")


def check_query(sql: str) -> None:
    """Raise Unreadable, with the reason, if ``sql`` is no single query, or if its answer may change with time."""
    _check(sql, "it has to be one SELECT, without a statement after it", "a later run would get another value")


def _check(sql: str, form: str, consequence: str) -> None:
    words = tokens(sql)
    if not words:
        raise Unreadable("it is empty")
    depth = 0
    for token in words:
        if token.is_operator(";"):
            raise Unreadable(f"it has a semicolon: {form}")
        depth += token.is_operator("(") - token.is_operator(")")
        if depth < 0:
            raise Unreadable("a parenthesis is closed that was not opened")
    if depth:
        raise Unreadable("a parenthesis is not closed")
    for token in words:
        if token.kind is Kind.WORD and fold(token.text) in _NOW:
            raise Unreadable(f"{token.text} reads the clock, and {consequence}")
    for name, arguments in _calls(words):
        if reason := _unsteady(name, arguments):
            raise Unreadable(f"{name}() {reason}, and {consequence}")


def _calls(words: Sequence[Token]) -> Iterator[tuple[str, list[list[Token]]]]:
    """Yield the name of each called function, and the tokens of each of its arguments."""
    for at, token in enumerate(words[:-1]):
        if token.kind not in {Kind.WORD, Kind.NAME} or not words[at + 1].is_operator("("):
            continue
        arguments: list[list[Token]] = [[]]
        depth = 0
        for inner in words[at + 1 :]:
            depth += inner.is_operator("(") - inner.is_operator(")")
            if depth == 0:
                break
            if depth == 1 and inner.is_operator(","):
                arguments.append([])
            elif not (depth == 1 and inner.is_operator("(") and not arguments[-1] and len(arguments) == 1):
                arguments[-1].append(inner)
        yield fold(token.value), [argument for argument in arguments if argument]


def _unsteady(name: str, arguments: Sequence[Sequence[Token]]) -> str:
    """Return why the function may give another value later; empty if it doesn't."""
    if name in _CHANCE:
        return "gives another value at each call"
    if name not in _CLOCKS:
        return ""
    times = arguments[1:] if name == "strftime" else arguments
    if not times or any(fold(token.value) in _FRACTIONS for token in times[0]):
        return "reads the clock"
    # In double quotes, SQLite takes a word for text if no column has that name.
    said = [fold(token.value).strip() for argument in times for token in argument if _is_text(token)]
    return next((_HERE[word] for word in said if word in _HERE), "")


def _is_text(token: Token) -> bool:
    return token.kind is Kind.STRING or token.is_double_quoted
