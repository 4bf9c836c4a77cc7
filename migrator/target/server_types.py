"""
Asks PostgreSQL, before anything is written, whether texts are values of a column and keep their meaning.

This is for types that only PostgreSQL can read, and for domains, whose CHECKs only PostgreSQL can evaluate.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Self

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from migrator.meaning.batch_equality import surely_same
from migrator.meaning.equality import comparer, rejection_reason
from migrator.meaning.source_rewrites import rewrite_source_text
from migrator.names import TableName
from migrator.sessions.address import TargetAddress
from migrator.target.schema import TargetColumn
from migrator.target.spelling import NoValue, Spelling, TypeOfColumn, is_about_values

AT_ONCE = 5_000
"""The number of different texts in one query."""


class Question(Struct, frozen=True):
    """A question to the server about the texts of a column."""

    column: TargetColumn
    exactly: bool
    """Whether each text must mean the same as the server's spelling; otherwise the server only has to accept it."""
    most: int
    """The number of texts that can't be carried after which the search ends."""


class Rejection(Struct, frozen=True):
    """The reason why a text can't be carried unchanged."""

    reason: str
    changes: bool
    """Whether the server accepts the text as a different value; otherwise the server refuses the text."""


class ServerTypes:
    """Judges texts for the columns of one table, in a read-only session. It connects at the first question."""

    def __init__(
        self, address: TargetAddress, table: TableName, columns: Mapping[str, TypeOfColumn] | None = None
    ) -> None:
        """Take the table; ``columns`` has the types of its columns if the table doesn't exist yet."""
        self._spelling = Spelling(address, table, columns)

    def __enter__(self) -> Self:
        """Return the object itself. No connection is opened yet."""
        return self

    def __exit__(self, *_details: object) -> None:
        """Close the session, if it was opened."""
        self._spelling.close()

    def rejections(self, question: Question, texts: pa.Array) -> Mapping[int, Rejection]:
        """
        Return a rejection for each text that can't be carried unchanged, by the text's position in ``texts``.

        Raises what the ADBC driver raises if the server is lost.
        """
        rejected: dict[int, Rejection] = {}
        for start in range(0, len(texts), AT_ONCE):
            if len(rejected) < question.most:
                part = texts[start : start + AT_ONCE]
                rejected |= {start + place: rejection for place, rejection in self._rejections(question, part).items()}
        return rejected

    def _rejections(self, question: Question, texts: pa.Array) -> Mapping[int, Rejection]:
        name, declared = question.column.name, question.column.declared
        answers = self._spelling.of(name, texts.to_pylist(), question.most)
        refused = {
            place: Rejection(f"can't become {declared}: {answer.reason}", changes=False)
            for place, answer in enumerate(answers)
            if isinstance(answer, NoValue)
        }
        if not question.exactly:
            return refused
        shape = self._spelling.type_of(name).shape
        spelled = pa.array([None if isinstance(answer, NoValue) else answer for answer in answers], pa.string())
        doubtful = pc.indices_nonzero(pc.invert(surely_same(shape, texts[: len(answers)], spelled))).to_pylist()
        same = comparer(shape)
        return refused | {
            place: Rejection(rejection_reason(shape, declared), changes=True)
            for place in doubtful
            if place not in refused and not same(texts[place].as_py(), str(answers[place]))
        }

    def server_spelling(self, column: TargetColumn, texts: Sequence[str]) -> Sequence[str]:
        """
        Return ``texts`` in the server's spelling, in which equal values of ``column`` are equal texts.

        If a text is no value of the column, all texts are returned unchanged. Raises what the ADBC driver raises if the
        server is lost.
        """
        if column.type_name != "citext":
            spelled = self._spelling.of(column.name, texts, 1)
            folded = [text for text in spelled if isinstance(text, str)]
            return folded if len(folded) == len(texts) else texts
        # citext folds by the database's collation and ignores the column's (PostgreSQL, "citext", Limitations).
        try:
            rows = self._spelling.session.rows(_LOWER, [json.dumps(texts)])
        except adbc.Error as error:
            if not is_about_values(error):
                raise
            return texts
        return [lowered for (lowered,) in rows]


_LOWER = "SELECT lower(v) FROM json_array_elements_text($1::json) WITH ORDINALITY AS given(v, place) ORDER BY place"

TEXTS_AT_ONCE = 5_000
"""The number of different texts in one query."""

CHANGED = " (which PostgreSQL changes)"
"""The mark after a text that is equal to the server's text but has another meaning."""


class CanonicalText:
    """Computes the canonical form of texts for the columns of one table. It connects at the first question."""

    def __init__(self, address: TargetAddress, table: TableName) -> None:
        self._spelling = Spelling(address, table)

    def __enter__(self) -> Self:
        """Return the object itself. No connection is opened yet."""
        return self

    def __exit__(self, *_details: object) -> None:
        """Close the session, if it was opened."""
        self._spelling.close()

    def of(self, column: str, text: pa.Array) -> pa.Array:
        """
        Return each text of ``text`` in the spelling that PostgreSQL gives its value in ``column``.

        A text that the type refuses, or reads as a different value, is returned unchanged or marked. So it equals no
        value that the column can hold. Raises what the ADBC driver raises if the server is lost.
        """
        different = text.dictionary_encode()
        spelled: list[str] = []
        for start in range(0, len(different.dictionary), TEXTS_AT_ONCE):
            spelled += self._of(column, different.dictionary[start : start + TEXTS_AT_ONCE].to_pylist())
        return pc.take(pa.array(spelled, pa.string()), different.indices)

    def _of(self, column: str, texts: Sequence[str]) -> list[str]:
        shape = self._spelling.type_of(column).shape
        same = comparer(shape)
        rewritten_texts = [rewrite_source_text(shape, text) for text in texts]
        answers = self._spelling.of(column, rewritten_texts)
        spelled = pa.array([None if isinstance(answer, NoValue) else answer for answer in answers], pa.string())
        sure = surely_same(shape, pa.array(rewritten_texts, pa.string()), spelled).to_pylist()
        return [
            answer if isinstance(answer, str) and (is_sure or same(rewritten, answer)) else _unequal(text, answer)
            for text, rewritten, answer, is_sure in zip(texts, rewritten_texts, answers, sure, strict=True)
        ]


def _unequal(text: str, answer: str | NoValue) -> str:
    return text + CHANGED if text == answer else text
