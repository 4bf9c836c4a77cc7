"""
Describes what an option has beyond a pydantic field: its group, flags, variables, and whether a file may hold it.

``options.py`` defines the options with it. Flags, secret files, help and docs are made from it.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import AliasChoices, Field
from pydantic.fields import FieldInfo

PREFIX: Final = "MIGRATOR_"


class Group(StrEnum):
    """The headings of the options in help and manual."""

    SOURCE = "Source"
    CHECK = "Check"
    TARGET = "Target"
    SCHEMA = "Schema"
    SPEED = "Speed"
    DEMO = "Demo"
    TIMEOUTS = "Timeouts and retries"
    RERUN = "Rerun"
    STATUS = "Status"
    OUTPUT = "Output"


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """
    What an option has beyond a pydantic field.

    ``flags`` are further spellings on the command line; ``in_file`` lets the value come from a secret file;
    ``no_flag`` keeps it off the command line; ``shown_default`` describes a default that is computed.
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
    **limits: Any,  # noqa: ANN401 - handed on to pydantic
) -> Any:  # noqa: ANN401 - fits a field of any type, as pydantic's own Field does
    """Make a field. ``variables`` replace the prefixed environment variable; the first is the documented one."""
    details: dict[str, Any] = {"description": description, "json_schema_extra": asdict(info), **limits}
    if variables:
        details["validation_alias"] = AliasChoices(*variables)
    details["default_factory" if callable(default) else "default"] = default
    return Field(**details)


def option_info(field: FieldInfo) -> OptionInfo:
    """Return what ``option`` stored about a field."""
    stored: Any = field.json_schema_extra
    return OptionInfo(**stored)


def variables_of(name: str, field: FieldInfo) -> tuple[str, ...]:
    """Return the environment variables of a field, the documented one first."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (f"{PREFIX}{name}".upper(),)


def flag_of(name: str) -> str:
    """Return the flag of a field: its name in kebab-case."""
    return "--" + name.replace("_", "-")
