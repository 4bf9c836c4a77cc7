"""
Drives a build master; runs under Buildbot's own Python: ``program.py fill|create|start|tell|continue URL``.

The master is a real one with a worker in its own process, and does builds: steps, logs, properties, changes. What it
needs a network for is left away. ``tell`` prints all that its data API gives, as JSON.
"""

import json
import sys
from collections import UserList
from collections.abc import Callable
from pathlib import Path
from typing import Any

from buildbot.config.master import MasterConfig
from buildbot.master import BuildMaster
from buildbot.plugins import schedulers, steps, util, worker
from buildbot.process.factory import BuildFactory
from twisted.internet import defer, reactor, task
from twisted.python import log

TEXT = "größe 🌱 / 'quoted' \\ \"double\""
BASE = Path.cwd() / "master"


class Settings:
    """What stands in a ``master.cfg``, for such a database."""

    def __init__(self, url: str) -> None:
        self.url = url

    def loadConfig(self) -> Any:  # noqa: N802 - Buildbot calls it
        """Return the configuration."""
        factory = BuildFactory(
            [
                steps.ShellCommand(name="größe", command=["printf", f"{TEXT}\\n" * 3000], logfiles={}),
                steps.ShellCommand(name="leer", command=["true"], warnOnFailure=True),
                steps.ShellCommand(
                    name="bad", command=["sh", "-c", "printf '\\377\\376 no utf-8'; exit 3"], flunkOnFailure=True
                ),
                steps.SetProperty(property="gesetzt", value={"ü": [1, 0.1 + 0.2, None, TEXT]}, alwaysRun=True),
            ]
        )
        return MasterConfig.loadFromDict(
            {
                "db_url": self.url,
                "buildbotNetUsageData": None,
                "protocols": {"null": {}},
                "workers": [worker.LocalWorker("local", max_builds=1)],
                "projects": [util.Project(name="projekt", slug="p", description=TEXT)],
                "builders": [
                    util.BuilderConfig(
                        name="bauen 🌱",
                        workernames=["local"],
                        factory=factory,
                        tags=["ü", "tag"],
                        project="projekt",
                        description=TEXT,
                    ),
                    util.BuilderConfig(name="idle", workernames=["local"], factory=BuildFactory([])),
                ],
                "schedulers": [
                    schedulers.ForceScheduler(
                        name="force",
                        builderNames=["bauen 🌱"],
                        codebases=[util.CodebaseParameter("", project=util.FixedParameter("project", default="größe"))],
                        reason=util.StringParameter("reason", default=TEXT),
                        properties=[
                            util.StringParameter("gegeben", default=""),
                            util.IntParameter("zahl", default=2**62),
                        ],
                    ),
                    schedulers.AnyBranchScheduler(name="all", builderNames=["idle"], treeStableTimer=None),
                ],
            },
            "master.cfg",
        )


async def created(url: str) -> Any:
    """Return a master whose tables were made or brought up to date, as ``buildbot upgrade-master`` does."""
    BASE.mkdir(exist_ok=True)
    master = BuildMaster(str(BASE), reactor=reactor, config_loader=Settings(url))
    master.config.db.db_url = url
    await master.secrets_manager.setup()
    await master.db.setup(check_version=False)
    await master.db.model.upgrade()
    await master.db.masters.setAllMastersActiveLongTimeAgo()
    return master


async def started(url: str) -> Any:
    """Return a running master."""
    master = await created(url)
    await master.db.pool.stop()
    master = BuildMaster(str(BASE), reactor=reactor, config_loader=Settings(url))
    master.config.db.db_url = url
    await master.startService()
    return master


async def stop(master: Any) -> None:
    """Stop a master."""
    await master.stopService()
    await master.db.pool.stop()


async def create(url: str) -> None:
    """Make the tables."""
    await (await created(url)).db.pool.stop()


async def start(url: str) -> None:
    """Start the master once, which writes itself, its workers, builders and schedulers down."""
    await stop(await started(url))


async def build(master: Any, reason: str) -> Any:
    """Do a build, wait until it is complete, and return it."""
    done: defer.Deferred[Any] = defer.Deferred()
    consumer = await master.mq.startConsuming(lambda _, data: done.callback(data), ("buildsets", None, "complete"))
    await master.data.control("force", {"reason": reason, "owner": "ada@example.com"}, ("forceschedulers", "force"))
    complete = await done
    consumer.stopConsuming()
    return complete


async def fill(url: str) -> None:
    """Fill a database by builds, changes, users, states and test results."""
    master = await started(url)
    for number in range(3):
        await build(master, f"{TEXT} {number}")
    await change(master, "r1")
    await change(master, None)
    await write(master)
    await stop(master)


async def change(master: Any, revision: str | None) -> int:
    """Add a change as a version control system reports it; wait until what it sets off is built."""
    done: defer.Deferred[Any] = defer.Deferred()
    consumer = await master.mq.startConsuming(lambda _, data: done.callback(data), ("buildsets", None, "complete"))
    number: int = await master.data.updates.addChange(
        files=["a/ü.py", "x" * 1000],
        comments=TEXT * 200,
        author="Ada Löv <ada@example.com>",
        committer=None,
        revision=revision,
        when_timestamp=951_782_400,
        branch="zweig-ü",
        category="",
        revlink="https://example.com/r",
        properties={"ü": [None, 0.1 + 0.2]},
        repository="git://größe",
        codebase="",
        project="größe",
        src="git",
    )
    await done
    consumer.stopConsuming()
    return number


async def write(master: Any) -> None:
    """Write through the layers of the database what no build here comes to."""
    db = master.db
    number = await db.users.findUserByAttr("ada 🌱", "email", "ada@example.com")
    await db.users.updateUser(number, bb_username="ada", bb_password="x" * 64, attr_type="git", attr_data=TEXT)
    await db.users.removeUser(await db.users.findUserByAttr("gone", "email", "gone@example.com"))
    objectid = await db.state.getObjectId("zustand 🌱", "class")
    await db.state.setState(objectid, "größe", {"ü": [1, None, 1e-300, 2**70], "empty": ""})
    [one, *_] = await master.data.get(("builds",))
    await master.data.updates.setBuildData(one["buildid"], "roh", bytes(range(256)) * 300, "ü")
    builder, step = one["builderid"], (await master.data.get(("builds", one["buildid"], "steps")))[0]["stepid"]
    results = await db.test_result_sets.addTestResultSet(builder, one["buildid"], step, "prüfung", "pass", "s")
    await db.test_results.addTestResults(
        builder,
        results,
        [
            {
                "value": "0.30000000000000004",
                "test_name": f"test_ü_{number}",
                "test_code_path": "ü.py",
                "line": 2**31 - 1,
                "duration_ns": 5,
            }
            for number in range(5)
        ],
    )
    await db.test_result_sets.completeTestResultSet(results, tests_passed=4, tests_failed=1)


async def tell(url: str) -> None:
    """Print what the data API gives; what a start writes of a master and its workers is of now."""
    master = await started(url)
    kinds = (
        "builders",
        "buildsets",
        "buildrequests",
        "builds",
        "changes",
        "sourcestamps",
        "workers",
        "projects",
        "masters",
    )
    told: dict[str, Any] = {kind: await master.data.get((kind,)) for kind in kinds}
    for one in told["masters"]:
        del one["last_active"]
    for one in told["workers"]:
        del one["connected_to"], one["configured_on"]
    of_builds: dict[str, Any] = {}
    for one in told["builds"]:
        path = ("builds", one["buildid"])
        of_builds[str(one["buildid"])] = {
            "properties": await master.data.get((*path, "properties")),
            "data": await master.data.get((*path, "data")),
            "changes": await master.data.get((*path, "changes")),
            "steps": [await of_step(master, step) for step in await master.data.get((*path, "steps"))],
            "results": await master.data.get((*path, "test_result_sets")),
        }
    told["of builds"] = of_builds
    told["raw"] = repr(await master.db.build_data.getBuildData(1, "roh"))
    told["users"] = await master.db.users.getUsers()
    told["ada"] = repr(await master.db.users.getUserByUsername("ada"))
    objectid = await master.db.state.getObjectId("zustand 🌱", "class")
    told["state"] = await master.db.state.getState(objectid, "größe")
    told["test results"] = await master.data.get(("test_result_sets", 1, "results"))
    await stop(master)
    print(json.dumps(told, default=lambda value: list(value) if isinstance(value, UserList) else repr(value)))


async def of_step(master: Any, step: Any) -> dict[str, Any]:
    """Return a step with its logs."""
    logs = await master.data.get(("steps", step["stepid"], "logs"))
    contents = [await master.data.get(("logs", log["logid"], "contents")) for log in logs]
    return {"step": step, "logs": logs, "contents": contents}


async def go_on(url: str) -> None:
    """Go on building: ids that follow on, states that go on, and what was known is found again."""
    master = await started(url)
    known = await master.data.get(("builders",))
    done = await build(master, "neu")
    [last] = list(await master.data.get(("builds",), order=["-buildid"], limit=1))
    answer = {
        "builders": sorted((one["builderid"], one["name"]) for one in known),
        "buildset": done["bsid"],
        "build": (last["buildid"], last["number"], last["results"], last["state_string"]),
        "steps": [step["stepid"] for step in await master.data.get(("builds", last["buildid"], "steps"))],
        "change": await change(master, "r2"),
        "user": await master.db.users.findUserByAttr("neu", "email", "neu@example.com"),
        "known": await master.db.users.findUserByAttr("ada 🌱", "email", "ada@example.com"),
    }
    await stop(master)
    print(json.dumps(answer))


COMMANDS: dict[str, Callable[[str], Any]] = {
    "fill": fill,
    "create": create,
    "start": start,
    "tell": tell,
    "continue": go_on,
}

if __name__ == "__main__":
    log.startLogging(sys.stderr, setStdout=False)
    url = sys.argv[2].replace("postgresql://", "postgresql+psycopg2://")
    task.react(lambda _: defer.ensureDeferred(COMMANDS[sys.argv[1]](url)))
