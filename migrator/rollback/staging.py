"""
Reads the changed rows once more, and writes their values into the scratch database.

PostgreSQL's values come in the spelling that the forms of SQLite need. Hashes of each cell's canonical form on both
sides tell which cells of a changed row have changed. All of this passes as streams: neither side's values are held.
"""

from collections.abc import Iterable, Iterator, Mapping

import duckdb
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from migrator.rollback.changed_rows import Sides, place_in, spelled
from migrator.rollback.scratch import Scratch, attachments
from migrator.source.chunks import identity_of
from migrator.source.scan import StorageClass
from migrator.verification.answers import answers
from migrator.verification.comparison import Comparison, identity_column, source_rows, target_rows
from migrator.verification.digest import database

_PLACES_AT_ONCE = 10_000
"""Rows of PostgreSQL's that one statement asks for by their place."""

_SMALL_PART = 4
"""Rows are asked for by their places if they are at most one in so many. Else the table is read whole."""


class Wanted(Struct, frozen=True):
    """The rows and the values to stage: scratch tables that list rows, and PostgreSQL's SQL for each column."""

    kinds: tuple[str, ...]
    """Scratch tables with the ``place`` of rows of the target; the first may have the ``identity`` of the source's."""
    selects: tuple[Mapping[int, str], ...]
    """Expressions for each compared column, by their place among all that the column's forms may need."""


def names_of(column: int, places: Iterable[int]) -> dict[int, str]:
    """Return the names of the staged values of a column, by their place."""
    return {place: f"e{column}_{place}" for place in places}


def stage_values(sides: Sides, comparison: Comparison, scratch: Scratch, wanted: Wanted) -> None:
    """
    Write what both sides have in the ``wanted`` rows into the scratch tables ``here`` (source) and ``there`` (target).

    Both have a hash of each cell's canonical form, ``h0``, ``h1``, …. For a column that PostgreSQL computes, ``here``
    also has ``n0``, ``n1``, …, true where the source has no value; ``there`` has the staged values. ``there`` may have
    more rows than are wanted. Blocks, and needs disk space for the values. Raises the errors of reading either side.
    """
    with database().cursor() as duck:
        _stage_source(sides, comparison, scratch, wanted.kinds[0], duck)
        _stage_target(sides, comparison, scratch, wanted, duck)


def _stage_source(
    sides: Sides, comparison: Comparison, scratch: Scratch, kind: str, duck: duckdb.DuckDBPyConnection
) -> None:
    source = comparison.source
    identity = identity_column(source)
    values = {
        "identity": f"c{len(comparison.scan_columns)}",
        **{f"h{i}": _hash(form) for i, form in enumerate(comparison.source_side.forms)},
        **{
            f"n{i}": f"(({text}) IS NULL)::INTEGER"
            for i, text in enumerate(comparison.source_side.shown)
            if comparison.pairs[i].target.generated
        },
    }
    scratch.create(
        "here", [f"identity {'INTEGER' if identity.storage is StorageClass.INTEGER else 'TEXT'}", *[*values][1:]]
    )
    listed = f"{identity_of(source)} IN (SELECT identity FROM {scratch.name(kind)})"
    where = f"({source.selection.where}) AND {listed}" if source.selection.where else listed
    selected = replace(comparison, source=replace(source, selection=replace(source.selection, where=where)))
    with sides.source.session() as scan:
        for attachment in attachments(scratch.folder):
            scan.ask(attachment)
        with source_rows(scan, sides.address, selected, further=(identity,)) as rows:
            _append(scratch, "here", duck, rows, values)


def _stage_target(
    sides: Sides, comparison: Comparison, scratch: Scratch, wanted: Wanted, duck: duckdb.DuckDBPyConnection
) -> None:
    target = comparison.target
    place, number = place_in(target)
    further = [place]
    values = {"place": number, **{f"h{i}": _hash(form) for i, form in enumerate(comparison.target_side.forms)}}
    for column, selects in enumerate(wanted.selects):
        for place_of_select, name in names_of(column, selects).items():
            select = selects[place_of_select]
            is_read = select == comparison.forms[column].select
            values[name] = f"c{column}" if is_read else name
            if not is_read:
                further.append(f"{select} AS {name}")
    scratch.create("there", ["place INTEGER", *[*values][1:]])
    for read in _readings(comparison, scratch, wanted):
        with target_rows(sides.reader, read, further=further) as rows:
            _append(scratch, "there", duck, rows, values)


def _readings(comparison: Comparison, scratch: Scratch, wanted: Wanted) -> Iterator[Comparison]:
    """Yield comparisons that read the wanted rows of the target, or all of its rows if these are many."""
    listed = " UNION ".join(f"SELECT place FROM {scratch.name(kind)}" for kind in wanted.kinds)
    [(rows,)] = scratch.execute(f"SELECT count(*) FROM ({listed})")
    if comparison.target.partitioned or int(str(rows)) * _SMALL_PART > comparison.table_size.rows:
        yield comparison
        return
    last = -1
    while places := [
        int(str(place))
        for (place,) in scratch.execute(
            f"SELECT place FROM ({listed}) WHERE place > {last} ORDER BY place LIMIT {_PLACES_AT_ONCE}"
        )
    ]:
        last = places[-1]
        tids = ",".join(f'"{spelled(place)}"' for place in places)
        of_places = f"ctid = ANY ('{{{tids}}}'::tid[])"
        also = comparison.target_condition
        yield replace(comparison, target_condition=f"({also}) AND {of_places}" if also else of_places)


def _hash(form: str) -> str:
    return f"(hash({form}) >> 1)::BIGINT"  # SQLite's integers have a sign


def _append(
    scratch: Scratch, kind: str, duck: duckdb.DuckDBPyConnection, rows: pa.RecordBatchReader, values: dict[str, str]
) -> None:
    """Append rows to a scratch table; ``values`` has DuckDB's SQL for each of its columns."""
    selected = ", ".join(f"{value} AS {name}" for name, value in values.items())
    scratch.ingest(kind, answers(duck, rows, f"SELECT {selected} FROM rows_read"))
