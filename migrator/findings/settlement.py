"""
Chooses, for each finding that refuses, the line that settles it, so that all lines can be pasted together.

The lines that settle all values of the finding together are chosen, or else the first line that does so by itself:
``remedies`` has tried them, and has the most likely line first. The others stay beside it as comments. What they mean
for the application, only the operator knows.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from migrator.findings.finding import Finding
from migrator.findings.remedies import FOR_SOME, TOGETHER
from migrator.names import pattern
from migrator.runtime.reason import Reason
from migrator.runtime.settlement import NO_LINE, RuleSection, Settlement
from migrator.runtime.wording import printable


def settlement_of(findings: Iterable[Finding]) -> Settlement:
    """Return the lines for all findings that refuse. A finding that no line settles has its remedy as a comment."""
    return Settlement(sections=tuple(_sections(finding for finding in findings if finding.refuses)))


def _sections(findings: Iterable[Finding]) -> Iterator[RuleSection]:
    for finding in findings:
        chosen = chosen_lines(finding)
        others = tuple(line for line in finding.settled_by.splitlines() if line not in chosen)
        section = section_of(finding.table, finding.column)
        yield RuleSection(section, "\n".join(chosen), others, about=printable(finding.line()))


def chosen_lines(finding: Finding) -> list[str]:
    """Return the line that settles all values of a finding, or the lines that do so together; empty if none do."""
    lines = [
        line for line in finding.settled_by.splitlines() if not (line.startswith(NO_LINE) or line.endswith(FOR_SOME))
    ]
    return [line for line in lines if line.endswith(TOGETHER)] if lines and lines[0].endswith(TOGETHER) else lines[:1]


def reason_of(finding: Finding) -> Reason:
    """Return a finding as a row of the table of a refusal."""
    first = next(iter(finding.examples), None)
    return Reason(
        f"{finding.table}.{finding.column}",
        finding.reason,
        finding.rows,
        finding.at_least,
        f"{first.key}: {first.value}" if first else "",
        "; ".join(_short(line) for line in chosen_lines(finding)),
        is_logged=True,
    )


def _short(line: str) -> str:
    """Return a line without its comment; an expression is too long for a table, and stands below it."""
    rule = line.partition("  # ")[0]
    return rule if len(rule) <= _LONGEST_SHOWN else f"{rule.partition(' = ')[0]} = …"


_LONGEST_SHOWN: Final = 60


DROPS: Final = 'orphans = "drop"'
"""The line, without its comment, that leaves orphans behind."""


def section_of(table: str, column: str) -> str:
    """Return the first line of the section about a column of the source."""
    return f"[columns.{json.dumps(f'{pattern(table)}.{pattern(column)}', ensure_ascii=False)}]"
