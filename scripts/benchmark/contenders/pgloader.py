"""
pgloader, as its manual starts a migration from SQLite, and as it survives a large one.

The first makes the tables itself, with the types that it finds fitting. The second loads into the application's tables:
that is how an application with migrations of its own would use it.
"""

import shutil
from collections.abc import Callable
from typing import Final

from benchmark.contenders.contender import Bench, Contender, Outcome
from benchmark.dataset import Dataset

_PROGRAM: Final = "pgloader"
_HEAP_MEGABYTES: Final = 8192
_PREFETCH_ROWS: Final = 5000

_TUNED: Final = f"WITH data only, drop indexes, prefetch rows = {_PREFETCH_ROWS}"


def missing(_: Bench) -> str:
    """Say why pgloader can't be run."""
    return "" if shutil.which(_PROGRAM) else f"`{_PROGRAM}` is not installed (Debian's package has that name)"


def _load(options: str, *flags: str) -> Callable[[Bench, str], Outcome]:
    def load(bench: Bench, url: str) -> Outcome:
        script = bench.folder / "pgloader.load"
        script.write_text(f"LOAD DATABASE FROM sqlite://{bench.source} INTO {url}?sslmode=disable {options};\n")
        return bench.execute([_PROGRAM, *flags, "--root-dir", bench.folder / "pgloader", script])

    return load


def _nothing(_: Dataset) -> str:
    return ""


DEFAULTS = Contender(
    "pgloader",
    "pgloader, defaults",
    "`LOAD DATABASE FROM sqlite://… INTO postgresql://…` with no option: it makes tables, keys and indexes itself.",
    _nothing,
    _load(""),
    missing,
    makes_tables=True,
)

TUNED = Contender(
    "pgloader-tuned",
    "pgloader, tuned",
    f"The same `{_TUNED}` and a heap of {_HEAP_MEGABYTES} MB, into the application's tables.",
    Dataset.target_schema,
    _load(_TUNED, "--dynamic-space-size", str(_HEAP_MEGABYTES)),
    missing,
)
