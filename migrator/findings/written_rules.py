"""Writes the rules file of ``check --write-rules``, which settles what the check has found."""

from pathlib import Path
from shlex import quote

import structlog
from msgspec import Struct

from migrator.errors import ConfigurationError, MigratorError
from migrator.events import Event
from migrator.findings.rules_file import with_settlement
from migrator.planning.rules import Rules
from migrator.runtime.private_file import check_writable, whole_file
from migrator.runtime.settlement import Settlement, merged

log = structlog.get_logger()


class RulesFile(Struct, frozen=True):
    """The file that ``--write-rules`` names, and the rules that it begins with."""

    path: Path | None
    before: str = ""

    @classmethod
    def of(cls, path: Path | None, rules: Path | None) -> "RulesFile":
        """
        Return the file at ``path``, or none; ``rules`` is the file in use.

        The written file begins with the rules that are in use, so that none of them is lost.

        Raises ConfigurationError if a file of that name has other rules, or if no file can be written there.
        """
        if path is None:
            return cls(None)
        used = rules if rules is not None and rules.is_file() else None
        if path.exists() and not (used is not None and path.samefile(used)):
            raise ConfigurationError(
                f"the file {str(path)!r} of --write-rules is there already, and its rules are not those of this check",
                next_step=f"Add --rules {quote(str(path))} to keep its rules and have the new ones added, or give "
                "--write-rules the name of a file that doesn't exist.",
            )
        Rules.load(rules)  # a file with a mistake is refused before the check begins
        check_writable(path)
        return cls(path, used.read_text(encoding="utf-8") if used is not None else "")

    def write(self, failure: MigratorError | None) -> None:
        """
        Write the rules that settle a failure, and name the file in its next step; without any rule, write nothing.

        Raises ConfigurationError if the file can't be written, or if its form doesn't allow to add sections.
        """
        path = self.path
        if path is None or failure is None or not failure.settlement:
            return
        text = with_settlement(self.before, failure.settlement)
        try:
            _replace(path, text)
        except OSError as error:
            raise ConfigurationError(
                f"the rules file {str(path)!r} can't be written: {error.strerror or error}",
                next_step="Name another file with --write-rules.",
            ) from error
        Rules.load(path)
        log.info(Event.RULES_WRITTEN, path=str(path.absolute()))
        failure.facts["rules_file"] = str(path)
        failure.next_step = _next_step(path, failure.settlement.in_file())


def _next_step(path: Path, settlement: Settlement) -> str:
    """Return what to do with the file; what no line of it settles comes first."""
    sections = merged(settlement.sections)
    open_ends = [section.name for section in sections if not section.lines]
    steps = []
    if open_ends:
        steps.append(
            f"Mend in the source, or decide in {path}, what no rule settles by itself: {', '.join(open_ends)}."
        )
    if len(open_ends) < len(sections):
        steps.append(f"Read {path}, which has a section for each finding, and choose there.")
    return " ".join((*steps, "Then run again with", "--rules", quote(str(path)), *settlement.flags))


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole. It keeps its access rights; a new one is readable by its owner alone."""
    mode = path.stat().st_mode if path.exists() else None
    with whole_file(path) as file:
        file.write(text)
    if mode is not None and path.is_file():
        path.chmod(mode)
