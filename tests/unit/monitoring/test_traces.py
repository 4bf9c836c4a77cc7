"""Traces: sent to a receiver over HTTP as a collector receives them, and nowhere else."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from structlog.testing import capture_logs

from migrator.monitoring.metrics_file import RunFacts
from migrator.monitoring.traces import ENDPOINTS, is_asked_for, send
from migrator.monitoring.tracker import Tracker

RUN = RunFacts("run", "1.0", "4f3c")


@dataclass
class Receiver:
    """What a receiver of traces has got."""

    url: str
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        """All spans, in the order of their starts."""
        found = [
            span
            for got in self.requests
            for part in got.resource_spans
            for scope in part.scope_spans
            for span in scope.spans
        ]
        return sorted(found, key=lambda span: (span.start_time_unix_nano, -span.end_time_unix_nano))


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Start a receiver of OTLP over HTTP, which the environment names."""
    receiver = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002 - the library's name
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        for name in ENDPOINTS:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver
        server.shutdown()


def attributes(span: Span) -> dict[str, object]:
    """Return the attributes of a span."""
    return {entry.key: entry.value.string_value or entry.value.int_value for entry in span.attributes}


def test_run_stages_and_tables_are_spans_of_one_trace(receiver: Receiver) -> None:
    """A table is inside its stage and a stage inside the run, in time and by name of the parent."""
    tracker = Tracker()
    with tracker.stage("copy"):
        tracker.expect("copy", {"public.notes": 10})
        tracker.advance("copy", "public.notes", 10, 700)
    with pytest.raises(OSError, match="away"), tracker.stage("verify"):
        raise OSError("away")
    with capture_logs() as events:
        send(tracker, RUN, 5)
    assert events == []
    run, copy, notes, verify = receiver.spans
    assert [span.name for span in (run, copy, notes, verify)] == ["migrator run", "copy", "copy public.notes", "verify"]
    assert (copy.parent_span_id, notes.parent_span_id, verify.parent_span_id) == (
        run.span_id,
        copy.span_id,
        run.span_id,
    )
    assert len({span.trace_id for span in receiver.spans}) == 1
    assert attributes(run)["migrator.exit_code"] == 5
    assert attributes(notes) == {"db.collection.name": "public.notes", "migrator.rows": 10, "migrator.bytes": 700}
    assert run.status.code == verify.status.code == 2
    assert copy.start_time_unix_nano <= notes.start_time_unix_nano <= notes.end_time_unix_nano
    assert notes.end_time_unix_nano <= copy.end_time_unix_nano <= run.end_time_unix_nano
    [resource] = [part.resource for got in receiver.requests for part in got.resource_spans]
    assert {"service.name": "migrator"}.items() <= {a.key: a.value.string_value for a in resource.attributes}.items()


def test_a_large_schema_arrives_whole(receiver: Receiver) -> None:
    """No span is dropped, however many tables there are."""
    tracker = Tracker()
    with tracker.stage("copy"):
        tracker.expect("copy", {f"t{number}": 1 for number in range(3000)})
        for number in range(3000):
            tracker.finish_table("copy", f"t{number}")
    send(tracker, RUN, 0)
    assert len(receiver.spans) == 3002


def test_a_receiver_that_is_away_is_only_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has its outcome; nobody waits long."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with capture_logs() as events:
        send(Tracker(), RUN, 0)
    assert [event["event"] for event in events if event["event"].startswith("warning")] == ["warning.traces"]


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_sent_only_if_the_environment_asks(environment: dict[str, str], asked: bool) -> None:  # noqa: FBT001
    """A name of a service alone asks for nothing."""
    assert is_asked_for(environment) is asked
