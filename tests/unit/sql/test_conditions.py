"""A condition is one expression, and gives the same answer whenever it is asked."""

import pytest

from migrator.sql.conditions import check_condition
from migrator.sql.lexing import Unreadable


@pytest.mark.parametrize(
    "sql",
    [
        "deleted = 0",
        "name <> ')' AND \"a;b\" IS NULL -- ; )",
        "created >= date('2024-01-01', '+1 month')",
        "strftime('%Y', created) = '2024'",
        "word = 'now'",
        "id IN (SELECT user_id FROM orders WHERE total > 5)",
        "(a, b) = (1, 2)",
        "datetime(created, 'subsec') > '2024'",
    ],
)
def test_a_steady_condition(sql: str) -> None:
    """Words in text, names and comments are no syntax; a moment that is given is no clock."""
    check_condition(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "-- nothing",
        "a = 1; DELETE FROM t",
        "a = 1) OR (1",
        "(a = 1",
        "a = :b",
        "random() > 0",
        'RANDOM () > 0 AND "a"',
        "hex(randomblob(4)) > '8'",
        "a < datetime('now')",
        "a < datetime ( 'NOW', '-1 day')",
        "a < date()",
        "a < strftime('%s')",
        "a < strftime('%s', 'now')",
        "a < unixepoch('subsec')",
        "a < current_date",
        "a < date(b, 'localtime')",
        'a < date("now")',
        "a < (SELECT max(date('now')) FROM t)",
        "a < date(coalesce(b, 'now'))",
        "last_insert_rowid() > 0",
    ],
)
def test_what_is_refused(sql: str) -> None:
    """Several statements, halves of an expression, chance and clocks."""
    with pytest.raises(Unreadable):
        check_condition(sql)
