"""Defines the options for moving in two steps: a rehearsal on the real target, and a refresh that cuts over."""

from typing import Literal

from migrator.config.fields import Group, OptionInfo, option
from migrator.config.new_file_options import NewFileOptions
from migrator.config.values import WatchInterval


class CutOverOptions(NewFileOptions):
    """The options of ``run`` and ``check`` about a migration whose rows are in the target already."""

    refresh: bool = option(
        False,  # noqa: FBT003 - the default
        "Carry into the target only what has changed in the source since the run before, compare every value, and let "
        "the application start. With check: say how much has changed and how long it takes, and write nothing. "
        "Refused where somebody has written to the target since.",
        OptionInfo(Group.REFRESH),
    )

    compare: Literal["all", "changed"] | None = option(
        None,
        "With --refresh: which rows are read and compared. all: every row of both sides. changed: only those that may "
        "have changed since they were compared, by the pages of SQLite's file and PostgreSQL's records of who has "
        "written each row. The default is all, and with --watch, which never lets the application start, changed.",
        OptionInfo(Group.REFRESH),
    )
    rehearsal: bool = option(
        False,  # noqa: FBT003 - the default
        "Copy and compare everything, but neither upgrade the schema to its newest revision nor let the application "
        "start: for days before the cut-over, with --snapshot while the application goes on writing. Then "
        "run --refresh cuts over.",
        OptionInfo(Group.CUT_OVER),
    )
    watch: bool = option(
        False,  # noqa: FBT003 - the default
        "With --refresh: go on refreshing while the application writes to the source, so that the last refresh has "
        "little left to do. It reads snapshots, upgrades nothing, and never lets the application start. It ends on "
        "SIGTERM or Ctrl-C; then run --refresh cuts over.",
        OptionInfo(Group.CUT_OVER),
    )
    watch_interval: WatchInterval = option(
        10,
        "Seconds that --watch pauses between a refresh and the next look at the source.",
        OptionInfo(Group.CUT_OVER),
    )

    @property
    def compares_changed_only(self) -> bool:
        """Whether a refresh reads only the rows that may have changed."""
        return self.compare == "changed" or (self.compare is None and self.watch)
