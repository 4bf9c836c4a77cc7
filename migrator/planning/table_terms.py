"""Computes the terms of a source table, which the ledger keeps: the table's columns, and the rules for them."""

from collections.abc import Mapping

from migrator.ledger.carried import Terms
from migrator.planning.rules import Rules
from migrator.source.schema import SourceTable


def terms_of(table: SourceTable, rules: Rules) -> Terms:
    """Return the terms that a table has now under these ``rules``."""
    return _terms(table.name, {column.name: column.declared_type for column in table.columns}, rules)


def terms_under(terms: Terms, rules: Rules) -> Terms:
    """Return the terms that the columns of ``terms`` have under other ``rules``."""
    return _terms(terms.source, terms.columns, rules)


def _terms(source: str, columns: Mapping[str, str], rules: Rules) -> Terms:
    # The field ``type`` of a rule only matters when the table is created, and the table exists by now. The field
    # ``sequence`` changes no value.
    by_column = {
        name: rules.of_column(source, name).model_dump(mode="json", exclude_defaults=True, exclude={"type", "sequence"})
        | _renamed(name, rules.of_column(source, name).rename, rules)
        for name in columns
    }
    set_rules = {name: rule for name, rule in by_column.items() if rule}
    rename = _renamed(source, rules.of_table(source).rename, rules).get("rename")
    return Terms(source, columns, set_rules, rename, rules.of_table(source).where, rules.names.style)


def _renamed(name: str, rename: str | None, rules: Rules) -> dict[str, str]:
    """Return the field ``rename`` of a rule for a name that the rule or the naming style changes."""
    renamed = rules.names.name(name) if rename is None else rename
    return {} if rename is None and renamed == name else {"rename": renamed}
