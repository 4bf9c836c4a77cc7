"""
Defines what can be wrong with values: a code for programs, a reason in words, and a severity.

The remedies, the search for the place in a value, and the report use the code. The reason is for people: its words may
change, and nothing else depends on them.
"""

from enum import StrEnum

from msgspec import Struct


class ProblemCode(StrEnum):
    """The codes of all problems that preflight can find; the report's ``code``."""

    # Problems of a value with the type of the target's column.
    WRONG_STORAGE_CLASS = "wrong_storage_class"
    OUT_OF_RANGE = "out_of_range"
    INEXACT = "inexact"
    TOO_LONG = "too_long"
    TOO_MANY_FRACTION_DIGITS = "too_many_fraction_digits"
    NOT_BOOLEAN = "not_boolean"
    NOT_UUID = "not_uuid"
    NOT_A_LABEL = "not_a_label"
    YEAR_OUT_OF_RANGE = "year_out_of_range"
    AMBIGUOUS_LOCAL_TIME = "ambiguous_local_time"
    RELATIVE_TIME = "relative_time"
    CONTAINS_NUL = "contains_nul"
    INVALID_UTF8 = "invalid_utf8"
    INVALID_UTF16 = "invalid_utf16"
    INVALID_JSON = "invalid_json"
    JSON_TOO_DEEP = "json_too_deep"
    JSON_NUMBER_OUT_OF_RANGE = "json_number_out_of_range"
    JSON_NUL_ESCAPE = "json_nul_escape"
    JSON_LONE_SURROGATE = "json_lone_surrogate"
    DUPLICATE_JSON_KEY = "duplicate_json_key"
    MISSING_VALUE = "missing_value"

    # Problems of a row with other rows.
    DUPLICATE_KEY = "duplicate_key"
    ORPHAN = "orphan"
    STILL_REFERENCED = "still_referenced"

    # Problems that PostgreSQL itself finds in a row.
    SERVER_REJECTS_VALUE = "server_rejects_value"
    SERVER_CHANGES_VALUE = "server_changes_value"
    SERVER_REJECTS_ROW = "server_rejects_row"
    CHECK_VIOLATED = "check_violated"
    CONSTRAINT_FAILS = "constraint_fails"
    EXCLUDED_BY_OTHER_ROW = "excluded_by_other_row"
    INDEX_ENTRY_TOO_LONG = "index_entry_too_long"
    NO_PARTITION = "no_partition"
    NOT_IN_ENCODING = "not_in_encoding"
    ROW_TOO_WIDE = "row_too_wide"

    # Problems of the source, whatever the target is.
    DAMAGED_BY_AFFINITY = "damaged_by_affinity"
    DIGITS_LOST_IN_SOURCE = "digits_lost_in_source"
    CASE_INSENSITIVE_IN_SOURCE = "case_insensitive_in_source"
    DIFFERS_IN_CASE_ONLY = "differs_in_case_only"
    LOOKS_LIKE_UUID = "looks_like_uuid"
    MIXED_STORAGE_CLASSES = "mixed_storage_classes"
    MISSING_IN_PRIMARY_KEY = "missing_in_primary_key"
    UNREADABLE_COLUMN = "unreadable_column"


class Severity(StrEnum):
    """How much a problem matters."""

    ERROR = "error"
    """The values can't be carried as they are, and the job refuses them."""
    NOTICE = "notice"
    """The values are carried; the operator should know of it."""


class Problem(Struct, frozen=True):
    """Something that is wrong with values."""

    code: ProblemCode
    reason: str
    """What is wrong, in words that follow "the value"; they never contain the value."""
    condition: str = ""
    """A condition in SQLite's SQL that is true for these values; empty where the rows themselves are known."""
    severity: Severity = Severity.ERROR


class ConversionError(ValueError):
    """A value of an array can't become the target's type exactly; ``problem`` says why, without the value."""

    def __init__(self, code: ProblemCode, reason: str) -> None:
        super().__init__(reason)
        self.problem = Problem(code, reason)
