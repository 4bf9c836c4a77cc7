"""Writes the report into the files of ``--report``: the suffix of a name decides the form."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from migrator.errors import ConfigurationError
from migrator.runtime.private_file import is_file

if TYPE_CHECKING:  # the classes of the report are made where one is written
    from migrator.reports.document import Document

Form = Callable[["Document"], str]


def as_json(document: "Document") -> str:
    """Return the report as JSON, in one line; ``docs/report.schema.json`` describes it."""
    return json.dumps(asdict(document), ensure_ascii=False) + "\n"


def _deferred(module: str, function: str) -> Form:
    """Return a function that imports its module when a report is made: most runs write none of this form."""

    def form(document: "Document") -> str:
        text: str = getattr(import_module(module), function)(document)
        return text

    return form


FORMS: Final[Mapping[str, Form]] = {
    ".json": as_json,
    ".html": _deferred("migrator.reports.html.page", "as_html"),
    ".xml": _deferred("migrator.reports.junit", "as_junit"),
}
"""The form of a report, by the suffix of its file."""


def form_of(path: Path) -> Form | None:
    """Return the form in which a file is written; None for a suffix that means none. A stream or a device gets JSON."""
    form = FORMS.get(path.suffix.lower())
    return form if form or is_file(path) else as_json


def refuse_other_suffixes(paths: Iterable[Path]) -> None:
    """Raise ConfigurationError for a file whose suffix means no form of the report."""
    for path in paths:
        if form_of(path) is None:
            raise ConfigurationError(
                f"--report {str(path)!r} names no form of the report: its suffix is {path.suffix!r}",
                next_step="Give the file a name that ends in .json (for programs), .html (for people) or .xml (JUnit, "
                "for CI).",
            )
