"""Errors that are told together."""

from migrator.errors import RowsInTheWay, ValuesRefused, in_one


def test_several_errors_are_told_in_one() -> None:
    """The first decides the exit code; messages, next steps and facts of all are there."""
    values = ValuesRefused("a value", next_step="Correct it.", findings=[1])
    rows = RowsInTheWay("a row", next_step="Add a flag.", tables={"t": 1})
    assert in_one([None, None]) is None
    assert in_one([None, rows]) is rows
    both = in_one([values, None, rows])
    assert isinstance(both, ValuesRefused)
    assert (str(both), both.next_step) == ("a value; a row", "Correct it. Add a flag.")
    assert both.facts == {"findings": [1], "tables": {"t": 1}}
