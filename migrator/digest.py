"""
Digests of both ends, by DuckDB: every value of every row, brought to one form a type, hashed and summed per bucket.

The copier converts with Arrow and this module casts with DuckDB, on purpose: a mistake in one of them shows as a
difference. It imports nothing of ``types`` or ``encode``, and a test of the structure holds it to that.

A digest doesn't depend on the order of rows and counts twins: it is a multiset's. Per bucket it has the number of rows
and the exact sum of their 64-bit hashes in 128 bits: nothing wraps round, so no two differences cancel by overflow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import pyarrow as pa

from migrator.batches import scan
from migrator.findings import Profile
from migrator.names import quote_postgres
from migrator.source import Lane, Source, SourceColumn, SourceTable, StorageClass
from migrator.target import TargetColumn, TargetTable

BUCKETS = 64
"""Enough that a difference can be looked for in a small part of a table, few enough to cost nothing."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What a table holds: rows and hash sum of each bucket that isn't empty."""

    buckets: tuple[tuple[int, int, int], ...]
    """(bucket, rows, sum of hashes), in the order of buckets."""

    @property
    def rows(self) -> int:
        """The rows of the table."""
        return sum(rows for _, rows, _ in self.buckets)

    def hexadecimal(self) -> str:
        """Return a short form for ledger and report."""
        return sha256(repr(self.buckets).encode()).hexdigest()

    def differing(self, other: "Digest") -> tuple[int, ...]:
        """Return the buckets in which the two differ."""
        return tuple(sorted({bucket[0] for bucket in set(self.buckets) ^ set(other.buckets)}))


@dataclass(frozen=True, slots=True)
class Pair:
    """A source column and the target column that must hold the same values."""

    source: SourceColumn
    target: TargetColumn


@dataclass(frozen=True, slots=True)
class _Reading:
    """How a column is read at both ends, and the SQL that brings either reading to the form that is hashed."""

    lanes: tuple[Lane, ...]
    from_source: str
    """DuckDB SQL over ``{0}``, ``{1}``: the lanes."""
    select: str
    """What PostgreSQL is asked for."""
    from_target: str
    """DuckDB SQL over ``{0}``: what it answered."""


def of_source(  # noqa: PLR0913 - what is read, and how
    source: Source,
    table: SourceTable,
    pairs: Sequence[Pair],
    *,
    key: Sequence[str],
    profile: Profile,
    batch_bytes: int,
) -> Digest:
    """
    Return the digest of a source table's columns that have a partner.

    ``key`` names the target columns of the primary key, by which rows fall into buckets; empty means by the whole row.
    Blocks while the table is scanned; raises SourceUnreadable.
    """
    readings = [_reading(pair) for pair in pairs]
    lanes = [lane for reading in readings for lane in reading.lanes]
    forms: list[str] = []
    for reading in readings:
        used = sum(len(r.lanes) for r in readings[: len(forms)])
        forms.append(reading.from_source.format(*(f"c{used + i}" for i in range(len(reading.lanes)))))
    with source.session() as session:
        batches = scan(session, table, lanes, profile=profile, batch_bytes=batch_bytes)
        schema = pa.schema([(f"c{i}", lane.arrow_type) for i, lane in enumerate(lanes)])
        reader = pa.RecordBatchReader.from_batches(schema, _named(batches, schema))
        return _digest(reader, forms, _key_forms(pairs, key, forms))


def of_target(
    uri: str,
    table: TargetTable,
    pairs: Sequence[Pair],
    *,
    key: Sequence[str],
    batch_bytes: int,
) -> Digest:
    """
    Return the digest of the same columns of a target table, read through ``uri`` (libpq's).

    Blocks while the table is read, in a read-only transaction; raises what the ADBC driver raises.
    """
    readings = [_reading(pair) for pair in pairs]
    forms = [reading.from_target.format(f"c{i}") for i, reading in enumerate(readings)]
    selected = ", ".join(f"{reading.select} AS c{i}" for i, reading in enumerate(readings)) or "1 AS c0"
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(batch_bytes)})
        cursor.execute(f"SELECT {selected} FROM {_from(table)}")
        return _digest(cursor.fetch_record_batch(), forms, _key_forms(pairs, key, forms))


def _digest(reader: pa.RecordBatchReader, forms: Sequence[str], key_forms: Sequence[str]) -> Digest:
    row = f"hash({', '.join(forms)})" if forms else "0::UBIGINT"
    bucket = f"hash({', '.join(key_forms)}) % {BUCKETS}" if key_forms else f"row_hash % {BUCKETS}"
    with _database().cursor() as connection:
        connection.register("rows_read", reader)
        found = connection.execute(
            f"SELECT bucket, count(*), sum(row_hash)::VARCHAR FROM "
            f"(SELECT {row} AS row_hash, ({bucket})::INTEGER AS bucket FROM rows_read) GROUP BY bucket ORDER BY bucket"
        ).fetchall()
    return Digest(tuple((bucket, rows, int(total)) for bucket, rows, total in found))


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return the one database of the process, empty but for the macros; every digest works on a cursor of its own."""
    # One thread a digest: tables are compared side by side, and there its two ends are too.
    database = duckdb.connect(":memory:", config={"threads": 1, "preserve_insertion_order": "false"})
    database.execute("SET GLOBAL TimeZone = 'UTC'")
    database.execute(_MACROS)
    return database


def _from(table: TargetTable) -> str:
    # ONLY: rows of inheriting tables are theirs, and COPY never put ours there. Partitions are the table's own.
    return table.name.quoted if table.partitioned else f"ONLY {table.name.quoted}"


def _key_forms(pairs: Sequence[Pair], key: Sequence[str], forms: Sequence[str]) -> list[str]:
    by_name = {pair.target.name: form for pair, form in zip(pairs, forms, strict=True)}
    return [by_name[name] for name in key] if all(name in by_name for name in key) else []


def _named(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield pa.record_batch(batch.columns, schema=schema)


def _reading(pair: Pair) -> _Reading:  # noqa: C901, PLR0911, PLR0912 - a table, read from the top
    column, target = pair.source.quoted, quote_postgres(pair.target.name)
    number = (
        Lane(f"CASE typeof({column}) WHEN 'real' THEN NULL ELSE CAST({column} AS TEXT) END", StorageClass.TEXT),
        Lane(f"CASE typeof({column}) WHEN 'real' THEN {column} END", StorageClass.REAL),
    )
    text = (Lane(f"CAST({column} AS TEXT)", StorageClass.TEXT),)
    match "enum" if pair.target.enum_labels else pair.target.type_name:
        case "bool":
            # Not cast to BOOLEAN: that would take every integer but 0 for true.
            return _Reading((Lane(column, StorageClass.INTEGER),), "{0}", f"{target}::int4", "{0}::BIGINT")
        case "int2" | "int4" | "int8":
            return _Reading((Lane(column, StorageClass.INTEGER),), "{0}", f"{target}::int8", "{0}::BIGINT")
        case "float4" | "float8":
            lane = Lane(f"CAST({column} AS REAL)", StorageClass.REAL)
            return _Reading((lane,), "bits({0})", f"{target}::float8", "bits({0})")
        case "numeric":
            return _Reading(number, "decimal_form(coalesce({0}, {1}::VARCHAR))", f"{target}::text", "decimal_form({0})")
        case "bpchar":
            # Blanks at the end of char(n) are padding (PostgreSQL, "Character Types").
            return _Reading(text, "rtrim({0}, ' ')", f"{target}::text", "rtrim({0}, ' ')")
        case "bytea":
            return _Reading((Lane(f"CAST({column} AS BLOB)", StorageClass.BLOB),), "{0}", target, "{0}")
        case "date":
            return _Reading(text, "moment({0}, try_cast({0} AS DATE))", target, "moment({0}, {0})")
        case "time":
            return _Reading(text, "moment({0}, try_cast({0} AS TIME))", target, "moment({0}, {0})")
        case "timestamp":
            return _Reading(text, "moment({0}, try_cast({0} AS TIMESTAMP))", target, "moment({0}, {0})")
        case "timestamptz":
            return _Reading(
                text,
                "moment({0}, epoch_us(try_cast({0} AS TIMESTAMPTZ)))",
                target,
                "moment({0}, epoch_us({0}))",
            )
        case "jsonb":
            return _Reading(number, "json_form(coalesce({0}, {1}::VARCHAR))", f"{target}::text", "json_form({0})")
        case "json":
            return _Reading(number, "coalesce({0}, {1}::VARCHAR)", f"{target}::text", "{0}")
        case "uuid":
            lane = Lane(f"CASE typeof({column}) WHEN 'blob' THEN hex({column}) ELSE {column} END", StorageClass.TEXT)
            return _Reading((lane,), "hex_form({0})", f"{target}::text", "hex_form({0})")
        case "text" | "varchar" | "citext" | "name" | "enum":
            return _Reading(text, "{0}", f"{target}::text", "{0}")
        case _:
            return _Reading(number, "coalesce({0}, {1}::VARCHAR)", f"{target}::text", "{0}")


# `bits`: 0.0 and -0.0 hash alike, so the sign goes in; all NaNs are one, as PostgreSQL has it.
# `moment`: what can't be read is no NULL, so the text's own presence goes in.
# `decimal_form`: a number's digits, without the zeros, the sign and the exponent that say nothing.
# `plain_numbers`: a document whose numbers are spelled as jsonb spells them: 1e2 as 100, -0 as 0.
# `json_form`: keys sorted, the last of twins kept, escapes and blanks gone. DuckDB reads a fraction as a double, which
#   holds 15 digits of any decimal; so the numbers of a document with a longer one go in as they are spelled.
# `list_transform([x], lambda y: …)[1]` is how a macro uses a value several times and computes it once.
_MACROS = r"""
CREATE MACRO bits(number) AS struct_pack(number := number, negative := signbit(number));
CREATE MACRO moment(given, reading) AS struct_pack(given := given IS NULL, reading := reading);
CREATE MACRO hex_form(digits) AS lower(replace(digits, '-', ''));
CREATE MACRO shifted(whole, fraction, exponent) AS (
    CASE WHEN length(whole) + exponent <= 0
           THEN '0.' || repeat('0', -(length(whole) + exponent)) || whole || fraction
         WHEN exponent >= length(fraction)
           THEN whole || fraction || repeat('0', exponent - length(fraction))
         ELSE left(whole || fraction, length(whole) + exponent) || '.'
              || right(whole || fraction, length(fraction) - exponent)
    END);
CREATE MACRO without_exponent(number) AS
    if(starts_with(number, '-'), '-', '') || regexp_replace(
        shifted(regexp_extract(number, '^[+-]?(\d*)', 1), regexp_extract(number, '\.(\d*)', 1),
                coalesce(try_cast(regexp_extract(number, '[eE]([+-]?\d+)$', 1) AS INTEGER), 0)), '^0+(\d)', '\1');
CREATE MACRO without_zeros(number) AS (
    CASE WHEN number IN ('-0', '-0.0') THEN '0'
         WHEN contains(number, '.') THEN regexp_replace(rtrim(rtrim(number, '0'), '.'), '^-0$', '0')
         ELSE number END);
CREATE MACRO decimal_form(given) AS (
    CASE WHEN regexp_full_match(given, '-?(0|[1-9]\d*)(\.\d+)?') THEN without_zeros(given)
         WHEN regexp_full_match(given, '[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')
           THEN list_transform([without_exponent(given)], lambda number: without_zeros(number))[1]
         ELSE given END);
CREATE MACRO plain_numbers(document) AS (
    CASE WHEN regexp_matches(document, '(^|[\[,:\s])(-0|-?\d+(\.\d+)?[eE])')
           THEN array_to_string(list_transform(
               regexp_extract_all(document, '"(?:\\.|[^"\\])*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[^"\d-]+|.'),
               lambda token: CASE WHEN regexp_full_match(token, '-?\d+(\.\d+)?[eE].+') THEN without_exponent(token)
                                  WHEN regexp_full_match(token, '-0(\.0+)?') THEN ltrim(token, '-')
                                  ELSE token END), '')
         ELSE document END);
CREATE MACRO numbers(document) AS regexp_extract_all(
    regexp_replace(document, '"(\\.|[^"\\])*"', '""', 'g'), '-?\d+(\.\d+)?');
CREATE MACRO sorted_keys(document) AS coalesce(try_cast(document AS JSON)::VARIANT::JSON::VARCHAR, trim(document));
CREATE MACRO json_form(given) AS list_transform([plain_numbers(given)], lambda document: struct_pack(
    form := sorted_keys(document),
    digits := CASE WHEN regexp_matches(document, '\d[\d.]{15}') THEN list_sort(numbers(document)) END))[1];
"""
