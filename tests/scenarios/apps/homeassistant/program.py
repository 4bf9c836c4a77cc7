"""
Drives Home Assistant's recorder; runs under its own Python: ``program.py fill|create|start|tell|continue URL``.

The core is a real one with the recorder alone: events and states go over its bus, statistics through the recorder's
interface. ``tell`` prints the history and the statistics that it gives, and every row as its models have them, as JSON.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from homeassistant import config_entries, core, loader
from homeassistant.components import recorder
from homeassistant.components.recorder import history, statistics
from homeassistant.components.recorder.db_schema import Base
from homeassistant.components.recorder.util import session_scope
from homeassistant.helpers import entity_registry, translation
from homeassistant.helpers.recorder import async_initialize_recorder
from homeassistant.setup import async_setup_component

TEXT = "größe 🌱 / 'quoted' \\ \"double\""
BEGIN = datetime(2024, 2, 29, 0, 0, tzinfo=UTC)
NUMBERS = (0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 2.0**53 + 2, -1e-5)
PROBED = {"events", "states", "statistics", "statistics_short_term"}
"""Each start on PostgreSQL inserts a row there to see whether numbers stay exact, and takes it back: an id is lost."""


async def started(url: str) -> Any:
    """Return a running core whose recorder has made or upgraded its tables and begun a run."""
    home = Path.cwd() / "config"
    home.mkdir(exist_ok=True)
    hass = core.HomeAssistant(str(home))
    hass.config.skip_pip = True
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    loader.async_setup(hass)
    translation.async_setup(hass)
    await entity_registry.async_load(hass)
    async_initialize_recorder(hass)
    settings = {"db_url": url, "commit_interval": 0, "auto_purge": False, "db_max_retries": 1}
    if not await async_setup_component(hass, "recorder", {"recorder": settings}):
        raise RuntimeError("the recorder didn't start")
    await hass.async_start()
    await recorded(hass)
    return hass


async def recorded(hass: Any) -> None:
    """Wait until all that was said so far is written."""
    await hass.async_block_till_done()
    await recorder.get_instance(hass).async_block_till_done()


async def start(url: str) -> None:
    """Make the tables and run once, as every start does: there is no other way to have them made."""
    await (await started(url)).async_stop()


async def fill(url: str) -> None:
    """Fill a database with states, events and statistics; some of them purged again."""
    hass = await started(url)
    context = core.Context(user_id="0123456789abcdef0123456789abcdef")
    for number in range(30):
        for entity in ("sensor.grosse", "light.lampe", "sensor.gone"):
            attributes = {"ü": [1, 0.1 + 0.2, None, TEXT], "n": number % 3, "long": "x" * 3000}
            hass.states.async_set(entity, f"{number}.{'5' * 20} 🌱", attributes, context=context)
        hass.bus.async_fire(f"ereignis_{number % 4}", {"ü": TEXT, "n": number % 3, "big": 2**53 - 1}, context=context)
    hass.states.async_set("sensor.empty", "", {})
    hass.states.async_set("sensor.removed", "1")
    hass.states.async_remove("sensor.removed")
    bring_statistics(hass, "energie:verbrauch", 48)
    bring_statistics(hass, "energie:gone", 3)
    await recorded(hass)
    recorder.get_instance(hass).async_clear_statistics(["energie:gone"])
    await hass.services.async_call("recorder", "purge_entities", {"entity_id": ["sensor.gone"]}, blocking=True)
    await recorded(hass)
    await hass.async_stop()


def bring_statistics(hass: Any, name: str, hours: int) -> None:
    """Bring statistics of so many hours from outside."""
    about = {"has_mean": True, "has_sum": True, "name": TEXT, "source": "energie"}
    about |= {"statistic_id": name, "unit_of_measurement": "kWh"}
    rows = [
        {
            "start": BEGIN + timedelta(hours=hour),
            "mean": NUMBERS[hour % 6],
            "min": None,
            "max": 1e300,
            "sum": hour * 0.1,
        }
        | {"state": NUMBERS[(hour + 1) % 6], "last_reset": BEGIN if hour % 2 else None}
        for hour in range(hours)
    ]
    statistics.async_add_external_statistics(hass, about, rows)


async def tell(url: str) -> None:
    """Print the history, the statistics, and the rows that earlier runs wrote; each start adds some about itself."""
    hass = await started(url)
    told = await recorder.get_instance(hass).async_add_executor_job(read, hass)
    await hass.async_stop()
    print(json.dumps(told, default=repr))


def read(hass: Any) -> dict[str, Any]:
    """Return what is asked for in the recorder's own thread pool."""
    end = datetime.now(UTC)
    entities = ["sensor.grosse", "light.lampe", "sensor.gone", "sensor.empty"]
    states = history.get_significant_states(
        hass, end - timedelta(days=1), end, entities, significant_changes_only=False
    )
    kinds = {"change", "last_reset", "max", "mean", "min", "state", "sum"}
    told: dict[str, Any] = {
        "history": {name: [repr(one.as_dict()) for one in rows] for name, rows in states.items()},
        "statistics": statistics.statistics_during_period(hass, BEGIN, None, None, "hour", None, kinds),
        "ids": statistics.list_statistic_ids(hass),
    }
    with session_scope(hass=hass, read_only=True) as session:
        for name in ("states", "state_attributes", "events", "event_data", "statistics", "statistics_meta"):
            table = Base.metadata.tables[name]
            [key] = table.primary_key.columns
            query = table.select().order_by(key)
            told[name] = [
                repr(tuple(row)) for row in session.execute(query) if name != "events" or row.context_user_id_bin
            ]
    return told


async def go_on(url: str) -> None:
    """Write anew: ids that follow on, attributes and kinds of events that are known already, and a purge of it all."""
    hass = await started(url)
    executor = recorder.get_instance(hass).async_add_executor_job
    before = await executor(keys, hass)
    hass.states.async_set("sensor.grosse", "neu", {"n": "neu"})
    hass.bus.async_fire("ereignis_0", {"ü": "neu"})
    bring_statistics(hass, "energie:verbrauch", 50)
    bring_statistics(hass, "energie:neu", 2)
    await recorded(hass)
    after = await executor(keys, hass)
    answer = {
        "rows": {name: len(found) for name, found in after.items()},
        "beyond": {name: len([key for key in after[name] if key > max(before[name], default=0)]) for name in after},
        "largest": {name: max(found, default=0) for name, found in after.items() if name not in PROBED},
        "statistics": await executor(sums, hass),
    }
    await hass.services.async_call("recorder", "purge", {"keep_days": 0, "repack": False}, blocking=True)
    await recorded(hass)
    await hass.async_stop()
    print(json.dumps(answer))


def keys(hass: Any) -> dict[str, list[int]]:
    """Return the ids of each table."""
    with session_scope(hass=hass, read_only=True) as session:
        return {
            name: [row[0] for row in session.execute(table.select().with_only_columns(*table.primary_key))]
            for name, table in Base.metadata.tables.items()
        }


def sums(hass: Any) -> dict[str, int]:
    """Return how many statistics there are of each kind."""
    rows = statistics.statistics_during_period(hass, BEGIN, None, None, "hour", None, {"sum"})
    return {name: len(found) for name, found in rows.items()}


COMMANDS: dict[str, Callable[[str], Awaitable[object]]] = {
    "fill": fill,
    "create": start,
    "start": start,
    "tell": tell,
    "continue": go_on,
}

if __name__ == "__main__":
    asyncio.run(COMMANDS[sys.argv[1]](sys.argv[2]))  # type: ignore[arg-type]
