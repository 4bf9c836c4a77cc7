"""
Holds what settles an error, for an operator to paste: flags of the command, and lines for ``migrator.toml``.

An error that has several reasons has one settlement for all of them: each section of the rules appears once in it.
"""

import json
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace


class RuleSection(Struct, frozen=True):
    """What one reason adds to a section of the rules."""

    name: str
    """The section's first line: ``[columns."users.age"]``. Empty for lines before the first section."""
    line: str = ""
    """The lines that settle the reason together, each with its comment; empty if none do."""
    others: tuple[str, ...] = ()
    """Other lines that would settle it, or words on what does: they become comments."""
    about: str = ""
    """The reason in words, for a comment in a file of rules."""


class MergedSection(Struct, frozen=True):
    """A section of the rules with all that several reasons add to it. Each key stands in it once."""

    name: str
    lines: tuple[str, ...]
    """The lines to put into the section; none if no line settles a reason."""
    others: tuple[str, ...]
    """Lines that may stand in the place of others, and words that begin with ``none: ``."""
    about: tuple[str, ...]
    """The reasons in words."""

    def text(self) -> Iterator[str]:
        """Yield the section as it is pasted: other lines as comments."""
        if self.name:
            yield self.name if self.lines else f"# {self.name}"
        yield from self.lines
        yield from (f"#   {'' if other.startswith(NO_LINE) else 'or: '}{other}" for other in self.others)


NO_LINE = "none: "
"""The beginning of words in the place of a line: no line settles the reason."""


class Settlement(Struct, frozen=True):
    """Flags and rules that settle an error together."""

    flags: tuple[str, ...] = ()
    """Flags as a shell takes them."""
    sections: tuple[RuleSection, ...] = ()
    flag_sections: tuple[tuple[str, tuple[RuleSection, ...]], ...] = ()
    """Flags that sections of the rules can replace, each with these sections."""

    def __bool__(self) -> bool:
        """Return whether there is anything to paste."""
        return bool(self.flags or self.sections)

    def __add__(self, other: Self) -> "Settlement":
        """Return what settles both."""
        return Settlement(
            tuple(dict.fromkeys((*self.flags, *other.flags))),
            (*self.sections, *other.sections),
            (*self.flag_sections, *other.flag_sections),
        )

    @property
    def rules(self) -> str:
        """The lines for ``migrator.toml``: a section for each name, with what else would do as comments."""
        return "\n".join("\n".join(section.text()) + "\n" for section in merged(self.sections))

    def in_file(self) -> "Settlement":
        """Return the same settlement, with sections of the rules in the place of the flags that they replace."""
        replaced = dict(self.flag_sections)
        sections = [section for flag in self.flags for section in replaced.get(flag, ())]
        return replace(
            self,
            flags=tuple(flag for flag in self.flags if flag not in replaced),
            sections=(*sections, *self.sections),
        )

    def lines(self) -> Iterator[str]:
        """Yield the settlement for a person, in lines."""
        if self.flags:
            yield "to settle it, run again with:"
            yield "  " + " ".join(self.flags)
        if self.sections:
            yield (
                f"{'and' if self.flags else 'to settle it, run again'} with these lines in the file of --rules "
                "(where it has such a section already, add the line to that):"
            )
            yield ""
            yield from self.rules.splitlines()
            yield ""

    def to_json(self) -> dict[str, Any]:
        """Return the settlement for programs; empty if there is none."""
        return ({"flags": list(self.flags)} if self.flags else {}) | ({"rules": self.rules} if self.sections else {})


NOTHING_TO_PASTE = Settlement()


def merged(sections: Iterable[RuleSection]) -> list[MergedSection]:
    """Return the sections with each name once, in their order; lines before the first section come first."""
    by_name: dict[str, list[RuleSection]] = {}
    for section in sections:
        by_name.setdefault(section.name, []).append(section)
    return [_merged(name, parts) for name, parts in sorted(by_name.items(), key=lambda item: bool(item[0]))]


def _merged(name: str, parts: list[RuleSection]) -> MergedSection:
    """Return a section with all its lines. A key stands in a section once, so that of a second line must add to it."""
    lines: dict[str, str] = {}
    others: dict[str, None] = {}
    for part in parts:
        for line in part.line.splitlines():
            key = line.partition(" = ")[0]
            if key in lines and key in LISTS:
                lines[key] = joined(key, lines[key], line)
            elif key in lines and lines[key] != line:
                others[line] = None
            else:
                lines[key] = line
        others |= dict.fromkeys(part.others)
    if any(line.startswith("exclude = true") for line in lines.values()):
        others |= dict.fromkeys(line for key, line in lines.items() if key != "exclude")
        lines = {"exclude": lines["exclude"]}
    about = dict.fromkeys(part.about for part in parts if part.about)
    return MergedSection(name, tuple(lines.values()), tuple(others), tuple(about))


LISTS = frozenset({"null", "sequence", "true", "false"})
"""Settings that take several values: two lines become one."""


def joined(key: str, first: str, second: str) -> str:
    """Return one line with the values of both."""
    found = [tomllib.loads(line)[key] for line in (first, second)]
    values = [value for given in found for value in (given if isinstance(given, list) else [given])]
    once = [value for at, value in enumerate(values) if value not in values[:at]]
    comment = first.partition("  # ")[2] or second.partition("  # ")[2]
    return f"{key} = {json.dumps(once, ensure_ascii=False)}" + (f"  # {comment}" if comment else "")
