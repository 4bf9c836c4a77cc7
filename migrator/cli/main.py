"""
Runs the command ``migrator``: reads flags and settings, calls one function, turns the outcome into an exit code.

    0 done   1 mismatch   2 configuration   3 source   4 target   5 gave up   70 a bug   130 SIGINT   143 SIGTERM

There is no other logic here. Reports go to stdout, events to stderr. Only this module catches all errors.
"""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID, uuid4

import structlog

from migrator import __version__
from migrator.cli.arguments import Parser, add_settings
from migrator.cli.commands import COMMANDS
from migrator.cli.display import log_form, progress_of, show
from migrator.cli.outcome_files import OutcomeFiles
from migrator.cli.signals import finish_or_stop, signals_raise
from migrator.config.fields import Group
from migrator.config.mistyped import unknown_variables
from migrator.config.settings import Settings
from migrator.errors import ExitCode, MigratorError, Mismatch
from migrator.events import Event
from migrator.reports.difference import DifferenceReport
from migrator.reports.refusal import Refusal, facts_of
from migrator.runtime import logs
from migrator.runtime.redaction import redactor

# EX_SOFTWARE of sysexits.h. A bug needs its own exit code: Python would exit with 1, which means a mismatch.
BUG: Final = 70

log = structlog.get_logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. ``argv`` holds no program name; by default it is the process's own."""
    logs.configure("info", log_form("auto"))
    files, traceback = OutcomeFiles.before_settings(os.environ), False
    run_id = uuid4()
    with structlog.contextvars.bound_contextvars(run_id=run_id.hex):
        try:
            with signals_raise():
                arguments = _parse(sys.argv[1:] if argv is None else argv)
                files = OutcomeFiles.before_settings(os.environ, arguments.flags)
                settings = Settings.load(arguments.flags)
                files, traceback = OutcomeFiles.of(settings), settings.log_level == "debug"
                return _perform(arguments, settings, files, run_id)
        except SystemExit as done:  # argparse has printed the help or the version
            return int(done.code or 0)
        except Exception as error:  # noqa: BLE001 - the only place that catches all errors
            return _fail(error, files, traceback=traceback)


@dataclass(frozen=True, slots=True)
class _Arguments:
    command: str
    form: Literal["console", "json"]
    flags: dict[str, Any]


def _parse(argv: Sequence[str]) -> _Arguments:
    parser = Parser(
        prog="migrator",
        usage="migrator COMMAND [flags]",
        description="Moves an application from SQLite to PostgreSQL and proves that every value arrived.",
        epilog="Every flag has an environment variable of the same name. Exit codes: 0 done, 1 mismatch, "
        "2 configuration, 3 source, 4 target, 5 gave up (try again), 70 a bug, 130 and 143 stopped.",
    )
    parser.add_argument("--version", action="version", version=f"migrator {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    parsers = {}
    for name, command in COMMANDS.items():
        parsers[name] = commands.add_parser(
            name, prog=f"migrator {name}", help=command.summary, description=command.summary
        )
        parsers[name].add_argument(
            "--format",
            default="console",
            choices=("console", "json"),
            metavar="console|json",
            help="How the report is printed on stdout.\n[default: console]",
        )
        add_settings(parsers[name], command.groups)
    if not argv:
        parser.print_help(sys.stderr)
    parsed, unknown = parser.parse_known_args(argv)
    flags = vars(parsed)
    name, form = flags.pop("command"), flags.pop("format")
    parsers[name].refuse(unknown)
    return _Arguments(name, form, flags)


def _perform(arguments: _Arguments, settings: Settings, files: OutcomeFiles, run_id: UUID) -> int:
    form = log_form(settings.log_format)
    logs.configure(settings.log_level, form, settings.secrets())
    for variable in unknown_variables(os.environ, Settings):
        log.warning(Event.WARNING_SETTING, variable=variable, reason="no setting has this name")
    began = time.monotonic()
    named = settings
    if Group.SOURCE in COMMANDS[arguments.command].groups:
        settings = settings.with_found_rules()
    shown = {name: value for name, value in settings.public().items() if name in {*settings.model_fields_set, "target"}}
    log.info(Event.JOB_STARTED, command=arguments.command, version=__version__, settings=shown)
    if settings is not named and settings.rules is not None:
        log.info(Event.RULES_FOUND, path=str(settings.rules.absolute()), message=_RULES_FOUND)
    files.begin(arguments.command)
    progress = progress_of(settings, form)
    try:
        outcome = finish_or_stop(COMMANDS[arguments.command].call(settings, progress, run_id), files)
    except Mismatch as error:
        outcome = DifferenceReport(error)
    except MigratorError as error:
        if not error.settlement:
            raise
        outcome = Refusal(error)
    finally:
        progress.finish()
    show(outcome, arguments.form, redactor(settings.secrets()))
    if outcome.failure is not None:
        raise outcome.failure
    fields = outcome.to_json()
    files.write({"message": fields.get("headline", "done"), "exit_code": ExitCode.DONE, **fields})
    log.info(Event.JOB_FINISHED, seconds=round(time.monotonic() - began, 3))
    return ExitCode.DONE


_RULES_FOUND: Final = "its rules apply; --rules names another file, and --rules /dev/null none"


def _fail(error: Exception, files: OutcomeFiles, *, traceback: bool) -> int:
    known = error if isinstance(error, MigratorError) else _known(error)
    trace = {"exc_info": error} if traceback else {}
    if known is None:
        first = _first(error)
        message = f"unexpected: {type(first).__name__}: {first}"
        next_step = "Report this as a bug, with the traceback that --log-level debug shows."
        files.write({"message": message, "next_step": next_step, "exit_code": BUG})
        log.error(Event.JOB_FAILED, message=message, next_step=next_step, exit_code=BUG, **trace)
        return BUG
    fields = facts_of(known)
    files.write(fields)
    log.error(Event.JOB_FAILED, **fields, **trace)  # after files.write and its warnings: the last line
    return int(fields["exit_code"])


def _first(error: Exception) -> BaseException:
    from migrator.runtime.retry import first_of  # noqa: PLC0415 - it imports every driver

    return first_of(error)


def _known(error: Exception) -> MigratorError | None:
    from migrator.runtime.error_mapping import to_migrator_error  # noqa: PLC0415 - it imports every driver

    return to_migrator_error(error)
