"""Defines a line of a rule, as an operator pastes it into ``migrator.toml``."""

import json

from msgspec import Struct

from migrator.planning.plan import ColumnPlan
from migrator.planning.rules import Stored


class RuleLine(Struct, frozen=True):
    """One line of a rule. docs/reference/types.md describes the rules."""

    name: str
    value: str | bool | list[Stored]
    """The value of the setting; in an expression, the word COLUMN stands for the value that the source has."""
    when: str = ""
    """A comment: the case in which the line is right, or the effect of the line."""

    def spelled(self, column: ColumnPlan) -> str | bool | list[Stored]:
        """Return the value of the setting for a column of the source."""
        if self.name != "expression" or not isinstance(self.value, str):
            return self.value
        expression = column.rule.expression
        return self.value.replace("COLUMN", column.source.quoted if expression is None else f"({expression})")

    def line(self, column: ColumnPlan) -> str:
        """Return the line in the syntax of ``migrator.toml`` for a column of the source."""
        value = self.spelled(column)
        is_literal = isinstance(value, str) and '"' in value and "'" not in value and value.isprintable()
        spelled = f"'{value}'" if is_literal else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        return f"{self.name} = {spelled}" + (f"  # {self.when}" if self.when else "")
