"""The command line: what is measured, and where it goes."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmark import refresh, results, rollback, table
from benchmark.contenders import CONTENDERS
from benchmark.dataset import SHAPES
from benchmark.everything import Planned, planned
from benchmark.measure import Wishes, measure


def main(arguments: Sequence[str]) -> int:
    """Parse, measure, print, and keep what was measured for the documentation if that is wished."""
    given = _parser().parse_args(arguments)
    sources = [Planned(given.shape, megabytes) for megabytes in given.megabytes]
    for source in planned(given.up_to) if given.everything else sources:
        wishes = Wishes(
            names=given.only or source.names or list(CONTENDERS),
            tables=given.tables,
            runs=min(given.runs, source.runs or given.runs),
            warm_up=not given.no_warm_up,
            timeout_seconds=given.timeout_minutes * 60,
            folder=given.folder,
            note=given.note,
            jobs=given.jobs,
            duckdb=str(given.duckdb.absolute()),
        )
        if given.refresh:
            seen = refresh.measure_refresh(source.shape, source.megabytes, given.percent, wishes)
            refresh.show(seen, Console(width=140))
            if given.save:
                refresh.save(seen)
            continue
        if given.rollback:
            rollback.save(rollback.measure(source.megabytes, wishes, Console(stderr=True)))
            continue
        session = measure(source.shape, source.megabytes, wishes, Console(stderr=True))
        table.show(session, Console(width=140))
        if given.save or given.everything:
            results.save(session)
    if given.save or given.everything or given.rollback:
        print("The results are kept. docs/explanation/benchmarks.md is made of them by: python scripts/docs.py")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmark", description="Measures ways from SQLite to PostgreSQL, in turns.")
    add = parser.add_argument
    add("--everything", action="store_true", help="measure all that docs/explanation/benchmarks.md shows, and keep it")
    add("--rollback", action="store_true", help="measure the way back instead, from a source `mixed`, and keep it")
    add("--up-to", type=float, metavar="MEGABYTES", help="leave the larger sources of --everything out")
    add("--shape", choices=sorted(SHAPES), default="mixed", help="what the source is like (mixed)")
    add("--megabytes", type=float, nargs="+", default=[100.0], help="size of the SQLite file, or several (100)")
    add("--tables", type=int, default=2000, help="how many small tables the shape `many` has (2000)")
    add("--refresh", action="store_true", help="measure `run --refresh` next to the first run, and nobody else")
    add("--percent", type=float, nargs="+", default=refresh.PERCENTAGES, help="changed rows of a hundred (0 0.1 1 10)")
    add("--runs", type=int, default=3, help="runs that count, after one that doesn't (3)")
    add("--no-warm-up", action="store_true", help="count the first run too")
    add("--only", nargs="+", choices=list(CONTENDERS), help="leave the others out")
    add("--timeout-minutes", type=float, default=30, help="how long one run may take (30)")
    add("--folder", type=Path, help="where source and scratch files go (the system's temporary folder)")
    add("--jobs", type=int, help="tables at a time for migrator (its own choice)")
    add("--duckdb", type=Path, default=sys.executable, help="a Python that has DuckDB and its extensions (this one)")
    add("--note", default="shared", help="what else to say of the machine beside its cores (shared)")
    add("--save", action="store_true", help="keep the results for docs/explanation/benchmarks.md")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
