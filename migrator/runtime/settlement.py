"""
Holds what settles an error, for an operator to paste: flags of the command, and lines for ``migrator.toml``.

An error that has several reasons has one settlement for all of them: each section of the rules appears once in it.
"""

import json
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class RuleSection:
    """What one reason adds to a section of the rules."""

    name: str
    """The section's first line: ``[columns."users.age"]``."""
    line: str = ""
    """The line that settles the reason, with its comment; empty if no line does."""
    others: tuple[str, ...] = ()
    """Other lines that would settle it, or words on what does: they become comments."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """Flags and rules that settle an error together."""

    flags: tuple[str, ...] = ()
    """Flags as a shell takes them."""
    sections: tuple[RuleSection, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is anything to paste."""
        return bool(self.flags or self.sections)

    def __add__(self, other: Self) -> "Settlement":
        """Return what settles both."""
        return Settlement(tuple(dict.fromkeys((*self.flags, *other.flags))), (*self.sections, *other.sections))

    @property
    def rules(self) -> str:
        """The lines for ``migrator.toml``: a section for each name, with what else would do as comments."""
        return "\n".join("\n".join(_merged(name, list(parts))) + "\n" for name, parts in self._by_name())

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

    def _by_name(self) -> Iterable[tuple[str, list[RuleSection]]]:
        by_name: dict[str, list[RuleSection]] = {}
        for section in self.sections:
            by_name.setdefault(section.name, []).append(section)
        return by_name.items()


NOTHING_TO_PASTE = Settlement()


def _merged(name: str, parts: list[RuleSection]) -> Iterator[str]:
    """Yield a section with all its lines. A key stands in a section once, so that of a second line must add to it."""
    lines: dict[str, str] = {}
    others: dict[str, None] = {}
    for part in parts:
        key = part.line.partition(" = ")[0]
        if not key:
            pass
        elif key in lines and key in _LISTS:
            lines[key] = _joined(key, lines[key], part.line)
        elif key in lines and lines[key] != part.line:
            others[part.line] = None
        else:
            lines[key] = part.line
        others |= dict.fromkeys(part.others)
    if any(line.startswith("exclude = true") for line in lines.values()):
        others |= dict.fromkeys(line for key, line in lines.items() if key != "exclude")
        lines = {"exclude": lines["exclude"]}
    yield name if lines else f"# {name}"
    yield from lines.values()
    yield from (f"#   {'' if other.startswith('none: ') else 'or: '}{other}" for other in others)


_LISTS = frozenset({"null", "sequence"})
"""Settings that take several values: two lines become one."""


def _joined(key: str, first: str, second: str) -> str:
    """Return one line with the values of both."""
    found = [tomllib.loads(line)[key] for line in (first, second)]
    values = [value for given in found for value in (given if isinstance(given, list) else [given])]
    once = [value for at, value in enumerate(values) if value not in values[:at]]
    comment = first.partition("  # ")[2]
    return f"{key} = {json.dumps(once, ensure_ascii=False)}" + (f"  # {comment}" if comment else "")
