"""
One case tried: a migration, changes of the source and refreshes in turn, and a fresh migration of the same source.

Either the refreshed target equals the fresh one, or the refresh is refused and nothing has changed.
"""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from fix_job import settings_of
from fix_postgres import Database
from refresh.changes import Application
from refresh.drawn import draw, target_script
from refresh.oracle import state_of, versions_of

from migrator.errors import MigratorError
from migrator.job import run, verify
from migrator.monitoring.tracker import Tracker

EMPTY = "DROP SCHEMA IF EXISTS migrator CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public"
READY = "SELECT name FROM migrator.state WHERE name IN ('completed', 'ready') ORDER BY 1"


class Untrue(Exception):  # noqa: N818 - it is no error of a program's
    """What a command has done or said is not right; an assertion would show whole databases."""


def demand(right: object, otherwise: str) -> None:
    """Raise Untrue unless it is right."""
    if not right:
        raise Untrue(otherwise)


@dataclass(slots=True)
class Trial:
    """A case that is being tried, with its two targets."""

    refreshed: Database
    """The one that is migrated first and refreshed after each change."""
    fresh: Database
    """The one that is made anew for each source it is compared with."""
    application: Application
    folder: Path
    compare: str = "all"
    """Which rows a refresh reads."""
    outcomes: list[str] = field(default_factory=list)
    """What came of each refresh, in a word: for the counts of a whole lot."""

    @property
    def refresh(self) -> dict[str, Any]:
        """The settings of a refresh."""
        return {"refresh": True, "compare": self.compare}

    async def ended(self, database: Database, **more: Any) -> MigratorError | None:  # noqa: ANN401 - any setting
        """Run the job on the source as it is now; return how it was refused, or None."""
        return await self._call(run.run, database, **more)

    async def _call(self, command: Any, database: Database, **more: Any) -> MigratorError | None:  # noqa: ANN401
        given = {**self.application.case.options, "rules": self.folder / "migrator.toml", **more}
        try:
            await command(settings_of(self.application.path, database, **given), Tracker())
        except MigratorError as error:
            return error
        return None

    async def begin(self) -> None:
        """Make the source and migrate it."""
        case = self.application.case
        (self.folder / "migrator.toml").write_text(case.rules, encoding="utf-8")
        self.application.make()
        await self.refreshed.execute(EMPTY)
        await self.refreshed.execute(target_script(case.tables))
        error = await self.ended(self.refreshed)
        demand(error is None, f"not even the first run ends well: {error!r}")
        if self.compare == "changed":  # a refresh leaves in the ledger what the next needs
            error = await self.ended(self.refreshed, refresh=True)
            demand(error is None, f"a refresh without a change: {error!r}")

    async def change_and_refresh(self, changes: int) -> bool:
        """Let the application work, refresh, and judge; return whether the refresh has ended well."""
        application, kept = self.application, self.folder / "before.db"
        shutil.copy(application.path, kept)
        tables, target = application.case, len(application.target)
        application.works(changes)
        for statement in application.target[target:]:
            await self.refreshed.execute(statement)
        before = await state_of(self.refreshed)
        untouched = self._untouched()
        versions = await versions_of(self.refreshed, untouched)
        facts = await self.refreshed.fetch(READY)
        expected = await self._fresh()
        error = await self.ended(self.refreshed, **self.refresh)
        self.outcomes.append(type(error).__name__ if error else "refreshed")
        now = await state_of(self.refreshed)
        if error is None:
            demand(expected is None, f"refreshed, but a fresh run was refused: {expected!r}")
            differences = now.differences(await state_of(self.fresh))
            demand(not differences, f"the refreshed target isn't the fresh one: {differences}")
            back = [name for name, value in before.sequences.items() if now.sequences.get(name, 0) < value]
            demand(not back, f"sequences have gone back: {back}")
            demand(await versions_of(self.refreshed, untouched) == versions, f"equal rows were touched: {untouched}")
            return True
        demand(now == before, f"refused, but changed: {now.differences(before)}; {error!r}")
        demand(await self.refreshed.fetch(READY) == facts, f"refused, but the ledger's facts are others; {error!r}")
        if expected is None:
            demand(application.structural and error.exit_code == 4, f"a fresh run ends well: {error!r}")
            return False
        demand(error.exit_code == expected.exit_code, f"{error!r}, but a fresh run: {expected!r}")
        # The operator settles the finding in the source; what was there before stands for that.
        shutil.copy(kept, application.path)
        application.case = tables
        if not application.structural:
            again = await self.ended(self.refreshed, **self.refresh)
            demand(again is None, f"the source is as it was, and the refresh is refused: {again!r}")
            mended = (await state_of(self.refreshed)).differences(before)
            demand(not mended, f"after the source came back: {mended}")
        return not application.structural

    def _untouched(self) -> list[str]:
        """Return the tables whose rows are the same in the source: none of them may be written to."""
        application = self.application
        others = {table.reference.parent for table in application.tables if table.reference}
        return [
            f"public.{table.there}"
            for table in application.tables
            # A deleted parent takes children along, or leaves orphans behind, of which the rules speak.
            if table.name not in application.touched and table.reference is None and table.name not in others
        ]

    async def _fresh(self) -> MigratorError | None:
        case = draw(self.application.case.seed)
        await self.fresh.execute(EMPTY)
        await self.fresh.execute(target_script(case.tables))
        for statement in self.application.target:
            await self.fresh.execute(statement)
        return await self.ended(self.fresh)

    async def afterwards(self) -> None:
        """Hold that nothing is left to do: for ``run``, ``verify``, and another refresh, which touches no row."""
        tables = [f"public.{table.there}" for table in self.application.tables]
        before = await versions_of(self.refreshed, tables)
        for command, more in ((run.run, {}), (verify.verify, {}), (run.run, self.refresh)):
            error = await self._call(command, self.refreshed, **more)
            demand(error is None, f"after a refresh, {command.__name__} {more}: {error!r}")
        demand(await versions_of(self.refreshed, tables) == before, "a refresh without a change has touched rows")
        demand([row[0] for row in await self.refreshed.fetch(READY)] == ["completed", "ready"], "not ready")


async def try_case(seed: int, refreshed: Database, fresh: Database, folder: Path) -> list[str]:
    """Try the case of this number. Raises Untrue; returns what came of its refreshes."""
    case = draw(seed)
    random = Random(f"{seed}/changes")  # noqa: S311 - repeatable
    application = Application(folder / "app.db", case, random, spoiling=random.random() < 0.25)
    trial = Trial(refreshed, fresh, application, folder, compare="changed" if seed % 3 else "all")
    try:
        await trial.begin()
        for round_ in range(1 + (seed % 4 == 0)):
            if not await trial.change_and_refresh(application.random.choice([1, 2, 6, 12, 25])):
                return trial.outcomes
            if seed % 4 == 1 + round_:
                await trial.afterwards()
    except Exception as error:
        told = json.dumps(application.done, ensure_ascii=False)
        raise Untrue(f"{type(error).__name__}: {error}\n  {application.case}\n  done: {told}") from error
    return trial.outcomes
