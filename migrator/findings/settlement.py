"""
Chooses, for each finding that refuses, the line that settles it, so that all lines can be pasted together.

The first line that settles all values of the finding is chosen: ``remedies`` has tried it, and has the most likely line
first. The others stay beside it as comments. What they mean for the application, only the operator knows.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from migrator.findings.finding import Finding
from migrator.findings.remedies import FOR_SOME
from migrator.names import pattern
from migrator.runtime.settlement import RuleSection, Settlement


def settlement_of(findings: Iterable[Finding]) -> Settlement:
    """Return the lines for all findings that refuse. A finding that no line settles has its remedy as a comment."""
    return Settlement(sections=tuple(_sections(finding for finding in findings if finding.refuses)))


def _sections(findings: Iterable[Finding]) -> Iterator[RuleSection]:
    for finding in findings:
        chosen = chosen_line(finding)
        others = tuple(line for line in finding.settled_by.splitlines() if line != chosen)
        yield RuleSection(section_of(finding.table, finding.column), chosen, others)


def chosen_line(finding: Finding) -> str:
    """Return the line that settles all values of a finding; empty if no line does."""
    lines = finding.settled_by.splitlines()
    return next((line for line in lines if not (line.startswith("none: ") or FOR_SOME in line)), "")


DROPS: Final = 'orphans = "drop"'
"""The line, without its comment, that leaves orphans behind."""


def section_of(table: str, column: str) -> str:
    """Return the first line of the section about a column of the source."""
    return f"[columns.{json.dumps(f'{pattern(table)}.{pattern(column)}', ensure_ascii=False)}]"
