"""
Generates the sample's rows: one generator for each table, with values as SQLAlchemy stores them in SQLite.

SQLAlchemy stores dates, times, moments and JSON as text, a ``Uuid`` as 32 hexadecimal digits, and a ``Numeric`` as a
double. The seed and the row's number determine the values of a row. So a child's generator can compute the parent's key
without storing it, and memory doesn't grow with the number of rows.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b, sha256
from random import Random
from typing import Final

from msgspec import Struct

from migrator.demo.dryad import phrases
from migrator.demo.dryad.values import (
    BLOBS,
    DATES,
    FLOATS,
    INT64,
    LONG_TEXT,
    MOMENTS,
    TIMES,
    day,
    decimal,
    moment,
    packed_floats,
    prose,
    turn,
    vector,
)
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

# The numbers of children. Successive parents use successive numbers. The averages are 9, 10, 8 and 7.
MESSAGES: Final = (2, 0, 24, 3, 5, 8, 13, 17)
CHUNKS: Final = (4, 0, 30, 1, 9, 16)
BRANCHES: Final = (8, 1, 20, 3)
UTTERANCES: Final = (2, 0, 24, 1, 4, 7, 11)
HAS_VESSEL: Final = (True, True, True, True, True, False, False, False)


class Sample(Struct, frozen=True):
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
        return sum(turn(BRANCHES, grove) for grove in range(self.groves))

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
        host = turn(("example.org", "EXAMPLE.com", "bücher.example"), number)
        created = moment(random)
        yield {
            "id": sample.text_key("users", number),
            "email": f"{turn(phrases.WORDS, number)}.{number}@{host}",
            "username": f"{turn(phrases.NAMES, number)} #{number}",
            "display_name": turn((*phrases.NAMES, None, ""), number),
            "password_hash": f"$argon2id$v=19$m=65536,t=3,p=4${random.getrandbits(256):064x}",
            "role": turn(tuple(UserRole), number),
            "is_active": int(number % 7 != 0),
            "date_of_birth": turn(DATES, number // 3) if number % 3 == 0 else day(random),
            "credit": decimal(random, number, 12, 2),
            "preferences": turn(phrases.JSON_OBJECTS, number),
            "avatar": turn(BLOBS, number // 2) if number % 2 == 0 else random.randbytes(300),
            "last_login_at": turn(MOMENTS, number // 3) if number % 3 == 0 else moment(random),
            "created_at": created,
            "updated_at": created,
        }


def conversations(sample: Sample) -> Iterator[Row]:
    """Yield conversations. ``sample`` sets their last messages when all messages are inserted."""
    random = sample.random("conversations")
    for number in range(sample.conversations):
        created = moment(random)
        yield {
            "id": sample.text_key("conversations", number),
            "user_id": sample.owner(number),
            "title": turn((*phrases.TRICKY, None, "🌳" * 500, *phrases.SENTENCES), number),
            "status": turn(tuple(ConversationStatus), number),
            "model": turn(phrases.MODELS, number),
            "temperature": turn((0.0, 0.2, 0.7, 1.0, None, 1 / 3), number),
            "token_budget": turn((*INT64, None), number),
            "cost": decimal(random, number, 14, 6),
            "is_pinned": int(number % 10 == 0),
            "context": turn((*phrases.JSON_OBJECTS, None, "null"), number),
            "archived_at": turn(MOMENTS, number // 3) if number % 3 == 1 else None,
            "created_at": created,
            "updated_at": created,
        }


def messages(sample: Sample) -> Iterator[Row]:
    """Yield messages. The ids have gaps, as after deletions."""
    random = sample.random("messages")
    vectors = packed_floats(sample.random("vectors"))
    for number, (conversation, position) in enumerate(_children(MESSAGES, sample.conversations)):
        if position == 0:
            key = sample.text_key("conversations", conversation)
            owner = sample.owner(conversation)
        role = turn(tuple(MessageRole), number)
        yield {
            "id": 1 + number + number // 49,
            "conversation_id": key,
            "author_id": owner if role is MessageRole.USER else None,
            "position": position,
            "role": role,
            "content": prose(random, number),
            "token_count": int(random.random() * 4000),
            "latency_ms": random.expovariate(0.002) if number % 4 else None,
            "cost": decimal(random, number, 10, 6) if (number + 1) % 7 else None,
            "attachments": turn((*phrases.JSON_LISTS, "null"), number // 10) if number % 10 == 0 else None,
            "embedding": vector(random, vectors) if number % 8 == 0 else None,
            "is_edited": int(number % 17 == 0),
            "created_at": moment(random),
        }


def documents(sample: Sample) -> Iterator[Row]:
    """Yield documents. Some have no body."""
    random = sample.random("documents")
    for number in range(sample.documents):
        created = moment(random)
        yield {
            "id": sample.key("documents", number),
            "owner_id": sample.owner(number),
            "title": turn((*phrases.SENTENCES, *phrases.TRICKY), number),
            "source_uri": f"https://example.org/{number}?q=a%20b&lang=zh#樹" if number % 5 else None,
            "mime_type": turn(phrases.MIME_TYPES, number),
            "status": turn(tuple(DocumentStatus), number),
            "size_bytes": 2**63 - 1 if number == 0 else int(random.expovariate(1e-6)),
            "checksum": sha256(str(number).encode()).digest() if number % 9 else None,
            "body": None if number % 6 == 1 else LONG_TEXT if number % 101 == 0 else prose(random, number) * 4,
            "metadata": turn(phrases.JSON_OBJECTS, number),
            "language": turn(phrases.LANGUAGES, number),
            "published_on": turn(DATES, number // 2) if number % 2 else day(random),
            "is_public": number % 2,
            "created_at": created,
            "updated_at": moment(random),
        }


def document_chunks(sample: Sample) -> Iterator[Row]:
    """Yield chunks of documents with their embeddings."""
    random = sample.random("document_chunks")
    vectors = packed_floats(sample.random("vectors"))
    for number, (document, chunk) in enumerate(_children(CHUNKS, sample.documents)):
        if chunk == 0:
            key = sample.key("documents", document)
        yield {
            "document_id": key,
            "chunk_index": chunk,
            "content": prose(random, number),
            "token_count": int(random.random() * 512),
            "start_offset": 2**40 + chunk * 2048 if number % 100 == 0 else chunk * 2048,
            "embedding": turn(BLOBS, number // 20) if number % 20 == 0 else vector(random, vectors),
            "embedding_norm": turn((*FLOATS, None), number // 50) if number % 50 == 0 else random.random() * 10,
            "created_at": moment(random),
        }


def groves(sample: Sample) -> Iterator[Row]:
    """Yield groves. Their seeds are arbitrary 64-bit integers."""
    random = sample.random("groves")
    for number in range(sample.groves):
        word = turn(phrases.WORDS, number)
        yield {
            "id": sample.key("groves", number),
            "owner_id": sample.owner(number),
            "name": f"{word} 🌳 {number}",
            "slug": f"{word}-{number}",
            "description": turn((None, *phrases.TRICKY), number),
            "visibility": turn(tuple(GroveVisibility), number),
            "settings": turn(phrases.JSON_OBJECTS, number),
            "seed": INT64[number] if number < len(INT64) else random.getrandbits(64) - 2**63,
            "founded_on": turn(DATES, number),
            "quiet_from": turn(TIMES, number),
            "created_at": moment(random),
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
            "name": f"{turn(phrases.WORDS, number)} {ordinal}",
            "priority": number % 10,
            "weight": turn(FLOATS, number // 3) if number % 3 == 0 else random.gauss(0, 1),
            "score": decimal(random, number, 15, 9) if (number + 1) % 7 else None,
            "observation": turn((*phrases.JSON_VALUES, None), number),
            "is_merged": turn((None, 0, 1), number),
            "created_at": moment(random),
        }


def vessels(sample: Sample) -> Iterator[Row]:
    """Yield vessels, for five of eight branches."""
    random = sample.random("vessels")
    numbers = (branch for branch in range(1, sample.branches + 1) if turn(HAS_VESSEL, branch))
    for number, branch in enumerate(numbers):
        yield {
            "id": sample.text_key("vessels", branch),
            "branch_id": branch,
            "kind": turn(tuple(VesselKind), number),
            "storage_path": f"/var/lib/dryad/vessels/{branch:08d}/état {number}.bin",
            "state": turn(BLOBS, number // 2) if number % 2 else random.randbytes(number % 4096),
            "manifest": turn(phrases.JSON_OBJECTS, number),
            "capacity_bytes": turn((*INT64, None), number),
            "fill_ratio": turn((0.0, 1.0, 0.1 + 0.2, 5e-324), number) if number % 2 else random.random(),
            "price": decimal(random, number, 9, 4) if (number + 1) % 7 else None,
            "expires_on": turn(DATES, number),
            "sealed_at": turn(MOMENTS, number),
            "created_at": moment(random),
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
            "vessel_id": sample.text_key("vessels", branch) if turn(HAS_VESSEL, branch) else None,
            "opened_by": sample.owner(number) if number % 6 else None,
            "topic": turn(phrases.SENTENCES, number),
            "state": turn(tuple(DialogueState), number),
            "parameters": turn((*phrases.JSON_OBJECTS, None, "null"), number),
            "summary": turn((*phrases.TRICKY, None), number) if number % 2 else prose(random, number),
            "wall_clock": turn(MOMENTS, number),
            "started_at": moment(random),
            "ended_at": turn(MOMENTS, number // 2) if number % 2 else moment(random),
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
            "speaker": turn(tuple(Speaker), number),
            "content": prose(random, number),
            "tool_calls": turn((*phrases.JSON_LISTS, "null"), number // 7) if number % 7 == 0 else None,
            "confidence": turn((*FLOATS, None), number // 9) if number % 9 == 0 else random.random(),
            "audio": turn(BLOBS, number // 25) if number % 25 == 0 else None,
            "spoken_at": moment(random),
        }


def _children(sizes: Sequence[int], parents: int) -> Iterator[tuple[int, int]]:
    """Yield the children of all parents, as pairs of the parent's number and the child's place."""
    for parent in range(parents):
        for place in range(turn(sizes, parent)):
            yield parent, place
