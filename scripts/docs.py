#!/usr/bin/env python3
"""
Writes the parts of the documentation that are known better elsewhere: settings, errors, commands, and measurements.

    python scripts/docs.py           write them anew
    python scripts/docs.py --check   change nothing; exit 1 and name what is stale

A generated part stands between two comments, ``<!-- generated: NAME -->`` and ``<!-- end -->``; the rest of a page is
written by hand. Plots are files of their own. ``tests/repository/test_docs.py`` holds pages and plots to this.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import report_schema
from benchmark import page as benchmarks
from man_page import man_page
from pydantic.fields import FieldInfo

from migrator import engine, errors
from migrator.cli.arguments import default_of
from migrator.cli.commands import COMMANDS
from migrator.cli.main import BUG
from migrator.config.fields import Group, flag_of, option_info, variables_of
from migrator.config.settings import Settings
from migrator.errors import ExitCode, MigratorError
from migrator.events import Event
from migrator.ledger import schema
from migrator.monitoring.metrics_file import METRICS

ROOT: Final = Path(__file__).resolve().parents[1]
PART: Final = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

# Every code of the contract has its line here; one without stops this script.
MEANING: Final[dict[int, tuple[str, str]]] = {
    ExitCode.DONE: ("done and verified, or nothing left to do", ""),
    ExitCode.MISMATCH: ("verification found a difference", "no"),
    ExitCode.CONFIGURATION: ("usage or configuration; the server refused the password, the database or TLS", "no"),
    ExitCode.SOURCE: ("the source cannot be carried: missing, unreadable, damaged, changed, or values refused", "no"),
    ExitCode.TARGET: ("the target refuses: rows already there, a missing table, column or privilege", "no"),
    ExitCode.GAVE_UP: ("gave up waiting or retrying: server away, connection lost again and again", "yes"),
    ExitCode.NOT_COMPLETE: ("`status`: not complete: never begun, under way, interrupted, or rehearsed", ""),
    ExitCode.LAST_RUN_FAILED: ("`status`: the last run failed; what it printed says why, and what to do", ""),
    BUG: ("a bug in this program", "no"),
    ExitCode.SIGINT: ("stopped by SIGINT; the next run goes on from there", "yes"),
    ExitCode.SIGTERM: ("stopped by SIGTERM; the next run goes on from there", "yes"),
}


def pages() -> list[Path]:
    """Return every page of the documentation, generated parts or not."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def renewed(page: str) -> str:
    """Return the text of a page with its generated parts as the code has them; raises KeyError for a strange name."""
    return PART.sub(lambda match: f"{match[1]}\n{PARTS[match['name']]()}\n{match[3]}", page)


def plots() -> dict[Path, str]:
    """Return every plot with what it is to be."""
    return {ROOT / name: draw() for name, draw in benchmarks.DRAWINGS.items()}


def files() -> dict[Path, str]:
    """Return every plot, the schema of the report and the manual page, with what it is to be."""
    meanings = {code: MEANING[code][0] for code in sorted({*map(int, ExitCode), BUG})}
    pages = {"report.schema.json": report_schema.text(), "migrator.1": man_page(meanings)}
    return {**plots(), **{ROOT / "docs" / name: text for name, text in pages.items()}}


def main(arguments: Sequence[str]) -> int:
    """Write the pages and plots that are stale, or with ``--check`` name them; return 1 if that found one."""
    fresh = {path: renewed(path.read_text(encoding="utf-8")) for path in pages()} | files()
    stale = [path for path, text in fresh.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if "--check" not in arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(fresh[path], encoding="utf-8")
        print(f"{'stale' if '--check' in arguments else 'written'}: {path.relative_to(ROOT)}")
    return 1 if stale and "--check" in arguments else 0


def exit_codes() -> str:
    """Return the contract, a line a code."""
    lines = [(f"{code:d}", *MEANING[code]) for code in sorted({*map(int, ExitCode), BUG})]
    return _table(("code", "meaning", "worth running again?"), lines)


def error_tree() -> str:
    """Return every error with its code and its promise."""
    lines = [(f"`{kind.__name__}`", f"{kind.exit_code:d}", _first_line(kind)) for kind in _kinds(MigratorError)]
    return _table(("error", "code", "meaning"), lines)


def settings() -> str:
    """Return a table of settings for each group."""
    return "\n".join(f"### {group}\n\n{_settings_of(group)}" for group in Group)


def application() -> str:
    """Return the settings of the application's side."""
    fields = engine.Settings.model_fields.items()
    lines = [(f"`{name}`", _code(field.default), field.description or "") for name, field in fields]
    return _table(("variable", "default", "meaning"), lines)


def commands() -> str:
    """Return the subcommands, with the groups of settings that each listens to."""
    lines = [
        (f"`migrator {name}`", command.summary, ", ".join(group.lower() for group in command.groups))
        for name, command in COMMANDS.items()
    ]
    return _table(("command", "what it does", "settings"), lines)


def events() -> str:
    """Return every word that stands under ``event``."""
    return _table(("event", "meaning"), [(f"`{event}`", event.meaning) for event in Event])


def metrics() -> str:
    """Return every metric of the metrics file."""
    return _table(("metric", "meaning"), [(f"`{name}`", meaning) for name, meaning in METRICS.items()])


def ledger_tables() -> str:
    """Return the ledger's tables with their columns."""
    lines = [
        (f"`{table.fullname}`", ", ".join(f"`{column.name}`" for column in table.columns), table.comment or "")
        for table in schema.metadata.sorted_tables
    ]
    return _table(("table", "columns", "note in the database"), lines)


def failure_modes() -> str:
    """Return what can break, from the tests that try it: their names, docstrings and places."""
    lines: list[tuple[str, str, str, str]] = []
    for path in sorted((ROOT / "tests" / "scenarios" / "failure_modes").glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            named = re.fullmatch(r"test_((?:[a-f]\d\d_)+)(\w+)", getattr(node, "name", ""))
            if named and isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
                numbers = ", ".join(number.upper() for number in named[1].split("_") if number)
                promise = _prose(" ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split()))
                lines.append((numbers, named[2].replace("_", " "), promise, f"`{path.name}::{node.name}`"))
    return _table(("number", "what breaks", "what the job does", "test"), sorted(lines))


def modules() -> str:
    """Return the packages, each with its modules and the first sentence of their docstrings."""
    package = ROOT / "migrator"
    folders = sorted({path.parent for path in package.rglob("*.py") if "versions" not in path.parts})
    return "\n".join(_modules_of(folder, package) for folder in folders)


PARTS: Final[dict[str, Callable[[], str]]] = {
    "exit-codes": exit_codes,
    "errors": error_tree,
    "settings": settings,
    "application": application,
    "commands": commands,
    "events": events,
    "metrics": metrics,
    "ledger": ledger_tables,
    "failure-modes": failure_modes,
    "modules": modules,
    **benchmarks.PARTS,
}


def _modules_of(folder: Path, package: Path) -> str:
    files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    lines = [(f"`{path.relative_to(package)}`", _summary(path)) for path in files]
    name = folder.relative_to(package.parent)
    return f"**`{name}/`** {_summary(folder / '__init__.py')}\n\n" + _table(("module", "what it does"), lines)


def _summary(path: Path) -> str:
    """Return the first sentence of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(docstring.partition("\n\n")[0].split())
    return _prose(re.split(r"(?<=[.!?])\s", first, maxsplit=1)[0].replace("``", "`"))


def _settings_of(group: Group) -> str:
    fields = [(name, field) for name, field in Settings.model_fields.items() if option_info(field).group == group]
    lines = [
        (_variables(name, field), _flags(name, field), _default(field), _prose(field.description or ""))
        for name, field in fields
    ]
    return _table(("variable", "flag", "default", "meaning"), lines)


def _variables(name: str, field: FieldInfo) -> str:
    first, *others = variables_of(name, field)
    in_file = [f"{first}_FILE"] if option_info(field).in_file else []
    return ", ".join(f"`{variable}`" for variable in (first, *in_file, *others))


def _flags(name: str, field: FieldInfo) -> str:
    """Return the flags with what they accept, where that is a closed list."""
    if option_info(field).no_flag:
        return "none"
    accepted = Settings.model_json_schema(by_alias=False)["properties"][name]
    choices: list[str] = next((kind["enum"] for kind in (accepted, *accepted.get("anyOf", ())) if "enum" in kind), [])
    flags = ", ".join(f"`{flag}`" for flag in (flag_of(name), *option_info(field).flags))
    if accepted.get("type") == "boolean":
        return f"{flags}, `--no-{flag_of(name).removeprefix('--')}`"
    return flags + (" " + " \\| ".join(choices) if choices else "")


def _kinds(kind: type[MigratorError]) -> Iterator[type[MigratorError]]:
    """Yield the errors below ``kind`` in the order in which ``errors.py`` has them."""
    members = inspect.getmembers(errors, lambda member: inspect.isclass(member) and issubclass(member, kind))
    found = [member for _, member in members if member is not kind]
    yield from sorted(found, key=lambda member: inspect.getsourcelines(member)[1])


def _default(field: FieldInfo) -> str:
    return option_info(field).shown_default or _code(default_of(field))


def _prose(text: str) -> str:
    """Keep Markdown from reading signs into a sentence that has none."""
    return text.replace("*", "\\*").replace("|", "\\|")


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0].replace("``", "`")


def _code(value: object) -> str:
    return f"`{value}`" if value not in {None, ""} else ""


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
