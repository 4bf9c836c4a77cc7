"""How much is done and held at a time: what bounds the job's memory, whatever the tables hold."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """The operator's choice, the same for all stages."""

    jobs: int
    """Tables, or pieces of one, at a time."""
    batch_bytes: int
    """Of a record batch, of which each of the ``jobs`` holds a few."""
    chunk_bytes: int
    """Of a piece of a large table, and of small ones that share a transaction."""


@dataclass(frozen=True, slots=True)
class Showing:
    """How examples are shown: how many for a problem, and whether their values may be."""

    examples: int
    mask_values: bool
