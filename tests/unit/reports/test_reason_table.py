"""The table of a refusal: 80 columns are enough, wide signs count twice, and nothing is cut off."""

from io import StringIO

from rich.cells import cell_len
from rich.console import Console

from migrator.errors import NoMatch, RowsInTheWay, ValuesRefused, in_one
from migrator.events import Event
from migrator.reports.console.refusal import render_refusal
from migrator.reports.refusal import Refusal, facts_of, log_facts_of
from migrator.runtime.log_lines import INDENT
from migrator.runtime.reason import Reason
from migrator.runtime.settlement import RuleSection, Settlement
from migrator.runtime.wording import wrapped

VALUES = ValuesRefused(
    "2 columns hold values: …", next_step="Decide.", findings=[{"column": "größe"}, {"column": "age"}]
)
VALUES.told_as(
    "2 columns hold values that PostgreSQL would refuse or change: 用户.größe, users.age",
    [
        Reason("用户.größe", "is longer than character varying(3)", 1234567, example="id = 1: '中文中文中文中文中文'"),
        Reason("users.age", "is not stored as INTEGER [red]", 1, at_least=True, remedy='null = ["n/a"]'),
    ],
)
VALUES.settled_with(Settlement(sections=(RuleSection('[columns."users.age"]', 'null = ["n/a"]'),)))
ROWS = RowsInTheWay("public.users (1 row: 1 only there)", next_step="Add --on-existing-rows=users:replace.")


def shown(refusal: Refusal, width: int = 80) -> list[str]:
    """Return the lines that a refusal prints on a console of this width."""
    text = StringIO()
    render_refusal(refusal, Console(file=text, width=width, color_system=None))
    return text.getvalue().splitlines()


def test_eighty_columns_are_enough() -> None:
    """Each line fits, every word is there, and the last line says what to do."""
    lines = shown(Refusal(VALUES))
    assert all(cell_len(line.rstrip()) <= 80 for line in lines[: lines.index("")])
    assert lines[0].split() == ["where", "rows", "why", "example", "rule"]
    together = "".join(lines).replace(" ", "")
    for words in ("用户.größe", "1,234,567", "≥1", "[red]", 'null=["n/a"]'):
        assert words in together
    assert together.count("中") == 5, "what is too wide goes on in the next line"
    assert lines[-2].startswith("To do: Read these lines")


def test_columns_without_content_are_left_out() -> None:
    """A missing table has neither rows nor an example."""
    missing = NoMatch("no match", next_step="Upgrade.").told_as("no match", [Reason("t", "there is no such table")])
    lines = shown(Refusal(missing))
    assert lines[0].split() == ["where", "why"]
    assert lines[-1] == "To do: Upgrade."


def test_the_last_line_of_the_log_does_not_repeat_the_findings() -> None:
    """The report keeps them; what has no reason of its own becomes one in an error that says several things."""
    both = in_one((VALUES, ROWS))
    assert both is not None
    assert [reason.where for reason in both.reasons] == ["用户.größe", "users.age", ""]
    assert len(facts_of(both)["findings"]) == 2
    logged = log_facts_of(both)
    assert "findings" not in logged
    assert logged["reasons"] == 3
    assert logged["message"] == f"{VALUES.headline}; {ROWS}"
    assert log_facts_of(ROWS) == facts_of(ROWS)


def test_lines_of_the_log_end_at_the_width() -> None:
    """They are broken between words, and colours don't count."""
    line = wrapped("\x1b[31mERROR\x1b[0m " + "中文 " * 30 + "end", 80, INDENT)
    assert all(cell_len(part.replace("\x1b[31m", "").replace("\x1b[0m", "")) <= 80 for part in line.splitlines())
    assert line.splitlines()[1].startswith(INDENT + "中文")
    assert wrapped("short", 80, INDENT) == "short"
    assert Event.REFUSAL_REASON.meaning
