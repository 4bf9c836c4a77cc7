"""The metrics file, read as a monitoring system reads it."""

from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as prometheus_families
from structlog.testing import capture_logs

from migrator.monitoring.metrics_file import METRICS, MetricsFile, RunFacts
from migrator.monitoring.snapshot import Held
from migrator.monitoring.tracker import Tracker

RUN = RunFacts("run", "1.0", "4f3c")


def tracked() -> Tracker:
    """Return the tracker of a run that copies a table with an odd name and has failed in a stage."""
    tracker = Tracker()
    with pytest.raises(OSError, match="away"), tracker.stage("wait"):
        raise OSError("away")
    with tracker.stage("copy"):
        tracker.expect("copy", {'public.a "b" \\ \n c': 10, "public.users": 5})
        tracker.advance("copy", 'public.a "b" \\ \n c', 4, 900)
        tracker.finish_table("copy", "public.users")
    with tracker.stage("restore"):
        tracker.expect("restore", {"public.users": 2}, unit="keys")
        tracker.advance("restore", "public.users", 1)
    tracker.hold(Held(3, 2, 5, 1, 0.5, behind_seconds=60))
    return tracker


def test_a_parser_reads_every_number(tmp_path: Path) -> None:
    """Names of tables are data; the file ends with the exit code and the time."""
    metrics = MetricsFile(tmp_path / "migrator.prom", tracked(), RUN)
    metrics.write()
    before = (tmp_path / "migrator.prom").read_text()
    assert "exit_code" not in before
    assert "end_time" not in before
    metrics.exit_code, metrics.end = 5, 1_800_000_000.25
    metrics.write()
    text = (tmp_path / "migrator.prom").read_text()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }
    assert samples["migrator_run_info", "run", "1.0", "4f3c"] == 1
    assert samples["migrator_exit_code",] == 5
    assert samples["migrator_end_time_seconds",] == 1_800_000_000.25
    assert samples["migrator_stage_failed", "wait"] == 1
    assert samples["migrator_stage_done", "copy", "rows"] == 9
    assert samples["migrator_stage_expected", "copy", "rows"] == 15
    assert samples["migrator_stage_bytes", "copy"] == 900
    assert samples["migrator_table_done", "copy", 'public.a "b" \\ \n c', "rows"] == 4
    assert samples["migrator_table_done", "copy", "public.users", "rows"] == 5
    assert samples["migrator_table_done", "restore", "public.users", "keys"] == 1
    assert samples["migrator_watch_refreshes",] == 3
    assert samples["migrator_watch_rows", "updated"] == 5
    assert samples["migrator_watch_behind_seconds",] >= 60
    assert {name for name, *_ in samples} == set(METRICS)
    older = {family.name for family in prometheus_families(text)}
    assert older == set(METRICS)
    assert list(tmp_path.iterdir()) == [tmp_path / "migrator.prom"]


def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    """Nothing is raised, and nothing is left behind."""
    metrics = MetricsFile(tmp_path / "missing" / "migrator.prom", Tracker(), RUN)
    with capture_logs() as events:
        metrics.write()
        metrics.write()
    assert [(event["event"], event["reason"]) for event in events] == [("warning.report", "No such file or directory")]
    folder = tmp_path / "folder.prom"
    folder.mkdir()
    with capture_logs() as events:
        MetricsFile(folder, Tracker(), RUN).write()
    assert len(events) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["folder.prom"]
