"""Who takes part: one module a way of moving the data, and one registry of them all."""

from typing import Final

from benchmark.contenders.contender import Bench, Contender, Outcome
from benchmark.contenders.migrator import MIGRATOR
from benchmark.contenders.psql import LIMIT, STREAM

__all__ = ["CONTENDERS", "Bench", "Contender", "Outcome"]

CONTENDERS: Final[dict[str, Contender]] = {contender.name: contender for contender in (MIGRATOR, LIMIT, STREAM)}
"""By name, in the order in which they run and stand in tables."""
