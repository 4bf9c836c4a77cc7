"""
What a write-ahead log holds, told without SQLite: how far its last transaction reaches.

In WAL mode a commit need not touch the database file, nor its change counter (SQLite, "Database File Format", 1.3.7),
and a log that was begun anew may be of the size of the one before. Its salts and its checksums differ then.
"""

from pathlib import Path
from struct import Struct

_HEADER = Struct(">8I")
"""Magic, version, page size, number of the checkpoint, two salts, two checksums ("Database File Format", 4.1)."""
_FRAME = Struct(">6I")
"""Page, size of the database after a commit or 0, the two salts, two checksums of the log up to here."""


def last_commit(log: Path) -> str:
    """
    Return which commit is the log's last: the salts, its frame, and the checksums of all that the log holds up to it.

    Two logs that give the same text hold the same. Empty if there is no log, or none with a commit; blocks while one
    header a page is read.
    """
    try:
        with log.open("rb") as file:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return ""
            _, _, page_bytes, _, *salts, _, _ = _HEADER.unpack(header)
            last = ""
            number = 0
            while len(frame := file.read(_FRAME.size)) == _FRAME.size:
                number += 1
                _, commits, *its_salts, one, two = _FRAME.unpack(frame)
                if its_salts != salts:  # left over from before the log was begun anew
                    break
                if commits:
                    last = f"{salts[0]:08x}{salts[1]:08x}.{number}.{one:08x}{two:08x}"
                file.seek(page_bytes, 1)
            return last
    except FileNotFoundError:
        return ""
