"""The documentation: what it says about the code is what the code says, and what it tells people to run, runs."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from jsonschema import Draft202012Validator

from migrator.cli.arguments import Parser, add_settings
from migrator.cli.commands import COMMANDS
from migrator.cli.main import BUG
from migrator.config.fields import flag_of, option_info, variables_of
from migrator.config.settings import Settings
from migrator.demo.dryad.models import Base
from migrator.engine import Settings as ApplicationSettings
from migrator.errors import ExitCode
from migrator.events import Event
from migrator.ledger import schema

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "deployment" / "POSTGRESQL_MIGRATION.md"
ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
TUNED = ("idx_users_email", "idx_conversations_user_id", "idx_messages_conversation_id")


def scripts_docs() -> ModuleType:
    """Load scripts/docs.py, which is a program and in no package."""
    spec = importlib.util.spec_from_file_location("scripts_docs", ROOT / "scripts" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DOCS = scripts_docs()
PAGES: list[Path] = DOCS.pages()
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def read(path: Path) -> str:
    """Return a page's text."""
    return path.read_text(encoding="utf-8")


def blocks(page: Path, kind: str) -> list[str]:
    """Return the fenced blocks of one kind."""
    return [match["text"] for match in BLOCK.finditer(read(page)) if match["kind"] == kind]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return BLOCK.sub("", read(page))


# --- Generated parts --------------------------------------------------------------------------------------------------


@EVERY_PAGE
def test_generated_parts_are_fresh(page: Path) -> None:
    """What is generated from the code is what the code says now; `python scripts/docs.py` writes it anew."""
    assert read(page) == DOCS.renewed(read(page))


def test_plots_are_fresh() -> None:
    """Each plot is what the kept results say; `python scripts/docs.py` draws it anew, and a page shows it."""
    plots: dict[Path, str] = DOCS.plots()
    assert plots
    for path, drawn in plots.items():
        assert read(path) == drawn
        assert any(f"({path.relative_to(page.parent)})" in read(page) for page in PAGES if page.parent in path.parents)


def test_the_schema_of_the_report_is_fresh() -> None:
    """It is what the classes of the report say, and JSON schema of the draft that it names."""
    [schema] = [path for path in DOCS.files() if path.name == "report.schema.json"]
    assert read(schema) == DOCS.files()[schema]
    Draft202012Validator.check_schema(json.loads(read(schema)))


def test_every_part_is_on_a_page() -> None:
    """Each part that can be generated stands somewhere, so nothing that has to be documented is left out."""
    used = {match["name"] for page in PAGES for match in DOCS.PART.finditer(read(page))}
    assert used == set(DOCS.PARTS)


def test_a_stale_part_is_noticed() -> None:
    """A changed default in a generated table is put right."""
    fresh = read(ROOT / "docs" / "reference" / "configuration.md")
    stale = fresh.replace("`5432`", "`5433`")
    assert stale != fresh
    assert DOCS.renewed(stale) == fresh


def test_every_setting_has_its_line() -> None:
    """docs/reference/configuration.md names every variable and every flag there is."""
    text = read(ROOT / "docs" / "reference" / "configuration.md")
    for name, field in Settings.model_fields.items():
        assert all(f"`{variable}`" in text for variable in variables_of(name, field))
        assert f"`{flag_of(name)}`" in text or option_info(field).no_flag
    assert all(f"`{name}`" in text for name in ApplicationSettings.model_fields)


def test_every_word_of_the_log_is_said() -> None:
    """An event that is documented is logged somewhere: whoever waits for it would wait in vain."""
    code = "".join(read(path) for path in (ROOT / "migrator").rglob("*.py"))
    assert [event.name for event in Event if f"Event.{event.name}" not in code] == []


# --- What pages say by hand -------------------------------------------------------------------------------------------


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file of the repository, and a heading in it if it has a fragment."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


def anchors(page: Path) -> set[str]:
    """Return the fragments that headings of a page get."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@EVERY_PAGE
def test_variables_exist(page: Path) -> None:
    """A variable that a page names is one of ours, of the compose files, or of the tests."""
    known = set(ApplicationSettings.model_fields) | {"MIGRATOR_TEST_POSTGRES_URL", "MIGRATOR_APPLICATIONS_HOME"}
    known |= set(re.findall(r"^(\w+)=", read(ROOT / ".env.example"), re.MULTILINE))
    for name, field in Settings.model_fields.items():
        known |= {f"{variable}{end}" for variable in variables_of(name, field) for end in ("", "_FILE")}
    assert set(re.findall(r"\b(?:MIGRATOR|POSTGRES)_[A-Z_]*[A-Z]\b", read(page))) <= known


@EVERY_PAGE
def test_paths_exist(page: Path) -> None:
    """A path that a page names in code marks, below one of the repository's folders, is there."""
    named = re.findall(r"`((?:migrator|scripts|tests|docs|requirements)/[\w./-]+)`", prose(page))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_module_is_in_the_architecture() -> None:
    """The page about the architecture names every module under migrator/: the picture of the house is the house."""
    text = read(ARCHITECTURE)
    modules = [path.relative_to(ROOT / "migrator") for path in (ROOT / "migrator").rglob("*.py")]
    named = [path for path in modules if "versions" not in path.parts and path.name != "__init__.py"]
    assert named
    assert [str(path) for path in named if f"`{path}`" not in text] == []


def test_no_module_of_the_architecture_is_gone() -> None:
    """A module in the tables of docs/explanation/architecture.md exists."""
    named = re.findall(r"^\| `([\w/]+\.py)`", read(ARCHITECTURE), re.MULTILINE)
    assert named
    assert [name for name in named if not (ROOT / "migrator" / name).exists()] == []


def stages_of_the_job() -> list[str]:
    """Return the stages in the order in which ``job/run.py`` and ``job/migrate.py`` run them."""
    run = read(ROOT / "migrator" / "job" / "run.py")
    return re.findall(r"\b(?:runner|stage)\(\s*\"(\w+)\"", run + read(ROOT / "migrator" / "job" / "migrate.py"))


def test_stages_are_numbered_as_they_run() -> None:
    """The numbered stages of the architecture are those of the job, in its order, and each has its file."""
    numbered = re.findall(r"^ *(\d+)\.? +`?(\w+)`?(?: |$)", section(ARCHITECTURE, "The stages"), re.MULTILINE)
    assert [name for _, name in numbered] == stages_of_the_job()
    assert [int(number) for number, _ in numbered] == list(range(1, len(numbered) + 1))
    assert all((ROOT / "migrator" / "stages" / f"{name}.py").exists() for _, name in numbered)


def section(page: Path, heading: str) -> str:
    """Return what stands under a heading, up to the next of its kind."""
    _, found, rest = read(page).partition(f"## {heading}\n")
    assert found, heading
    return rest.partition("\n## ")[0]


def test_the_ledger_is_in_the_architecture() -> None:
    """Every table of the ledger is explained, with its columns."""
    text = read(ARCHITECTURE)
    for table in schema.metadata.sorted_tables:
        assert f"`{table.fullname}`" in text
        assert all(f"`{column.name}`" in text for column in table.columns)


def test_the_top_level_is_accounted_for() -> None:
    """CONTRIBUTING.md gives a reason for everything at the top level, and for nothing that isn't there."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    there = {path.partition("/")[0] for path in listed.split("\0") if path and (ROOT / path).exists()}
    named = re.findall(r"^\| `([^`/]+)/?`", section(ROOT / "CONTRIBUTING.md", "What is at the top level"), re.MULTILINE)
    assert set(named) == there


def test_kubernetes_gives_up_on_the_codes_that_time_cannot_heal() -> None:
    """The Job on the page of exit codes fails at once for each code that is not worth running again, and no other."""
    (job,) = [yaml.safe_load(text) for text in blocks(ROOT / "docs" / "reference" / "exit-codes.md", "yaml")]
    (final,) = [rule for rule in job["spec"]["podFailurePolicy"]["rules"] if rule["action"] == "FailJob"]
    assert final["onExitCodes"]["operator"] == "In"
    assert set(final["onExitCodes"]["values"]) == {code for code, (_, again) in DOCS.MEANING.items() if again == "no"}
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert set(DOCS.MEANING) == {*ExitCode, BUG}


# --- Commands ---------------------------------------------------------------------------------------------------------


def commands(script: str) -> Iterator[list[str]]:
    """Yield the words of every command in a script; here-documents are no commands."""
    script = re.sub(r"<<'(\w+)'\n.*?^\1$", "", script, flags=re.DOTALL | re.MULTILINE).replace("\\\n", " ")
    for line in script.splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words = words[1:]
        if words:
            yield words


def given(name: str) -> list[tuple[Path, list[str]]]:
    """Return every use of a program in the pages' shell blocks."""
    return [
        (page, words) for page in PAGES for text in blocks(page, "sh") for words in commands(text) if words[0] == name
    ]


def check_flags(words: list[str]) -> None:
    """See that ``migrator`` takes a subcommand with its flags."""
    parser = Parser(prog="migrator")
    parser.add_argument("--format")
    parser.add_argument("--version", action="store_true")
    if not words[0].startswith("-"):
        add_settings(parser, COMMANDS[words[0]].groups)
        words = words[1:]
    _, strangers = parser.parse_known_args(words)
    assert strangers == []


def services_of(compose_file: Path) -> set[str]:
    """Return the names of a compose file's services."""
    text = re.sub(r"\$\{\w+(?::-([^}]*))?\}", r"\1", read(compose_file))
    return set(yaml.safe_load(text)["services"])


TAKE_A_VALUE = {"--user", "-u", "--volume", "-v", "-e", "--entrypoint"}
"""Flags of `docker compose run` that stand before the service and are followed by a value."""
COMPOSE_VERBS = {"build", "cp", "down", "exec", "logs", "ps", "run", "stop", "up"}


def test_compose_commands_fit_the_compose_files() -> None:
    """Each `docker compose` names files that exist, a service in them, and what the service's program understands."""
    found = [words[2:] for _, words in given("docker") if words[1] == "compose"]
    assert found
    for words in found:
        files = [name for flag, name in pairwise(words) if flag == "-f"]
        services = {service for name in files for service in services_of(ROOT / name)}
        verb, *rest = words[2 * len(files) :]
        assert verb in COMPOSE_VERBS
        taken = {at + 1 for at, word in enumerate(rest) if word in TAKE_A_VALUE and verb == "run"}
        words_left = [word for at, word in enumerate(rest) if at not in taken]
        named = [word.partition(":")[0] for word in words_left if not word.startswith("-")]
        if verb == "cp":
            assert {place.partition(":")[0] for place in rest if ":" in place} <= services
            continue
        assert not named or named[0] in services, words
        if verb == "run" and named[0] == "migrator":
            check_flags(rest[rest.index("migrator") + 1 :])


def test_docker_commands_hand_over_settings_that_exist() -> None:
    """`docker run -e NAME` names a setting, and `docker build -f` a file."""
    found = [words for _, words in given("docker") if words[1] in {"run", "build"}]
    assert {words[1] for words in found} == {"run", "build"}
    known = {v for name, field in Settings.model_fields.items() for v in variables_of(name, field)}
    for words in found:
        handed = [words[at + 1].partition("=")[0] for at, word in enumerate(words) if word == "-e"]
        assert {name.removesuffix("_FILE") for name in handed} <= known | {"PYTHONPATH"}
        files = [words[at + 1] for at, word in enumerate(words) if word == "-f"]
        assert all((ROOT / name).is_file() for name in files)


def test_the_front_doors_are_scripts() -> None:
    """A script that a page runs from the checkout is there and may be run."""
    found = {words[0] for page in PAGES for text in blocks(page, "sh") for words in commands(text)}
    doors = {word for word in found if word.startswith("./scripts/")}
    assert {"./scripts/demo.sh", "./scripts/test.sh", "./scripts/setup.sh"} <= doors
    assert all(os.access(ROOT / door, os.X_OK) for door in doors)


def test_the_guide_names_the_indexes_of_the_schema() -> None:
    """The indexes of the tuning section are made by Dryad's models."""
    made = {index.name for table in Base.metadata.tables.values() for index in table.indexes}
    assert set(TUNED) <= made
    assert all(f"`{name}`" in section(GUIDE, "11. Tuning") for name in TUNED)


def test_every_way_to_end_with_0_has_a_test_that_exists() -> None:
    """The table names a test for each, every command has a line, and no name has outlived its test."""
    page = read(ROOT / "docs" / "reference" / "exit-codes.md")
    _, _, section = page.partition("## Every way to end with 0\n")
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    named = {line: re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", line) for line in lines}
    assert all(named.values()), [line for line, tests in named.items() if not tests]
    for path, test in {one for tests in named.values() for one in tests}:
        assert re.search(rf"^(?:async )?def {test}\(", read(ROOT / path), re.MULTILINE), f"{path}::{test}"
    assert set(COMMANDS) == set(re.findall(r"^\| `(\w+)", section.partition("\n## ")[0], re.MULTILINE))


# --- Words and lines --------------------------------------------------------------------------------------------------

OLD_WORDS = re.compile(
    r"\b(pieces?|stretch(?:es)?|crew|strangers?|culprits?|verdicts?|survey(?:s|ed)?|lanes?|handover|partners?"
    r"|remarks?|twins|breach(?:es)?|NoPartner|likeness|blueprint|both_ends|closer_look|alembic_runner|a hand"
    r"|(?:its|their|the|\*J\*) hands)\b",
    re.IGNORECASE,
)
"""Terms that docs/glossary.md has others for, and names of modules that are gone."""
LONGEST_LINE = 120


def terms() -> list[str]:
    """Return the terms of the glossary in their order."""
    return re.findall(r"^\| (?!term \||---)([^|]+?) \|", read(ROOT / "docs" / "glossary.md"), re.MULTILINE)


def test_the_glossary_is_sorted_and_each_term_is_there_once() -> None:
    """A term is found by its first letter, and has one meaning."""
    assert terms()
    assert terms() == sorted(set(terms()), key=str.casefold)


@EVERY_PAGE
def test_a_page_uses_the_terms_of_the_glossary(page: Path) -> None:
    """A word that the glossary has replaced doesn't come back; generated parts follow the code, commands are quoted."""
    text = re.sub(r"`[^`]*`", "", DOCS.PART.sub("", prose(page)))
    assert OLD_WORDS.findall(text) == []


@EVERY_PAGE
def test_lines_are_short(page: Path) -> None:
    """A line fits into an editor's window, but for tables, which Markdown can't break."""
    lines = DOCS.PART.sub("", read(page)).splitlines()
    assert [line for line in lines if len(line) > LONGEST_LINE and not line.startswith("|")] == []
