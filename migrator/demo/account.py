"""Finds an account for PostgreSQL, which refuses to run as root."""

import os
import pwd
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from msgspec import Struct

from migrator.errors import ConfigurationError

# The first existing account is used. The PostgreSQL packages of Debian and of the official image create `postgres`;
# every system has `nobody`.
_NAMES = ("postgres", "nobody")


class Account(Struct, frozen=True):
    """The account of a child process: the caller's own account, or for root an account with fewer rights."""

    name: str
    uid: int
    gid: int
    is_caller: bool

    @classmethod
    def without_root(cls) -> Self:
        """
        Return the caller's own account. If the caller is root, return ``postgres`` or else ``nobody``.

        Raises ConfigurationError if the caller is root and neither account exists.
        """
        if os.geteuid() != 0:
            return cls("the caller", os.geteuid(), os.getegid(), is_caller=True)
        for name in _NAMES:
            with suppress(KeyError):
                entry = pwd.getpwnam(name)
                return cls(name, entry.pw_uid, entry.pw_gid, is_caller=False)
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and the system has none of the accounts {', '.join(_NAMES)}",
            next_step="Run as an ordinary user.",
        )

    def identity(self) -> dict[str, Any]:
        """Return the arguments that make ``subprocess`` run a program as this account."""
        return {} if self.is_caller else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def reaches(self, path: Path) -> bool:
        """Return whether this account may enter the directory, or run the program, at ``path``."""
        # The system itself decides: permissions of all parents, access lists and mount options count together.
        result = subprocess.run(["/bin/sh", "-c", 'test -x "$1"', "reaches", path], check=False, **self.identity())  # noqa: S603
        return result.returncode == 0

    def take(self, path: Path) -> None:
        """Make this account the owner of ``path``, unless it is the caller's own account."""
        if not self.is_caller:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
