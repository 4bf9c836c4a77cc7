"""Reads addresses of networks and of network cards from text (PostgreSQL, "Network Address Types")."""

import re
from ipaddress import ip_address

_PREFIX = re.compile(r"[0-9]{1,3}")
_CARDS = re.compile(
    r"[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}|[0-9a-f]{6}[:-]?[0-9a-f]{6}|[0-9a-f]{4}([.-])[0-9a-f]{4}\2[0-9a-f]{4}",
    re.IGNORECASE,
)
_CARDS_OF_8 = re.compile(
    r"[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){6}|[0-9a-f]{8}[:-]?[0-9a-f]{8}"
    r"|[0-9a-f]{4}([.-])[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{4}",
    re.IGNORECASE,
)
_NO_DIGITS = re.compile(r"[^0-9a-fA-F]")


def network(text: str) -> tuple[int, int, int]:
    """Return version, address and prefix. The default prefix is a host's. An IPv4 address must have all four parts."""
    address, slash, prefix = text.partition("/")
    if "%" in address:  # PostgreSQL drops the zone after it
        raise ValueError("no address")
    host = ip_address(address)
    if not slash:
        return host.version, int(host), host.max_prefixlen
    if not _PREFIX.fullmatch(prefix) or int(prefix) > host.max_prefixlen:
        raise ValueError("no prefix")
    return host.version, int(host), int(prefix)


def card(text: str) -> str:
    """Return the twelve hexadecimal digits of a network card's address."""
    return _digits(_CARDS, text)


def card_of_8(text: str) -> str:
    """Return the sixteen digits of an eight-byte address. Six bytes raise ValueError: PostgreSQL would fill them up."""
    return _digits(_CARDS_OF_8, text)


def _digits(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError("no address of a card")
    return _NO_DIGITS.sub("", text).lower()
