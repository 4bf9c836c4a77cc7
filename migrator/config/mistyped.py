"""
Names that no setting has, in the environment and in the folder of secrets; and whether one that exists is near.

A mistyped variable has no effect: ``MIGRATOR_TARGTE_URL`` would leave the target unset, or a stricter setting off. What
is near a real name is refused; what isn't may belong to a newer image, or to another program, and is at most a warning.
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
        # The image of PostgreSQL: https://hub.docker.com/_/postgres
        *("POSTGRES_INITDB_ARGS", "POSTGRES_INITDB_WALDIR", "POSTGRES_HOST_AUTH_METHOD", "POSTGRES_INITDB_ARGS_FILE"),
        # The application: engine.py.
        *("POSTGRES_POOL_SIZE", "POSTGRES_MAX_OVERFLOW", "POSTGRES_POOL_TIMEOUT", "POSTGRES_POOL_RECYCLE"),
    }
)
"""Variables with a prefix of ours that others read."""

_PREFIXES: Final = (PREFIX, "POSTGRES_")

_SHORT: Final = 8
"""In names shorter than this, less their prefix, one slip of the hand is near; in longer ones two are."""

_KEPT: Final = 4
"""Of a name with one slip in it, that many letters at its begin or at its end are as they should be."""


def names_of(settings: type[BaseSettings]) -> dict[str, str]:
    """Return every variable that a setting may come from, ``…_FILE`` included, with the setting's documented one."""
    found = {}
    for name, field in settings.model_fields.items():
        first, *others = variables_of(name, field)
        for variable in (first, *others):
            found[variable] = first
            if option_info(field).in_file:
                found[f"{variable}_FILE"] = f"{first}_FILE"
    return found


def refuse_mistyped(environment: Mapping[str, str], settings: type[BaseSettings]) -> None:
    """Raise ConfigurationError if a variable that is set has no effect and its name is near that of a setting."""
    known = names_of(settings)
    wrong = {name: near for name in _strangers(environment, known) if (near := _near(name.upper(), known, settings))}
    if wrong:
        said = ", ".join(f"{name} is no setting ({near} is near)" for name, near in sorted(wrong.items()))
        raise ConfigurationError(said, next_step=f"Correct the name, or unset {', '.join(sorted(wrong))}.")


def refuse_mistyped_files(folder: Path, settings: type[BaseSettings], given: Iterable[str]) -> None:
    """
    Raise ConfigurationError if a file in a folder of secrets is named almost like a setting that nothing has given.

    ``given`` holds the names of the settings that have a value. Such a folder also holds secrets of others.
    """
    fields = {name: field for name, field in settings.model_fields.items() if option_info(field).in_file}
    known = {variable: name for name, field in fields.items() for variable in variables_of(name, field)}
    names = [path.name for path in files_in(folder) if path.name.upper() not in known]
    for name in names:
        plain = name.upper().replace("-", "_").replace(".", "_")
        for spelled in (plain, f"{PREFIX}{plain}"):
            near = spelled if spelled in known else _nearest(spelled, known)
            if near and known[near] not in given:
                raise ConfigurationError(
                    f"the file {name!r} in {str(folder)!r} is no setting ({near.lower()} is near)",
                    next_step=f"Name the file {near.lower()}, or take it out of the folder.",
                )


def unknown_variables(environment: Mapping[str, str], settings: type[BaseSettings]) -> list[str]:
    """Return the variables with our own prefix that no setting has; another image may know them."""
    known = names_of(settings)
    return sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)


def _strangers(environment: Mapping[str, str], known: Mapping[str, str]) -> list[str]:
    """Return the variables that no setting has. An empty one counts as not set, here as everywhere."""
    return [name for name, value in environment.items() if value and name.upper() not in OTHERS | known.keys()]


def _near(name: str, known: Mapping[str, str], settings: type[BaseSettings]) -> str | None:
    """Return the variable that was meant, or None if none is near."""
    if not name.startswith(_PREFIXES):
        # A slip in the prefix itself.
        alike = (other for other in known if name[:_KEPT] == other[:_KEPT] or name[-_KEPT:] == other[-_KEPT:])
        return next((other for other in alike if _is_near(name, other, 1)), None)
    flags = {
        f"{PREFIX}{flag.removeprefix('--').replace('-', '_')}".upper(): variables_of(field_name, field)[0]
        for field_name, field in settings.model_fields.items()
        for flag in option_info(field).flags
    }
    if name in flags:  # --source is MIGRATOR_SOURCE_URL
        return flags[name]
    if name.endswith("_FILE") and name.removesuffix("_FILE") in known:
        return name.removesuffix("_FILE")
    return _nearest(name, known)


def _nearest(name: str, known: Iterable[str]) -> str | None:
    for prefix in _PREFIXES:
        rest = name.removeprefix(prefix)
        if rest == name:
            continue
        for other in known:
            short = max(len(rest), len(other.removeprefix(prefix))) < _SHORT
            if other.startswith(prefix) and _is_near(rest, other.removeprefix(prefix), 1 if short else 2):
                return other
    return None


def _is_near(one: str, other: str, most: int) -> bool:
    """Say whether so few slips lead from one to the other: a letter too many, too few, wrong, or two swapped."""
    if abs(len(one) - len(other)) > most:
        return False
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        before, above, row = row, before, [at, *[0] * len(other)]
        for to, target in enumerate(other, 1):
            row[to] = min(before[to] + 1, row[to - 1] + 1, before[to - 1] + (letter != target))
            if at > 1 and to > 1 and letter == other[to - 2] and one[at - 2] == target:
                row[to] = min(row[to], above[to - 2] + 1)
    return row[-1] <= most
