"""Remedies: every problem has one or is known to have none, and a proposed line works as it is when it is pasted."""

import ast
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from migrator.findings.remedies import NO_RULE, RULES, RULES_BY_TYPE, WITHOUT_REMEDY, remedy
from migrator.planning.plan import ColumnPlan
from migrator.planning.rewrites import check_meaning
from migrator.planning.rules import ColumnRule
from migrator.source.schema import SourceColumn
from migrator.target.schema import CopyFormat, TargetColumn
from migrator.types import ProblemCode, family_of

PACKAGE = Path(__file__).parents[3] / "migrator"

TYPES = (
    "bool",
    "int2",
    "int8",
    "float8",
    "numeric",
    "text",
    "varchar",
    "bpchar",
    "name",
    "bytea",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "uuid",
    "jsonb",
    "interval",
    "inet",
    "_text",
)

SOURCE_NAMES = ("v", "order", 'it\'s "odd" \\')
NUMERIC_9_2 = (9 << 16 | 2) + 4
"""The modifier of numeric(9,2)."""


def column(type_name: str, source_name: str = "v") -> ColumnPlan:
    """Return the plan of a column of this type."""
    target = TargetColumn(
        "v", type_name, type_name, not_null=False, has_default=False, identity="", generated=False, modifier=NUMERIC_9_2
    )
    source = SourceColumn(source_name, "", not_null=False, key_position=0, generated=False)
    return ColumnPlan(source, target, family_of(target), CopyFormat.BINARY)


def test_every_code_has_a_remedy_or_is_known_to_have_none() -> None:
    """Each code is in exactly one of the three tables; what depends on the type is in the general one too."""
    tables = (set(RULES), set(NO_RULE), set(WITHOUT_REMEDY))
    assert set().union(*tables) == set(ProblemCode)
    assert sum(map(len, tables)) == len(ProblemCode)
    assert {code for code, _ in RULES_BY_TYPE} <= set(RULES)
    assert all(text.startswith("none: ") for text in NO_RULE.values())


@pytest.mark.parametrize("code", sorted(RULES))
def test_every_line_of_a_remedy_works_when_it_is_pasted(code: ProblemCode) -> None:
    """It is TOML, a rule that there is, one with a meaning for the type, and of SQL that names the column."""
    for plan in (column(type_name, source_name) for type_name in TYPES for source_name in SOURCE_NAMES):
        lines = remedy(code, plan).splitlines()
        assert lines
        for line in lines:
            rule = ColumnRule.model_validate(tomllib.loads(line))
            assert len(rule.model_fields_set) == 1
            check_meaning(rule, "t.v", plan.target)
            assert rule.expression is None or plan.source.quoted in rule.expression


def test_a_rule_that_is_set_already_is_not_proposed() -> None:
    """What a unit leaves over isn't answered with a unit."""
    plan = replace(column("timestamp"), rule=ColumnRule(epoch="s"))
    assert "none of the kind that is set" in remedy(ProblemCode.WRONG_STORAGE_CLASS, plan)


@pytest.mark.parametrize("package", ["findings", "preflight", "trials", "types"])
def test_no_sentence_is_read_back(package: str) -> None:
    """Programs go by codes and facts: no pattern is held against a reason, and no error's text is searched."""
    found = []
    for path in sorted((PACKAGE / package).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and any(isinstance(one, ast.In | ast.NotIn) for one in node.ops):
                searched = [ast.unparse(one) for one in node.comparators]
                found += [(path.name, text) for text in searched if text.startswith("str(")]
            is_import = isinstance(node, ast.ImportFrom) and node.module == "fnmatch"
            if is_import and path.name != "untried.py":  # the operator's own patterns, over names
                found.append((path.name, "fnmatch"))
    assert found == []
