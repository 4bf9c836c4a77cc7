#!/usr/bin/env python3
"""
Prints every message of the program as one text: errors, next steps, findings and events, package by package.

    python scripts/messages.py                     print them all
    python scripts/messages.py stages ledger       print those of some packages
    python scripts/messages.py --kind next_step    print one kind

The script reads the sources and runs nothing of them. A value that is filled in stands in braces, a call that makes a
part of the text in angle brackets. ``tests/repository/test_messages.py`` holds next steps to their form.
"""

import argparse
import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "migrator"
KINDS: Final = ("error", "next_step", "event", "problem", "log")
_LOGS: Final = {"debug", "info", "warning", "error", "exception"}
_NO_MESSAGE: Final = {"Enum", "StrEnum", "IntEnum", "KeyError", "SystemExit", "StopIteration"}
_SQL: Final = re.compile(r"typeof\(|json_valid\(|\bCOLLATE\b \w+ IN|\bIS (NOT )?NULL$|\} < ''")


@dataclass(frozen=True, slots=True)
class Message:
    """One text that the program can show: where it stands, what kind it is, and its words."""

    path: str
    line: int
    kind: str
    text: str

    @property
    def package(self) -> str:
        """The package that it belongs to; empty at the top."""
        return self.path.rpartition("/")[0].partition("/")[0]


def messages(root: Path = PACKAGE) -> list[Message]:
    """Return every message below a folder, sorted by package, module and line."""
    found = [message for path in sorted(root.rglob("*.py")) for message in _of_module(path, root)]
    return sorted(found, key=lambda message: (message.package, message.path, message.line, message.kind))


def next_steps() -> list[Message]:
    """Return every next step whose first words are written out in the code."""
    return [message for message in messages() if message.kind == "next_step"]


def _of_module(path: Path, root: Path) -> Iterator[Message]:
    """Yield the messages of one module; each place of the code counts once."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = _Names(_error_names(tree), _step_names(tree), _records(tree))
    seen: set[tuple[int, str]] = set()
    for node in ast.walk(tree):
        for kind, expression in _of_node(node, names):
            for line, text in _texts(expression):
                if (line, text) not in seen and not (kind == "problem" and _SQL.search(text)):
                    seen.add((line, text))
                    yield Message(str(path.relative_to(root)), line, kind, text)


@dataclass(frozen=True, slots=True)
class _Names:
    """What a module calls its errors, its next steps, and the records that hold the fields of an error."""

    errors: set[str]
    steps: set[str]
    records: dict[str, list[str]]


def _of_node(node: ast.AST, names: _Names) -> Iterator[tuple[str, ast.expr]]:
    """Yield the kind and the expression of each message that one node of the tree carries."""
    match node:
        case ast.Call():
            yield from _of_call(node, names)
        case ast.Assign() if any(_name_of(target) in names.steps for target in node.targets):
            yield "next_step", node.value
        case ast.ClassDef() if any(_name_of(base) in _NO_MESSAGE for base in node.bases):
            for statement in node.body:
                if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Tuple):
                    yield "event", statement.value


def _of_call(node: ast.Call, names: _Names) -> Iterator[tuple[str, ast.expr]]:
    """Yield the messages among the arguments of a call: of an error, a problem, a line of the log, or a record."""
    called = _name_of(node.func)
    is_log = isinstance(node.func, ast.Attribute) and called in _LOGS
    if called in names.errors:
        yield from (("error", argument) for argument in node.args[:1])
    elif called == "Problem":
        yield from (("problem", argument) for argument in node.args)
    elif called in names.records:
        for field, argument in zip(names.records[called], node.args, strict=False):
            yield ("next_step" if field == "next_step" else "error"), argument
    for keyword in node.keywords:
        if keyword.arg == "next_step":
            yield "next_step", keyword.value
        elif keyword.arg in {"reason", "message", "what", "text"}:
            yield ("log" if is_log else "problem"), keyword.value


def _records(tree: ast.Module) -> dict[str, list[str]]:
    """Return the classes of a module that have a field ``next_step``, each with its fields in their order."""
    fields = {
        node.name: [_name_of(statement.target) for statement in node.body if isinstance(statement, ast.AnnAssign)]
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    return {name: order for name, order in fields.items() if "next_step" in order}


def _error_names(tree: ast.Module) -> set[str]:
    """Return the names by which a module makes errors: those that it raises, and those of the tree of errors."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "migrator.errors"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            names.add(_name_of(node.exc.func))
    return names - _NO_MESSAGE


def _step_names(tree: ast.Module) -> set[str]:
    """Return the names of the variables that a module hands over as a next step."""
    return {"next_step"} | {
        keyword.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "next_step" and isinstance(keyword.value, ast.Name)
    }


def _name_of(node: ast.expr) -> str:
    """Return the last name of a dotted one; empty for any other expression."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _texts(node: ast.expr) -> Iterator[tuple[int, str]]:
    """Yield each text that an expression can become, with its line; an expression without words of its own has none."""
    match node:
        case ast.IfExp():
            yield from _texts(node.body)
            yield from _texts(node.orelse)
        case ast.BoolOp():
            for value in node.values:
                yield from _texts(value)
        case ast.Tuple(elts=[ast.Constant(value=str(word)), ast.Constant(value=str(meaning))]):
            yield node.lineno, f"{word}: {meaning}"
        case ast.Tuple():
            for value in node.elts:
                yield from _texts(value)
        case ast.Constant() | ast.JoinedStr() | ast.BinOp():
            text = _spelled(node)
            if any(character.isalpha() for character in text.replace("{…}", "")):
                yield node.lineno, text


def _spelled(node: ast.expr) -> str:
    """Return a text with what is filled in as its source in braces."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr():
            return "".join(map(_spelled, node.values))
        case ast.FormattedValue():
            return "{" + ast.unparse(node.value) + "}"
        case ast.BinOp(op=ast.Add()):
            return _spelled(node.left) + _spelled(node.right)
        case ast.Constant():
            return ""
    return f"<{ast.unparse(node)}>"


def _chosen(found: Iterable[Message], packages: list[str], kind: str | None) -> Iterator[Message]:
    """Yield the messages that the command line asks for."""
    for message in found:
        if (not packages or message.package in packages) and kind in {None, message.kind}:
            yield message


def main() -> None:
    """Print the messages, a heading for each package and each module."""
    parser = argparse.ArgumentParser(description="Print every message of the program as one text.")
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="only these packages of migrator/")
    parser.add_argument("--kind", choices=KINDS, help="only this kind of message")
    options = parser.parse_args()
    package = path = None
    for message in _chosen(messages(), options.packages, options.kind):
        if message.package != package:
            package = message.package
            print(f"\n=== migrator/{package}")
        if message.path != path:
            path = message.path
            print(f"\n{path}")
        print(f"  {message.line:>4}  {message.kind:<9}  {message.text}")


if __name__ == "__main__":
    main()
