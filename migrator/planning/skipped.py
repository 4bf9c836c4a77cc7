"""Decides which tables and columns of the source are skipped without a rule, and refuses to skip rows silently."""

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec.structs import replace

from migrator.errors import NoMatch, SourceUnreadable
from migrator.names import first_match, pattern
from migrator.planning.rules import Rules
from migrator.runtime.settlement import RuleSection, Settlement
from migrator.source.schema import Skipped, SourceColumn, SourceDatabase
from migrator.target.schema import TargetTable

KEPT = "bookkeeping of migrations: each side keeps its own"
"""Why a bookkeeping table isn't copied."""


def with_bookkeeping(source: SourceDatabase, carried: Callable[[str], bool]) -> SourceDatabase:
    """Return the source with the bookkeeping tables that are ``carried`` among the tables, and the others skipped."""
    taken = tuple(table for table in source.bookkeeping if carried(table.name))
    kept = tuple(table for table in source.bookkeeping if not carried(table.name))
    tables = tuple(sorted((*source.tables, *taken), key=lambda table: table.name))
    reasons = [Skipped(table.name, f"{KEPT} ({table.version_table.tool})") for table in kept if table.version_table]
    skipped = tuple(sorted((*source.skipped, *reasons), key=lambda entry: entry.name))
    return replace(source, tables=tables, skipped=skipped, bookkeeping=kept)


def skipped_tables(source: SourceDatabase, rules: Rules, target: Collection[str]) -> list[Skipped]:
    """
    Return the source's tables that are not copied, such as virtual tables, each with the reason.

    ``target`` has the names of the target's tables. Raises NoMatch for virtual tables that no rule excludes and that
    hold rows of their own, since these rows can't be read. A virtual table that is only an index of another table is
    skipped without a rule, unless the target has a table for it.
    """
    skipped = [
        Skipped(table.name, "excluded") if table.rows != 0 and rules.of_table(table.name).exclude else table
        for table in source.skipped
    ]
    lost = [
        table
        for table in skipped
        if table.may_lose
        or (table.rows != 0 and first_match((table.name, *rules.table_names(table.name)), target) is not None)
    ]
    if lost:
        names = ", ".join(f"{table.name!r} ({table.reason})" for table in lost)
        flags = " ".join(f"--exclude {shlex.quote(table.name)}" for table in lost)
        raise NoMatch(
            f"the source has rows that can't be carried: {names}",
            next_step=f"Have the application put them into an ordinary table, or leave them behind with {flags}.",
            missing=[table.name for table in lost],
        ).settled_with(_left_behind(lost))
    return skipped


def _left_behind(tables: Sequence[Skipped]) -> Settlement:
    """Return the flags that leave tables behind, and the rules that say the same."""
    flags = {
        f"--exclude={shlex.quote(pattern(table.name))}": (
            RuleSection(f'[tables."{pattern(table.name)}"]', "exclude = true", about=table.reason),
        )
        for table in tables
    }
    return Settlement(tuple(flags), flag_sections=tuple(flags.items()))


def skipped_columns(source: SourceDatabase, rules: Rules, target: Mapping[str, TargetTable]) -> list[Skipped]:
    """
    Return the computed columns that can't be read here and that aren't needed, since the target computes them too.

    ``target`` has the target's tables by name. Raises SourceUnreadable for other columns that can't be read and that no
    rule excludes.
    """
    skipped: list[Skipped] = []
    unreadable: list[tuple[str, SourceColumn]] = []
    for table in source.tables:
        rule = rules.of_table(table.name)
        match = first_match(rules.table_names(table.name), target)
        computed = {column.name for column in target[match].columns if column.generated} if match is not None else set()
        for column in table.columns:
            name = f"{table.name}.{column.name}"
            column_rule = rules.of_column(table.name, column.name)
            if not column.missing or rule.exclude or column_rule.exclude:
                continue
            if first_match(rules.column_names(table.name, column.name), computed) is not None:
                reason = f"computed by the target too; here by {column.missing}, which isn't known"
                skipped.append(Skipped(name, reason))
            else:
                unreadable.append((name, column))
    if unreadable:
        calls = ", ".join(f"{name!r} calls {column.missing}" for name, column in unreadable)
        flags = " ".join(f"--exclude {shlex.quote(name)}" for name, _ in unreadable)
        raise SourceUnreadable(
            f"the source computes columns by functions that only the application has: {calls}",
            next_step=f"Leave the columns out with {flags}. Or have the application store them.",
            columns=[name for name, _ in unreadable],
        )
    return skipped
