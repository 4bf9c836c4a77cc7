"""Prints the lines of a report without rich, which takes longer to load than a short command needs for its work."""

import sys
from collections.abc import Callable
from typing import Any, Final, Protocol


class Lines(Protocol):
    """What a report of plain lines needs of a console: rich's, or ``PlainLines``."""

    def print(
        self,
        *objects: Any,  # noqa: ANN401 - as rich has it
        style: str | None = None,
        markup: bool | None = None,
        highlight: bool | None = None,
        emoji: bool | None = None,
        soft_wrap: bool | None = None,
    ) -> None:
        """Print objects, here texts, in a line. The options say what rich may find or change in them."""


class PlainLines:
    """Prints texts on stdout, in a file or a pipe: each line as it is, without styles."""

    def __init__(self, clean: Callable[[str], str]) -> None:
        """Print each text as ``clean`` returns it; ``clean`` removes the secrets."""
        self._clean = clean

    def print(self, *objects: Any, **_options: object) -> None:  # noqa: ANN401 - as above
        """Print the texts without what would move the cursor, as rich does."""
        line = " ".join(map(str, objects)).translate(_MOVES_THE_CURSOR)
        sys.stdout.write(self._clean(line) + "\n")


_MOVES_THE_CURSOR: Final = dict.fromkeys(map(ord, "\a\b\v\f\r"))
