r"""
The yardsticks: ``psql \copy … binary`` from files that were encoded before the clock started.

Nobody can move rows out of SQLite with these. They are what PostgreSQL itself needs to take the rows.
"""

import time
from collections.abc import Iterable, Mapping, Sequence

from benchmark.contenders.contender import Bench, Contender, Outcome
from benchmark.dataset import Dataset
from benchmark.results import Stage
from benchmark.server import CommandFailed

_CONNECTIONS = 2


def _copies(bench: Bench) -> list[str]:
    return [rf"\copy {table} FROM '{file}' (FORMAT binary)" for table, file in bench.pieces()]


def limit(bench: Bench, url: str) -> Outcome:
    """Load on two connections, then make keys and indexes, foreign keys, and statistics, two at a time as well."""
    largest_first = list(dict.fromkeys(table for table, _ in bench.pieces()))
    rank = {table: place for place, table in enumerate(largest_first)}
    kinds = sorted(bench.data.kinds, key=lambda kind: rank[kind.name])
    primary = [f"{kind.primary_key};" for kind in kinds]
    indexes = [f"{index};" for kind in kinds for index in kind.indexes]
    foreign = [f"{key};" for kind in kinds for key in kind.foreign_keys]
    statistics = [f"ANALYZE {kind.name};" for kind in kinds]
    stages = {
        "copy": _copies(bench),
        "keys and indexes": [*primary, *indexes],
        "foreign keys": foreign,
        "analyze": statistics,
    }
    return _timed(bench, url, _CONNECTIONS, stages)


def stream(bench: Bench, url: str) -> Outcome:
    """Load one file after the other, and nothing else."""
    return _timed(bench, url, 1, {"copy": _copies(bench)})


def _timed(bench: Bench, url: str, connections: int, stages: Mapping[str, Sequence[str]]) -> Outcome:
    done: dict[str, Stage] = {}

    def phases() -> Iterable[Sequence[str]]:
        for name, statements in stages.items():
            after = time.monotonic() - began
            yield statements
            done[name] = Stage(after, time.monotonic() - began - after)

    began = time.monotonic()
    try:
        bench.server.spread(url, connections, phases())
    except CommandFailed as error:
        return Outcome(time.monotonic() - began, 1, str(error))
    return Outcome(time.monotonic() - began, stages=done, hands=connections)


LIMIT = Contender(
    "limit",
    "the limit: psql, 2 connections, then keys",
    r"`psql \copy … binary` from encoded files into bare tables on two connections; then keys, indexes, foreign keys "
    "and ANALYZE, on two connections too. Large tables come in pieces, so that neither connection ends up waiting.",
    Dataset.bare_schema,
    limit,
    is_tool=False,
)

STREAM = Contender(
    "stream",
    "one psql stream into bare tables",
    r"The same files by `psql \copy … binary` on one connection, into bare tables, and nothing after that.",
    Dataset.bare_schema,
    stream,
    is_tool=False,
    leaves_keys=False,
)
