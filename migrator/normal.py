"""
The normal form of a value for types that only PostgreSQL can read: arrays, inet, ranges and the rest.

The source's text is read and written once by the type's own functions, and what comes of it is what the target's text
must be. That would be blind to whatever these functions round, cut or guess. So their answer counts only where it says
the same as the source's text by a reader that is not the server's (``meaning``); DuckDB has none of these types.
"""

from collections.abc import Sequence
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from migrator.meaning import comparer, restated, surely_same
from migrator.names import TableName
from migrator.sessions.address import TargetAddress
from migrator.spelling import NoValue, Spelling

AT_ONCE = 5_000
"""Different texts in one question."""
CHANGED = " (which PostgreSQL changes)"
"""Behind a text that would equal what the server has although it says something else."""


class NormalForms:
    """Answers for the columns of one table. It connects when it is first asked."""

    def __init__(self, address: TargetAddress, table: TableName) -> None:
        self._spelling = Spelling(address, table)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_details: object) -> None:
        """Close the session, if there is one."""
        self._spelling.close()

    def of(self, column: str, text: pa.Array) -> pa.Array:
        """
        Return ``text`` as the column writes the value that it spells.

        What the type doesn't take, or takes for something else, comes back as it is or marked, and so equals nothing
        that the column can hold. Raises what the ADBC driver raises if the server is lost.
        """
        different = text.dictionary_encode()
        spelled: list[str] = []
        for start in range(0, len(different.dictionary), AT_ONCE):
            spelled += self._of(column, different.dictionary[start : start + AT_ONCE].to_pylist())
        return pc.take(pa.array(spelled, pa.string()), different.indices)

    def _of(self, column: str, texts: Sequence[str]) -> list[str]:
        shape = self._spelling.type_of(column).shape
        same = comparer(shape)
        stated = [restated(shape, text) for text in texts]
        answers = self._spelling.of(column, stated)
        spelled = pa.array([None if isinstance(answer, NoValue) else answer for answer in answers], pa.string())
        sure = surely_same(shape, pa.array(stated, pa.string()), spelled).to_pylist()
        return [
            answer if isinstance(answer, str) and (is_sure or same(given, answer)) else _unequal(text, answer)
            for text, given, answer, is_sure in zip(texts, stated, answers, sure, strict=True)
        ]


def _unequal(text: str, answer: str | NoValue) -> str:
    return text + CHANGED if text == answer else text
