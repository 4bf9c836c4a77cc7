"""
The command ``migrator``: reads what it is told, calls one function, and turns the outcome into an exit code.

    0 done   1 mismatch   2 configuration   3 source   4 target   5 gave up   70 a bug   130 SIGINT   143 SIGTERM

There is no logic here. Reports go to stdout, events to stderr. This is the one place that catches errors.
"""

import asyncio
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol
from uuid import uuid4

import structlog

from migrator import __version__
from migrator.config.mistyped import unknown_variables
from migrator.config.settings import Settings
from migrator.errors import ExitCode, MigratorError, Mismatch, Stopped
from migrator.events import Event
from migrator.flags import Group, Parser, add_settings
from migrator.outcome import OutcomeFiles
from migrator.runtime import logs
from migrator.runtime.progress import Progress, Silent
from migrator.runtime.redaction import redactor

if TYPE_CHECKING:
    from rich.console import Console

# EX_SOFTWARE of sysexits.h: none of the contract's codes may stand for a bug, least of all 1, which means a mismatch.
BUG: Final = 70
# A thread inside a driver can't be interrupted. What isn't committed is rolled back by the server, as after SIGKILL.
GRACE_SECONDS: Final = 8
EXIT_CODES: Final = {signal.SIGINT: ExitCode.SIGINT, signal.SIGTERM: ExitCode.SIGTERM}
log = structlog.get_logger()


class Outcome(Protocol):
    """What a command returns. ``failure`` is the error that the outcome amounts to: a mismatch, say."""

    @property
    def failure(self) -> MigratorError | None:
        """Give the error to leave with after the report was shown."""

    def to_json(self) -> dict[str, Any]:
        """Give the report for programs."""

    def render(self, console: "Console") -> None:
        """Print the report for people."""


Call = Callable[[Settings, Progress], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: what help says, the settings it listens to, and the function that does it."""

    summary: str
    groups: Collection[Group]
    call: Call


def _call(name: str) -> Call:
    def call(settings: Settings, progress: Progress) -> Awaitable[Outcome]:
        from migrator.commands import CALLS  # noqa: PLC0415 - --help shall not wait for drivers

        if not gc.isenabled():  # what was imported until here stays, and need not be looked at again
            gc.freeze()
            gc.enable()
        return CALLS[name](settings, progress)

    return call


COMMANDS: Final = {
    "run": Command(
        "Do the whole job: wait, prepare, copy, verify. Running it again is safe.",
        tuple(g for g in Group if g not in {Group.CHECK, Group.DEMO, Group.STATUS}),
        _call("run"),
    ),
    "check": Command(
        "Say whether the source can be carried into the target as both are. Writes nothing that lasts.",
        (Group.SOURCE, Group.CHECK, Group.TARGET, Group.SCHEMA, Group.SPEED, Group.PATIENCE, Group.OUTPUT),
        _call("check"),
    ),
    "verify": Command(
        "Compare every value of both sides. Writes nothing.",
        (Group.SOURCE, Group.TARGET, Group.SPEED, Group.PATIENCE, Group.OUTPUT),
        _call("verify"),
    ),
    "status": Command(
        "Tell what the ledger in the target says about past runs; with --wait, when the migration is complete.",
        (Group.TARGET, Group.STATUS, Group.PATIENCE, Group.OUTPUT),
        _call("status"),
    ),
    "repair": Command(
        "Bring back keys and indexes that an interrupted run took away. Copies nothing.",
        (Group.TARGET, Group.SPEED, Group.PATIENCE, Group.OUTPUT),
        _call("repair"),
    ),
    "reset": Command(
        "Empty the tables that this job filled, if nobody has written to them since.",
        (Group.TARGET, Group.SPEED, Group.PATIENCE, Group.AGAIN, Group.OUTPUT),
        _call("reset"),
    ),
    "demo": Command(
        "Show the whole job on sample data and a PostgreSQL of its own.",
        (Group.DEMO, Group.SPEED, Group.OUTPUT),
        _call("demo"),
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. ``argv`` is without the program's name; by default the process's."""
    logs.configure("info", _form("auto"))
    files, traceback = OutcomeFiles.before_settings(os.environ), False
    with structlog.contextvars.bound_contextvars(run_id=uuid4().hex):
        try:
            with _signals_raise():
                arguments = _parse(sys.argv[1:] if argv is None else argv)
                files = OutcomeFiles.before_settings(os.environ, arguments.flags)
                settings = Settings.load(arguments.flags)
                files, traceback = OutcomeFiles.of(settings), settings.log_level == "debug"
                return _perform(arguments, settings, files)
        except SystemExit as done:  # argparse has printed help or version
            return int(done.code or 0)
        except Exception as error:  # noqa: BLE001 - the one place where everything ends
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
    chosen = {}
    for name, command in COMMANDS.items():
        chosen[name] = commands.add_parser(
            name, prog=f"migrator {name}", help=command.summary, description=command.summary
        )
        chosen[name].add_argument(
            "--format",
            default="console",
            choices=("console", "json"),
            metavar="console|json",
            help="How the report is printed on stdout.\n[default: console]",
        )
        add_settings(chosen[name], command.groups)
    if not argv:
        parser.print_help(sys.stderr)
    found, strangers = parser.parse_known_args(argv)
    flags = vars(found)
    name, form = flags.pop("command"), flags.pop("format")
    chosen[name].refuse(strangers)
    return _Arguments(name, form, flags)


def _perform(arguments: _Arguments, settings: Settings, files: OutcomeFiles) -> int:
    form = _form(settings.log_format)
    logs.configure(settings.log_level, form, settings.secrets())
    for variable in unknown_variables(os.environ, Settings):
        log.warning(Event.WARNING_SETTING, variable=variable, reason="no setting has this name")
    began = time.monotonic()
    given = {name: value for name, value in settings.public().items() if name in {*settings.model_fields_set, "target"}}
    log.info(Event.JOB_STARTED, command=arguments.command, version=__version__, settings=given)
    files.begin(arguments.command)
    progress = _progress(settings, form)
    try:
        outcome = _finish_or_stop(COMMANDS[arguments.command].call(settings, progress), files)
    except Mismatch as error:
        from migrator.job.reports import DifferenceReport  # noqa: PLC0415 - --help shall not wait for drivers

        outcome = DifferenceReport(error)
    finally:
        progress.finish()
    _show(outcome, arguments.form, redactor(settings.secrets()))
    if outcome.failure is not None:
        raise outcome.failure
    told = outcome.to_json()
    files.write({"message": told.get("headline", "done"), "exit_code": ExitCode.DONE, **told})
    log.info(Event.JOB_FINISHED, seconds=round(time.monotonic() - began, 3))
    return ExitCode.DONE


def _fail(error: Exception, files: OutcomeFiles, *, traceback: bool) -> int:
    known = error if isinstance(error, MigratorError) else _explained(error)
    trace = {"exc_info": error} if traceback else {}
    if known is None:
        first = _first(error)
        message = f"unexpected: {type(first).__name__}: {first}"
        next_step = "This is a bug. --log-level debug shows the traceback to report."
        log.error(Event.JOB_FAILED, message=message, next_step=next_step, exit_code=BUG, **trace)
        files.write({"message": message, "next_step": next_step, "exit_code": BUG})
        return BUG
    told = _told(known)
    log.error(Event.JOB_FAILED, **told, **trace)
    files.write(told)
    return int(told["exit_code"])


def _first(error: Exception) -> BaseException:
    from migrator.runtime.retry import first_of  # noqa: PLC0415 - it knows the errors of every driver

    return first_of(error)


def _explained(error: Exception) -> MigratorError | None:
    from migrator.runtime.error_mapping import explain  # noqa: PLC0415 - it knows the errors of every driver

    return explain(error)


def _told(error: MigratorError) -> dict[str, Any]:
    """Give what the log and the files say of an error of the tree."""
    code = ExitCode[str(error.facts["signal"])] if isinstance(error, Stopped) else error.exit_code
    return {"message": str(error), "next_step": error.next_step, "exit_code": int(code), **error.facts}


def _finish_or_stop(action: Awaitable[Outcome], files: OutcomeFiles) -> Outcome:
    """Run the action to its end, or cancel it when a signal comes. Raises Stopped then, whatever it ended with."""
    received: list[signal.Signals] = []
    leave = threading.Timer(GRACE_SECONDS, lambda: os._exit(EXIT_CODES[received[0]]))
    leave.daemon = True

    async def guarded() -> Outcome:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: signal.Signals) -> None:
            if received:  # asked twice
                os._exit(EXIT_CODES[number])
            received.append(number)
            log.warning(Event.JOB_STOPPING, signal=number.name)
            # Now, and not only at the end: whoever asked may not be patient enough for that.
            files.write_line(_told(_stopped(number)))
            leave.start()
            if task is not None:
                task.cancel(number.name)  # whoever says goodbye on the way out can say why

        for number in EXIT_CODES:
            loop.add_signal_handler(number, stop, number)
        return await action

    try:
        return asyncio.run(guarded())
    except (Exception, asyncio.CancelledError) as error:
        if received:
            raise _stopped(received[0]) from error
        raise
    finally:
        leave.cancel()


@contextmanager
def _signals_raise() -> Iterator[None]:
    """
    Let signals raise Stopped where no event loop listens: while settings are read, and while reports are printed.

    Without a handler of our own SIGTERM would be ignored by the first process of a container.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise _stopped(signal.Signals(number))

    before = {number: signal.signal(number, stop) for number in EXIT_CODES}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopped(number: signal.Signals) -> Stopped:
    return Stopped(
        f"stopped by {number.name}", next_step="Run it again; it goes on where it stopped.", signal=number.name
    )


def _form(chosen: Literal["auto", "json", "console"]) -> logs.Form:
    if chosen == "auto":
        return "console" if sys.stderr.isatty() else "json"
    return chosen


def _progress(settings: Settings, form: logs.Form) -> Progress:
    automatic = settings.progress == "auto" and form == "console" and sys.stderr.isatty()
    if not automatic and settings.progress != "on":
        return Silent()
    from migrator.bars import OnTerminal  # noqa: PLC0415 - where nobody looks, nothing is drawn

    return OnTerminal.of_stderr()


def _show(outcome: Outcome, form: Literal["console", "json"], clean: Callable[[Any], Any]) -> None:
    try:
        if form == "json":
            told = {name: clean(value) for name, value in outcome.to_json().items()}
            print(json.dumps(told, ensure_ascii=False, default=str))  # noqa: T201 - this is the product
        else:
            from migrator.paper import Paper  # noqa: PLC0415 - loaded when there is something to say

            outcome.render(Paper(clean))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` say, has seen enough. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
