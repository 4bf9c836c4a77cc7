"""Reads the arguments of ``migrator``: which command, its flags, and what asks for no command, such as ``help``."""

import re
import sys
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Final, Literal

from msgspec import Struct

from migrator import __version__
from migrator.cli.arguments import Parser, add_settings
from migrator.cli.commands import COMMANDS, Command
from migrator.cli.completion import SHELLS, WHERE, script
from migrator.cli.confirmation import GIVEN
from migrator.config.fields import Group
from migrator.config.missing import ALEMBIC, Needs, example
from migrator.config.settings import Settings
from migrator.errors import ConfigurationError

DESCRIPTION: Final = "Moves an application from SQLite to PostgreSQL and proves that every value arrived."

_EPILOG: Final = (
    "Every flag has an environment variable of the same name. Exit codes: 0 done, 1 mismatch, 2 configuration, "
    "3 source, 4 target, 5 gave up (try again), 6 not complete and 7 last run failed (both of status), 70 a bug, "
    "130 and 143 stopped."
)

_WORD: Final = re.compile(r"[a-zA-Z][\w-]{0,19}")
"""What may be a mistyped command. Anything else may be a URL with a password, and isn't quoted."""

OTHERS: Final = ("help", "completion")
"""Commands that do nothing with a database."""

_BEFORE_COMMAND: Final = frozenset({"-h", "--help", "-V", "--version", "-v", "--verbose", "-q", "--quiet"})


class CommandLine(Struct, frozen=True):
    """A command with its flags, as they were given."""

    command: str
    form: Literal["console", "json"]
    """How the report is printed."""
    flags: dict[str, Any]
    """The settings that flags give, by the name of the field."""
    arguments: tuple[str, ...]
    """All arguments, the command among them."""
    is_dry_run: bool = False
    """Whether ``run --dry-run`` was given; ``command`` is ``check`` then."""

    @property
    def needs(self) -> Needs:
        """What the command needs to be set."""
        groups = COMMANDS[self.command].groups
        arguments = self.arguments if self.arguments[:1] == (self.command,) else (self.command,)
        return Needs(
            source=Group.SOURCE in groups and Group.ROLLBACK not in groups,  # that one has --like, too
            target=Group.TARGET in groups,
            schema=Group.SCHEMA in groups,
            may_do_without_target=Group.CHECK in groups and not self.is_dry_run,
            command=arguments,
        )


def read(argv: Sequence[str]) -> CommandLine:
    """
    Read the arguments, without the program's name.

    Raises ConfigurationError if they name no command or no flag that there is, and SystemExit after ``help``,
    ``--version`` and the like have printed their text.
    """
    if not argv:
        if sys.stderr.isatty():
            print(short_usage(), file=sys.stderr)  # noqa: T201 - for the person who called
            raise SystemExit(2)
        raise ConfigurationError("no command is given", next_step=f"Give one, as in `{_EXAMPLE}`.")
    GIVEN.set(tuple(argv))
    _refuse_unknown_command(argv)
    # To make all flags of all commands would take 0.03 s. A command's name that stands elsewhere does no harm.
    parser, parsers = parsers_of([name for name in COMMANDS if name in argv or "completion" in argv])
    parsed, unknown = parser.parse_known_args(argv)
    flags = vars(parsed)
    name, form = flags.pop("command"), flags.pop("format", "console")
    parsers[name].refuse(unknown)
    if name == "completion":
        print(script(parser, flags["shell"]))  # noqa: T201 - for the shell that reads it
        raise SystemExit(0)
    if name == "help":
        topic = flags.get("topic")
        (parsers[topic] if topic else parser).print_help()
        raise SystemExit(0)
    if flags.get("quiet") and flags.get("log_level") == "debug":
        raise ConfigurationError("-v and -q say the opposite of each other", next_step="Give one of them.")
    is_dry_run = flags.pop("dry_run", False)
    return CommandLine("check" if is_dry_run else name, form, flags, tuple(argv), is_dry_run)


_EXAMPLE: Final = example(["source", "target", ALEMBIC], ["run"])


def short_usage() -> str:
    """Return what is worth knowing to begin with, in few lines."""
    return (
        "usage: migrator COMMAND [flags]\n\n"
        f"{DESCRIPTION} To begin:\n\n"
        f"  {example(['source', 'target', ALEMBIC], ['check'])}\n"
        f"  {_EXAMPLE}\n\n"
        f"Commands: {', '.join(COMMANDS)}.\n"
        "`migrator help` explains them, and `migrator help run` the flags of run."
    )


def parsers_of(filled: Collection[str]) -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of all arguments, and each command's parser by its name; only the ``filled`` have flags."""
    parser = Parser(prog="migrator", usage="migrator COMMAND [flags]", description=DESCRIPTION, epilog=_EPILOG)
    parser.add_argument(
        "-V", "--version", action="version", version=f"migrator {__version__}", help="Print the version."
    )
    _add_loudness(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    parsers: dict[str, Parser] = {}
    for name, command in COMMANDS.items():
        parsers[name] = commands.add_parser(
            name, prog=f"migrator {name}", help=command.summary, description=command.summary
        )
        if name in filled:
            _add_flags(parsers[name], name, command)
    summary = "Explain the commands, or the flags of one."
    parsers["help"] = commands.add_parser(
        "help", prog="migrator help", usage="migrator help [COMMAND]", help=summary, description=summary
    )
    parsers["help"].add_argument("topic", nargs="?", default=None, choices=[*COMMANDS, *OTHERS], metavar="COMMAND")
    parsers["completion"] = commands.add_parser(
        "completion",
        prog="migrator completion",
        usage=f"migrator completion {'|'.join(SHELLS)}",
        help="Print the script by which a shell completes commands and flags.",
        description=WHERE,
    )
    parsers["completion"].add_argument("shell", choices=SHELLS, metavar="|".join(SHELLS))
    return parser, parsers


def _add_flags(parser: Parser, name: str, command: Command) -> None:
    parser.add_argument(
        "--format",
        default="console",
        choices=("console", "json"),
        metavar="console|json",
        help="How the report is printed on stdout.\n[default: console]",
    )
    if name == "run":
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="Do what `check` does with the same settings, in place of the run: look at every value, and write "
            "nothing that lasts.",
        )
    parser.add_argument(
        "-v", "--verbose", action="store_const", const="debug", dest="log_level", help="The same as --log-level debug."
    )
    add_settings(parser, command.groups)


def _add_loudness(parser: Parser) -> None:
    """Let -v and -q also stand before the command."""
    parser.add_argument(
        "-v", "--verbose", action="store_const", const="debug", dest="log_level", help="Tell more: --log-level debug."
    )
    parser.add_argument(
        "-q", "--quiet", action="store_const", const=True, help="Tell errors and the outcome's last line only."
    )


def _refuse_unknown_command(argv: Sequence[str]) -> None:
    """Raise ConfigurationError if the first word is no command, or stands behind flags that belong to a command."""
    names = [*COMMANDS, *OTHERS]
    first = next((argument for argument in argv if argument not in _BEFORE_COMMAND), None)
    topic = first == "help" and [argument for argument in argv if not argument.startswith("-")][1:2]
    if topic and topic[0] in names:
        return
    word = topic[0] if topic else first
    if word is None or word in names:
        return
    if word.startswith("-"):
        flag = word.partition("=")[0]
        raise ConfigurationError(
            f"{flag} stands before the command" if _given_later(argv, names) else f"no command is given before {flag}",
            next_step=f"Give the command first, as in `{_EXAMPLE}`.",
        )
    if not _WORD.fullmatch(word):
        raise ConfigurationError("the first argument is no command", next_step=f"Give one, as in `{_EXAMPLE}`.")
    near = get_close_matches(word.lower(), names, n=1, cutoff=0.5)
    raise ConfigurationError(
        f"there is no command {word}" + (f"; `{near[0]}` is near" if near else ""),
        next_step="Run `migrator help` for the commands that there are.",
    )


def _given_later(argv: Sequence[str], names: Sequence[str]) -> bool:
    return bool(set(argv) & set(names))


def refuse_restart(settings: Settings) -> None:
    """Raise ConfigurationError if a dry run has ``--restart``: nobody but the run itself removes what was copied."""
    if settings.restart:
        raise ConfigurationError(
            "--dry-run can't say what a run with --restart does, which first removes what was copied",
            next_step="Leave --restart (MIGRATOR_RESTART) out, to check the target as it is.",
        )


def chosen(argv: Sequence[str], flag: str) -> str | None:
    """Return the value of a flag in arguments that weren't parsed, or None: an error may come before the parsing."""
    values = [following for argument, following in pairwise(argv) if argument == flag]
    values += [argument.partition("=")[2] for argument in argv if argument.startswith(f"{flag}=")]
    return values[-1] if values else None
