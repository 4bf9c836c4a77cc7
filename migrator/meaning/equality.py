"""Whether what PostgreSQL wrote says the same as the source's text, by the shape of the type."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import zip_longest

from migrator.meaning import addresses, dates_times, intervals, numbers, other_scalars
from migrator.meaning.containers import Array, Nested, Range, array, one_range, ranges, record
from migrator.meaning.type_shapes import Kind, Shape

Same = Callable[[str, str], bool]
"""Says of the source's text and the server's whether both are one value."""
Read = Callable[[str], object]


def comparer(shape: Shape) -> Same:
    """Return what compares two texts of a type; a text that it can't read is the same as none."""
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
        ours: Array = array(source, element.delimiter)
        theirs: Array = array(stored, element.delimiter)
        return ours.lower == theirs.lower and _items(ours.items, theirs.items, same)

    return compare


def _items(ours: Nested, theirs: Nested, same: Same) -> bool:
    if len(ours) != len(theirs):
        return False
    return all(
        _items(one, other, same) if isinstance(one, list) and isinstance(other, list) else _parts(one, other, same)
        for one, other in zip(ours, theirs, strict=True)
    )


def _parts(one: object, other: object, same: Same) -> bool:
    """Compare two parts, each a text or NULL."""
    if isinstance(one, str) and isinstance(other, str):
        return same(one, other)
    return one is None and other is None


def _records(columns: Sequence[Shape]) -> Same:
    compared = [_same(column) for column in columns]

    def compare(source: str, stored: str) -> bool:
        ours, theirs = record(source), record(stored)
        if not len(ours) == len(theirs) == len(compared):
            return False
        return all(_parts(one, other, same) for one, other, same in zip(ours, theirs, compared, strict=True))

    return compare


def _ranges(shape: Shape) -> Same:
    same = _bounds(shape)
    return lambda source, stored: same(one_range(source), one_range(stored))


def _multiranges(shape: Shape) -> Same:
    same = _bounds(shape)
    is_empty = _is_empty(shape)

    def compare(source: str, stored: str) -> bool:
        ours = [one for one in ranges(source) if not is_empty(one)]
        return all(
            one is not None and other is not None and same(one, other)
            for one, other in zip_longest(ours, ranges(stored))
        )

    return compare


def _bounds(shape: Shape) -> Callable[[Range, Range], bool]:
    """Return what compares two ranges of a type; of numbers and days that can be counted, by what they cover."""
    step = _STEPS.get(shape.name)
    same = _same(shape.parts[0])
    is_empty = _is_empty(shape)

    def compare(ours: Range, theirs: Range) -> bool:
        if theirs.empty or is_empty(ours):
            return theirs.empty and is_empty(ours)
        if step is not None:
            return _counted(ours, step) == _counted(theirs, step)
        brackets = (ours.with_lower, ours.with_upper) == (theirs.with_lower, theirs.with_upper)
        return brackets and _parts(ours.lower, theirs.lower, same) and _parts(ours.upper, theirs.upper, same)

    return compare


def _is_empty(shape: Shape) -> Callable[[Range], bool]:
    step = _STEPS.get(shape.name)
    part = shape.parts[0]
    same = _same(part)

    def is_empty(one: Range) -> bool:
        if one.empty or one.lower is None or one.upper is None:
            return one.empty
        if step is not None:
            lower, upper = _counted(one, step)
            return lower is not None and lower == upper
        return not (one.with_lower and one.with_upper) and same(one.lower, one.upper)

    return is_empty


def _counted(one: Range, step: Read) -> tuple[object, object]:
    """Return the first that is in the range and the first behind it; None for no end."""
    return _place(one.lower, step, beyond=not one.with_lower), _place(one.upper, step, beyond=one.with_upper)


def _place(bound: str | None, step: Read, *, beyond: bool) -> object:
    if bound is None:
        return None
    place = step(bound)
    # Next to infinity there is nothing else: its bracket stays (PostgreSQL, "Discrete Range Types").
    return place + beyond if isinstance(place, int) else (place, beyond)


_STEPS: dict[str, Read] = {"int4range": numbers.integer, "int8range": numbers.integer, "daterange": dates_times.day}


def _figures(source: str, stored: str) -> bool:
    (form, ours), (other_form, theirs) = other_scalars.figure(source), other_scalars.figure(stored)
    return form == other_form and all(map(numbers.same_double, ours, theirs))


def _points(source: str, stored: str) -> bool:
    return _figures(source if "(" in source else f"({source})", stored)


def _vectors(source: str, stored: str) -> bool:
    (form, ours), (other_form, theirs) = other_scalars.figure(source), other_scalars.figure(stored)
    return form == other_form and all(map(numbers.same_component, ours, theirs))


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


def objection(shape: Shape, declared: str) -> str:
    """Return in words why a text is refused that the server takes, and that then doesn't say the same."""
    if shape.kind is Kind.SCALAR and (advice := _ADVICE.get(shape.name)):
        return advice
    if shape.kind is Kind.SCALAR and shape.name not in _RELATIONS and shape.name not in _READERS:
        return f"is not spelled as PostgreSQL writes {declared}, and only that is known to be the same value"
    return f"can't become {declared} exactly"
