"""The benchmark: it runs, and it notices what is wrong with a result. What it measures is asserted nowhere."""

import asyncio
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import asyncpg
import pytest
from benchmark import drawings, figures, page, processes, refresh, results, rollback
from benchmark.contenders import CONTENDERS
from benchmark.contents import Contents, contents, shortcomings
from benchmark.dataset import SHAPES, Dataset, dataset
from benchmark.reference import NotProved, compare_samples
from benchmark.results import Entry, Run, Session, Stage
from fix_job import ROOT, clean_environment
from fix_postgres import Database, Server
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

PROGRAMS = ROOT / "scripts" / "benchmark" / "programs"


# --- The command ------------------------------------------------------------------------------------------------------


def test_the_command_measures_and_finds_every_result_equal(tmp_path: Path) -> None:
    """A small session runs to its end: each contender that is here has a run, and those that should be right are."""
    script = (
        "import json, sys; from pathlib import Path; from benchmark import __main__, results;"
        "results.FOLDER = Path(sys.argv[1]); save = results.save;"
        "results.save = lambda session: save(session, results.FOLDER);"
        "sys.exit(__main__.main(sys.argv[2:]))"
    )
    flags = ["--megabytes=1", "--runs=1", "--no-warm-up", "--save", f"--folder={tmp_path}", "--jobs=3"]
    environment = clean_environment()
    environment["PYTHONPATH"] += f":{ROOT / 'scripts'}"
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "kept", *flags, "--only", "migrator", "limit", "stream", "csv-hex"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (session,) = results.sessions(tmp_path / "kept")
    entries = {entry.name: entry for entry in session.entries}
    assert list(entries) == ["migrator", "limit", "stream", "csv-hex"]
    for name in ("migrator", "limit", "stream"):
        (run,) = entries[name].runs
        assert (run.exit_code, run.wrong) == (0, ()), name
        assert run.seconds > figures.cost("copy")(run) > 0
        begun = [stage.began for stage in run.stages.values()]
        assert begun == sorted(begun)
        assert begun[0] >= 0
        assert max(stage.began + stage.seconds for stage in run.stages.values()) <= run.seconds
    (ours,) = entries["migrator"].runs
    assert ours.hands == 3
    assert all(ours.stages[name].work for name in ("copy", "verify"))
    assert ours.stages["preflight"].work is None
    assert "nothing was written" in entries["migrator"].trap
    assert all(figure.value > 0 for figure in figures.of_session(session))
    csv = entries["csv-hex"]
    assert csv.missing or (csv.runs and "exit code 0, and orders.total" in csv.trap)
    assert str(tmp_path) not in json.dumps([run.said for entry in session.entries for run in entry.runs])


# --- The source -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_source_is_as_large_as_asked_for_and_always_the_same(shape: str, tmp_path: Path) -> None:
    """Every shape makes a file of about the wanted size, and a second time the same rows."""
    megabytes = 4.0
    data = dataset(shape, megabytes, 40)
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    size = data.make_source(first)
    assert data.make_source(second) == size
    assert first.read_bytes() == second.read_bytes()
    assert 0.75 < size / (megabytes * 1e6) < 1.25


# --- What notices a wrong result --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    """Give a source that all tests share."""
    data = dataset("mixed", 0.1, 1)
    source = tmp_path_factory.mktemp("benchmark") / "source.db"
    data.make_source(source)
    return data, source


@pytest.fixture
async def filled(small: tuple[Dataset, Path], database: Database) -> Database:
    """Give a database that the naive script has filled, which is slow and right."""
    data, source = small
    await database.execute(data.target_schema())
    url = database.url.replace("postgresql", "postgresql+asyncpg", 1)
    script = PROGRAMS / "naive_copy.py"
    copy = await asyncio.create_subprocess_exec(sys.executable, script, source, url, env=clean_environment())
    assert await copy.wait() == 0
    return database


@pytest.fixture
def right(filled: Database, server: Server) -> Iterator[Contents]:
    """Give what is right: a copy of the filled database, made before a test damages it."""
    name = f"{filled.name}_right"
    server.administer(f"CREATE DATABASE {name} TEMPLATE {filled.name} OWNER {filled.role}")
    yield contents(server.url(name, filled.role, filled.password))
    server.administer(f"DROP DATABASE {name} WITH (FORCE)")


DAMAGE = {
    "DROP INDEX idx_orders_customer": "1 of 11 keys and indexes are missing: orders INDEX customer",
    "ALTER TABLE files DROP CONSTRAINT files_sensor_fkey": "FOREIGN KEY (sensor) REFERENCES sensors(id)",
    "UPDATE orders SET total = total + 0.01 WHERE id = 7": "orders.total: 1 values differ",
    "UPDATE orders SET note = NULL WHERE note = ''": "such as NULL instead of ``",
    "UPDATE files SET content = content || '\\x00' WHERE id = 2": "files.content: 1 values differ",
    "UPDATE events SET at = at + interval '1 microsecond' WHERE id = 3": "events.at: 1 values differ",
    "DELETE FROM articles WHERE id = 1": "rows missing or too many: articles (7 of 8)",
    "ALTER TABLE orders ALTER customer TYPE text": "orders.customer text NOT NULL instead of uuid NOT NULL",
    "ALTER TABLE orders ALTER total TYPE text USING 'about ' || total": 'type numeric: "about 0.01"',
    "DROP TABLE articles": "articles: missing",
}


@pytest.mark.one_server
async def test_every_kind_of_damage_is_told(filled: Database, right: Contents) -> None:
    """A result that is equal has no shortcoming; one that was damaged in any way has the sentence that says so."""
    assert shortcomings(filled.url, right, with_keys=True) == []
    connection = await asyncpg.connect(filled.url)
    for statement, sentence in DAMAGE.items():
        await connection.execute(statement)
        assert sentence in "\n".join(shortcomings(filled.url, right, with_keys=True)), statement
    await connection.close()


@pytest.mark.one_server
async def test_rows_are_compared_with_the_source(small: tuple[Dataset, Path], filled: Database) -> None:
    """The reference is proved by values from the source: one that differs, or a row that is missing, disproves it."""
    data, source = small
    await compare_samples(source, data, filled.url)
    await filled.execute("UPDATE events SET payload = jsonb_set(payload, '{ms}', '0.001') WHERE id = 5")
    with pytest.raises(NotProved, match="events"):
        await compare_samples(source, data, filled.url)


# --- What is measured -------------------------------------------------------------------------------------------------


def test_memory_is_that_of_the_whole_tree(tmp_path: Path) -> None:
    """What a child of the command holds counts, and what the measuring process holds doesn't."""
    held = 120_000_000
    child = f"import time; held = b'x' * {held}; time.sleep(0.5)"
    ballast = b"x" * (3 * held)  # of the measuring process
    quoted = f"subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    command = [sys.executable, "-c", f"import subprocess, sys; {quoted}"]
    ended = processes.run(command, {}, tmp_path / "log", 60, tmp_path)
    assert ended.code == 0
    assert held < ended.peak_bytes < len(ballast)


def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    """It has no exit code then, and its children are gone too."""
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    command = ["sh", "-c", "sleep 600 > held & echo begun; wait"]
    ended = processes.run(command, {}, tmp_path / "log", 0.5, tmp_path)
    assert ended.code is None
    assert ended.said == "begun\n"
    is_let_go, _, _ = select.select([held], [], [], 30)
    os.close(held)
    assert is_let_go


@pytest.mark.skipif(not Path("/proc/self/wchan").exists(), reason="only Linux tells what a process waits for")
def test_an_interrupt_ends_what_is_measured_too(tmp_path: Path) -> None:
    """Ctrl-C while a command is measured ends both: the command would go on for minutes, and load the machine."""
    script = (
        "import signal, sys; from pathlib import Path; from benchmark import processes;"
        "signal.signal(signal.SIGINT, signal.default_int_handler); folder = Path(sys.argv[1]);"
        "processes.run(['sh', '-c', 'exec > held; echo begun; exec sleep 600'], {}, folder / 'log', 600, folder)"
    )
    os.mkfifo(tmp_path / "held")
    environment = clean_environment()
    environment["PYTHONPATH"] += f":{ROOT / 'scripts'}"
    measuring = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    with (tmp_path / "held").open() as held:
        assert held.readline() == "begun\n"
        is_elsewhere = retry_if_result(lambda called: called != "do_wait")  # the kernel's name for it; see proc(5)
        until_it_waits = Retrying(retry=is_elsewhere, wait=wait_fixed(0.02), stop=stop_after_delay(120))
        until_it_waits(Path(f"/proc/{measuring.pid}/wchan").read_text)
        measuring.send_signal(signal.SIGINT)
        assert measuring.wait(30) != 0
        is_let_go, _, _ = select.select([held], [], [], 30)
    assert is_let_go


def entry(name: str, *runs: Run) -> Entry:
    """Return a contender's part as it would have been measured."""
    return Entry(name, CONTENDERS[name].title, "", CONTENDERS[name].is_tool, runs=runs)


def session(*entries: Entry, shape: str = "mixed", rows: int = 1000, tables: int = 6) -> Session:
    """Return a session with these parts."""
    return Session(shape, 1.0, 1_000_000, rows, tables, "2 cores", "PostgreSQL", entries)


def test_figures_are_ratios_of_runs_that_took_turns() -> None:
    """Each run is set against the other's of the same round, and the middle of these ratios is told."""
    ours = entry("migrator", *(Run(s, 0, stages={"copy": Stage(0.0, s / 2)}) for s in (3.0, 8.0, 4.0)))
    limit = entry("limit", *(Run(s, 0) for s in (2.0, 4.0, 4.0)))
    stream = entry("stream", *(Run(s, 0) for s in (3.0, 5.0, 2.0)))
    found = {figure.name: figure for figure in figures.of_session(session(ours, limit, stream))}
    whole = found["whole job / limit"]
    assert (whole.value, whole.low, whole.high) == (1.5, 1.0, 2.0)
    assert found["copy / one psql stream"].value == pytest.approx(0.8)


def test_the_copy_by_itself_is_that_of_the_run_in_turn() -> None:
    """There from begin to end, since nothing else is under way; with other stages beside it, it is another figure."""
    ours = entry("migrator", Run(9.0, 0, stages={"copy": Stage(1.0, 6.0, 8.0)}, hands=2))
    in_turn = entry("in-turn", Run(12.0, 0, stages={"copy": Stage(1.0, 3.0, 5.0)}, hands=2))
    found = {one.name: one.value for one in figures.of_session(session(ours, in_turn, entry("stream", Run(4.0, 0))))}
    assert found["copy / one psql stream"] == 1.0
    assert found["copy with nothing beside it / one psql stream"] == 0.75


def overlapping(seconds: float, *, preflight: float, copy: float, verify: float, hands: int = 2) -> Run:
    """Return a run of ours whose stages from copy on overlap; ``copy`` and ``verify`` are the work on them."""
    rest = seconds - 1 - preflight
    stages = {
        "preflight": Stage(1.0, preflight),
        "copy": Stage(1 + preflight, rest * 0.8, copy),
        "restore": Stage(1 + preflight, rest * 0.9),
        "verify": Stage(1 + preflight + rest * 0.2, rest * 0.7, verify),
    }
    return Run(seconds, 0, stages=stages, hands=hands)


def test_what_a_stage_costs_is_the_work_on_it_shared_by_the_hands() -> None:
    """
    Where stages overlap, work counts: from begin to end a stage also waits for the others.

    So two runs that did the same work have the same figures, whether its stages were spread over little time or much.
    """
    for seconds in (9.0, 20.0):
        ours = overlapping(seconds, preflight=2.0, copy=8.0, verify=6.0)
        shared = session(entry("migrator", ours), entry("stream", Run(5.0, 0)))
        found = {figure.name: figure for figure in figures.of_session(shared)}
        assert (found["copy / one psql stream"].value, found["copy / one psql stream"].wanted) == (0.8, "< 1.0")
        assert (found["preflight / copy"].value, found["preflight / copy"].wanted) == (0.5, "≤ 0.8")
        assert (found["verify / copy"].value, found["verify / copy"].wanted) == (0.75, "≤ 1.0")


def test_the_number_of_hands_counts_where_work_is_set_against_time() -> None:
    """Twice as many hands for the same work are twice as fast; work set against work doesn't depend on them."""
    two, four = (
        {
            figure.name: figure.value
            for figure in figures.of_session(
                session(
                    entry("migrator", overlapping(9.0, preflight=2.0, copy=8.0, verify=6.0, hands=hands)),
                    entry("stream", Run(5.0, 0)),
                )
            )
        }
        for hands in (2, 4)
    )
    assert four["copy / one psql stream"] == two["copy / one psql stream"] / 2
    assert four["preflight / copy"] == two["preflight / copy"] * 2
    assert four["verify / copy"] == two["verify / copy"]


def test_a_run_that_copied_nothing_has_no_ratio_to_its_copy() -> None:
    """Nothing is divided by 0: such a figure is left out."""
    found = figures.of_session(session(entry("migrator", overlapping(9.0, preflight=2.0, copy=0.0, verify=6.0))))
    assert [figure.name for figure in found] == []


def test_the_run_in_the_middle_is_one_that_was_measured() -> None:
    """Its begins and ends belong together, which the medians of several runs don't; failed runs don't count."""
    runs = [Run(seconds, 0) for seconds in (5.0, 2.0, 4.0, 3.0)]
    assert figures.middle(entry("migrator", Run(0.5, 1), *runs)) is runs[3]
    assert figures.middle(entry("migrator", *runs[:3])) is runs[2]


def bars(picture: str) -> dict[str, tuple[float, float]]:
    """Return where the bars of a time line begin and end on the paper, by what stands beside each."""
    named = re.compile(r'text-anchor="end">(.+)</text>\n<rect x="([\d.]+)" y="\d+" width="([\d.]+)"')
    return {name: (float(x), float(x) + float(width)) for name, x, width in named.findall(picture)}


def test_the_time_line_shows_what_overlaps() -> None:
    """A stage's bar goes from its begin to its end, ours and the limit's on one axis; start and end are shown too."""
    ours = overlapping(10.0, preflight=2.0, copy=8.0, verify=6.0)
    limit = Run(4.0, 0, stages={"load": Stage(0.0, 2.5), "keys": Stage(2.5, 1.5)})
    picture = drawings.time_line(session(entry("migrator", ours), entry("limit", limit)))
    assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314 - our own
    found = bars(picture)
    assert list(found) == ["start", "preflight", "copy", "restore", "verify", "end", "load", "keys"]
    zero, second = found["start"][0], found["preflight"][0] - found["start"][0]
    for run in (ours, limit):
        for name, stage in run.stages.items():
            wanted = (zero + stage.began * second, zero + (stage.began + stage.seconds) * second)
            assert found[name] == pytest.approx(wanted, abs=0.2), name
    assert found["end"][1] == pytest.approx(zero + 10 * second, abs=0.2)


def test_without_measurements_there_is_still_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first session every part says that there is none, and so do the plots; with one of few, they work."""
    monkeypatch.setattr(page, "sessions", lambda: results.sessions(tmp_path))
    monkeypatch.setattr(refresh, "sessions", partial(refresh.sessions, tmp_path / "refresh"))
    monkeypatch.setattr(rollback, "kept", partial(rollback.kept, tmp_path / "rollback"))
    for part in (*page.PARTS.values(), *page.DRAWINGS.values()):
        assert "othing was measured yet" in part()
    results.save(session(entry("migrator", overlapping(10.0, preflight=2.0, copy=8.0, verify=6.0))), tmp_path)
    assert "preflight at 1.00 for 2.00, copy at 3.00 for 5.60" in page.measured()
    assert "whole job / limit" not in page.measured()
    assert all(part() for part in (*page.PARTS.values(), *page.DRAWINGS.values()))


def test_the_overhead_of_a_table_is_what_the_limit_does_not_need() -> None:
    """Of many tables the difference is told, in milliseconds a table."""
    many = session(entry("migrator", Run(5.0, 0)), entry("limit", Run(1.0, 0)), shape="many", tables=2000)
    (overhead,) = [figure for figure in figures.of_session(many) if "per table" in figure.name]
    assert overhead.value == pytest.approx(2.0)
    assert overhead.unit == " ms"


def test_growth_is_the_cost_of_a_row() -> None:
    """Ten times the rows in eleven times the time cost 1.1 a row."""
    few, many = (session(entry("migrator", Run(s, 0)), rows=r) for s, r in ((1.0, 1000), (11.0, 10_000)))
    (growth,) = figures.of_growth(few, many)
    assert growth.value == pytest.approx(1.1)


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    """A session that was saved is read as it was."""
    stages = {"copy": Stage(0.5, 0.25, 0.75), "restore": Stage(0.6, 0.25)}
    kept = session(entry("migrator", Run(1.0, 0, 5, stages, "", ("wrong",), 4)), entry("limit"))
    results.save(kept, tmp_path)
    assert results.sessions(tmp_path) == [kept]
