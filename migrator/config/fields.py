"""
Describes an option's properties beyond a pydantic field: its group, flags, variables, and whether a file may hold it.

``options.py`` defines the options with this module. Flags, secret files, help and docs are made from the definitions.
"""

from enum import StrEnum
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict
from pydantic import AliasChoices, Field
from pydantic.fields import FieldInfo

PREFIX: Final = "MIGRATOR_"


class Group(StrEnum):
    """The headings of the options in help and manual."""

    SOURCE = "Source"
    CHECK = "Check"
    TARGET = "Target"
    SCHEMA = "Schema"
    EXISTING = "Existing rows"
    SPEED = "Speed"
    DEMO = "Demo"
    TIMEOUTS = "Timeouts and retries"
    RERUN = "Rerun"
    REFRESH = "Refresh"
    CUT_OVER = "Cut-over"
    CONFIRMATION = "Confirmation"
    STATUS = "Status"
    ROLLBACK = "Rollback"
    NEW_FILE = "New file"
    OUTPUT = "Output"


class OptionInfo(Struct, frozen=True):
    """
    The properties of an option beyond a pydantic field.

    ``flags`` are further spellings on the command line. ``in_file`` allows a secret file to hold the value. ``no_flag``
    means that the option has no flag. ``shown_default`` describes a default that is computed.
    """

    group: Group
    flags: tuple[str, ...] = ()
    in_file: bool = False
    no_flag: bool = False
    shown_default: str | None = None


def option(
    default: Any,  # noqa: ANN401 - what pydantic accepts
    description: str,
    info: OptionInfo,
    *variables: str,
    **limits: Any,  # noqa: ANN401 - passed to pydantic
) -> Any:  # noqa: ANN401 - fits a field of any type, as pydantic's own Field does
    """
    Make the pydantic field of an option.

    ``variables`` replace the environment variable with the prefix; the first is the documented variable. ``limits`` are
    further arguments of pydantic's ``Field``.
    """
    details: dict[str, Any] = {"description": description, "json_schema_extra": asdict(info), **limits}
    if variables:
        details["validation_alias"] = AliasChoices(*variables)
    details["default_factory" if callable(default) else "default"] = default
    return Field(**details)


def option_info(field: FieldInfo) -> OptionInfo:
    """Return the properties that ``option`` has stored in a field."""
    stored: Any = field.json_schema_extra
    return OptionInfo(**stored)


def variables_of(name: str, field: FieldInfo) -> tuple[str, ...]:
    """Return the environment variables of a field. The documented variable comes first."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (f"{PREFIX}{name}".upper(),)


def flag_of(name: str) -> str:
    """Return the flag of a field: its name in kebab-case."""
    return "--" + name.replace("_", "-")
