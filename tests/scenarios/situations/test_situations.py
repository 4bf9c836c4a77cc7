"""
Small whole situations, drawn at random, under the real command: its exit code is one that is right, and 0 is true.

``MIGRATOR_TEST_SITUATIONS`` says how many; ``scripts/situations.sh`` tries thousands, and one by its number again.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import pytest
from fix_job import Ended, quick_flags
from fix_postgres import Database, Server, database_on
from fix_warm import Zygote
from situations.drawn import (
    FAULTS,
    FILES,
    JOURNALS,
    KEYS,
    NAMES,
    ROLE_SETTINGS,
    SCHEMAS,
    SHAPES,
    STORIES,
    Obstacle,
    Situation,
    draw,
)
from situations.kinds import KINDS
from situations.oracle import Rows, ServerTypes
from situations.staged import (
    command_file,
    files_in,
    has_psql,
    make_source,
    snapshot_of_rows,
    source_argument,
    surroundings_script,
    target_script,
    touch,
)

# Those of a run have everything that is drawn from; the long version is scripts/situations.sh.
COUNT = int(os.environ.get("MIGRATOR_TEST_SITUATIONS", "150"))
FIRST = int(os.environ.get("MIGRATOR_TEST_FIRST_SITUATION", "151"))
RARE = {"no partition"}
"""What one in a thousand has: for the long version."""
LOT = 10
"""Situations that one test tries: enough to be worth a test's own cost, few enough to spread over processes."""

Step = Callable[["Stage"], Any]


@dataclass(slots=True)
class Stage:
    """One situation that was brought about, and what has been seen of it."""

    situation: Situation
    database: Database
    folder: Path
    warm: Zygote
    judge: ServerTypes
    path: Path = field(default_factory=Path)
    program: Path | None = None

    @property
    def rows(self) -> Rows:
        """What the source holds now."""
        return snapshot_of_rows(self.path, self.folder / "work")

    def arguments(self, command: str, *more: str) -> list[str]:
        """Return the command line of this situation."""
        only_source = command in {"check", "verify", "run"}
        given = [command, "--target-schema", self.situation.schema, *quick_flags()]
        if command == "reset":
            given = ["reset", "--yes", *quick_flags()]
        if only_source:
            given += ["--source", source_argument(self.situation, self.path), *self.situation.flags]
        if command == "run":
            given += [f"--schema={self.situation.mode}"]
            given += [f"--schema-command={self.program}"] if self.program else []
        return [*given, *more]

    def call(self, command: str, *more: str) -> Ended:
        """Run a command to its end; no command ends in a way that no situation asks for."""
        ended: Ended = self.warm(*self.arguments(command, *more), park_all=False, MIGRATOR_TARGET_URL=self.database.url)
        demand(ended.code in {0, 1, 2, 3, 4}, said(ended))
        return ended

    def killed(self, after: int) -> None:
        """Start a run, and kill it when it has said that many things."""
        job = self.warm.start(*self.arguments("run"), park_all=True, MIGRATOR_TARGET_URL=self.database.url)
        seen = iter(range(after))
        job.until(lambda _event: next(seen, None) is None)
        job.kill()
        job.ended()


class Untrue(Exception):  # noqa: N818 - it is no error of a program's
    """What a command has done or said is not right; an assertion would show whole databases."""


def demand(right: object, otherwise: str) -> None:
    """Raise Untrue unless it is right."""
    if not right:
        raise Untrue(otherwise)


def said(ended: Ended) -> str:
    """Return what a command has said, for a failure."""
    failures = [line for line in ended.stderr.splitlines() if '"level": "error"' in line]
    return f"exit {ended.code}: {' '.join(failures)[-900:]} {' '.join(ended.stdout.splitlines()[-2:])[-300:]}"


async def hold(stage: Stage, ended: Ended, codes: frozenset[int]) -> None:
    """Hold an end of ``run`` to its code, and 0 to what it says."""
    demand(ended.code in codes, f"allowed {sorted(codes)}, {said(ended)}")
    if ended.code == 0:
        differences = await stage.judge.differences(stage.rows)
        demand(not differences, f"ended with 0, but: {differences[:5]}")
        demand(stage.situation.carried, "ended with 0 over nothing")


async def hold_foreign(stage: Stage, before: dict[str, list[str]], when: str) -> None:
    """Hold that nobody has touched the rows of others."""
    now = await stage.judge.foreign()
    touched = {name: (rows, now.get(name)) for name, rows in before.items() if now.get(name) != rows}
    demand(not touched, f"rows of others were touched: {touched}; {when}")


async def try_situation(situation: Situation, server: Server, warm: Zygote, folder: Path) -> None:
    """Bring a situation about, let its story happen, and judge."""
    if situation.mode == "command" and not has_psql():
        situation = replace(situation, mode="existing")
    (folder / "source").mkdir()
    (folder / "work").mkdir()
    with database_on(server) as database:
        await prepare(situation, database)
        connection = await asyncpg.connect(database.admin_url)
        try:
            stage = Stage(situation, database, folder, warm, ServerTypes(connection, situation))
            stage.path = make_source(situation, folder / "source")
            stage.program = command_file(situation, folder) if situation.mode == "command" else None
            await tell(stage)
        finally:
            await connection.close()


async def prepare(situation: Situation, database: Database) -> None:
    """Make the target, as its owner; then the settings of the role."""
    await database.execute(surroundings_script(situation))
    if situation.mode == "existing":
        await database.execute(target_script(situation))
    for setting in situation.role_settings:
        await database.execute(f"ALTER ROLE {database.role} SET {setting}", as_admin=True)


async def tell(stage: Stage) -> None:
    """Let the story happen."""
    story = stage.situation.story
    foreign, files, definitions = (
        await stage.judge.foreign(),
        files_in(stage.path.parent),
        await stage.judge.definitions(),
    )
    if stage.situation.check_first:
        checked = stage.call("check")
        demand((checked.code == 0) == (0 in stage.situation.codes) or 0 in stage.situation.codes, said(checked))
    if story.startswith("killed"):
        stage.killed(after=stage.situation.seed % 40 + 2)
    ended = await FIRST_RUNS.get(story, _first_run)(stage)
    await hold_foreign(stage, foreign, said(ended))
    if stage.situation.check_first and story == "once":
        demand(checked.code == 0 or ended.code != 0, f"check: {said(checked)}; run: {said(ended)}")
        demand(checked.code != 0 or ended.code == 0, f"check: {said(checked)}; run: {said(ended)}")
    if story != "killed changed":
        demand(files_in(stage.path.parent) == files, "the source's folder was changed")
    if stage.situation.mode == "existing" and not story.startswith("killed"):
        now = await stage.judge.definitions()
        demand(now == definitions, f"definitions changed: {sorted(set(now) ^ set(definitions))[:6]}; {said(ended)}")
    if ended.code == 0:
        await _afterwards(stage)
        await hold_foreign(stage, foreign, "afterwards")


async def _first_run(stage: Stage) -> Ended:
    ended = stage.call("run")
    await hold(stage, ended, stage.situation.codes)
    return ended


async def _run_with_exclusion(stage: Stage) -> Ended:
    """Leave behind a table that the killed run may have begun."""
    parents = {table.parent for table in stage.situation.tables}
    left = [t for t in stage.situation.carried if t.name not in parents and t.name.replace("_", "").isalpha()]
    if len(stage.situation.carried) < 2 or not left:
        return await _first_run(stage)
    name = left[0].name
    ended = stage.call("run", f"--exclude={name}")
    demand(ended.code != 1, said(ended))
    if ended.code == 0:
        others = [table.name for table in stage.situation.carried if table.name.lower() != name.lower()]
        differences = await stage.judge.differences(stage.rows, others)
        demand(not differences, f"ended with 0, but: {differences[:5]}")
        count = await stage.judge.count(name)
        demand(count <= 0 or not await stage.judge.differences(stage.rows, [name]), f"half of {name!r}: {count} rows")
    return ended


async def _run_after_change(stage: Stage) -> Ended:
    with closing(sqlite3.connect(stage.path)) as connection:
        touch(connection, stage.situation.carried, ["inserted", "updated", "deleted"][stage.situation.seed % 3])
        connection.commit()
    ended = stage.call("run")
    await hold(stage, ended, stage.situation.codes | {3})
    return ended


async def _restart(stage: Stage) -> Ended:
    ended = stage.call("run", "--restart")
    await hold(stage, ended, stage.situation.codes)
    return ended


FIRST_RUNS = {"killed exclude": _run_with_exclusion, "killed changed": _run_after_change, "killed restart": _restart}


async def _afterwards(stage: Stage) -> None:
    """Go on after a good end."""
    await AFTERWARDS.get(stage.situation.story, _again)(stage)
    if "second file" in stage.situation.more:
        await _second_file(stage)


async def _again(stage: Stage) -> None:
    """Hold that a second run changes nothing, that both ends are equal, and that sequences are beyond the rows."""
    if stage.situation.story == "killed exclude":
        return
    before = await stage.judge.versions()
    again = stage.call("run")
    demand(again.code == 0, said(again))
    demand(await stage.judge.versions() == before, "the second run has touched rows")
    if stage.situation.seed % 3 == 0:
        verified = stage.call("verify")
        demand(verified.code == 0, said(verified))
    behind = await stage.judge.sequences_behind(stage.rows)
    demand(not behind, f"these would give a number that is taken: {behind}")


async def _changed(stage: Stage) -> None:
    """Change the source after success: 0 only if the rows are the same."""
    how = stage.situation.story.removeprefix("wal ")
    before = await stage.judge.versions()
    with closing(sqlite3.connect(stage.path)) as connection:
        if stage.situation.story.startswith("wal"):
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        changed = touch(connection, stage.situation.carried, how)
        connection.commit()
        if how == "vacuumed":
            connection.execute("VACUUM")
        again = stage.call("run")
        await hold(stage, again, frozenset({3} if changed else {0}))
    demand(await stage.judge.versions() == before, "rows were touched by a run that had nothing to do")


async def _gone(stage: Stage) -> None:
    """Take the source away after success."""
    stage.path.unlink()
    again = stage.call("run")
    demand(again.code == 0, said(again))


async def _tenant(stage: Stage) -> None:
    """Migrate another source into a schema of its own in the same database."""
    other = draw(stage.situation.seed + 10_000_000)
    other = replace(
        other, schema="tenant two", mode="create", journal="delete", broken=None, flags=("--jobs=1",), excluded=(),
        role_settings=(), tables=tuple(replace(table, shape="plain") for table in other.tables), others=frozenset(),
    )  # fmt: skip
    other = replace(other, obstacles=tuple(o for o in other.obstacles if o.what.startswith("the value")))
    before = await stage.judge.versions()
    await stage.database.execute('BEGIN READ WRITE; CREATE SCHEMA "tenant two"; COMMIT')
    (stage.folder / "second").mkdir()
    second = replace(stage, situation=other, judge=ServerTypes(stage.judge.connection, other), program=None)
    second.path = make_source(other, stage.folder / "second")
    ended = second.call("run")
    await hold(second, ended, other.codes)
    demand(await stage.judge.versions() == before, "the first tenant's rows were touched")
    again = stage.call("run")
    demand(again.code == 0, said(again))
    demand(await stage.judge.versions() == before, "rows were touched by a run that had nothing to do")


async def _second_file(stage: Stage) -> None:
    """Migrate another source into other tables of the same schema, and take that back: the first one's rows stay."""
    other = draw(stage.situation.seed + 20_000_000)
    names = {table.name: f"second {number}" for number, table in enumerate(other.tables)}
    tables = [replace(one, name=names[one.name], parent=one.parent and names[one.parent]) for one in other.tables]
    odd = [one for one in other.obstacles if one.what.startswith("the value")]
    heirs = [Obstacle("heirs", frozenset({0, 4})) for one in tables if one.shape == "inherited"]
    other = replace(
        other, schema=stage.situation.schema, mode="existing", journal="delete", broken=None, flags=("--jobs=2",),
        excluded=(), role_settings=(), others=frozenset(), referred=None, tables=tuple(tables),
        obstacles=(*odd, *heirs),
    )  # fmt: skip
    await stage.database.execute("BEGIN READ WRITE;" + target_script(other) + "COMMIT")
    before = await stage.judge.versions()
    (stage.folder / "second").mkdir()
    second = replace(stage, situation=other, judge=ServerTypes(stage.judge.connection, other), program=None)
    second.path = make_source(other, stage.folder / "second")
    ended = second.call("run", "--migration=second file")
    await hold(second, ended, other.codes)
    if ended.code == 0:
        again = second.call("run", "--migration=second file")
        demand(again.code == 0, said(again))
        reset = second.call("reset", "--yes", "--migration=second file")
        demand(reset.code == 0, said(reset))
        for table in other.tables:
            demand(await second.judge.count(table.name) == 0, f"{table.name!r} was not emptied")
    demand(await stage.judge.versions() == before, "the first file's rows were touched")
    again = stage.call("run")
    demand(again.code == 0, said(again))
    demand(await stage.judge.versions() == before, "rows were touched by a run that had nothing to do")


async def _same_source_twice(stage: Stage) -> None:
    """Migrate the same source into another schema as well."""
    await stage.database.execute('CREATE SCHEMA "the copy"')
    copy = replace(stage.situation, schema="the copy", mode="create", obstacles=())
    second = replace(stage, situation=copy, judge=ServerTypes(stage.judge.connection, copy), program=None)
    ended = second.call("run")
    await hold(second, ended, frozenset({0, 3, 4}))


async def _reset(stage: Stage) -> None:
    """Take it back, and bring it again."""
    ended = stage.call("reset", "--yes")
    demand(ended.code == 0, said(ended))
    for table in stage.situation.carried:
        demand(await stage.judge.count(table.name) == 0, f"{table.name!r} was not emptied")
    await _first_run(stage)


async def _edited(stage: Stage) -> None:
    """Let the application write: its rows stay, whatever comes."""
    table = next((one for one in stage.situation.carried if one.rows), None)
    if table is None:
        return
    name = f"{stage.judge._from(table.name)}"  # noqa: SLF001 - our own
    await stage.judge.connection.execute("SET session_replication_role = replica")  # or triggers tell of it
    await stage.judge.connection.execute(f"UPDATE {name} SET id = id WHERE id::text = $1", str(table.rows[0][0]))
    before = await stage.judge.versions()
    again = stage.call("run")
    demand(again.code == 0, said(again))
    if stage.situation.story == "edited reset":
        reset = stage.call("reset", "--yes")
        demand(reset.code == 4, said(reset))
        over = stage.call("run", "--restart")
        demand(over.code == 4, said(over))
    demand(await stage.judge.versions() == before, "rows that the application has written were touched")


AFTERWARDS: dict[str, Step] = {
    **dict.fromkeys(("inserted", "updated", "deleted", "wal inserted", "vacuumed"), _changed),
    "gone": _gone,
    "tenant": _tenant,
    "same source twice": _same_source_twice,
    "reset": _reset,
    "edited": _edited,
    "edited reset": _edited,
}


@pytest.mark.one_server
@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, LOT))
def test_every_end_is_true(first: int, server: Server, warm: Zygote) -> None:
    """Each situation of a lot ends with a code that is right for it, and what 0 says is so."""
    failures = []
    for seed in range(first, min(first + LOT, FIRST + COUNT)):
        situation = draw(seed)
        with TemporaryDirectory(prefix="migrator-situation-") as folder:
            try:
                asyncio.run(try_situation(situation, server, warm, Path(folder)))
            except Exception as error:  # noqa: BLE001 - all of a lot are tried
                failures.append(f"{type(error).__name__}: {error}\n  {situation}")
            with suppress(AssertionError):
                warm.clear()
    if failures:
        pytest.fail("\n\n".join(failures), pytrace=False)


@pytest.mark.skipif("MIGRATOR_TEST_SITUATIONS" in os.environ, reason="as many as somebody asked for")
def test_a_run_meets_everything_that_is_drawn_from() -> None:
    """No story, kind of table, fault of a target, file, setting or type is left to the long version alone."""
    drawn = [draw(seed) for seed in range(FIRST, FIRST + COUNT)]
    tables = [table for situation in drawn for table in situation.tables]
    assert {situation.story for situation in drawn} == set(STORIES)
    assert {situation.journal for situation in drawn} == set(JOURNALS)
    assert {situation.schema for situation in drawn} == set(SCHEMAS)
    assert {situation.file for situation in drawn} == set(FILES)
    assert {situation.mode for situation in drawn} == {"existing", "create", "command"}
    assert {situation.broken[0] for situation in drawn if situation.broken} == set(FAULTS) - RARE
    assert {one for situation in drawn for one in situation.more} == {"seeded", "second file"}
    assert {one for situation in drawn for one in situation.role_settings} == set(ROLE_SETTINGS)
    assert {table.key for table in tables} == set(KEYS)
    assert {table.shape for table in tables} == set(SHAPES)
    assert {table.name for table in tables} == set(NAMES)
    assert {column.kind for table in tables for column in table.columns} == {"bigint", *KINDS}


def test_what_is_referred_to_has_a_key() -> None:
    """No drawn target has a foreign key to a table that is missing or has no key: PostgreSQL makes none."""
    for situation in map(draw, range(401, 601)):
        kind, broken = situation.broken or ("", "")
        parents = {table.parent for table in situation.tables}
        assert kind not in {"no table", "check"} or broken not in parents, str(situation)
