"""How much a run does and holds at a time, which bounds its memory whatever the tables hold; how much it shows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a run does at a time: the operator's choice, the same for all stages."""

    jobs: int
    """Tables, or chunks of one, at a time."""
    batch_bytes: int
    """Bytes of a record batch. Each of the ``jobs`` holds a few batches."""
    chunk_bytes: int
    """Bytes of a chunk of a large table, and of the small tables that share a transaction."""
    stall_seconds: float
    """The longest time that the server may take for a part of a COPY, or for its answer."""


@dataclass(frozen=True, slots=True)
class ExampleOptions:
    """How examples are shown: how many for a problem, and whether their values are masked."""

    count: int
    mask_values: bool
