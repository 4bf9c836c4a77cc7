"""
Who notices a loss? Every tool moves a small source into tables with two columns that can't hold its values.

PostgreSQL itself says nothing here: it rounds what it is given to ``numeric(12, 1)`` and to ``real``. So a tool that
compares what arrived finds out, and one that doesn't ends as if all were well.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from benchmark.contenders import Bench, Contender
from benchmark.contents import Contents, differing_values, rows_in
from benchmark.dataset import dataset
from benchmark.reference import Reference, make_reference

SHAPE: Final = "mixed"
_MEGABYTES: Final = 1.0
_NARROWER: Final = (("numeric(12, 2)", "numeric(12, 1)"), ("double precision", "real"))


def set_up(bench: Bench, reference: Reference, contenders: Iterable[Contender]) -> dict[str, str]:
    """Return what each tool did, in words; those that make their own tables, and the yardsticks, are left out."""
    if bench.data.megabytes > _MEGABYTES:
        bench, reference = _smaller(bench)
    tools = [contender for contender in contenders if contender.is_tool and not contender.makes_tables]
    return {contender.name: _fall(bench, contender, reference.contents) for contender in tools}


def _smaller(bench: Bench) -> tuple[Bench, Reference]:
    folder = bench.folder / "trap"
    folder.mkdir()
    small = replace(bench, folder=folder, source=folder / "source.db", data=dataset(SHAPE, _MEGABYTES, 1))
    small.data.make_source(small.source)
    return small, make_reference(small)


def _fall(bench: Bench, contender: Contender, wanted: Contents) -> str:
    schema = contender.schema(bench.data)
    for exact, narrower in _NARROWER:
        schema = schema.replace(exact, narrower)
    url = bench.server.fresh_database(schema)
    outcome = contender.load(bench, url)
    rows, changed = rows_in(url, wanted), differing_values(url, wanted)
    bench.server.drop(url)
    if outcome.exit_code == 0:
        return f"exit code 0, and {'; '.join(changed) or 'every value is right'}"
    kept = f"{rows:,} rows are left behind" if rows else "nothing was written"
    return f"exit code {outcome.exit_code}, {kept}: {bench.without_places(outcome.said, url)}"
