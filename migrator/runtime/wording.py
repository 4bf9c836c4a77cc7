"""Writes numbers, names and values for people."""


def printable(words: str) -> str:
    """Return a name with unprintable signs escaped: a line break would break the layout of a table."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in words)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which gets an s unless the number is 1."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def quoted(value: str | None) -> str:
    """Return a value in quotes, or NULL for None."""
    return "NULL" if value is None else repr(value)
