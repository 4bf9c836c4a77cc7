"""
Writes a rules file that settles a refusal: a section for each finding, with all that fits as comments.

A file that is there already keeps its rules and its comments. New sections are added at its end, and lines for a
section that it has are added to that section. The text that results is read again and compared with what it has to say,
so that a file in an unexpected form is refused instead of spoiled.
"""

import json
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from migrator.errors import ConfigurationError
from migrator.findings.rule_words import words_of
from migrator.runtime.settlement import LISTS, NO_LINE, MergedSection, Settlement, joined, merged
from migrator.runtime.wording import printable

_WIDTH: Final = 100
"""The width of comments, in columns."""

HEADER: Final = (
    "Rules for the migration from SQLite to PostgreSQL, written by `migrator check --write-rules`.\n\n"
    "Each section is about one finding. Its lines settle the finding; a line behind a sign # settles it in another "
    "way: to choose that, take the sign away and put one before the other line. Every line was tried on the values "
    "that are there. But a rule decides about data, and what the values mean only you can know: read each section "
    "before you run with this file. docs/reference/types.md describes each rule."
)


def with_settlement(before: str, settlement: Settlement) -> str:
    """
    Return the text of a rules file with what settles a refusal; ``before`` is the text that it has, which may be empty.

    Raises ConfigurationError if lines can't be added to a section that is there.
    """
    in_file = settlement.in_file()
    said = tomllib.loads(before)
    lines = (before.rstrip() or _comment(HEADER)).splitlines()
    for section in merged(in_file.sections):
        path = _path(section.name)
        known = _at(said, path)
        if not section.lines:
            _append(lines, [*_about(section), *_without_line(section)])
        elif known is None:
            _append(lines, [*_about(section), section.name, *_body(path, section.lines, section.others)])
            _at(said, path, make=True).update(_values(section.lines))
        else:
            new = [line for line in (_over(line, known) for line in section.lines) if _adds(line, known)]
            lines = _into(lines, section, new, known)
            known |= _values(new)
    _append(lines, list(_flags(in_file.flags)))
    text = "\n".join(lines) + "\n"
    if _parsed(text) != said:
        names = ", ".join(section.name for section in merged(in_file.sections) if section.lines)
        raise ConfigurationError(
            f"lines can't be added to the rules file, since it has a section in another form than these: {names}",
            next_step="Write each of these sections of the file with its name in a line of its own and a line for each "
            "rule, and check again.",
        )
    return text


# The text -------------------------------------------------------------------------------------------------------------


def _append(lines: list[str], added: Sequence[str]) -> None:
    """Add lines behind an empty one, unless the file has them already."""
    if added and "\n".join(added) not in "\n".join(lines):
        lines += ["", *added]


def _comment(text: str) -> str:
    wrap = partial(textwrap.wrap, width=_WIDTH, break_on_hyphens=False, break_long_words=False)
    paragraphs = (wrap(line) for line in text.split("\n"))
    return "\n".join(f"# {line}".rstrip() for wrapped in paragraphs for line in wrapped or [""])


def _about(section: MergedSection) -> Iterator[str]:
    for reason in section.about:
        yield from _comment(printable(reason)).splitlines()


def _without_line(section: MergedSection) -> Iterator[str]:
    """Yield the comments about a section of which no line settles everything by itself."""
    yield f"# {section.name}"
    yield from _others(section.others)


def _body(path: Sequence[str], lines: Sequence[str], others: Sequence[str]) -> Iterator[str]:
    """Yield lines of a section, each behind a comment that says what it does, and others as comments."""
    for line in lines:
        yield from _comment(f"{_key(line)}: {words_of(path[0] if path else '', _key(line))}").splitlines()
        yield line
    yield from _others(others)


def _others(others: Sequence[str]) -> Iterator[str]:
    for other in others:
        if other.startswith(NO_LINE):
            yield from _comment(f"No rule settles it: {other.removeprefix(NO_LINE)}").splitlines()
        else:
            yield f"# {other}"


def _flags(flags: Sequence[str]) -> Iterator[str]:
    """Yield the comments about flags that no rule replaces."""
    if flags:
        yield "# No rule can say what these flags say. Add them to the command:"
        yield from (f"#   {printable(flag)}" for flag in flags)


def _into(lines: list[str], section: MergedSection, new: Sequence[str], known: Mapping[str, Any]) -> list[str]:
    """Return a file's lines with ``new`` ones in a section that it has; a line that another replaces is a comment."""
    path = _path(section.name)
    heads = [place for place, line in enumerate(lines) if line.lstrip().startswith("[")]
    if path:
        start = next((place + 1 for place in heads if _path(lines[place]) == path), len(lines))
    else:
        start = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    end = next((place for place in heads if place >= start), len(lines))
    body = lines[start:end]
    for key in map(_key, new):
        if key in known:
            body = _without(body, key, known[key])
    added = [*_about(section), *_body(path, new, section.others)] if new else []
    return [*lines[:start], *added, *body, *lines[end:]]


def _without(body: list[str], key: str, value: object) -> list[str]:
    """Return a section's lines with those that set a key as comments."""
    for start, line in enumerate(body):
        if not line.lstrip().startswith(key):
            continue
        for end in range(start + 1, len(body) + 1):
            if _parsed("\n".join(body[start:end])) == {key: value}:
                return [*body[:start], *(f"# before: {line}" for line in body[start:end]), *body[end:]]
    return body


# What it says ---------------------------------------------------------------------------------------------------------


def _key(line: str) -> str:
    return line.partition(" = ")[0]


def _values(lines: Sequence[str]) -> dict[str, Any]:
    return {name: value for line in lines for name, value in tomllib.loads(line).items()}


def _adds(line: str, known: Mapping[str, Any]) -> bool:
    return any(name not in known or known[name] != value for name, value in _values([line]).items())


def _over(line: str, known: Mapping[str, Any]) -> str:
    """Return the line with the values that a section has already in the place of a list."""
    key = _key(line)
    if key not in LISTS or key not in known:
        return line
    return joined(key, f"{key} = {json.dumps(known[key], ensure_ascii=False)}", line)


def _path(name: str) -> tuple[str, ...]:
    """Return the names in the first line of a section; none for what stands before the first section."""
    names, at = [], _parsed(name)
    while at:
        [(first, at)] = at.items()
        names.append(first)
    return tuple(names)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _at(said: dict[str, Any], path: Sequence[str], *, make: bool = False) -> Any:  # noqa: ANN401 - a section or None
    """Return the section at a path of what a file says, or None; with ``make`` it is made."""
    at: Any = said
    for name in path:
        if make:
            at.setdefault(name, {})
        at = at.get(name) if isinstance(at, dict) else None
    return at
