"""Holds what ``backup`` did."""

from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from migrator.errors import MigratorError


class BackupReport(Struct, frozen=True):
    """The outcome of ``backup``."""

    path: str
    bytes: int
    sha256: str
    """The digest of the copy in hexadecimal digits, as the file beside it has it."""

    @property
    def failure(self) -> MigratorError | None:
        """Return None: a copy that isn't whole has no report."""
        return None

    @property
    def headline(self) -> str:
        """The outcome in one line."""
        return f"backed up: {self.path!r} is whole; check it any time with `sha256sum -c`"

    def to_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {"headline": self.headline, **asdict(self)}
