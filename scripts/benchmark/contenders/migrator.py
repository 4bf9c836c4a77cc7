"""Ourselves: the whole job, as an operator would start it."""

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.contenders.contender import Bench, Contender, Outcome
from benchmark.dataset import Dataset

if TYPE_CHECKING:
    from pathlib import Path


def load(bench: Bench, url: str) -> Outcome:
    """Run the whole job, comparison of every value included."""
    report = bench.folder / "report.json"
    report.unlink(missing_ok=True)
    jobs = () if bench.jobs is None else ("--jobs", str(bench.jobs))
    command: list[str | Path] = [sys.executable, "-m", "migrator", "run", "--source", bench.source]
    command += ["--schema", "existing", "--report", report, "--log-format", "json", *jobs]
    outcome = bench.execute(command, MIGRATOR_TARGET_URL=url)
    if not report.exists():
        return outcome
    told = json.loads(report.read_text())
    stages = {stage["stage"]: stage["seconds"] for stage in told.get("stages", ())}
    return replace(outcome, stages=stages, said=told["message"] if outcome.exit_code else "")


MIGRATOR = Contender(
    "migrator",
    "migrator, the whole job",
    "`migrator run` into the application's tables, with its default settings: preflight, copy, keys and indexes, "
    "sequences, ANALYZE, and the comparison of every value.",
    Dataset.target_schema,
    load,
)
