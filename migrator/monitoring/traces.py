"""
Sends a trace of a run by OpenTelemetry: the run, its stages and their tables as spans, with counts and times.

The spans are made at the end of the run from what the tracker has noted, so that the run itself does nothing for them.
They hold names of stages and tables, and no values of rows. The packages are those of the extra ``migrator[otel]``;
the usual variables (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_SERVICE_NAME``, …) say where they go.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Final

import structlog

from migrator.events import Event
from migrator.monitoring.metrics_file import RunFacts
from migrator.monitoring.snapshot import StageProgress, State, TableSpan
from migrator.monitoring.tracker import Tracker

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

log = structlog.get_logger()

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

TIMEOUTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")

TIMEOUT_SECONDS: Final = 2.0
"""The time for a request and its retries, if the environment gives none."""

SEND_SECONDS: Final = 4.0
"""The longest time that the end of a run waits for the receiver, whatever the environment says."""

BATCH: Final = 512
"""The number of spans in one request."""

NANOSECONDS: Final = 1_000_000_000


def is_asked_for(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the environment names a receiver of traces and doesn't turn them off."""
    off = (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none"
    )
    return not off and any(environment.get(name) for name in ENDPOINTS)


def send(tracker: Tracker, run: RunFacts, exit_code: int) -> None:
    """Send the trace of a run that has ended. Waits for at most ``SEND_SECONDS``, and failures are only logged."""

    def work() -> None:
        try:
            _send(tracker, run, exit_code)
        except ImportError:
            log.warning(Event.WARNING_TRACES, reason="the packages are missing", next_step="Install migrator[otel].")
        except Exception as error:  # noqa: BLE001 - nothing about traces may change the outcome of a run
            log.warning(Event.WARNING_TRACES, reason=f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=copy_context().run, args=(work,), name="traces", daemon=True)
    thread.start()
    thread.join(SEND_SECONDS)
    if thread.is_alive():
        log.warning(Event.WARNING_TRACES, reason=f"the receiver did not answer within {SEND_SECONDS:.0f} s")


def _send(tracker: Tracker, run: RunFacts, exit_code: int) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: PLC0415 - an extra

    finished = InMemorySpanExporter()
    provider = provider_of(os.environ)
    provider.add_span_processor(SimpleSpanProcessor(finished))
    record(provider, tracker, run, exit_code)
    spans = finished.get_finished_spans()
    timeout = None if any(name in os.environ for name in TIMEOUTS) else TIMEOUT_SECONDS
    exporter = OTLPSpanExporter(timeout=timeout)
    for start in range(0, len(spans), BATCH):
        if exporter.export(spans[start : start + BATCH]) is not SpanExportResult.SUCCESS:
            raise OSError("the receiver did not take it")


def provider_of(environment: Mapping[str, str]) -> "TracerProvider":
    """Return a provider of spans; the service has the name ``migrator`` if the environment gives no other."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra

    named = "OTEL_SERVICE_NAME" in environment or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    # Without shutdown_on_exit, since that could keep the process from ending.
    return TracerProvider(
        resource=Resource.create({} if named else {"service.name": "migrator"}), shutdown_on_exit=False
    )


def record(provider: "TracerProvider", tracker: Tracker, run: RunFacts, exit_code: int) -> None:
    """Make the spans of a run: the run, in it the stages, in each stage its tables."""
    from opentelemetry import trace  # noqa: PLC0415 - an extra

    tracer = provider.get_tracer("migrator", run.version)
    snapshot = tracker.snapshot()
    tables = defaultdict(list)
    for table in tracker.spans():
        tables[table.stage].append(table)
    began = _nanoseconds(tracker.started_at)
    facts: dict[str, str | int] = {
        "migrator.run_id": run.run_id,
        "migrator.version": run.version,
        "migrator.exit_code": exit_code,
    }
    root = tracer.start_span(f"migrator {run.command}", start_time=began, attributes=facts)
    if exit_code:
        root.set_status(trace.StatusCode.ERROR)
    for stage in snapshot.stages:
        with trace.use_span(root, end_on_exit=False):
            _record_stage(tracer, stage, tables[stage.stage], began)
    root.end(began + _nanoseconds(snapshot.seconds))


def _record_stage(tracer: "Tracer", stage: StageProgress, tables: list[TableSpan], first: int) -> None:
    from opentelemetry import trace  # noqa: PLC0415 - an extra

    facts = {"migrator.attempts": stage.attempts, **_counts(stage.unit, stage.done, stage.bytes)}
    began = first + _nanoseconds(stage.began)
    span = tracer.start_span(stage.stage, start_time=began, attributes=facts)
    if stage.state is State.FAILED:
        span.set_status(trace.StatusCode.ERROR)
    with trace.use_span(span, end_on_exit=False):
        for table in tables:
            start = first + _nanoseconds(table.began)
            counts: dict[str, str | int] = {
                "db.collection.name": table.table,
                **_counts(table.unit, table.done, table.bytes),
            }
            part = tracer.start_span(f"{stage.stage} {table.table}", start_time=start, attributes=counts)
            part.end(start + _nanoseconds(table.seconds))
    span.end(began + _nanoseconds(stage.seconds))


def _counts(unit: str, done: int, size: int) -> dict[str, int]:
    return {**({f"migrator.{unit}": done} if unit else {}), **({"migrator.bytes": size} if size else {})}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * NANOSECONDS)
