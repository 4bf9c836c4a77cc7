"""The tracker: what a run is doing now, for all who show it."""

from threading import Thread

import pytest

from migrator.monitoring.heartbeat import progress_events
from migrator.monitoring.snapshot import Held, Pause, State, duration
from migrator.monitoring.tracker import Tracker


class Clock:
    """A clock that stands still until it is told to go on."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


def test_stages_that_overlap_each_have_their_own_count() -> None:
    """A table may be copied in one stage and compared in another at the same time."""
    clock = Clock()
    tracker = Tracker(clock)
    with tracker.stage("copy"), tracker.stage("verify"):
        tracker.expect("copy", {"public.notes": 1000, "public.users": 10})
        tracker.expect("verify", {"public.notes": 1000, "public.users": 10})
        tracker.advance("copy", "public.notes", 200, 4_000)
        tracker.finish_table("verify", "public.users")
        clock.now += 2
        tracker.advance("copy", "public.notes", 200, 4_000)
        copy, verify = tracker.snapshot().under_way
    assert (copy.done, copy.of, copy.bytes, copy.rate) == (400, 1010, 8_000, 200)
    assert copy.seconds_left == pytest.approx(610 / 200)
    [notes] = copy.tables
    assert (notes.table, notes.done, notes.of, notes.bytes, notes.seconds_left) == ("public.notes", 400, 1000, 8000, 3)
    assert (verify.done, verify.tables, verify.rate) == (10, (), 5)
    assert [stage.state for stage in tracker.snapshot().stages] == [State.DONE, State.DONE]


def test_a_bar_does_not_stand_at_its_end_while_work_goes_on() -> None:
    """Rows that are read a second time are not counted twice, and only the end of the stage is the whole."""
    tracker = Tracker()
    with tracker.stage("preflight"):
        tracker.expect("preflight", {"t": 10})
        tracker.advance("preflight", "t", 8)
        tracker.advance("preflight", "t", 8)
        [stage] = tracker.snapshot().under_way
        assert (stage.done, stage.fraction) == (10, 0.99)
    [stage] = tracker.snapshot().stages
    assert stage.fraction == 1


def test_a_try_that_failed_begins_its_count_again() -> None:
    """What earlier runs or tries have committed counts as done; the rest is counted anew."""
    tracker = Tracker()
    with tracker.stage("copy"):
        tracker.attempt("copy")
        tracker.expect("copy", {"t": 10})
        tracker.advance("copy", "t", 7)
        tracker.pause(Pause("copy", "connection lost", attempt=1, pause_seconds=3, attempts=5))
        snapshot = tracker.snapshot()
        assert snapshot.pauses[0].line().startswith("connection lost; try 2 of 5 in ")
        tracker.attempt("copy")
        tracker.expect("copy", {"t": 10}, done={"t": 4})
        snapshot = tracker.snapshot()
        [stage] = snapshot.under_way
        assert (stage.attempts, stage.done, stage.tables, snapshot.pauses) == (2, 4, (), ())
        assert snapshot.last_pause is not None
        tracker.finish_table("copy", "t")
        assert tracker.snapshot().under_way[0].done == 10


def test_a_rate_is_about_the_last_seconds() -> None:
    """A table that slowed down an hour ago has no rate of before; one that stands still has less and less."""
    clock = Clock()
    tracker = Tracker(clock)
    with tracker.stage("copy"):
        tracker.expect("copy", {"t": 1_000_000})
        tracker.advance("copy", "t", 500_000)
        for _ in range(60):
            clock.now += 1
            tracker.advance("copy", "t", 10)
        assert tracker.snapshot().under_way[0].rate == pytest.approx(10)
        clock.now += 91
        assert tracker.snapshot().under_way[0].rate == pytest.approx(0.9)


def test_steps_are_forgotten_and_stages_stay() -> None:
    """A step may have the name of a stage; a stage that fails says so."""
    tracker = Tracker()
    with tracker.stage("lock"):
        pass
    with tracker.stage("lock", is_step=True):
        assert [stage.is_step for stage in tracker.snapshot().stages] == [False, True]
    with pytest.raises(OSError, match="away"), tracker.stage("wait"):
        raise OSError("away")
    assert [(stage.stage, stage.state) for stage in tracker.snapshot().stages] == [
        ("lock", State.DONE),
        ("wait", State.FAILED),
    ]


def test_no_row_is_lost_from_the_count_of_many_threads() -> None:
    """Tables are loaded side by side, by several threads."""
    tracker = Tracker()
    with tracker.stage("copy"):
        tracker.expect("copy", {str(number): 500 for number in range(4)})

        def count(table: str) -> None:
            for _ in range(499):
                tracker.advance("copy", table, 1, 1)

        threads = [Thread(target=count, args=(str(number),)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [stage] = tracker.snapshot().under_way
    assert (stage.done, stage.bytes) == (1996, 1996)


def test_a_count_nobody_asked_for_harms_nobody() -> None:
    """A late thread may count after the end, and a stage may count what it did not announce."""
    tracker = Tracker()
    tracker.advance("copy", "t", 1)
    tracker.finish_table("copy", "t")
    tracker.expect("copy", {"t": 1})
    tracker.resume("wait")
    with tracker.stage("copy"):
        tracker.advance("copy", "unheard of", 3)
        [stage] = tracker.snapshot().under_way
    assert (stage.done, stage.fraction) == (3, None)


def test_the_line_about_a_pause_says_how_long_the_job_goes_on_trying() -> None:
    """The text is in the view, in the log and in the ledger."""
    clock = Clock()
    tracker = Tracker(clock)
    tracker.pause(
        Pause("wait", "db.example:5432 refused the connection", 4, pause_seconds=2, seconds=20, limit_seconds=120)
    )
    clock.now += 4
    [pause] = tracker.snapshot().pauses
    assert pause.line() == "db.example:5432 refused the connection; trying for 2 min, 96 s left"
    assert tracker.snapshot().to_json()["waiting"] == [pause.line()]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0 s"),
        (0.42, "0.4 s"),
        (9, "9 s"),
        (31.2, "31 s"),
        (96, "96 s"),
        (119.7, "2 min"),
        (250, "4 min 10 s"),
        (3600, "1 h"),
        (4320, "1 h 12 min"),
        (7199.9, "2 h"),
    ],
)
def test_durations_are_said_as_people_do(seconds: float, words: str) -> None:
    """No more than two units, and no tenths of long times."""
    assert duration(seconds) == words


def test_how_far_a_watch_is_behind() -> None:
    """Nobody is behind a source that has not changed since; otherwise the state in the target gets older."""
    clock = Clock()
    tracker = Tracker(clock)
    assert tracker.snapshot().held is None
    tracker.hold(Held(1, 2, 3, 4, 0.5, behind_seconds=7))
    clock.now += 10
    behind = tracker.snapshot().held
    assert behind == Held(1, 2, 3, 4, 0.5, behind_seconds=17)
    [event] = progress_events(tracker.snapshot())
    assert event == {"step": "watch", "refreshes": 1, "behind_seconds": 17.0}
    tracker.look(changed=False)
    clock.now += 10
    assert tracker.snapshot().held == Held(1, 2, 3, 4, 0.5, behind_seconds=0)
    tracker.look(changed=True)
    assert tracker.snapshot().held == Held(1, 2, 3, 4, 0.5, behind_seconds=27)
