"""
Supposes that the next run has what an error about missing matches prints, so that all else can be judged now.

A table or column without a match keeps the plan from being made, and without a plan nothing is known about values and
existing rows. So these are looked at under the rules and flags that the next run is told to have.
"""

import tomllib
from pathlib import Path
from shlex import quote
from typing import Any

from msgspec import Struct, field

from migrator.errors import NoMatch
from migrator.names import NamingStyle
from migrator.planning.unmatched import SUPPOSED, WhatSettles
from migrator.runtime.settlement import RuleSection, Settlement


class Supposed(Struct):
    """What the next run is supposed to have, beside what this run has."""

    exclude: list[str] = field(default_factory=list)
    names: NamingStyle | None = None
    renames: dict[str, str] = field(default_factory=dict)
    """Names of the target by sections of the rules."""
    filled: set[str] = field(default_factory=set)
    """Columns of the target that get a default, as ``schema.table.column``."""

    def add(self, error: NoMatch) -> bool:
        """Suppose what settles the error; return False if nothing does, or if it has been supposed already."""
        fact = error.facts.get(SUPPOSED)
        if not isinstance(fact, dict):
            return False
        what = WhatSettles(**fact)
        before = (len(self.exclude), self.names, len(self.renames), len(self.filled))
        self.exclude += [name for name in what.exclude if name not in self.exclude]
        self.names = what.names or self.names
        self.renames |= what.renames
        self.filled |= set(what.filled)
        return before != (len(self.exclude), self.names, len(self.renames), len(self.filled))

    def settlement(self, told: Settlement, excluded: tuple[str, ...]) -> Settlement:
        """
        Return what is to be pasted: ``told``, with one ``--exclude`` for everything.

        ``excluded`` are the patterns that this run has for ``--exclude``.
        """

        def whole(flag: str) -> str:
            return f"--exclude={quote(','.join((*excluded, *self.exclude)))}" if flag.startswith("--exclude=") else flag

        by_flag: dict[str, tuple[RuleSection, ...]] = {}
        for flag, sections in told.flag_sections:
            by_flag[whole(flag)] = (*by_flag.get(whole(flag), ()), *sections)
        return Settlement(tuple(dict.fromkeys(map(whole, told.flags))), told.sections, tuple(by_flag.items()))

    def rules(self, path: Path | None, copy: Path) -> Path | None:
        """
        Return the file of rules of the next run: a ``copy`` of the one at ``path`` with the new names.

        Returns ``path`` itself if there are no new names. Raises OSError, and ValueError if a section of the file has
        such a line already.
        """
        if not self.renames:
            return path
        lines = path.read_text(encoding="utf-8").splitlines() if path else []
        for section, name in self.renames.items():
            at = next((place for place, line in enumerate(lines) if line.strip() == section), None)
            if at is None:
                lines += [section, _line(name)]
            else:
                lines.insert(at + 1, _line(name))
        text = "\n".join(lines) + "\n"
        tomllib.loads(text)
        copy.write_text(text, encoding="utf-8")
        return copy

    def changes(self, excluded: tuple[str, ...], rules: Path | None) -> dict[str, Any]:
        """Return the settings that differ from those of this run."""
        return {
            "exclude": (*excluded, *self.exclude),
            "rules": rules,
            **({"names": self.names} if self.names else {}),
        }


def _line(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'rename = "{escaped}"'
