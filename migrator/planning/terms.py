"""The terms that the operator's rules give a table of the source."""

from collections.abc import Mapping

from migrator.ledger.carried import Terms
from migrator.planning.rules import Rules
from migrator.source.schema import SourceTable


def terms_of(table: SourceTable, rules: Rules) -> Terms:
    """Return the terms of a table as it is now, under these rules."""
    return _terms(table.name, {column.name: column.declared_type for column in table.columns}, rules)


def terms_under(terms: Terms, rules: Rules) -> Terms:
    """Return the terms that the same columns would have under other rules."""
    return _terms(terms.source, terms.columns, rules)


def _terms(source: str, columns: Mapping[str, str], rules: Rules) -> Terms:
    # A type that a rule names is for tables that the job makes; they are made by now.
    dumped = {
        name: rules.of_column(source, name).model_dump(mode="json", exclude_defaults=True, exclude={"type"})
        for name in columns
    }
    decided = {name: rule for name, rule in dumped.items() if rule}
    return Terms(source, columns, decided, rules.of_table(source).rename)
