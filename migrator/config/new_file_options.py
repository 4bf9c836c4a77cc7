"""Defines the options of commands that write a SQLite file."""

from pathlib import Path

from migrator.config.fields import Group, OptionInfo, option
from migrator.config.output_options import OutputOptions
from migrator.config.values import SourceUrl


class NewFileOptions(OutputOptions):
    """The options of ``rollback`` and ``backup`` about files."""

    like: SourceUrl | None = option(
        None,
        "For rollback: the SQLite file from before the migration, as a path or URL. The new file has its "
        "schema, and its form of values.",
        OptionInfo(Group.ROLLBACK, shown_default="the source"),
    )
    to: Path | None = option(
        None,
        "For rollback and backup: the SQLite file to write. It must not exist; it has this name only when it is whole.",
        OptionInfo(Group.NEW_FILE),
    )
