"""The script that somebody writes at home: SELECT here, INSERT there."""

import sys
from typing import Final

from benchmark.contenders.contender import PROGRAMS, Bench, Contender, Outcome
from benchmark.dataset import Dataset

_SCRIPT: Final = PROGRAMS / "naive_copy.py"


def load(bench: Bench, url: str) -> Outcome:
    """Run the script."""
    return bench.execute([sys.executable, _SCRIPT, bench.source, url.replace("postgresql", "postgresql+asyncpg", 1)])


NAIVE = Contender(
    "naive",
    "SELECT and INSERT, a script",
    "Some sixty lines with SQLAlchemy and asyncpg: tables reflected from the target, batches of 1,000 rows.",
    Dataset.target_schema,
    load,
)
