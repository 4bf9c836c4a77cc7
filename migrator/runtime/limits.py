"""Defines limits of a run: how much data it processes at a time, which bounds its memory, and how much it shows."""

from msgspec import Struct


class Limits(Struct, frozen=True):
    """The amount of work that a run does at a time. The operator chooses it for all stages."""

    jobs: int
    """The number of tables or chunks that are processed at the same time."""
    batch_bytes: int
    """The size of a record batch. Each of the ``jobs`` holds a few batches in memory."""
    chunk_bytes: int
    """The size of a chunk of a large table, and of a group of small tables that share a transaction."""
    stall_seconds: float
    """The longest time that the server may take to accept a part of a COPY, or to answer."""
    kept_bytes: int = 1 << 30
    """The size of a table on disk above which its existing rows are not kept, and so must not give way."""


class ExampleOptions(Struct, frozen=True):
    """The number of examples that are shown for each problem, and whether their values are masked."""

    count: int
    mask_values: bool
