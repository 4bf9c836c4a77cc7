"""Reports of real commands, however they end: JSON that fits its schema, a page that a browser shows well, JUnit."""

import asyncio
import json
import signal
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from fix_browser import Browser, Window
from fix_job import ROOT, Cli, quick_flags, until
from fix_postgres import Database
from fix_sqlite import MakeSqlite
from jsonschema import Draft202012Validator

pytestmark = pytest.mark.one_server

SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
SECRET = "<img src=x onerror=alert(1)>"
TABLES = """
    CREATE TABLE "<script>" (id INTEGER PRIMARY KEY, note TEXT);
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, created INTEGER);
    CREATE TABLE message (id INTEGER PRIMARY KEY, body TEXT);
    CREATE TABLE logs (id INTEGER PRIMARY KEY, line TEXT);
"""
TARGET = """
    CREATE TABLE "<script>" (id int PRIMARY KEY, note text);
    CREATE TABLE users (id int PRIMARY KEY, name text, created timestamptz);
    CREATE TABLE message (id int PRIMARY KEY, body text)
"""
RULES = '[columns."users.created"]\nepoch = "ms"\n[tables.message]\nwhere = "id > 1"\n[tables.logs]\nexclude = true\n'


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without the room that it leaves for later fields."""
    made = deepcopy(schema)
    for kind in (made, *made["$defs"].values()):
        kind["additionalProperties"] = False
    return made


def refuse_unfit(report: dict[str, Any]) -> None:
    """Fail with all that a report has against its schema."""
    complaints = [
        f"{list(error.path)}: {error.message}" for error in Draft202012Validator(strict(SCHEMA)).iter_errors(report)
    ]
    assert complaints == []


def sum_of_cases(suite: ET.Element, kind: str) -> int:
    """Return how many cases of a suite ended in a way."""
    return sum(case.find(kind) is not None for case in suite.iter("testcase"))


@dataclass(frozen=True)
class Reported:
    """The three reports of one command."""

    code: int
    report: dict[str, Any]
    page: Path
    junit: ET.Element

    def case(self, suite: str, name: str) -> ET.Element:
        """Return a case of JUnit."""
        [found] = self.junit.findall(f"testsuite[@name='{suite}']/testcase[@name='{name}']")
        return found


class Reporting:
    """Runs commands that write all three reports, and looks at what each report must hold."""

    def __init__(self, cli: Cli, database: Database, folder: Path) -> None:
        """Write into ``folder``."""
        self.cli, self.database, self.folder = cli, database, folder

    def files(self, name: str) -> list[Path]:
        """Return the files of the reports."""
        return [self.folder / f"{name}{suffix}" for suffix in (".json", ".html", ".xml")]

    def read(self, name: str, code: int) -> Reported:
        """Read the reports, which have to be whole, private and right in their form."""
        json_file, page, junit = self.files(name)
        assert all(file.stat().st_mode & 0o777 == 0o600 for file in self.files(name))
        report = json.loads(json_file.read_text(encoding="utf-8"))
        refuse_unfit(report)
        assert report["exit_code"] == code
        assert self.database.password not in "".join(file.read_text(encoding="utf-8") for file in self.files(name))
        root = ET.parse(junit).getroot()  # noqa: S314 - our own file
        assert root.tag == "testsuites"
        for counted in (root, *root):
            kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
            assert {word: int(counted.attrib[word]) for word in kinds} == {
                word: sum_of_cases(counted, kind) for word, kind in kinds.items()
            }
            assert int(counted.attrib["tests"]) == sum(1 for _ in counted.iter("testcase"))
        assert (sum_of_cases(root, "failure") + sum_of_cases(root, "error") == 0) == (code == 0)
        return Reported(code, report, page, root)

    def __call__(self, name: str, command: str, *flags: object) -> Reported:
        """Run a command, and read its reports."""
        reports = [word for file in self.files(name) for word in ("--report", file)]
        ended = self.cli(command, *flags, *reports, *quick_flags(), MIGRATOR_TARGET_URL=self.database.url)
        return self.read(name, ended.code)


@pytest.fixture
def reporting(cli: Cli, database: Database, tmp_path: Path) -> Reporting:
    """Give what runs commands with reports."""
    return Reporting(cli, database, tmp_path)


@pytest.fixture
def source(make_sqlite: MakeSqlite, tmp_path: Path) -> Path:
    """Give a source that the rules carry, with names and values that are markup."""
    (tmp_path / "rules.toml").write_text(RULES)
    return make_sqlite(
        TABLES,
        {
            "<script>": [(1, SECRET), (2, "&amp;\x0b]]>")],
            "users": [(n, f"name {n}", 1_700_000_000_000 + n) for n in range(50)],
            "message": [(n, "x" * 100) for n in range(300)],
            "logs": [(1, "kept at home")],
        },
    )


async def test_reports_of_every_outcome(source: Path, database: Database, reporting: Reporting, tmp_path: Path) -> None:
    """A refusal, a success, a check, a repetition, an equal and a different comparison: one source, in this order."""
    await database.execute(TARGET)
    move = ("--source", source, "--schema", "existing", "--exclude", "logs")
    ruled = ("--source", source, "--schema", "existing", "--rules", tmp_path / "rules.toml")

    refused = reporting("refused", "run", *move)
    [finding] = refused.report["findings"]
    assert (finding["table"], finding["column"], finding["refuses"], finding["rows"]) == ("users", "created", True, 50)
    assert 'epoch = "ms"' in refused.report["settled_by"]["rules"]
    assert {table["table"]: table["preflight"] for table in refused.report["tables"]} == {
        "public.users": "refused",
        "public.<script>": "passed",
        "public.message": "passed",
    }
    assert [stage["stage"] for stage in refused.report["stages"] if stage["state"] == "failed"] == ["preflight"]
    failure = refused.case("preflight", "public.users").find("failure")
    assert failure is not None
    assert "1700000000000" in (failure.text or "")

    masked = reporting("masked", "check", *move, "--mask-values")
    texts = "".join(file.read_text() for file in reporting.files("masked"))
    assert masked.report["outcome"] == "refused"
    assert "1700000000000" not in texts

    looked = reporting("check", "check", *ruled).report
    assert [table["preflight"] for table in looked["tables"]] == ["passed"] * 3

    done = reporting("done", "run", *ruled)
    assert (done.report["outcome"], done.report["rows"], done.report["migration"]) == ("done", 350, "public")
    [table] = [table for table in done.report["tables"] if table["table"] == "public.message"]
    assert (table["source_rows"], table["target_rows"], table["left_behind"]) == (298, 298, 2)
    assert (table["comparison"], table["preflight"]) == ("equal", "passed")
    assert table["bytes"] > 0
    assert int(table["digest"], 16)
    assert table["copy_started_at"] <= table["copied_at"] <= table["verified_at"]
    assert {(rule["table"], rule["effect"], rule["rows"]) for rule in done.report["rules"]} == {
        ("users", "rewritten", 50),
        ("message", "left behind", 2),
    }
    assert done.report["skipped"] == [{"name": "logs", "reason": "excluded"}]
    assert done.report["versions"]["postgresql"].split(".")[0].isdigit()
    assert done.report["source"]["bytes"] == (await asyncio.to_thread(source.stat)).st_size
    assert [stage["stage"] for stage in done.report["stages"] if stage["state"] != "done"] == []
    page = done.page.read_text(encoding="utf-8")
    assert ("public.&lt;script&gt;" in page, "<script" in page, "kept at home" in page) == (True, False, False)

    assert reporting("again", "run", *ruled).report["message"] == "already migrated and verified: nothing to do"
    compared = ("--source", source, "--rules", tmp_path / "rules.toml")
    equal = reporting("equal", "verify", *compared).report
    assert [table["comparison"] for table in equal["tables"]] == ["equal"] * 3
    assert reporting("status", "status").report["rows"] == 350

    await database.execute("UPDATE \"<script>\" SET note = 'other' WHERE id = 1")
    different = reporting("different", "verify", *compared)
    assert different.report["outcome"] == "different"
    [entry] = different.report["differences"]
    assert (entry["table"], entry["columns"]) == ("public.<script>", {"note": 1})
    assert different.case("verification", "public.<script>").find("failure") is not None
    assert different.case("verification", "public.users").find("failure") is None
    assert "onerror" in (page := different.page.read_text(encoding="utf-8"))
    assert SECRET not in page


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_a_run_that_is_ended_and_resumed(
    number: signal.Signals, make_sqlite: MakeSqlite, database: Database, reporting: Reporting
) -> None:
    """Its report says so and is whole; that of the next run knows the tables that the first has copied."""
    rows = [(n, "x" * 500) for n in range(8000)]
    names = [f"t{n}" for n in range(4)]
    made = "".join(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, t TEXT);" for name in names)
    source = make_sqlite(made, dict.fromkeys(names, rows))
    await database.execute("".join(f"CREATE TABLE {name} (id int PRIMARY KEY, t text);" for name in names))
    flags = ("--source", source, "--schema", "existing", "--jobs", 1, "--chunk-bytes", "1MB")
    reports = [word for file in reporting.files("first") for word in ("--report", file)]
    process = reporting.cli.start("run", *flags, *reports, *quick_flags(), MIGRATOR_TARGET_URL=database.url)
    until(lambda event: event["event"] == "table.copied", process)
    process.send_signal(number)
    process.communicate(timeout=60)
    if number == signal.SIGTERM:
        first = reporting.read("first", 143)
        assert (first.report["outcome"], first.report["facts"]["signal"]) == ("stopped", "SIGTERM")
        assert [table for table in first.report["tables"] if table["copied_at"]]
        assert {"copy"} <= {stage["stage"] for stage in first.report["stages"] if stage["state"] != "done"}
    else:
        report = json.loads(reporting.files("first")[0].read_text())
        refuse_unfit(report)
        assert (report["outcome"], report["exit_code"]) == ("unfinished", None)
    second = reporting("second", "run", *flags)
    assert {table["comparison"] for table in second.report["tables"]} == {"equal"}
    assert second.report["rows"] == 4 * len(rows)
    earlier = [table for table in second.report["tables"] if table["copy_started_at"] is None]
    assert earlier
    assert all(table["bytes"] > 0 and table["preflight"] == "not checked" for table in earlier)


@pytest.mark.parametrize("suffix", ["", ".pdf", ".json.gz"])
def test_another_suffix_is_refused(suffix: str, reporting: Reporting, tmp_path: Path) -> None:
    """Before the work begins, and with what to do; the reports that can be written say so."""
    page = tmp_path / "report.html"
    reports = f"{page},{tmp_path}/report{suffix}"
    ended = reporting.cli("status", "--report", reports, MIGRATOR_TARGET_URL=reporting.database.url)
    assert ended.code == 2
    assert f"report{suffix}" in ended.message
    assert ".html (for people)" in ended.failure["next_step"]
    assert "Refused" in page.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [page]


def test_a_wrong_setting_is_reported(reporting: Reporting) -> None:
    """Where nothing else is known yet, either."""
    reports = ",".join(map(str, reporting.files("wrong")))
    assert reporting.cli("run", "--jobs", "many", MIGRATOR_REPORT=reports).code == 2
    wrong = reporting.read("wrong", 2)
    assert "MIGRATOR_JOBS" in wrong.report["message"]
    assert (wrong.report["command"], wrong.report["tables"], wrong.report["source"]) == ("run", [], None)


WINDOWS = [
    Window(width, height, colours) for width, height in ((1280, 900), (390, 844)) for colours in ("light", "dark")
]
PARTS = "[...document.querySelectorAll('body *')].filter(part => !part.closest('.frame') || part.matches('.frame'))"
TOO_WIDE = f"{PARTS}.filter(part => part.getBoundingClientRect().right > innerWidth + 0.5).map(part => part.outerHTML)"
FAINT = """
(() => {
    const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(part => part / 255)
            .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = part => {
        for (let at = part; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!/, 0\\)$/.test(colour)) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    return [...document.querySelectorAll("body *")].filter(part => part.textContent.trim() && !part.closest("svg"))
        .map(part => [light(getComputedStyle(part).color), light(ground(part)), part.outerHTML])
        .filter(([ink, ground]) => (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05) < 4.5)
        .map(([, , html]) => html.slice(0, 100));
})()
"""


async def test_the_page_in_a_browser(
    browser: Browser, source: Path, database: Database, reporting: Reporting, tmp_path: Path
) -> None:
    """
    On a desktop and on a phone, light and dark: nothing overflows, nothing is faint, and the outcome is seen at once.

    The browser says of no error, and asks for nothing from the network. The pictures are in pytest's folder.
    """
    await database.execute(TARGET)
    pages = [
        reporting("refused", "run", "--source", source, "--schema", "existing", "--exclude", "logs").page,
        reporting("done", "run", "--source", source, "--schema", "existing", "--rules", tmp_path / "rules.toml").page,
    ]
    for file in pages:
        for window in WINDOWS:
            page = browser.open(file, window)
            page.picture(tmp_path / f"{file.stem}-{window.width}-{window.colours}.png")
            assert page.measure("[document.documentElement.scrollWidth, innerWidth]") == [window.width, window.width]
            assert page.measure(TOO_WIDE) == []
            assert page.measure(FAINT) == []
            assert page.measure("document.querySelector('header').getBoundingClientRect().bottom") < window.height
            assert page.measure("document.scripts.length") == 0
            assert page.measure("[...document.querySelectorAll('table')].every(t => t.querySelector('th[scope]'))")
            dark = page.measure("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
            assert dark == (window.colours == "dark")
            assert page.complaints() == []
        assert (tmp_path / f"{file.stem}-390-dark.png").read_bytes().startswith(b"\x89PNG")
