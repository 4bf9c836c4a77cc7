"""
Writes the outcome of a command into files that outlive the process: full reports, and a termination message.

Kubernetes stores a container's termination message (``kubectl describe pod``), but at most 4096 bytes of it. So the
message is one short line, and it is valid JSON even if its text was cut.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import structlog
from msgspec import Struct, field

from migrator.config.settings import Settings
from migrator.config.values import report_paths
from migrator.events import Event
from migrator.reports.files import form_of, refuse_other_suffixes
from migrator.reports.record import Record
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


class OutcomeFiles(Struct, frozen=True):
    """The files that MIGRATOR_REPORT and MIGRATOR_TERMINATION_MESSAGE name. A file without a name isn't written."""

    reports: tuple[Path, ...]
    line: Path | None
    secrets: Collection[str] = ()
    differences: Path | None = None
    record: Record = field(default_factory=Record)
    """What the command has done so far, of which the reports are made."""

    @classmethod
    def of(cls, settings: Settings, record: Record | None = None) -> "OutcomeFiles":
        """
        Return the files that the settings name.

        Raises ConfigurationError if a file for a report, the differences, the kept rows or the keys of orphans can't be
        written, or if the suffix of a report means no form. So a wrong path is found before the work begins.
        """
        refuse_other_suffixes(settings.report)
        for path in (*settings.report, settings.differences, settings.kept_rows, settings.left_behind):
            if path is not None:
                check_writable(path)
        return cls(
            settings.report, settings.termination_message, settings.secrets(), settings.differences, record or Record()
        )

    @classmethod
    def before_settings(
        cls, environment: Mapping[str, str], record: Record, flags: Mapping[str, Any] = NO_FLAGS
    ) -> "OutcomeFiles":
        """Return the files that flags and environment name, for an error in the settings, which is an outcome too."""
        reports = [path for path in report_paths(flags.get("report") or environment.get(REPORT)) if form_of(path)]
        line = flags.get("termination_message") or environment.get(TERMINATION_MESSAGE)
        return cls(tuple(reports), Path(line) if line else None, record=record)

    def begin(self, command: str) -> None:
        """
        Replace the content of the files from an earlier run. Otherwise a killed run would leave the earlier success.

        A pipe or a terminal gets only the outcome.
        """
        fields = {"message": f"{command} has begun, and has not ended yet", "command": command, "exit_code": None}
        if self.differences is not None and command in _COMPARING and is_file(self.differences):
            with _warned(self.differences):
                self.differences.unlink(missing_ok=True)
        self._write_reports([path for path in self.reports if is_file(path)], fields)
        if self.line is not None and is_file(self.line):
            self.write_line(fields)

    def write(self, fields: Mapping[str, Any]) -> None:
        """Replace the content of the files. A failure is only logged: it doesn't change the outcome of the job."""
        self._write_reports(self.reports, self._clean(fields))
        self.write_line(fields)

    def write_ahead(self, fields: Mapping[str, Any]) -> None:
        """Replace the content of the files with the outcome as it would be if the process were killed now."""
        self._write_reports([path for path in self.reports if is_file(path)], self._clean(fields))
        self.write_line(fields)

    def _write_reports(self, paths: Collection[Path], fields: Mapping[str, Any]) -> None:
        if not paths:
            return
        from migrator.reports.assembly import document_of  # noqa: PLC0415 - most commands write no report

        for path in paths:
            if form := form_of(path):
                with _warned(path):
                    text = form(document_of(self.record, fields))
                    with whole_file(path) as file:
                        file.write(text)

    def write_line(self, fields: Mapping[str, Any]) -> None:
        """Replace only the termination message."""
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
    """Log an error of the block as a warning, of whatever kind: the outcome of the job stands without its files."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a mistake in a report must not turn a success into a failure
        log.warning(Event.WARNING_REPORT, path=str(path), reason=str(error))
