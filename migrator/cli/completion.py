"""Prints the script by which a shell completes commands, flags, their choices, and files."""

import argparse
import re
from pathlib import Path
from typing import Any, Final

from migrator.cli.arguments import choices_of, plain_types
from migrator.config.settings import Settings

SHELLS: Final = ("bash", "zsh", "fish")

_FOLDERS: Final = frozenset({"secrets_dir"})
_FILES: Final = frozenset({"source_url"})
"""Settings that name a file without being a path: a source may be a URL, too."""

WHERE: Final = """\
To complete commands and flags with the Tab key, for one session or for all:
  bash:  source <(migrator completion bash), or write it to
         ~/.local/share/bash-completion/completions/migrator
  zsh:   eval "$(migrator completion zsh)", or write it to a file _migrator
         in a folder of $fpath
  fish:  write it to ~/.config/fish/completions/migrator.fish"""


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script for a shell, made from the parser of all arguments, which is changed for that."""
    import shtab  # noqa: PLC0415 - only this command needs it

    for action in _actions(parser):
        action.help = _first_sentence(action.help)
        field = Settings.model_fields.get(action.dest)
        if field is None or action.nargs == 0:
            continue
        choices = choices_of(field)
        if choices:
            action.choices = choices
        elif action.dest in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined] # the way in which shtab is told
        elif action.dest in _FILES or Path in plain_types(field):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the actions of a parser and of those of its commands."""
    found: list[Any] = list(parser._actions)  # noqa: SLF001 - argparse has no public way to them
    parsers = [action.choices.values() for action in found if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    return found + [action for group in parsers for inner in group for action in _actions(inner)]


def _first_sentence(text: str | None) -> str:
    return re.split(r"(?<=[.;:])\s", (text or "").replace("%%", "%"), maxsplit=1)[0].rstrip(".;:").replace("%", "%%")
