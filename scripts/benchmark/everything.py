"""What docs/explanation/benchmarks.md shows: the sources that ``--everything`` measures, and who takes part in each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmark import results

_OURSELVES: Final = ("migrator", "in-turn", "limit", "stream")
_KINDS: Final = ("narrow", "text", "json", "blobs", "money", "giant")


@dataclass(frozen=True, slots=True)
class Planned:
    """One source and who is measured on it; no name means everybody."""

    shape: str
    megabytes: float
    names: tuple[str, ...] = ()
    runs: int | None = None
    """Fewer runs than asked for, where each takes long."""


PLAN: Final = (
    Planned("mixed", 100),
    Planned("mixed", 1000),
    Planned("many", 20, _OURSELVES),
    *(Planned(shape, 200, _OURSELVES) for shape in _KINDS),
    Planned("mixed", 10_000, _OURSELVES, runs=2),
)


def planned(up_to_megabytes: float | None) -> Iterator[Planned]:
    """
    Yield what is to be measured, the smaller sources first.

    Results that are kept of other sources than these are removed: the page shows one plan.
    """
    wanted = {results.path_of(one.shape, one.megabytes) for one in PLAN}
    for path in results.FOLDER.glob("*.json"):
        if path not in wanted:
            path.unlink()
    yield from (one for one in PLAN if up_to_megabytes is None or one.megabytes <= up_to_megabytes)
