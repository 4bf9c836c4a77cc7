"""
Writes numbers about a run into a file in the text format of OpenMetrics, for an agent that collects such files.

The file is written whole beside its name and then renamed, so that no reader ever sees half of it. Everybody may read
it: it holds names of stages and tables, counts and times, and no values of rows.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from migrator.events import Event
from migrator.monitoring.snapshot import StageProgress, State
from migrator.monitoring.tracker import Tracker

log = structlog.get_logger()

METRICS: Final = {
    "migrator_run_info": "The command, the version of the program, and the run's id.",
    "migrator_start_time_seconds": "The start of the run, in seconds since 1970.",
    "migrator_end_time_seconds": "The end of the run, in seconds since 1970; missing while it runs.",
    "migrator_exit_code": "The exit code of the run; missing while it runs.",
    "migrator_stage_running": "1 while a stage is under way, 0 afterwards.",
    "migrator_stage_failed": "1 for a stage that ended with an error, otherwise 0.",
    "migrator_stage_duration_seconds": "The time that a stage has taken, with its pauses.",
    "migrator_stage_attempts": "The tries of a stage.",
    "migrator_stage_done": "Rows that a stage is through with, or keys or tables, which the label unit names.",
    "migrator_stage_expected": "Rows (keys, tables) of a stage in all.",
    "migrator_stage_bytes": "Bytes of data that a stage has read or sent.",
    "migrator_table_done": "Rows (keys, tables) of a table that a stage is through with.",
    "migrator_table_bytes": "Bytes of data of a table that a stage has read or sent.",
    "migrator_table_duration_seconds": "The time from a stage's first work on a table to its last.",
    "migrator_watch_behind_seconds": "With --watch: the age of the source's state in the target; 0 if it is the last.",
    "migrator_watch_refreshes": "With --watch: the refreshes so far.",
    "migrator_watch_refresh_seconds": "With --watch: the time that the last refresh took.",
    "migrator_watch_rows": "With --watch: the rows that the last refresh has written, by the label change.",
}
"""Every metric with its description. All are gauges: a run that begins anew begins at 0."""

Sample = tuple[str, dict[str, str], float]


class RunFacts(Struct, frozen=True):
    """What is known of a run before it begins."""

    command: str
    version: str
    run_id: str


class MetricsFile(Struct):
    """A metrics file of one run."""

    path: Path
    tracker: Tracker
    run: RunFacts
    exit_code: int | None = None
    """The exit code; None while the run goes on."""
    end: float | None = None
    """The end of the run, in seconds since 1970."""
    _told: bool = False

    def write(self) -> None:
        """Replace the file. If that fails it is told once, and the run goes on."""
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            temporary.write_text(self.text(), encoding="utf-8")
            temporary.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            if not self._told:
                self._told = True
                log.warning(Event.WARNING_REPORT, path=str(self.path), reason=error.strerror)

    def text(self) -> str:
        """Return the content of the file."""
        samples: dict[str, list[str]] = {name: [] for name in METRICS}
        for name, labels, value in (*self._of_run(), *self._of_stages(), *self._of_tables(), *self._of_watch()):
            listed = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            samples[name].append(f"{name}{f'{{{listed}}}' if listed else ''} {_number(value)}")
        lines = [
            line
            for name, values in samples.items()
            if values
            for line in (f"# TYPE {name} gauge", f"# HELP {name} {METRICS[name]}", *values)
        ]
        return "\n".join([*lines, "# EOF", ""])

    def _of_run(self) -> Iterator[Sample]:
        run = self.run
        facts = {"command": run.command, "version": run.version, "run_id": run.run_id}
        yield "migrator_run_info", facts, 1
        yield "migrator_start_time_seconds", {}, self.tracker.started_at
        if self.end is not None:
            yield "migrator_end_time_seconds", {}, self.end
        if self.exit_code is not None:
            yield "migrator_exit_code", {}, self.exit_code

    def _of_stages(self) -> Iterator[Sample]:
        for stage in self.tracker.snapshot().stages:
            if not stage.is_step:
                yield from _of_stage(stage)

    def _of_tables(self) -> Iterator[Sample]:
        for span in self.tracker.spans():
            labels = {"stage": span.stage, "table": span.table}
            yield "migrator_table_done", {**labels, "unit": span.unit}, span.done
            if span.bytes:
                yield "migrator_table_bytes", labels, span.bytes
            yield "migrator_table_duration_seconds", labels, span.seconds

    def _of_watch(self) -> Iterator[Sample]:
        held = self.tracker.snapshot().held
        if held is None:
            return
        yield "migrator_watch_behind_seconds", {}, held.behind_seconds
        yield "migrator_watch_refreshes", {}, held.passes
        yield "migrator_watch_refresh_seconds", {}, held.seconds
        for change, rows in (("inserted", held.inserted), ("updated", held.updated), ("deleted", held.deleted)):
            yield "migrator_watch_rows", {"change": change}, rows


def _of_stage(stage: StageProgress) -> Iterator[Sample]:
    labels = {"stage": stage.stage}
    yield "migrator_stage_running", labels, stage.state is State.RUNNING
    yield "migrator_stage_failed", labels, stage.state is State.FAILED
    yield "migrator_stage_duration_seconds", labels, stage.seconds
    yield "migrator_stage_attempts", labels, stage.attempts
    if stage.unit:
        yield "migrator_stage_done", {**labels, "unit": stage.unit}, stage.done
        yield "migrator_stage_expected", {**labels, "unit": stage.unit}, stage.of
    if stage.bytes:
        yield "migrator_stage_bytes", labels, stage.bytes


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"
