"""What a table of the source was like, and what the operator had decided about it, when its rows were brought."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Terms:
    """The source's side of a table's way; two runs with equal terms read the same values out of equal rows."""

    source: str
    """The table's name in the source."""
    columns: Mapping[str, str]
    """The declared type of each column."""
    rules: Mapping[str, Mapping[str, Any]]
    """What is decided about each column of which something is decided."""
    rename: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return them for the ledger."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """Return what ``to_json`` made of them."""
        return cls(**given)

    def other_rules(self, now: "Terms", *, but_excluded: bool = False) -> list[str]:
        """
        Return in words what is decided otherwise ``now``, about columns that there were before.

        With ``but_excluded`` a column that is left out now doesn't count.
        """
        found = [
            f"{self.source}.{name} ({_words(self.rules.get(name))} then, {_words(now.rules.get(name))} now)"
            for name in self.columns
            if name in now.columns and self.rules.get(name) != now.rules.get(name)
            if not (but_excluded and now.rules.get(name, {}).get("exclude"))
        ]
        if self.rename != now.rename:
            found.append(f"{self.source} (renamed to {self.rename!r} then, {now.rename!r} now)")
        return found

    def other_columns(self, now: "Terms") -> list[str]:
        """Return in words which columns are new, gone, or declared otherwise ``now``."""
        gone = [f"column {name} is gone" for name in self.columns if name not in now.columns]
        new = [f"column {name} is new" for name in now.columns if name not in self.columns]
        other = [
            f"column {name} was {declared or 'untyped'}, is {now.columns[name] or 'untyped'}"
            for name, declared in self.columns.items()
            if name in now.columns and now.columns[name] != declared
        ]
        return [*gone, *new, *other]


def _words(rule: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in rule.items()) if rule else "no rule"
