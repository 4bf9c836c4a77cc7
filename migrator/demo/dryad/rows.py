"""
Generates the sample's rows: one generator for each table, with values as SQLAlchemy stores them in SQLite.

SQLAlchemy stores dates, times, moments and JSON as text, a ``Uuid`` as 32 hexadecimal digits, and a ``Numeric`` as a
double. The seed and the row's number determine the values of a row. So a child's generator can compute the parent's key
without storing it, and memory doesn't grow with the number of rows.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b, sha256
from random import Random
from typing import Final, TypeVar

from migrator.demo.dryad import phrases
from migrator.demo.dryad.vocabulary import (
    ConversationStatus,
    DialogueState,
    DocumentStatus,
    GroveVisibility,
    MessageRole,
    Speaker,
    UserRole,
    VesselKind,
)

Value = str | int | float | bytes | None
Row = dict[str, Value]
T = TypeVar("T")

INT64: Final = (2**63 - 1, -(2**63), 0, -1, 2**53 + 1, 42)
FLOATS: Final = (1e308, -1e308, 5e-324, 0.1 + 0.2, 1 / 3, float("inf"), float("-inf"), 2.0**53 + 2, -273.15, 0.0, 7.0)
DATES: Final = ("0001-01-01", "9999-12-31", "2024-02-29", None, "1969-12-31", "1582-10-10")
TIMES: Final = ("00:00:00.000000", "23:59:59.999999", None, "22:30:00.000000")
MOMENTS: Final = (
    "0001-01-01 00:00:00.000000",
    "9999-12-31 23:59:59.999999",
    None,
    "1969-12-31 23:59:59.999999",
    "2024-02-29 12:00:00.000001",
)
BLOBS: Final = (b"", b"\x00", None, bytes(range(256)), b"\\x00", b"\x89PNG\r\n\x1a\n" + bytes(1000))

# The numbers of children. Successive parents use successive numbers. The averages are 9, 10, 8 and 7.
MESSAGES: Final = (2, 0, 24, 3, 5, 8, 13, 17)
CHUNKS: Final = (4, 0, 30, 1, 9, 16)
BRANCHES: Final = (8, 1, 20, 3)
UTTERANCES: Final = (2, 0, 24, 1, 4, 7, 11)
HAS_VESSEL: Final = (True, True, True, True, True, False, False, False)

LONG_TEXT: Final = "A long log, line by line; 一行一行地写下去 🌲\n" * 4000
RARELY: Final = 2003
"""One text in this number of texts is the long text."""

VECTOR_BYTES: Final = 64 * 4
BIRTH: Final = datetime(2021, 3, 20, 9, 30)  # noqa: DTZ001 - SQLAlchemy stores UTC in SQLite without a time zone
AGE_SECONDS: Final = 5 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class Sample:
    """The seed, and the number of rows of each table without a parent. They determine all rows."""

    seed: int
    users: int
    conversations: int
    documents: int
    groves: int
    dialogues: int

    @property
    def branches(self) -> int:
        """The number of rows of ``branches``."""
        return sum(_turn(BRANCHES, grove) for grove in range(self.groves))

    def random(self, table: str) -> Random:
        """Return the random generator of a table."""
        return Random(f"{self.seed}/{table}")  # noqa: S311 - reproducible on purpose, and not for secrets

    def key(self, table: str, number: int) -> str:
        """Return the UUID of a row as ``Uuid`` stores it in SQLite: 32 digits."""
        digits = blake2b(f"{self.seed}/{table}/{number}".encode(), digest_size=16).hexdigest()
        return f"{digits[:12]}4{digits[13:16]}a{digits[17:]}"

    def text_key(self, table: str, number: int) -> str:
        """Return the UUID of a row as ``str(uuid)`` writes it: 36 characters."""
        digits = self.key(table, number)
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def owner(self, number: int) -> str:
        """Return the key of the user who owns row ``number``. A few users own many rows, many users own few."""
        share = number * 0.6180339887498949 % 1.0
        return self.text_key("users", int(self.users * share * share))


def users(sample: Sample) -> Iterator[Row]:
    """Yield accounts, with names in many scripts."""
    random = sample.random("users")
    for number in range(sample.users):
        host = _turn(("example.org", "EXAMPLE.com", "bücher.example"), number)
        created = _moment(random)
        yield {
            "id": sample.text_key("users", number),
            "email": f"{_turn(phrases.WORDS, number)}.{number}@{host}",
            "username": f"{_turn(phrases.NAMES, number)} #{number}",
            "display_name": _turn((*phrases.NAMES, None, ""), number),
            "password_hash": f"$argon2id$v=19$m=65536,t=3,p=4${random.getrandbits(256):064x}",
            "role": _turn(tuple(UserRole), number),
            "is_active": int(number % 7 != 0),
            "date_of_birth": _turn(DATES, number // 3) if number % 3 == 0 else _date(random),
            "credit": _decimal(random, number, 12, 2),
            "preferences": _turn(phrases.JSON_OBJECTS, number),
            "avatar": _turn(BLOBS, number // 2) if number % 2 == 0 else random.randbytes(300),
            "last_login_at": _turn(MOMENTS, number // 3) if number % 3 == 0 else _moment(random),
            "created_at": created,
            "updated_at": created,
        }


def conversations(sample: Sample) -> Iterator[Row]:
    """Yield conversations. ``sample`` sets their last messages when all messages are inserted."""
    random = sample.random("conversations")
    for number in range(sample.conversations):
        created = _moment(random)
        yield {
            "id": sample.text_key("conversations", number),
            "user_id": sample.owner(number),
            "title": _turn((*phrases.TRICKY, None, "🌳" * 500, *phrases.SENTENCES), number),
            "status": _turn(tuple(ConversationStatus), number),
            "model": _turn(phrases.MODELS, number),
            "temperature": _turn((0.0, 0.2, 0.7, 1.0, None, 1 / 3), number),
            "token_budget": _turn((*INT64, None), number),
            "cost": _decimal(random, number, 14, 6),
            "is_pinned": int(number % 10 == 0),
            "context": _turn((*phrases.JSON_OBJECTS, None, "null"), number),
            "archived_at": _turn(MOMENTS, number // 3) if number % 3 == 1 else None,
            "created_at": created,
            "updated_at": created,
        }


def messages(sample: Sample) -> Iterator[Row]:
    """Yield messages. The ids have gaps, as after deletions."""
    random = sample.random("messages")
    vectors = _vectors(sample)
    for number, (conversation, position) in enumerate(_children(MESSAGES, sample.conversations)):
        if position == 0:
            key = sample.text_key("conversations", conversation)
            owner = sample.owner(conversation)
        role = _turn(tuple(MessageRole), number)
        yield {
            "id": 1 + number + number // 49,
            "conversation_id": key,
            "author_id": owner if role is MessageRole.USER else None,
            "position": position,
            "role": role,
            "content": _text(random, number),
            "token_count": int(random.random() * 4000),
            "latency_ms": random.expovariate(0.002) if number % 4 else None,
            "cost": _decimal(random, number, 10, 6) if (number + 1) % 7 else None,
            "attachments": _turn((*phrases.JSON_LISTS, "null"), number // 10) if number % 10 == 0 else None,
            "embedding": _vector(random, vectors) if number % 8 == 0 else None,
            "is_edited": int(number % 17 == 0),
            "created_at": _moment(random),
        }


def documents(sample: Sample) -> Iterator[Row]:
    """Yield documents. Some have no body."""
    random = sample.random("documents")
    for number in range(sample.documents):
        created = _moment(random)
        yield {
            "id": sample.key("documents", number),
            "owner_id": sample.owner(number),
            "title": _turn((*phrases.SENTENCES, *phrases.TRICKY), number),
            "source_uri": f"https://example.org/{number}?q=a%20b&lang=zh#樹" if number % 5 else None,
            "mime_type": _turn(phrases.MIME_TYPES, number),
            "status": _turn(tuple(DocumentStatus), number),
            "size_bytes": 2**63 - 1 if number == 0 else int(random.expovariate(1e-6)),
            "checksum": sha256(str(number).encode()).digest() if number % 9 else None,
            "body": None if number % 6 == 1 else LONG_TEXT if number % 101 == 0 else _text(random, number) * 4,
            "metadata": _turn(phrases.JSON_OBJECTS, number),
            "language": _turn(phrases.LANGUAGES, number),
            "published_on": _turn(DATES, number // 2) if number % 2 else _date(random),
            "is_public": number % 2,
            "created_at": created,
            "updated_at": _moment(random),
        }


def document_chunks(sample: Sample) -> Iterator[Row]:
    """Yield chunks of documents with their embeddings."""
    random = sample.random("document_chunks")
    vectors = _vectors(sample)
    for number, (document, chunk) in enumerate(_children(CHUNKS, sample.documents)):
        if chunk == 0:
            key = sample.key("documents", document)
        yield {
            "document_id": key,
            "chunk_index": chunk,
            "content": _text(random, number),
            "token_count": int(random.random() * 512),
            "start_offset": 2**40 + chunk * 2048 if number % 100 == 0 else chunk * 2048,
            "embedding": _turn(BLOBS, number // 20) if number % 20 == 0 else _vector(random, vectors),
            "embedding_norm": _turn((*FLOATS, None), number // 50) if number % 50 == 0 else random.random() * 10,
            "created_at": _moment(random),
        }


def groves(sample: Sample) -> Iterator[Row]:
    """Yield groves. Their seeds are arbitrary 64-bit integers."""
    random = sample.random("groves")
    for number in range(sample.groves):
        word = _turn(phrases.WORDS, number)
        yield {
            "id": sample.key("groves", number),
            "owner_id": sample.owner(number),
            "name": f"{word} 🌳 {number}",
            "slug": f"{word}-{number}",
            "description": _turn((None, *phrases.TRICKY), number),
            "visibility": _turn(tuple(GroveVisibility), number),
            "settings": _turn(phrases.JSON_OBJECTS, number),
            "seed": INT64[number] if number < len(INT64) else random.getrandbits(64) - 2**63,
            "founded_on": _turn(DATES, number),
            "quiet_from": _turn(TIMES, number),
            "created_at": _moment(random),
        }


def branches(sample: Sample) -> Iterator[Row]:
    """Yield branches: a tree in each grove, in which some parents have larger ids than their children."""
    random = sample.random("branches")
    for number, (grove, ordinal) in enumerate(_children(BRANCHES, sample.groves)):
        if ordinal == 0:
            root = number + 1
            key = sample.key("groves", grove)
        # The third branch is the parent of the second branch. No grove has exactly two branches.
        place = 2 if ordinal == 1 else (ordinal - 1) // 2
        yield {
            "id": number + 1,
            "grove_id": key,
            "parent_id": root + place if ordinal else None,
            "name": f"{_turn(phrases.WORDS, number)} {ordinal}",
            "priority": number % 10,
            "weight": _turn(FLOATS, number // 3) if number % 3 == 0 else random.gauss(0, 1),
            "score": _decimal(random, number, 15, 9) if (number + 1) % 7 else None,
            "observation": _turn((*phrases.JSON_VALUES, None), number),
            "is_merged": _turn((None, 0, 1), number),
            "created_at": _moment(random),
        }


def vessels(sample: Sample) -> Iterator[Row]:
    """Yield vessels, for five of eight branches."""
    random = sample.random("vessels")
    numbers = (branch for branch in range(1, sample.branches + 1) if _turn(HAS_VESSEL, branch))
    for number, branch in enumerate(numbers):
        yield {
            "id": sample.text_key("vessels", branch),
            "branch_id": branch,
            "kind": _turn(tuple(VesselKind), number),
            "storage_path": f"/var/lib/dryad/vessels/{branch:08d}/état {number}.bin",
            "state": _turn(BLOBS, number // 2) if number % 2 else random.randbytes(number % 4096),
            "manifest": _turn(phrases.JSON_OBJECTS, number),
            "capacity_bytes": _turn((*INT64, None), number),
            "fill_ratio": _turn((0.0, 1.0, 0.1 + 0.2, 5e-324), number) if number % 2 else random.random(),
            "price": _decimal(random, number, 9, 4) if (number + 1) % 7 else None,
            "expires_on": _turn(DATES, number),
            "sealed_at": _turn(MOMENTS, number),
            "created_at": _moment(random),
        }


def dialogues(sample: Sample) -> Iterator[Row]:
    """Yield dialogues. Many are about a vessel. In some, the user who opened it no longer exists."""
    random = sample.random("dialogues")
    last_branch = sample.branches
    for number in range(sample.dialogues):
        branch = 1 + number * 7 % last_branch
        yield {
            "id": sample.key("dialogues", number),
            "branch_id": branch,
            "vessel_id": sample.text_key("vessels", branch) if _turn(HAS_VESSEL, branch) else None,
            "opened_by": sample.owner(number) if number % 6 else None,
            "topic": _turn(phrases.SENTENCES, number),
            "state": _turn(tuple(DialogueState), number),
            "parameters": _turn((*phrases.JSON_OBJECTS, None, "null"), number),
            "summary": _turn((*phrases.TRICKY, None), number) if number % 2 else _text(random, number),
            "wall_clock": _turn(MOMENTS, number),
            "started_at": _moment(random),
            "ended_at": _turn(MOMENTS, number // 2) if number % 2 else _moment(random),
        }


def dialogue_messages(sample: Sample) -> Iterator[Row]:
    """Yield utterances. A few have audio."""
    random = sample.random("dialogue_messages")
    for number, (dialogue, utterance) in enumerate(_children(UTTERANCES, sample.dialogues)):
        if utterance == 0:
            key = sample.key("dialogues", dialogue)
        yield {
            "id": 1 + number + number // 99,
            "dialogue_id": key,
            "speaker": _turn(tuple(Speaker), number),
            "content": _text(random, number),
            "tool_calls": _turn((*phrases.JSON_LISTS, "null"), number // 7) if number % 7 == 0 else None,
            "confidence": _turn((*FLOATS, None), number // 9) if number % 9 == 0 else random.random(),
            "audio": _turn(BLOBS, number // 25) if number % 25 == 0 else None,
            "spoken_at": _moment(random),
        }


def _turn(pool: Sequence[T], number: int) -> T:
    return pool[number % len(pool)]


def _children(sizes: Sequence[int], parents: int) -> Iterator[tuple[int, int]]:
    """Yield the children of all parents, as pairs of the parent's number and the child's place."""
    for parent in range(parents):
        for place in range(_turn(sizes, parent)):
            yield parent, place


def _text(random: Random, number: int) -> str:
    if number % 11 == 0:
        return _turn(phrases.TRICKY, number // 11)
    if number % RARELY == 1:
        return LONG_TEXT
    return " ".join(random.choices(phrases.SENTENCES, k=1 + int(8 * random.random())))


def _moment(random: Random) -> str:
    """Return a moment as SQLAlchemy writes it, with microseconds; sometimes as SQLite writes it, without."""
    microseconds = int(random.random() * AGE_SECONDS * 1_000_000)
    moment = (BIRTH + timedelta(microseconds=microseconds)).isoformat(" ", "microseconds")
    return moment[:19] if microseconds % 9 == 0 else moment


def _date(random: Random) -> str:
    return (BIRTH - timedelta(days=int(random.random() * 30_000))).date().isoformat()


def _decimal(random: Random, number: int, precision: int, scale: int) -> float:
    """Return the double nearest to a decimal. A decimal of up to 15 digits is read back unchanged."""
    largest = 10**precision - 1
    extremes = (largest, -largest, 0, 1, -1, 10**scale)
    digits = extremes[number] if number < len(extremes) else int(largest * (random.random() ** 8 - 0.01))
    return digits / float(10**scale)


def _vectors(sample: Sample) -> bytes:
    """Return one long packed vector of floats. Embeddings are slices of it: packing each of them takes too long."""
    random = sample.random("vectors")
    floats = [random.gauss(0, 1) for _ in range(1 << 15)]
    return struct.pack(f"<{len(floats)}f", *floats)


def _vector(random: Random, vectors: bytes) -> bytes:
    start = 4 * int(random.random() * (len(vectors) - VECTOR_BYTES) / 4)
    return vectors[start : start + VECTOR_BYTES]
