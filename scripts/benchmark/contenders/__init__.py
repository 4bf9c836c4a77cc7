"""Who takes part: one module a way of moving the data, and one registry of them all."""

from typing import Final

from benchmark.contenders import csv_pipe, duckdb, migrator, naive, pgloader, psql
from benchmark.contenders.contender import Bench, Contender, Outcome

__all__ = ["CONTENDERS", "Bench", "Contender", "Outcome"]

CONTENDERS: Final[dict[str, Contender]] = {
    contender.name: contender
    for contender in (
        migrator.MIGRATOR,
        migrator.IN_TURN,
        psql.LIMIT,
        psql.STREAM,
        duckdb.DUCKDB,
        pgloader.TUNED,
        pgloader.DEFAULTS,
        csv_pipe.AS_IT_IS,
        csv_pipe.BLOBS_AS_HEX,
        naive.NAIVE,
    )
}
"""By name, in the order in which they run and stand in tables."""
