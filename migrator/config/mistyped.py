"""
Finds mistyped names in the environment and in the folder of secrets, and the setting that was meant.

A mistyped variable has no effect: with ``MIGRATOR_TARGTE_URL`` the target would be unset. A name that is near the
name of a setting is refused. Any other unknown name may belong to a newer version or to another program, and gives at
most a warning.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic_settings import BaseSettings

from migrator.config.fields import PREFIX, option_info, variables_of
from migrator.config.secret_files import files_in
from migrator.errors import ConfigurationError

OTHERS: Final = frozenset(
    {
        # Read by the image of PostgreSQL: https://hub.docker.com/_/postgres
        *("POSTGRES_INITDB_ARGS", "POSTGRES_INITDB_WALDIR", "POSTGRES_HOST_AUTH_METHOD", "POSTGRES_INITDB_ARGS_FILE"),
        # Read by the application: engine.py.
        *("POSTGRES_POOL_SIZE", "POSTGRES_MAX_OVERFLOW", "POSTGRES_POOL_TIMEOUT", "POSTGRES_POOL_RECYCLE"),
    }
)
"""Variables with one of the job's prefixes that other programs read."""

_PREFIXES: Final = (PREFIX, "POSTGRES_")

_SHORT: Final = 8
"""Names shorter than this (without prefix) may differ in one letter to count as near, longer names in two letters."""

_KEPT: Final = 4
"""The number of letters that must be equal at the beginning or at the end if the prefix is mistyped."""


def names_of(settings: type[BaseSettings]) -> dict[str, str]:
    """Return every variable of every setting, ``…_FILE`` included, with the documented variable of that setting."""
    documented = {}
    for name, field in settings.model_fields.items():
        first, *others = variables_of(name, field)
        for variable in (first, *others):
            documented[variable] = first
            if option_info(field).in_file:
                documented[f"{variable}_FILE"] = f"{first}_FILE"
    return documented


def refuse_mistyped(environment: Mapping[str, str], settings: type[BaseSettings]) -> None:
    """Raise ConfigurationError if a variable has no effect and its name is near the name of a setting."""
    known = names_of(settings)
    wrong = {name: near for name in _unknown(environment, known) if (near := _near(name.upper(), known, settings))}
    if wrong:
        complaints = ", ".join(f"{name} is no setting ({near} is near)" for name, near in sorted(wrong.items()))
        raise ConfigurationError(complaints, next_step=f"Correct the name, or unset {', '.join(sorted(wrong))}.")


def refuse_mistyped_files(folder: Path, settings: type[BaseSettings], named: Iterable[str]) -> None:
    """
    Raise ConfigurationError if a file's name is near the name of a setting that has no value.

    ``named`` holds the names of the settings that have a value. Other files are ignored: a folder of secrets may also
    hold secrets of other programs.
    """
    fields = {name: field for name, field in settings.model_fields.items() if option_info(field).in_file}
    known = {variable: name for name, field in fields.items() for variable in variables_of(name, field)}
    names = [path.name for path in files_in(folder) if path.name.upper() not in known]
    for name in names:
        plain = name.upper().replace("-", "_").replace(".", "_")
        for spelled in (plain, f"{PREFIX}{plain}"):
            near = spelled if spelled in known else _nearest(spelled, known)
            if near and known[near] not in named:
                raise ConfigurationError(
                    f"the file {name!r} in {str(folder)!r} is no setting ({near.lower()} is near)",
                    next_step=f"Name the file {near.lower()}, or take it out of the folder.",
                )


def unknown_variables(environment: Mapping[str, str], settings: type[BaseSettings]) -> list[str]:
    """Return the variables with the job's prefix that belong to no setting. Another version may know them."""
    known = names_of(settings)
    return sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)


def _unknown(environment: Mapping[str, str], known: Mapping[str, str]) -> list[str]:
    """Return the variables that belong to no setting. Empty variables count as not set, as in ``settings``."""
    return [name for name, value in environment.items() if value and name.upper() not in OTHERS | known.keys()]


def _near(name: str, known: Mapping[str, str], settings: type[BaseSettings]) -> str | None:
    """Return the variable that was meant, or None if no variable is near."""
    if not name.startswith(_PREFIXES):
        # The prefix itself may be mistyped.
        alike = (other for other in known if name[:_KEPT] == other[:_KEPT] or name[-_KEPT:] == other[-_KEPT:])
        return next((other for other in alike if _is_near(name, other, 1)), None)
    flags = {
        f"{PREFIX}{flag.removeprefix('--').replace('-', '_')}".upper(): variables_of(field_name, field)[0]
        for field_name, field in settings.model_fields.items()
        for flag in option_info(field).flags
    }
    if name in flags:  # for example the flag --source, which belongs to MIGRATOR_SOURCE_URL
        return flags[name]
    if name.endswith("_FILE") and name.removesuffix("_FILE") in known:
        return name.removesuffix("_FILE")
    return _nearest(name, known)


def _nearest(name: str, known: Iterable[str]) -> str | None:
    for prefix in _PREFIXES:
        stem = name.removeprefix(prefix)
        if stem == name:
            continue
        for other in known:
            short = max(len(stem), len(other.removeprefix(prefix))) < _SHORT
            if other.startswith(prefix) and _is_near(stem, other.removeprefix(prefix), 1 if short else 2):
                return other
    return None


def _is_near(name: str, other: str, most: int) -> bool:
    """Return whether the names differ by at most ``most`` added, missing, wrong or swapped letters."""
    if abs(len(name) - len(other)) > most:
        return False
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(name, 1):
        before, above, row = row, before, [at, *[0] * len(other)]
        for to, target in enumerate(other, 1):
            row[to] = min(before[to] + 1, row[to - 1] + 1, before[to - 1] + (letter != target))
            if at > 1 and to > 1 and letter == other[to - 2] and name[at - 2] == target:
                row[to] = min(row[to], above[to - 2] + 1)
    return row[-1] <= most
