"""Holds the objects that the stages of one run share: both databases, the plan, limits and progress."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct, field

from migrator.concurrency.replay_queue import ReplayQueue
from migrator.monitoring.tracker import Tracker
from migrator.names import TableName
from migrator.runtime.limits import ExampleOptions, Limits

if TYPE_CHECKING:  # `reset` and `restore` run without the modules of the plan
    from migrator.planning.plan import Plan
    from migrator.source.database import Source
    from migrator.target.database import Target
    from migrator.verification.compare_table import TableResult


class StageContext(Struct, frozen=True):
    """The arguments of a stage that reads the source and works on the planned tables of the target."""

    source: "Source"
    target: "Target"
    plan: "Plan"
    limits: Limits
    example_options: ExampleOptions
    tracker: Tracker
    made_by_job: bool = False
    """Whether the job makes the target's tables itself."""


class Overlap(Struct, frozen=True):
    """The objects that simultaneous stages share: the sessions, and the queues of finished tables."""

    slots: asyncio.Semaphore
    """Sessions of the target that ``copy`` and ``verify`` may use together."""
    copied: ReplayQueue[TableName] = field(default_factory=ReplayQueue)
    """Tables whose rows are in the target."""
    restored: ReplayQueue[TableName] = field(default_factory=ReplayQueue)
    """Tables whose keys and indexes are restored, too."""
    compared: Mapping[TableName, "TableResult"] = field(default_factory=dict)
    """The results of unchanged tables that this run has compared already, and that nobody can write to."""
