"""Writes the keys of orphans for which a rule has decided into a private file, one JSON object a line."""

from collections.abc import Sequence
from pathlib import Path

import structlog
from msgspec import Struct
from msgspec.structs import replace

from migrator.events import Event
from migrator.names import quote_literal
from migrator.runtime.private_file import whole_file
from migrator.source.database import Source
from migrator.source.scan import ScanColumn, StorageClass
from migrator.source.schema import SourceTable
from migrator.sql.selection import ALL_ROWS, Orphans

log = structlog.get_logger()

_BATCH_ROWS = 10_000


class KeyFile(Struct, frozen=True):
    """The operator's file for the keys of orphans."""

    path: Path
    mask_values: bool
    """Whether the file names the rows only, without the references that were lost."""

    def write(self, source: Source, tables: Sequence[SourceTable]) -> None:
        """
        Write one line for each orphan of the ``tables``. Blocks. Raises SourceUnreadable.

        Keys and references are SQL literals. If the file can't be written, that is only a warning.
        """
        try:
            with whole_file(self.path) as opened, source.session() as session:
                for table in tables:
                    stored = replace(table, selection=ALL_ROWS)
                    for orphans in table.selection.orphans:
                        line = ScanColumn(self._line(table, orphans), StorageClass.BLOB)
                        for batch in session.scan(stored, [line], batch_rows=_BATCH_ROWS, where=orphans.condition):
                            lines = b"\n".join(batch.column(0).to_pylist())
                            opened.write(f"{lines.decode(errors='backslashreplace')}\n")
        except OSError as error:
            log.warning(Event.WARNING_REPORT, path=str(self.path), reason=error.strerror)

    def _line(self, table: SourceTable, orphans: Orphans) -> str:
        """Return SQL for the line of a row."""
        key = {column.name: column.quoted for column in table.key} or {"rowid": table.rowid or "NULL"}
        columns = {column.name: column.quoted for column in table.columns}
        reference = {name: columns[name] for name in orphans.columns}
        said = {
            "table": quote_literal(table.name),
            "foreign_key": quote_literal(orphans.foreign_key),
            "rule": quote_literal(orphans.rule),
            "key": _object(key),
        }
        if not self.mask_values:
            said["reference"] = _object(reference)
        fields = ", ".join(f"{quote_literal(name)}, {value}" for name, value in said.items())
        return f"CAST(json_object({fields}) AS BLOB)"


def _object(columns: dict[str, str]) -> str:
    return f"json_object({', '.join(f'{quote_literal(name)}, quote({column})' for name, column in columns.items())})"
