"""What a report knows of a run is what the run's events have said."""

from fix_reports import Events, told

from migrator.events import Event
from migrator.reports.assembly import document_of
from migrator.reports.record import MOST_WARNINGS


def test_a_stage_that_is_tried_again() -> None:
    """Tries are counted as they happen, and a stage that never ended well is told from one that has failed."""
    events: Events = [
        (Event.STAGE_STARTED, {"stage": "schema"}),
        (Event.RETRY_SCHEDULED, {"stage": "schema", "attempt": 1, "error": "gone"}),
        (Event.STAGE_STARTED, {"stage": "copy"}),
    ]
    stages = document_of(told(events), {"message": "no", "exit_code": 5, "stage": "schema"}).stages
    assert [(stage.stage, stage.state, stage.attempts) for stage in stages] == [
        ("schema", "failed", 2),
        ("copy", "unfinished", 1),
    ]


def test_warnings_do_not_fill_the_memory() -> None:
    """A server that goes away for a night is said, with the number of times that only the log has."""
    events: Events = [(Event.WARNING_SERVER, {"message": f"no {number}"}) for number in range(MOST_WARNINGS + 3)]
    document = document_of(told(events, level="warning"), {"message": "done", "exit_code": 0})
    assert (len(document.warnings), document.warnings_left_out) == (MOST_WARNINGS, 3)
    assert document.warnings[0].message == "no 0"


def test_each_finding_is_there_once() -> None:
    """A finding is an event and part of the result of ``check``."""
    finding = {"table": "t", "column": "c", "rows": 2, "code": "x", "reason": "is odd", "refuses": True}
    record = told([(Event.VALUES_REFUSED, {**finding, "message": "t.c: 2 rows where the value is odd"})])
    record.found = {"findings": [finding, {**finding, "column": "d"}]}
    found = document_of(record, {"message": "no", "exit_code": 3}).findings
    assert [(entry.column, entry.message) for entry in found] == [
        ("c", "t.c: 2 rows where the value is odd"),
        ("d", "t.d: 2 rows where the value is odd"),
    ]


def test_every_outcome_has_its_word() -> None:
    """By the exit code, which is a contract."""
    codes = {None: "unfinished", 0: "done", 1: "different", 2: "refused", 3: "refused", 4: "refused", 5: "failed"}
    codes |= {70: "failed", 130: "stopped", 143: "stopped"}
    assert {code: document_of(told([]), {"exit_code": code}).outcome for code in codes} == codes
