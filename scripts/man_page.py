"""Makes the manual page of ``migrator`` (docs/migrator.1) from commands and settings; scripts/docs.py writes it."""

from collections.abc import Iterable, Iterator, Mapping

from migrator import __version__
from migrator.cli.arguments import choices_of, default_of, origin_of, plain_types, spellings
from migrator.cli.command_line import DESCRIPTION, OTHERS
from migrator.cli.commands import COMMANDS
from migrator.config.fields import Group, option_info
from migrator.config.missing import ALEMBIC, example
from migrator.config.settings import Settings

_FLAGS_OF_COMMANDS = (
    ("--format console|json", "How the report is printed on stdout: for people, or as JSON for programs."),
    ("--dry-run", "Of run: do what check does with the same settings, and write nothing that lasts."),
    ("-v, --verbose", "The same as --log-level debug."),
    ("-h, --help", "Print the flags of the command."),
    ("-V, --version", "Print the version. It stands before the command or in place of it."),
)


def man_page(exit_codes: Mapping[int, str]) -> str:
    """Return the page in the macros of man(7); ``exit_codes`` has the meaning of each code."""
    return "\n".join(_lines(exit_codes)) + "\n"


def _lines(exit_codes: Mapping[int, str]) -> Iterator[str]:
    yield '.\\" Made from commands and settings by scripts/docs.py.'
    yield f'.TH MIGRATOR 1 "" "migrator {__version__}" "User Commands"'
    yield from (".SH NAME", "migrator \\- move an application from SQLite to PostgreSQL, verified value by value")
    yield from (".SH SYNOPSIS", ".B migrator", ".I COMMAND", "[\\fIflags\\fR]")
    yield from (".SH DESCRIPTION", _text(DESCRIPTION))
    yield _text("Every flag has an environment variable of the same name; a flag wins over its variable.")
    yield ".SH COMMANDS"
    for name, command in COMMANDS.items():
        groups = ", ".join(group.lower() for group in command.groups)
        yield from _entry(name, [command.summary, f"Settings: {groups}."])
    yield from _entry(OTHERS[0], ["Explain the commands, or the flags of one."])
    yield from _entry(OTHERS[1], ["Print the script by which bash, zsh or fish completes commands and flags."])
    yield ".SH OPTIONS"
    for flags, meaning in _FLAGS_OF_COMMANDS:
        yield from _entry(flags, [meaning])
    for group in Group:
        yield f'.SS "{_text(group.value)}"'
        yield from _settings_of(group)
    yield ".SH EXIT STATUS"
    for code, meaning in exit_codes.items():
        yield from _entry(str(code), [meaning])
    yield from (".SH EXAMPLES", ".nf", _text(example(["source", "target", ALEMBIC], ["check"])))
    yield from (_text(example(["source", "target", ALEMBIC], ["run"])), ".fi")


def _settings_of(group: Group) -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        info = option_info(field)
        if info.group != group:
            continue
        origin = f"Environment: {origin_of(name, field)}."
        default = default_of(field)
        told = [field.description or "", origin, *([f"Default: {default}."] if default else [])]
        if info.no_flag:
            yield from _entry("(no flag)", told)
            continue
        flags = ", ".join(spellings(name, field))
        if bool in plain_types(field):
            flags += f", --no-{name.replace('_', '-')}"
        choices = choices_of(field)
        yield from _entry(f"{flags} {'|'.join(choices)}" if choices else flags, told)


def _entry(head: str, told: Iterable[str]) -> Iterator[str]:
    yield ".TP"
    yield f"\\fB{_text(head)}\\fR"
    yield from ("\n.br\n".join(_text(text) for text in told)).splitlines()


def _text(text: str) -> str:
    """Escape what the macros would read, and spell other characters than those of ASCII by their number."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("\n", " ").replace("`", "\\(ga").replace("'", "\\(aq")
    plain = "".join(sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in plain)
    return f"\\&{plain}" if plain.startswith(".") else plain
