"""
The second pass of preflight: the copier's own conversion over a whole table, without sending anything.

What converts here converts then. What only PostgreSQL can read is shown to it. Where a batch is refused, halves of it
are tried, down to the rows that are to blame.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import pyarrow as pa
import pyarrow.compute as pc

from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.source.batches import ScanRequest, scan
from migrator.source.scan import ScanColumn, ScanSession
from migrator.source.size import Profile
from migrator.target.server_types import Question, ServerTypes
from migrator.types import ConversionError, Family, LossDetector

ROWS_NAMED = 10_000
"""Bad rows of one column that are counted; a column with more is past looking at one by one."""

BadRows = dict[ColumnPlan, dict[str, list[str]]]
"""Keys of rows, by column and reason."""

Lost = Counter[ColumnPlan]
"""How many values of a column are kept in part, as a rule has it."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """A column, the family that is tried on it, and how it is read for that."""

    column: ColumnPlan
    family: Family
    scan_columns: tuple[ScanColumn, ...]
    losses: LossDetector | None

    def find_losses(self, arrays: Sequence[pa.Array]) -> list[tuple[int, str]]:
        """Return the places of values that PostgreSQL would keep a part of, each with the reason."""
        return self.losses.rows(arrays[0]) if self.losses else []


def find_bad_rows(  # noqa: PLR0913 - what is read, and how
    session: ScanSession,
    table: TablePlan,
    key: ScanColumn,
    *,
    refused: Mapping[ColumnPlan, Sequence[str]],
    judge: ServerTypes,
    profile: Profile,
    batch_bytes: int,
) -> tuple[BadRows, Lost]:
    """
    Return the keys of rows that can't be carried, at most ``ROWS_NAMED`` a column, ``key`` being their lane.

    The counts beside them are of values that lose something because a rule says that they may.

    Values that meet one of the conditions in ``refused`` are known already, and are not looked at again.
    """
    trials = [_trial(column, refused.get(column, ())) for column in table.compared if _is_tried(column)]
    if not trials or not profile.rows:
        return {}, Counter()
    scan_columns = [key, *(lane for trial in trials for lane in trial.scan_columns)]
    blamed: BadRows = {trial.column: {} for trial in trials}
    lost: Lost = Counter()
    for batch in scan(session, ScanRequest(table.source, scan_columns, profile, batch_bytes)):
        read = batch.columns  # made anew each time one asks
        at = 1
        for trial in trials:
            arrays = read[at : at + len(trial.scan_columns)]
            at += len(trial.scan_columns)
            reasons = blamed[trial.column]
            room = ROWS_NAMED - sum(map(len, reasons.values()))
            losses = trial.find_losses(arrays)
            if trial.column.may_lose:
                lost[trial.column] += len(losses)
                losses = []
            struck = list(islice(_bisect(_objector(trial, arrays), 0, len(batch)), room))
            judged = _judged(trial, arrays, {row for row, _ in struck}, judge, room - len(struck))
            for row, reason in islice(chain(struck, judged, losses), room):
                reasons.setdefault(reason, []).append(str(batch.column(0)[row].as_py()))
    return blamed, lost


def _is_tried(column: ColumnPlan) -> bool:
    return column.active_family.reads_content or column.asks_server


def _trial(column: ColumnPlan, refused: Sequence[str]) -> _Trial:
    family, expression = column.active_family, column.source_expression
    if column.asks_server:
        family = family.as_text or family
    if refused:  # a value of a wrong storage class would stop the scan
        known = " OR ".join(f"({condition})" for condition in refused)
        expression = f"(CASE WHEN {known} THEN NULL ELSE {expression} END)"
    return _Trial(
        column, family, family.scan_columns(expression, column.target), family.losses() if family.losses else None
    )


Rejects = Callable[[int, int], str | None]
"""Says why the rows from the first number up to the second can't all be carried."""


def _bisect(rejection: Rejects, start: int, stop: int) -> Iterator[tuple[int, str]]:
    """Yield the rows that are to blame, each with the reason."""
    reason = rejection(start, stop)
    if reason is None:
        return
    if stop - start == 1:
        yield start, reason
        return
    middle = (start + stop) // 2
    yield from _bisect(rejection, start, middle)
    yield from _bisect(rejection, middle, stop)


def _objector(trial: _Trial, arrays: Sequence[pa.Array]) -> Rejects:
    def rejection(start: int, stop: int) -> str | None:
        target = trial.column.target
        try:
            trial.family.convert([array.slice(start, stop - start) for array in arrays], target)
        except ConversionError as error:
            return str(error)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            return "is not valid UTF-8" if "UTF8" in str(error) else f"can't become {target.declared} exactly"
        return None

    return rejection


def _judged(
    trial: _Trial, arrays: Sequence[pa.Array], struck: set[int], judge: ServerTypes, room: int
) -> Iterator[tuple[int, str]]:
    """Yield the rows, those ``struck`` left out, to which PostgreSQL objects or which it would make others of."""
    if not trial.column.asks_server or room <= 0:
        return
    rows = pa.array((row for row in range(len(arrays[0])) if row not in struck), pa.int64())
    given = arrays if not struck else [array.take(rows) for array in arrays]
    converted = pc.cast(trial.family.convert(given, trial.column.target), pa.string())
    different = converted.dictionary_encode()
    question = Question(trial.column.target, trial.column.family.asks_server, room)
    objections = judge.objections(question, different.dictionary)
    if not objections:
        return
    for row, place in zip(rows.to_pylist(), different.indices.to_pylist(), strict=True):
        if place in objections:
            yield row, objections[place]
