"""Says what each rule does, for the comments of a rules file."""

from collections.abc import Mapping
from typing import Final

COLUMN_RULES: Final[Mapping[str, str]] = {
    "expression": "SQL of SQLite, which makes the value that is carried of the value that is stored",
    "null": "these values become NULL",
    "empty_as_null": "empty text becomes NULL",
    "true": "these values become true",
    "false": "these values become false",
    "epoch": "numbers count this unit (s, ms, us, ns) since 1970 and become moments",
    "julian": "numbers are Julian days and become moments",
    "interval_unit": "numbers count this unit (ns, us, ms, s, min, h, d) and become intervals",
    "go_time": "moments as Go prints them are read",
    "timezone": "moments without an offset are local times of this zone",
    "nul_bytes": '"strip" takes NUL characters out of the text',
    "invalid_utf8": 'bytes that are no UTF-8 are read as "latin-1", or "replace" puts U+FFFD in their place',
    "orphans": 'rows that refer to no row stay behind with "drop", and come without the reference with "null"',
    "duplicate_keys": '"last" keeps the last of equal keys in a JSON object',
    "truncate": "what is too long or too fine is cut off",
    "round": "digits that the target's type doesn't have are rounded",
    "sequence": "this sequence of the target gives the column its values, and is set",
    "type": "the column has this type in the table that the job makes",
    "rename": "the target has the column under this name",
    "exclude": "the column is left behind, with all its values",
}
"""What each rule of a column does. A test compares it with ``planning.rules``."""

TABLE_RULES: Final[Mapping[str, str]] = {
    "rename": "the target has the table under this name",
    "exclude": "the table is left behind, with all its rows",
    "on_existing_rows": (
        'rows that the target holds already give way to the source\'s with "replace" and are kept in '
        'the schema migrator; with "keep", rows whose key the source doesn\'t have stay'
    ),
    "where": "only the rows that meet this condition are carried",
}
"""What each rule of a table does."""

OTHER_RULES: Final[Mapping[str, Mapping[str, str]]] = {
    "types": {"type": "columns of this declared type have this type in tables that the job makes"},
    "sequences": {"at_least": "SQL of SQLite, which says what the sequence has given at least"},
    "": {"names": "names of the source become names of the target in this style"},
}
"""What the rules of the other sections do, and those before the first section."""


def words_of(kind: str, rule: str) -> str:
    """Return what a rule does; ``kind`` is the section's first name (``columns``), empty before the first section."""
    known = {"columns": COLUMN_RULES, "tables": TABLE_RULES, **OTHER_RULES}
    return known.get(kind, {}).get(rule, "")
