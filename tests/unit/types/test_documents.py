"""Documents that jsonb would refuse or cut: found wherever they are, and not by reading every document in Python."""

import json
import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import partial

import pyarrow as pa
import pytest

from migrator.types import documents
from migrator.types.documents import DUPLICATE_KEY, NESTED_TOO_DEEPLY, DocumentSearch
from migrator.types.jsons import unfit


def record(i: int) -> str:
    """Return an ordinary document: keys repeat in it, but never in one object."""
    steps = [{"id": n, "name": f"step {n}", "done": n % 2 == 0} for n in range(i % 4)]
    return json.dumps({"id": i, "name": "x" * (i % 9), "steps": steps, "last": {"id": i, "name": None}})


def places(documents: Sequence[str | None], batch: int = 1000) -> list[int]:
    """Return the places that are found, batch by batch."""
    search, array = DocumentSearch(), pa.array(documents, pa.string())
    starts = range(0, len(documents), batch)
    return [start + place for start in starts for place, _ in search.rows(array.slice(start, batch))]


@pytest.mark.parametrize(
    "document",
    [
        '{"a": 1, "a": 2}',
        '{"a": 1, "b": {"a": 1}, "a": 2}',
        '{"id": 1, "steps": [{"id": 1}, {"id": 2, "name": "y", "id": 3}]}',
        '[[{"a": 1, "a": 1}]]',
        '{"id": 1, "\\u0069d": 2}',
        '{"": 1, "": 2}',
        '{"a\\"": {}, "a\\"": {}}',
        '{"id":1,"name":"\\\\","id":2}',
        ' { "id" : 1 , "name" : "}" , "steps" : [ ] , "id" : 2 } ',
        '{"id": 1, "last": {"id": 1, "name": "\\"", "id": "}"}}',
    ],
)
def test_a_twin_among_thousands_is_found(document: str) -> None:
    """Whatever the other documents have taught, and wherever in the column it stands."""
    documents = [record(i) for i in range(3000)]
    documents[5] = documents[2718] = document
    assert places(documents) == [5, 2718]


def test_what_repeats_legitimately_is_not_found() -> None:
    """Keys in different objects, in lists of objects, as values, and in the text of strings."""
    fine = [
        '{"a": {"a": {"a": 1}}}',
        '[{"a": 1}, {"a": 1}]',
        '{"a": "a", "b": "\\"a\\": 1"}',
        "7",
        '"{}"',
        "null",
        "[]",
    ]
    assert places([*fine, None, *(record(i) for i in range(500))]) == []


def test_random_documents() -> None:
    """The answer is that of a parser which sees every key, for documents that have a form in common and for others."""
    chance = random.Random(7)  # noqa: S311 - no secret is made of it

    def value(depth: int) -> str:
        kind = chance.randrange(6 if depth else 4)
        if kind == 4:
            return "[" + ", ".join(value(depth - 1) for _ in range(chance.randrange(3))) + "]"
        if kind == 5:
            keys = [chance.choice(["a", "b", "c", 'd"', "é", "\\"]) for _ in range(chance.randrange(4))]
            ascii_only = chance.random() < 0.5
            return "{" + ",".join(f"{json.dumps(k, ensure_ascii=ascii_only)}: {value(depth - 1)}" for k in keys) + "}"
        return chance.choice(["1", "-1.5e3", "true", "null", '"a"', '"\\\\"', '"\\","'])

    def sees_twins(document: str) -> bool:
        seen: list[bool] = []
        json.loads(document, object_pairs_hook=lambda pairs: seen.append(len(dict(pairs)) < len(pairs)))
        return any(seen)

    documents = [value(3) for _ in range(20_000)]
    expected = [place for place, document in enumerate(documents) if sees_twins(document)]
    assert len(expected) > 100
    assert places(documents, batch=3000) == expected


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the documents that Python reads."""
    noted: list[str] = []
    real = documents.read

    def note(document: str) -> object:
        noted.append(document)
        return real(document)

    monkeypatch.setattr(documents, "read", note)
    return noted


def test_documents_of_one_form_are_not_read_one_by_one(read: list[str]) -> None:
    """Python reads a sample; the other thousands are left to Arrow, optional keys and lists of any length included."""
    assert places([record(i) for i in range(20_000)], batch=5000) == []
    assert len(read) < 1000


def test_documents_without_a_common_form_are_not_learnt_for_ever(read: list[str]) -> None:
    """Where keys are data there is no form: learning is given up, and every document is read once."""
    assert places([json.dumps({f"key {i}": 1, f"key {i + 1}": 2}) for i in range(3000)]) == []
    assert len(read) <= 3000 + 2 * documents.SAMPLE


def test_a_document_too_deep_for_python_is_named() -> None:
    """It isn't passed over: there is a reason of its own."""
    deep = "[" * 5000 + "]" * 5000
    assert DocumentSearch().rows(pa.array(["1", deep])) == [(1, NESTED_TOO_DEEPLY)]
    assert DocumentSearch().rows(pa.array([None, '{"a":1,"a":1}'])) == [(1, DUPLICATE_KEY)]


def spelled(chance: random.Random, number: int) -> str:
    """Return a document like many others, in one of the spellings in which programs write them."""
    shape = number % 3
    member = {
        "é": chance.choice(["ä\n", "ä", "a"]),
        "n": chance.choice([0, -7, 1.5, 1e-7, 10**20]),
        "tags": ["x"] * chance.randrange(3),
    }
    given = member if shape == 0 else {"id": number, "in": member, "list": [member] * chance.randrange(3)}
    if shape == 2:
        given = {key: value for key, value in (given | {"last": None}).items() if chance.random() < 0.6}
    blanks = chance.choice([(",", ":"), (", ", ": "), (" ,\n", "\t: ")])
    return json.dumps(given, ensure_ascii=chance.random() < 0.5, separators=blanks)


def test_no_pattern_lets_a_text_pass_that_is_no_document() -> None:
    """Of documents in which a few characters were changed, all are judged as if each were read by itself."""
    chance = random.Random(11)  # noqa: S311 - no secret is made of it
    texts = []
    for number in range(12_000):
        text = spelled(chance, number)
        if number % 4 == 0:
            place = chance.randrange(len(text))
            odd = chance.choice(
                ["", ",", '"', "{", "}", "[", "]", ":", "0", "-", ".", "e9", "\\", "\t", "\x0c", "\\u0000"]
            )
            text = text[:place] + odd + text[place + chance.randrange(3) :]
        texts.append(text)
    texts += [
        r'{"id":1,"a":"\ud83c\udf32"}',
        r'{"id":1,"a":"\ud83c"}',
        r'{"id":1,"a":"\udf32"}',
        '{"id":1e99999}',
        "7",
        '"x"',
    ]
    without_escapes = [text for text in texts if "\\" not in text]
    for given in (texts, without_escapes):
        for binary in (True, False):
            judge = partial(unfit, binary=binary)
            search, array = DocumentSearch(judge), pa.array(given)
            starts = range(0, len(given), 3000)
            found = {start + place for start in starts for place, _ in search.rows(array.slice(start, 3000))}
            assert found == {place for place, text in enumerate(given) if judge(text)}
    with closing(sqlite3.connect(":memory:")) as connection:
        accepted = [connection.execute("SELECT json_valid(?)", [text]).fetchone()[0] for text in texts]
    assert all(valid or unfit(text, binary=False) for text, valid in zip(texts, accepted, strict=True))
