"""Compares the source's text of a value with PostgreSQL's text of the same value, by the shape of the type."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import zip_longest

from migrator.meaning import addresses, dates_times, intervals, numbers, other_scalars
from migrator.meaning.containers import Array, Nested, Range, array, one_range, ranges, record
from migrator.meaning.type_shapes import Kind, Shape

Same = Callable[[str, str], bool]
"""Returns whether the source's text and the server's text are the same value."""
Read = Callable[[str], object]
"""Returns the value of a text; raises ValueError for text that it can't read."""


def comparer(shape: Shape) -> Same:
    """Return a function that compares two texts of a type. A text that it can't read is not equal to any text."""
    same = _same(shape)

    def compare(source: str, stored: str) -> bool:
        try:
            return same(source, stored)
        except (ValueError, ArithmeticError, RecursionError):
            return False

    return compare


@lru_cache(maxsize=1_000)
def _same(shape: Shape) -> Same:
    match shape.kind:
        case Kind.ARRAY:
            return _arrays(shape.parts[0])
        case Kind.RECORD:
            return _records(shape.parts)
        case Kind.RANGE:
            return _ranges(shape)
        case Kind.MULTIRANGE:
            return _multiranges(shape.parts[0])
        case Kind.SCALAR:
            return _RELATIONS.get(shape.name) or _by_reading(_READERS.get(shape.name, other_scalars.exact))


def _by_reading(read: Read) -> Same:
    return lambda source, stored: read(source) == read(stored)


def _arrays(element: Shape) -> Same:
    same = _same(element)

    def compare(source: str, stored: str) -> bool:
        source_array: Array = array(source, element.delimiter)
        stored_array: Array = array(stored, element.delimiter)
        return source_array.lower == stored_array.lower and _items(source_array.items, stored_array.items, same)

    return compare


def _items(source: Nested, stored: Nested, same: Same) -> bool:
    if len(source) != len(stored):
        return False
    return all(
        _items(item, stored_item, same)
        if isinstance(item, list) and isinstance(stored_item, list)
        else _parts(item, stored_item, same)
        for item, stored_item in zip(source, stored, strict=True)
    )


def _parts(source: object, stored: object, same: Same) -> bool:
    """Compare two parts, each a text or NULL."""
    if isinstance(source, str) and isinstance(stored, str):
        return same(source, stored)
    return source is None and stored is None


def _records(columns: Sequence[Shape]) -> Same:
    compared = [_same(column) for column in columns]

    def compare(source: str, stored: str) -> bool:
        source_fields, stored_fields = record(source), record(stored)
        if not len(source_fields) == len(stored_fields) == len(compared):
            return False
        fields = zip(source_fields, stored_fields, compared, strict=True)
        return all(_parts(field, stored_field, same) for field, stored_field, same in fields)

    return compare


def _ranges(shape: Shape) -> Same:
    same = _bounds(shape)
    return lambda source, stored: same(one_range(source), one_range(stored))


def _multiranges(shape: Shape) -> Same:
    same = _bounds(shape)
    is_empty = _is_empty(shape)

    def compare(source: str, stored: str) -> bool:
        filled = [item for item in ranges(source) if not is_empty(item)]
        return all(
            item is not None and stored_item is not None and same(item, stored_item)
            for item, stored_item in zip_longest(filled, ranges(stored))
        )

    return compare


def _bounds(shape: Shape) -> Callable[[Range, Range], bool]:
    """Return a function that compares two ranges of a type. It compares ranges of integers and days by their values."""
    step = _STEPS.get(shape.name)
    same = _same(shape.parts[0])
    is_empty = _is_empty(shape)

    def compare(source: Range, stored: Range) -> bool:
        if stored.empty or is_empty(source):
            return stored.empty and is_empty(source)
        if step is not None:
            return _covered(source, step) == _covered(stored, step)
        brackets = (source.with_lower, source.with_upper) == (stored.with_lower, stored.with_upper)
        return brackets and _parts(source.lower, stored.lower, same) and _parts(source.upper, stored.upper, same)

    return compare


def _is_empty(shape: Shape) -> Callable[[Range], bool]:
    step = _STEPS.get(shape.name)
    part = shape.parts[0]
    same = _same(part)

    def is_empty(item: Range) -> bool:
        if item.empty or item.lower is None or item.upper is None:
            return item.empty
        if step is not None:
            lower, upper = _covered(item, step)
            return lower is not None and lower == upper
        return not (item.with_lower and item.with_upper) and same(item.lower, item.upper)

    return is_empty


def _covered(item: Range, step: Read) -> tuple[object, object]:
    """Return the first value in the range and the first value after it; None where the range has no bound."""
    return _place(item.lower, step, beyond=not item.with_lower), _place(item.upper, step, beyond=item.with_upper)


def _place(bound: str | None, step: Read, *, beyond: bool) -> object:
    if bound is None:
        return None
    place = step(bound)
    # Infinity has no next value, so its bracket is compared too (PostgreSQL, "Discrete Range Types").
    return place + beyond if isinstance(place, int) else (place, beyond)


_STEPS: dict[str, Read] = {"int4range": numbers.integer, "int8range": numbers.integer, "daterange": dates_times.day}


def _figures(source: str, stored: str) -> bool:
    (form, values), (stored_form, stored_values) = other_scalars.figure(source), other_scalars.figure(stored)
    return form == stored_form and all(map(numbers.same_double, values, stored_values))


def _points(source: str, stored: str) -> bool:
    return _figures(source if "(" in source else f"({source})", stored)


def _vectors(source: str, stored: str) -> bool:
    (form, values), (stored_form, stored_values) = other_scalars.figure(source), other_scalars.figure(stored)
    return form == stored_form and all(map(numbers.same_component, values, stored_values))


_RELATIONS: dict[str, Same] = {
    "float8": numbers.same_double,
    "float4": numbers.same_real,
    "point": _points,
    "vector": _vectors,
    **dict.fromkeys(("line", "lseg", "box", "path", "polygon", "circle"), _figures),
}

_READERS: dict[str, Read] = {
    "bool": numbers.boolean,
    **dict.fromkeys(("int2", "int4", "int8"), numbers.integer),
    "oid": numbers.oid,
    "numeric": numbers.decimal,
    "money": numbers.money,
    "date": dates_times.day,
    "time": dates_times.time,
    "timetz": dates_times.timetz,
    "timestamp": dates_times.timestamp,
    "timestamptz": dates_times.timestamptz,
    "interval": intervals.interval,
    "inet": addresses.network,
    "cidr": addresses.network,
    "macaddr": addresses.card,
    "macaddr8": addresses.card_of_8,
    "bpchar": other_scalars.padded,
    **dict.fromkeys(("bit", "varbit"), other_scalars.bits),
    "uuid": other_scalars.uuid,
    "bytea": other_scalars.octets,
    "jsonb": other_scalars.document,
    "hstore": other_scalars.pairs,
}

_ADVICE = {
    "interval": "is in none of the spellings that mean the same everywhere (1 day 02:03:04, 26:03:04, P1DT2H3M4S); "
    "the rule 'expression' can write it in one of them",
    "tsvector": "is not the text that PostgreSQL writes for a tsvector, so words would be lost; "
    "leave the column out with --exclude and let the target make it with to_tsvector()",
    "tsquery": "is not the text that PostgreSQL writes for a tsquery; leave the column out with --exclude, "
    "or write it so with the rule 'expression'",
}


def rejection_reason(shape: Shape, declared: str) -> str:
    """Return why a text that the server accepts and changes is refused; ``declared`` is the column's type."""
    if shape.kind is Kind.SCALAR and (advice := _ADVICE.get(shape.name)):
        return advice
    if shape.kind is Kind.SCALAR and shape.name not in _RELATIONS and shape.name not in _READERS:
        return f"is not spelled as PostgreSQL writes {declared}, and only that is known to be the same value"
    return f"can't become {declared} exactly"
