"""Ourselves: the whole job, as an operator would start it."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from benchmark.contenders.contender import Bench, Contender, Outcome
from benchmark.dataset import Dataset
from benchmark.results import Stage
from migrator.config.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

_COUNTED: Final = ("copy", "verify")
"""The stages of which the report tells, table by table, how long hands were at work."""


def load(bench: Bench, url: str, *flags: str) -> Outcome:
    """Run the whole job, comparison of every value included, with these flags besides."""
    report = bench.folder / "report.json"
    report.unlink(missing_ok=True)
    hands = Settings.load({} if bench.jobs is None else {"jobs": bench.jobs}).jobs
    command: list[str | Path] = [sys.executable, "-m", "migrator", "run", "--source", bench.source]
    # The job's own choice is told to it too: so what is kept of the hands is what there were.
    command += ["--schema", "existing", "--report", report, "--log-format", "json", "--jobs", str(hands), *flags]
    began = time.time()
    outcome = replace(bench.execute(command, MIGRATOR_TARGET_URL=url), hands=hands)
    if not report.exists():
        return outcome
    told = json.loads(report.read_text())
    if outcome.exit_code:
        return replace(outcome, said=told["message"])
    return replace(outcome, stages=dict(_stages(told, began)))


def _stages(told: Mapping[str, Any], began: float) -> Iterator[tuple[str, Stage]]:
    """Yield the stages of a report, counted from the begin of the command, in seconds of the clock."""
    for stage in told["stages"]:
        name = stage["stage"]
        work = sum(table[f"{name}_seconds"] or 0.0 for table in told["tables"]) if name in _COUNTED else None
        yield name, Stage(_clock(stage["started_at"]) - began, stage["seconds"], work)


def _clock(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


MIGRATOR = Contender(
    "migrator",
    "migrator, the whole job",
    "`migrator run` into the application's tables, with its default settings: preflight, copy, keys and indexes, "
    "sequences, ANALYZE, and the comparison of every value.",
    Dataset.target_schema,
    load,
)

IN_TURN = Contender(
    "in-turn",
    "migrator, stages in turn",
    "`migrator run --in-turn`: the same, but each stage begins when the one before has ended. It shows what the copy "
    "takes when nothing else is under way.",
    Dataset.target_schema,
    lambda bench, url: load(bench, url, "--in-turn"),
)
