"""
The second pass of a diagnosis: runs the copier's own conversion over a whole table and sends nothing.

A value that converts here also converts in the copy. Values of types that only PostgreSQL can read are sent to it for a
judgement. A record batch that is refused is halved until the refused rows are known.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from migrator.findings.examples import key_scan_column
from migrator.planning.plan import ColumnPlan, TablePlan
from migrator.source.batches import ScanRequest, scan
from migrator.source.scan import ScanColumn, ScanSession
from migrator.source.size import TableSize
from migrator.target.server_types import Question, ServerTypes
from migrator.types import ConversionError, LossDetector, Problem, ProblemCode, TypeFamily

ROWS_NAMED = 10_000
"""The largest number of bad rows that is counted for a column; nobody looks at more of them row by row."""

BadRows = dict[ColumnPlan, dict[Problem, list[str]]]
"""The keys of bad rows, by column and problem."""

Lost = Counter[ColumnPlan]
"""The number of values of each column that lose a part because a rule allows it."""


class _Trial(Struct, frozen=True):
    """A column, the family whose conversion is tried on it, and the scan columns that this conversion reads."""

    column: ColumnPlan
    family: TypeFamily
    scan_columns: tuple[ScanColumn, ...]
    losses: LossDetector | None

    def find_losses(self, arrays: Sequence[pa.Array]) -> list[tuple[int, Problem]]:
        """Return the positions of values that PostgreSQL would shorten or round, each with the problem."""
        return self.losses.rows(arrays[0]) if self.losses else []

    def problem(self, arrays: Sequence[pa.Array]) -> Problem | None:
        """Return why at least one of these values can't be carried, or None."""
        target = self.column.target
        try:
            self.family.convert(arrays, target)
        except ConversionError as error:
            return error.problem
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return Problem(ProblemCode.INEXACT, f"can't become {target.declared} exactly")
        return None


class Bisection(Struct, frozen=True):
    """Finds the rows of a table that can't be carried."""

    session: ScanSession
    table: TablePlan
    table_size: TableSize
    server_types: ServerTypes
    batch_bytes: int
    where: str = ""
    """A condition, in SQLite's SQL, for the rows that are tried; empty for all rows."""

    def find_bad_rows(self, known: Mapping[ColumnPlan, Sequence[str]]) -> tuple[BadRows, Lost]:
        """
        Return the keys of rows that can't be carried, and the number of values that lose a part as a rule allows it.

        The keys have the form of ``key_scan_column``; each column gets at most ``ROWS_NAMED`` of them. ``known`` holds
        conditions for each column: values that meet one of them are refused already and are not tried again. Blocks
        while the table is scanned. Raises SourceUnreadable.
        """
        trials = [_trial(column, known.get(column, ())) for column in self.table.compared if _is_tried(column)]
        if not trials or not self.table_size.rows:
            return {}, Counter()
        key = key_scan_column(self.table.source)
        scan_columns = [key, *(scan_column for trial in trials for scan_column in trial.scan_columns)]
        bad_rows: BadRows = {trial.column: {} for trial in trials}
        lost: Lost = Counter()
        request = ScanRequest(self.table.source, scan_columns, self.table_size, self.batch_bytes, self.where)
        for batch in scan(self.session, request):
            arrays_of_batch = batch.columns  # each access to the property makes a new list
            position = 1
            for trial in trials:
                arrays = arrays_of_batch[position : position + len(trial.scan_columns)]
                position += len(trial.scan_columns)
                problems = bad_rows[trial.column]
                remaining = ROWS_NAMED - sum(map(len, problems.values()))
                losses = trial.find_losses(arrays)
                if trial.column.may_lose:
                    lost[trial.column] += len(losses)
                    losses = []
                refused = list(islice(_bisect(_rejection(trial, arrays), 0, len(batch)), remaining))
                rejected = self._rejected(trial, arrays, {row for row, _ in refused}, remaining - len(refused))
                for row, problem in islice(chain(refused, rejected, losses), remaining):
                    problems.setdefault(problem, []).append(str(batch.column(0)[row].as_py()))
        return bad_rows, lost

    def _rejected(
        self, trial: _Trial, arrays: Sequence[pa.Array], refused: set[int], remaining: int
    ) -> Iterator[tuple[int, Problem]]:
        """Yield the rows whose values PostgreSQL rejects or would change; skips the rows in ``refused``."""
        if not trial.column.asks_server or remaining <= 0:
            return
        rows = pa.array((row for row in range(len(arrays[0])) if row not in refused), pa.int64())
        not_refused = arrays if not refused else [array.take(rows) for array in arrays]
        converted = pc.cast(trial.family.convert(not_refused, trial.column.target), pa.string())
        distinct = converted.dictionary_encode()
        question = Question(trial.column.target, trial.column.family.asks_server, remaining)
        rejections = self.server_types.rejections(question, distinct.dictionary)
        if not rejections:
            return
        for row, position in zip(rows.to_pylist(), distinct.indices.to_pylist(), strict=True):
            if rejection := rejections.get(position):
                changes = rejection.changes
                code = ProblemCode.SERVER_CHANGES_VALUE if changes else ProblemCode.SERVER_REJECTS_VALUE
                yield row, Problem(code, rejection.reason)


def _is_tried(column: ColumnPlan) -> bool:
    return column.active_family.reads_content or column.asks_server


def _trial(column: ColumnPlan, known: Sequence[str]) -> _Trial:
    family, expression = column.active_family, column.source_expression
    if column.asks_server:
        family = family.as_text or family
    if known:  # a value of the wrong storage class would stop the scan
        any_known = " OR ".join(f"({condition})" for condition in known)
        expression = f"(CASE WHEN {any_known} THEN NULL ELSE {expression} END)"
    return _Trial(
        column, family, family.scan_columns(expression, column.target), family.losses() if family.losses else None
    )


Rejection = Callable[[int, int], Problem | None]
"""A function that returns why rows can't all be carried, or None; takes the first row and the row after the last."""


def _bisect(rejection: Rejection, start: int, stop: int) -> Iterator[tuple[int, Problem]]:
    """Yield the rows that can't be carried, each with the problem."""
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
