"""Remedies: every problem has one or is known to have none, and a proposed line works as it is when it is pasted."""

import ast
import tomllib
from pathlib import Path

import pytest
from msgspec.structs import replace

from migrator.findings.remedies import NO_RULE, WITHOUT_REMEDY, Case, remedy
from migrator.findings.sample import Sample, SampleRow
from migrator.planning.plan import ColumnPlan
from migrator.planning.rewrites import check_meaning
from migrator.planning.rules import ColumnRule
from migrator.source.scan import StorageClass
from migrator.source.schema import SourceColumn
from migrator.target.schema import CopyFormat, TargetColumn
from migrator.types import Problem, ProblemCode, family_of

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


def case(code: ProblemCode, plan: ColumnPlan) -> Case:
    """Return a problem with a sample of two rows: a word, and empty text."""
    rows = tuple(
        SampleRow(str(key), str(key), StorageClass.TEXT, len(head), head) for key, head in enumerate((b"n", b""))
    )
    return Case(Problem(code, "is wrong"), plan, Sample(rows, '"id"', '"id"', complete=True))


def test_codes_without_a_rule_have_words() -> None:
    """They are no rule, and say so."""
    assert all(text.startswith("none: ") for text in NO_RULE.values())
    assert set(NO_RULE) & WITHOUT_REMEDY == set()


@pytest.mark.parametrize("code", sorted(set(ProblemCode) - set(NO_RULE)))
def test_every_line_of_a_remedy_works_when_it_is_pasted(code: ProblemCode) -> None:
    """It is TOML, a rule that there is, and one with a meaning for the type; scenarios/next_steps tries the values."""
    for plan in (column(type_name, source_name) for type_name in TYPES for source_name in SOURCE_NAMES):
        for settles in (None, lambda _plan, _where: True):
            lines = remedy(case(code, plan), settles).splitlines()
            assert lines
            for line in lines:
                rule = ColumnRule.model_validate(tomllib.loads(line))
                assert len(rule.model_fields_set) == 1
                check_meaning(rule, "t.v", plan.target)
                assert rule.expression is None or plan.source.quoted in rule.expression


def test_a_rule_that_is_set_already_is_not_proposed() -> None:
    """What a unit leaves over isn't answered with another unit, which would be wrong for the other values."""
    plan = replace(column("timestamp"), rule=ColumnRule(epoch="s"))
    offered = remedy(case(ProblemCode.WRONG_STORAGE_CLASS, plan), lambda _plan, _where: True)
    assert "epoch" not in offered
    assert "julian" not in offered


def test_a_line_that_settles_nothing_is_not_offered() -> None:
    """Then the remedy is in words."""
    offered = remedy(case(ProblemCode.WRONG_STORAGE_CLASS, column("int8")), lambda _plan, _where: False)
    assert offered.startswith("none: correct the values in the source")


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
