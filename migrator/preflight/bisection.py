"""
The second pass of a diagnosis: the copier's own conversion over a whole table, without sending anything.

What converts here converts in the copy. What only PostgreSQL can read is shown to it. A batch that is refused is
halved, down to the rows that are to blame.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import pyarrow as pa
import pyarrow.compute as pc

from migrator.findings.examples import key_scan_column
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.source.batches import ScanRequest, scan
from migrator.source.scan import ScanColumn, ScanSession
from migrator.source.size import TableSize
from migrator.target.server_types import Question, ServerTypes
from migrator.types import ConversionError, LossDetector, Problem, ProblemCode, TypeFamily

ROWS_NAMED = 10_000
"""Bad rows of one column that are counted; a column with more is past looking at one by one."""

BadRows = dict[ColumnPlan, dict[Problem, list[str]]]
"""Keys of rows, by column and problem."""

Lost = Counter[ColumnPlan]
"""How many values of a column are kept in part, as a rule has it."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """A column, the family that is tried on it, and how it is read for that."""

    column: ColumnPlan
    family: TypeFamily
    scan_columns: tuple[ScanColumn, ...]
    losses: LossDetector | None

    def find_losses(self, arrays: Sequence[pa.Array]) -> list[tuple[int, Problem]]:
        """Return the places of values that PostgreSQL would keep a part of, each with the problem."""
        return self.losses.rows(arrays[0]) if self.losses else []

    def problem(self, arrays: Sequence[pa.Array]) -> Problem | None:
        """Return why these values can't all be carried, or None."""
        target = self.column.target
        try:
            self.family.convert(arrays, target)
        except ConversionError as error:
            return error.problem
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return Problem(ProblemCode.INEXACT, f"can't become {target.declared} exactly")
        return None


@dataclass(frozen=True, slots=True)
class Bisection:
    """Looks for the rows of a table that can't be carried."""

    session: ScanSession
    table: TablePlan
    table_size: TableSize
    server_types: ServerTypes
    batch_bytes: int

    def find_bad_rows(self, known: Mapping[ColumnPlan, Sequence[str]]) -> tuple[BadRows, Lost]:
        """
        Return the keys of rows that can't be carried, at most ``ROWS_NAMED`` a column, as ``key_scan_column`` has them.

        The counts beside them are of values that lose something because a rule says that they may. Values that meet one
        of the ``known`` conditions of their column are refused already, and are not looked at again.
        """
        trials = [_trial(column, known.get(column, ())) for column in self.table.compared if _is_tried(column)]
        if not trials or not self.table_size.rows:
            return {}, Counter()
        key = key_scan_column(self.table.source)
        scan_columns = [key, *(scan_column for trial in trials for scan_column in trial.scan_columns)]
        bad_rows: BadRows = {trial.column: {} for trial in trials}
        lost: Lost = Counter()
        request = ScanRequest(self.table.source, scan_columns, self.table_size, self.batch_bytes)
        for batch in scan(self.session, request):
            read = batch.columns  # made anew each time one asks
            at = 1
            for trial in trials:
                arrays = read[at : at + len(trial.scan_columns)]
                at += len(trial.scan_columns)
                problems = bad_rows[trial.column]
                room = ROWS_NAMED - sum(map(len, problems.values()))
                losses = trial.find_losses(arrays)
                if trial.column.may_lose:
                    lost[trial.column] += len(losses)
                    losses = []
                refused = list(islice(_bisect(_rejection(trial, arrays), 0, len(batch)), room))
                rejected = self._rejected(trial, arrays, {row for row, _ in refused}, room - len(refused))
                for row, problem in islice(chain(refused, rejected, losses), room):
                    problems.setdefault(problem, []).append(str(batch.column(0)[row].as_py()))
        return bad_rows, lost

    def _rejected(
        self, trial: _Trial, arrays: Sequence[pa.Array], refused: set[int], room: int
    ) -> Iterator[tuple[int, Problem]]:
        """Yield the rows, ``refused`` ones left out, that PostgreSQL rejects or would make others of."""
        if not trial.column.asks_server or room <= 0:
            return
        rows = pa.array((row for row in range(len(arrays[0])) if row not in refused), pa.int64())
        rest = arrays if not refused else [array.take(rows) for array in arrays]
        converted = pc.cast(trial.family.convert(rest, trial.column.target), pa.string())
        distinct = converted.dictionary_encode()
        question = Question(trial.column.target, trial.column.family.asks_server, room)
        rejections = self.server_types.rejections(question, distinct.dictionary)
        if not rejections:
            return
        for row, place in zip(rows.to_pylist(), distinct.indices.to_pylist(), strict=True):
            if rejection := rejections.get(place):
                changes = rejection.changes
                code = ProblemCode.SERVER_CHANGES_VALUE if changes else ProblemCode.SERVER_REJECTS_VALUE
                yield row, Problem(code, rejection.reason)


def _is_tried(column: ColumnPlan) -> bool:
    return column.active_family.reads_content or column.asks_server


def _trial(column: ColumnPlan, known: Sequence[str]) -> _Trial:
    family, expression = column.active_family, column.source_expression
    if column.asks_server:
        family = family.as_text or family
    if known:  # a value of a wrong storage class would stop the scan
        either = " OR ".join(f"({condition})" for condition in known)
        expression = f"(CASE WHEN {either} THEN NULL ELSE {expression} END)"
    return _Trial(
        column, family, family.scan_columns(expression, column.target), family.losses() if family.losses else None
    )


Rejection = Callable[[int, int], Problem | None]
"""Says why the rows from the first number up to the second can't all be carried."""


def _bisect(rejection: Rejection, start: int, stop: int) -> Iterator[tuple[int, Problem]]:
    """Yield the rows that are to blame, each with the problem."""
    problem = rejection(start, stop)
    if problem is None:
        return
    if stop - start == 1:
        yield start, problem
        return
    middle = (start + stop) // 2
    yield from _bisect(rejection, start, middle)
    yield from _bisect(rejection, middle, stop)


def _rejection(trial: _Trial, arrays: Sequence[pa.Array]) -> Rejection:
    return lambda start, stop: trial.problem([array.slice(start, stop - start) for array in arrays])
