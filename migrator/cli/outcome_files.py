"""
Writes the outcome of a command into files that outlive the process: a full report, and a termination message.

Kubernetes stores a container's termination message (``kubectl describe pod``), but at most 4096 bytes of it. So the
message is one short line, and it is valid JSON even if its text was cut.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import structlog

from migrator.config.settings import Settings
from migrator.events import Event
from migrator.runtime.private_file import check_writable, is_file, whole_file, write_in_place
from migrator.runtime.redaction import redactor

# Half of the kubelet's limit: the containers of a pod share 12 KiB, and an init container may write a message too.
LONGEST_LINE_BYTES: Final = 2048

TERMINATION_MESSAGE: Final = "MIGRATOR_TERMINATION_MESSAGE"

REPORT: Final = "MIGRATOR_REPORT"

_COMPARING: Final = ("run", "verify")
"""Commands that report differences."""

_KEPT: Final = ("run_id", "exit_code", "stage", "message", "next_step")

NO_FLAGS: Final[Mapping[str, Any]] = MappingProxyType({})

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OutcomeFiles:
    """The files that MIGRATOR_REPORT and MIGRATOR_TERMINATION_MESSAGE name. A file without a name isn't written."""

    report: Path | None
    line: Path | None
    secrets: Collection[str] = ()
    differences: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> "OutcomeFiles":
        """
        Return the files that the settings name.

        Raises ConfigurationError if the file for the report, the differences, the kept rows or the keys of orphans
        can't be written. So a wrong path is found before the work begins.
        """
        for path in (settings.report, settings.differences, settings.kept_rows, settings.left_behind):
            if path is not None:
                check_writable(path)
        return cls(settings.report, settings.termination_message, settings.secrets(), settings.differences)

    @classmethod
    def before_settings(cls, environment: Mapping[str, str], flags: Mapping[str, Any] = NO_FLAGS) -> "OutcomeFiles":
        """Return the files that flags and environment name, for an error in the settings, which is an outcome too."""
        report = flags.get("report") or environment.get(REPORT)
        line = flags.get("termination_message") or environment.get(TERMINATION_MESSAGE)
        return cls(Path(report) if report else None, Path(line) if line else None)

    def begin(self, command: str) -> None:
        """
        Replace the content of the files from an earlier run. Otherwise a killed run would leave the earlier success.

        A pipe or a terminal gets only the outcome.
        """
        fields = {"message": f"{command} has begun, and has not ended yet", "command": command, "exit_code": None}
        if self.differences is not None and command in _COMPARING and is_file(self.differences):
            with _warned(self.differences):
                self.differences.unlink(missing_ok=True)
        if self.report is not None and is_file(self.report):
            with _warned(self.report), whole_file(self.report) as file:
                file.write(_line({**structlog.contextvars.get_contextvars(), **fields}))
        if self.line is not None and is_file(self.line):
            self.write_line(fields)

    def write(self, fields: Mapping[str, Any]) -> None:
        """Replace the content of the files. A failure is only logged: it doesn't change the outcome of the job."""
        if self.report is not None:
            with _warned(self.report), whole_file(self.report) as file:
                file.write(_line(self._clean(fields)))
        self.write_line(fields)

    def write_line(self, fields: Mapping[str, Any]) -> None:
        """Replace only the termination message: with the outcome as it would be if the process were killed now."""
        if self.line is not None:
            with _warned(self.line):
                write_in_place(
                    self.line, short_line({**structlog.contextvars.get_contextvars(), **self._clean(fields)})
                )

    def _clean(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        clean = redactor(self.secrets)
        return {name: clean(value) for name, value in fields.items()}  # the names hold no secret


def short_line(fields: Mapping[str, Any]) -> str:
    """Return the outcome as one line of JSON of at most ``LONGEST_LINE_BYTES``. A long message loses its end."""
    selected = {name: fields[name] for name in _KEPT if fields.get(name) not in {None, ""}}
    message = str(selected.get("message", ""))
    while len(_line(selected).encode()) > LONGEST_LINE_BYTES and message:
        message = message[: len(message) * 3 // 4]
        selected["message"] = message + "…"
    return _line(selected)


def _line(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, default=str) + "\n"


@contextmanager
def _warned(path: Path) -> Iterator[None]:
    """Log an OSError of the block as a warning."""
    try:
        yield
    except OSError as error:
        log.warning(Event.WARNING_REPORT, path=str(path), reason=str(error))
