"""The size of a table: by it batches and chunks are cut, and work is shared out."""

from dataclasses import dataclass

from migrator.names import TableName


@dataclass(frozen=True, slots=True)
class Profile:
    """The size of a table, by which batches are cut."""

    table: TableName
    rows: int
    bytes: int
    """The stored bytes of all values that will be sent."""
    widest_row_bytes: int
    fast: bool = False
    """Whether its columns hold nothing unusual, and so can be read the cheaper way."""

    @property
    def weight(self) -> int:
        """About what it costs to bring the table, in bytes: a row costs by itself as much as some more of them do."""
        return self.bytes + _A_ROW * self.rows


_A_ROW = 100
"""Measured: a million rows of 40 bytes take about as long as 140 MB of BLOBs."""
