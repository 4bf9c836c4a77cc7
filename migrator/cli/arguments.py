"""
Makes the command line's flags from the options: the same names in kebab-case, with the same descriptions.

pydantic-settings can make an argparse parser too. But its help shows neither environment variables nor groups, and it
accepts secrets on the command line. Values are not checked here: the model checks values of every origin.
"""

import argparse
import shutil
import textwrap
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic import ByteSize
from pydantic.fields import FieldInfo

from migrator.config.fields import Group, flag_of, option_info, variables_of
from migrator.config.settings import Settings
from migrator.errors import ConfigurationError

WIDEST = 110


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises ConfigurationError instead of ending the process, and never quotes a value."""

    def __init__(self, prog: str, **arguments: Any) -> None:  # noqa: ANN401 - argparse's own
        """Take argparse's arguments. Flags can't be abbreviated: a new flag would make old abbreviations ambiguous."""
        arguments = {"usage": f"{prog} [flags]", **arguments}
        super().__init__(
            prog, allow_abbrev=False, argument_default=argparse.SUPPRESS, formatter_class=_Formatter, **arguments
        )

    def error(self, message: str) -> NoReturn:
        """Raise ConfigurationError."""
        raise ConfigurationError(message, next_step=f"See `{self.prog} --help` for what there is.")

    def refuse(self, unknown: Sequence[str]) -> None:
        """Raise ConfigurationError if there are unknown arguments. The message names the flag nearest to each."""
        # Behind an unknown flag, the argument without a dash may be its value. It isn't quoted: it may be a password.
        names = [argument.partition("=")[0] for argument in unknown if argument.startswith("-")]
        if names:
            self.error("; ".join(self._complaint(name) for name in dict.fromkeys(names)))
        if unknown:
            self.error(f"{self.prog} takes flags only; one argument belongs to no flag")

    def _complaint(self, name: str) -> str:
        if name in _all_flags():
            return f"{name} is a flag of other commands, and has no meaning for `{self.prog}`"
        near = get_close_matches(name, self._option_string_actions, n=1)
        return f"there is no flag {name}" + (f"; {near[0]} is near" if near else "")


def _all_flags() -> set[str]:
    """Return the flags of all commands."""
    fields = Settings.model_fields.items()
    return {flag for name, field in fields for flag in (flag_of(name), *option_info(field).flags)}


def add_settings(parser: argparse.ArgumentParser, groups: Collection[Group]) -> None:
    """Add a flag to the parser for every option of these groups."""
    fields = [(name, field, option_info(field)) for name, field in Settings.model_fields.items()]
    for group in Group:
        if group not in groups:
            continue
        in_group = [(name, field, info.no_flag) for name, field, info in fields if info.group == group]
        flagless = [f"{origin_of(name, field)}: {field.description}" for name, field, no_flag in in_group if no_flag]
        section = parser.add_argument_group(group.value, "\n".join(flagless) or None)
        for name, field, no_flag in in_group:
            if not no_flag:
                _add(section, name, field)


def default_of(field: FieldInfo) -> str:
    """Return the default as people write it, or an empty string if there is none."""
    shown_default = option_info(field).shown_default
    if shown_default is not None:
        return shown_default
    value = field.default
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value in {None, ()} else f"{value:g}" if isinstance(value, float) else str(value)


def origin_of(name: str, field: FieldInfo) -> str:
    """Return the environment variables of an option, for its help."""
    first, *others = variables_of(name, field)
    return " or ".join([first, *([f"{first}_FILE"] if option_info(field).in_file else []), *others])


def _add(section: argparse._ArgumentGroup, name: str, field: FieldInfo) -> None:
    default = default_of(field)
    origin = origin_of(name, field) + (f"; default: {default}" if default else "")
    details: dict[str, Any] = {"dest": name, "help": f"{field.description}\n[{origin}]".replace("%", "%%")}
    kinds = _kinds(field.annotation)
    if bool in kinds:
        details["action"] = argparse.BooleanOptionalAction
    else:
        details["metavar"] = _metavar(name, kinds)
        if tuple in kinds:
            details["action"] = "append"
    section.add_argument(*spellings(name, field), **details)


def spellings(name: str, field: FieldInfo) -> list[str]:
    """Return the flags of an option: a short flag first, as people write them."""
    return sorted((flag_of(name), *option_info(field).flags), key=lambda flag: flag.startswith("--"))


def plain_types(field: FieldInfo) -> list[Any]:
    """Return the types that an option's value may have, without Optional and Annotated."""
    return _kinds(field.annotation)


def choices_of(field: FieldInfo) -> list[str]:
    """Return the values of an option that has a closed list of them, or an empty list."""
    return [str(choice) for kind in plain_types(field) if get_origin(kind) is Literal for choice in get_args(kind)]


def _kinds(annotation: Any) -> list[Any]:  # noqa: ANN401 - a type or a typing form
    if get_origin(annotation) in {Union, UnionType}:
        return [kind for part in get_args(annotation) for kind in _kinds(part)]
    if hasattr(annotation, "__metadata__"):
        return _kinds(get_args(annotation)[0])
    return [tuple if get_origin(annotation) is tuple else annotation]


def _metavar(name: str, kinds: Collection[Any]) -> str:
    if name == "report":  # one file with each flag
        return "FILE"
    for kind in kinds:
        if get_origin(kind) is Literal:
            return "|".join(get_args(kind))
        words = {int: "N", float: "SECONDS", Path: "PATH", ByteSize: "SIZE", tuple: "NAMES"}
        if kind in words:
            return words[kind]
    return "URL" if name.endswith("_url") else "TEXT"


class _Formatter(argparse.HelpFormatter):
    """Wraps lines at the terminal's width, or at ``WIDEST`` columns if it is wider, and keeps line breaks."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=min(WIDEST, shutil.get_terminal_size().columns))

    def _split_lines(self, text: str, width: int) -> list[str]:
        return [part for line in text.splitlines() for part in textwrap.wrap(line, width, break_on_hyphens=False)]

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        wrapped = [
            textwrap.fill(line, width, initial_indent=indent, subsequent_indent=indent) for line in text.splitlines()
        ]
        return "\n".join(wrapped)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Return the flags with one name of the value: ``--source-url, --source URL``."""
        if not action.option_strings or action.metavar is None:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {action.metavar}"
