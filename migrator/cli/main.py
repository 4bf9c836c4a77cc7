"""
Runs the command ``migrator``: reads flags and settings, calls one function, turns the outcome into an exit code.

    0 done   1 mismatch   2 configuration   3 source   4 target   5 gave up   6 not complete   7 last run failed
    70 a bug   130 SIGINT   143 SIGTERM

There is no other logic here. Reports go to stdout, events to stderr. Only this module catches all errors.
"""

import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final
from uuid import UUID, uuid4

import structlog

from migrator import __version__
from migrator.cli.command_line import CommandLine, chosen, read, refuse_restart
from migrator.cli.commands import COMMANDS
from migrator.cli.display import early_form, log_form, show
from migrator.cli.observers import exported, observed
from migrator.cli.outcome_files import OutcomeFiles
from migrator.cli.signals import finish_or_stop, signals_raise
from migrator.config.fields import Group
from migrator.config.mistyped import unknown_variables
from migrator.config.settings import Settings
from migrator.errors import ExitCode, MigratorError, Mismatch, Standing
from migrator.events import Event
from migrator.monitoring.metrics_file import RunFacts
from migrator.monitoring.tracker import Tracker
from migrator.reports.difference import DifferenceReport
from migrator.reports.record import Record
from migrator.reports.refusal import Refusal, facts_of, log_facts_of
from migrator.runtime import logs
from migrator.runtime.redaction import redactor

# EX_SOFTWARE of sysexits.h. A bug needs its own exit code: Python would exit with 1, which means a mismatch.
BUG: Final = 70

log = structlog.get_logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. ``argv`` holds no program name; by default it is the process's own."""
    arguments = tuple(sys.argv[1:] if argv is None else argv)
    run_id = uuid4()
    record = Record(run_id.hex)
    logs.configure("info", early_form(chosen(arguments, "--log-format"), os.environ), listener=record)
    files, traceback = OutcomeFiles.before_settings(os.environ, record), False
    with structlog.contextvars.bound_contextvars(run_id=run_id.hex):
        try:
            with signals_raise():
                line = read(arguments)
                record.command = line.command
                files = OutcomeFiles.before_settings(os.environ, record, line.flags)
                settings = Settings.load(line.flags, line.needs)
                files, traceback = OutcomeFiles.of(settings, record), settings.log_level == "debug"
                tracker, run = Tracker(), RunFacts(line.command, __version__, run_id.hex)
                with exported(settings, tracker, run, exit_code_of=_exit_code_of):
                    return _perform(line, settings, files, tracker, run_id)
        except SystemExit as done:  # the help, the version or the like was printed
            return int(done.code or 0)
        except Exception as error:  # noqa: BLE001 - the only place that catches all errors
            return _fail(error, files, traceback=traceback)


def _perform(line: CommandLine, settings: Settings, files: OutcomeFiles, tracker: Tracker, run_id: UUID) -> int:
    form = log_form(settings.log_format)
    level = "error" if settings.quiet else settings.log_level
    logs.configure(level, form, settings.secrets(), listener=files.record)
    for variable in unknown_variables(os.environ, Settings):
        log.warning(Event.WARNING_SETTING, variable=variable, reason="no setting has this name")
    began = time.monotonic()
    named = settings
    if Group.SOURCE in COMMANDS[line.command].groups:
        settings = settings.with_found_rules()
    shown = {name: value for name, value in settings.public().items() if name in {*settings.model_fields_set, "target"}}
    log.info(Event.JOB_STARTED, command=line.command, version=__version__, settings=shown)
    if line.is_dry_run:
        refuse_restart(settings)
        log.info(Event.DRY_RUN, message="`run --dry-run` does what `check` does with the same settings")
    if settings is not named and settings.rules is not None:
        log.info(Event.RULES_FOUND, path=str(settings.rules.absolute()), message=_RULES_FOUND)
    files.record.settings = settings.public()
    files.begin(line.command)
    groups = COMMANDS[line.command].groups
    # A question needs the terminal for itself, and so does what `status` draws.
    is_apart = Group.STATUS in groups or (Group.CONFIRMATION in groups and not settings.yes)
    try:
        with nullcontext() if is_apart else observed(settings, form, tracker):
            outcome = finish_or_stop(COMMANDS[line.command].call(settings, tracker, run_id), files)
        files.record.found = redactor(settings.secrets())(outcome.to_json())
    except Mismatch as error:
        outcome = DifferenceReport(error)
    except MigratorError as error:
        if not (error.settlement or error.reasons):
            raise
        outcome = Refusal(error)
    quiet = settings.quiet and outcome.failure is None
    show(outcome, "headline" if quiet and line.form == "console" else line.form, redactor(settings.secrets()))
    code = ExitCode.DONE
    if isinstance(outcome.failure, Standing):
        code = outcome.failure.exit_code
    elif outcome.failure is not None:
        raise outcome.failure
    fields = outcome.to_json()
    files.write({"message": fields.get("headline", "done"), "exit_code": code, **fields})
    log.info(Event.JOB_FINISHED, seconds=round(time.monotonic() - began, 3))
    return code


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
    for reason in known.reasons:
        if not reason.is_logged:
            log.error(Event.REFUSAL_REASON, message=reason.line(), **reason.to_json())
    log.error(Event.JOB_FAILED, **log_facts_of(known), **trace)  # after files.write and its warnings: the last line
    return int(fields["exit_code"])


def _exit_code_of(error: Exception) -> int:
    known = error if isinstance(error, MigratorError) else _known(error)
    return known.exit_code if known else BUG


def _first(error: Exception) -> BaseException:
    from migrator.runtime.retry import first_of  # noqa: PLC0415 - it imports every driver

    return first_of(error)


def _known(error: Exception) -> MigratorError | None:
    from migrator.runtime.error_mapping import to_migrator_error  # noqa: PLC0415 - it imports every driver

    return to_migrator_error(error)
