"""
Drives Prefect's server through its HTTP interface; runs under Prefect's own Python.

``program.py create|start|fill|tell|continue URL``: ``create`` runs the migrations alone, ``start`` starts the server
once as well, which registers types of blocks. ``tell`` prints all that the interface gives, as JSON.
"""

import asyncio
import json
import os
import sys
import tempfile
from typing import Any

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
LISTS = (
    *("flows", "deployments", "flow_runs", "task_runs", "logs", "artifacts", "artifacts/latest", "variables"),
    *("block_types", "block_schemas", "block_documents", "work_pools", "work_queues", "concurrency_limits"),
    *("v2/concurrency_limits", "saved_searches", "automations"),
)
# They are told anew at each reading: how long ago something was, and whether it is late.
CLOCKS = {"estimated_start_time_delta", "estimated_run_time", "status", "last_polled"}
PAGE = 200


def main(verb: str, url: str) -> None:
    """Do one of the commands; Prefect reads its settings when it is imported."""
    scheme, _, rest = url.partition(":")
    home = tempfile.TemporaryDirectory()
    os.environ |= {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"{DRIVERS[scheme.partition('+')[0]]}:{rest}",
        "PREFECT_HOME": home.name,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # Registering writes the time of day into every type of block, which would be told.
        "PREFECT_API_BLOCKS_REGISTER_ON_START": str(verb != "tell"),
    }
    if verb == "create":
        from prefect.server.database import provide_database_interface

        asyncio.run(provide_database_interface().create_db())
        return
    from fastapi.testclient import TestClient
    from prefect.server.api.server import create_app

    with TestClient(create_app(ephemeral=True), base_url="http://localhost") as client:
        COMMANDS[verb](Server(client))
    home.cleanup()


class Server:
    """The HTTP interface of a server."""

    def __init__(self, client: Any) -> None:
        """Take the client that reaches it."""
        self._client = client

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return the answer to one request."""
        answer = self._client.request(method, f"/api/{path.lstrip('/')}", json=body)
        if answer.is_error:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def post(self, path: str, **body: object) -> Any:
        """Return the answer to a POST of these fields."""
        return self.ask("POST", path, body)

    def all(self, name: str) -> list[dict[str, Any]]:
        """Return everything of a kind, page by page, in the order of the ids."""
        found: list[dict[str, Any]] = []
        extra = {"include_secrets": True} if name == "block_documents" else {}
        while page := self.post(f"{name}/filter", limit=PAGE, offset=len(found), **extra):
            found += page
            if len(page) < PAGE:
                break
        return sorted((_steady(entry) for entry in found), key=lambda entry: entry["id"])


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _steady(part) for name, part in value.items() if name not in CLOCKS}
    return [_steady(part) for part in value] if isinstance(value, list) else value


def start(_server: Server) -> None:
    """Do nothing more: the server has started and stops."""


def fill(server: Server) -> None:
    """Fill every kind of thing, with what is hard in each, and delete some of them again."""
    flows = [server.post("flows/", name=name, tags=tags) for name, tags in FLOWS]
    gone = server.post("flows/", name="gone", tags=[])
    server.post("work_pools/", name="größe 🌱", type="process", description="", base_job_template=TEMPLATE)
    server.post("work_pools/größe 🌱/queues", name="schnell", priority=3, concurrency_limit=0)
    server.post("work_pools/größe 🌱/workers/heartbeat", name="wörker", heartbeat_interval_seconds=30)
    server.post("work_queues/", name="ohne pool", description="a\nb\t'c'")
    deployment = server.post(
        "deployments/",
        name="nächtlich",
        flow_id=flows[0]["id"],
        work_pool_name="größe 🌱",
        parameters={"n": 1.5, "leer": "", "nichts": None, "liste": [1, "ü", {"tief": [True, 1e-300]}]},
        parameter_openapi_schema={"type": "object", "properties": {}},
        tags=["a", "ß"],
        paused=True,
        concurrency_limit=2,
        schedules=[
            {"schedule": {"cron": "5 4 * * *", "timezone": "Pacific/Kiritimati"}, "active": False},
            {"schedule": {"interval": 3600.25, "anchor_date": "1969-12-31T23:59:59.999999+05:45"}, "active": False},
        ],
    )
    server.ask("POST", "logs/", [_log(number) for number in range(40)])
    for number, (state, when) in enumerate(STATES):
        _run(server, flows[number % 3]["id"], deployment["id"] if number % 2 else None, (number, state, when))
    server.ask("DELETE", f"flows/{gone['id']}")
    for name, value in VARIABLES:
        server.post("variables/", name=name, value=value, tags=["x"])
    server.ask("DELETE", "variables/name/gone")
    server.post("concurrency_limits/", tag="größe", concurrency_limit=3)
    server.post("v2/concurrency_limits/", name="zwei", limit=7, active_slots=1, slot_decay_per_second=0.1 + 0.2)
    server.ask("PUT", "saved_searches/", {"name": "suche", "filters": []})
    _blocks(server)
    _automation(server, "wenn's brennt")


FLOWS: tuple[tuple[str, list[str]], ...] = (("größe 🌱 - 'quoted'", ["a", "", "\\"]), ("x" * 200, []), ("empty", []))
STATES = (
    ("COMPLETED", "2024-03-31T02:30:00.123456+01:00"),
    ("FAILED", "1969-12-31T23:59:59.999999+00:00"),
    ("CRASHED", "2024-10-27T02:30:00+02:00"),
    ("CANCELLED", "0001-01-02T00:00:00+00:00"),
    ("RUNNING", "9998-12-31T23:59:59.999999-11:00"),
    ("SCHEDULED", "2030-06-01T00:00:00+05:45"),
    ("PENDING", "2024-01-01T00:00:00+00:00"),
)
TEMPLATE = {"job_configuration": {"größe": "{{ größe }}"}, "variables": {"properties": {"größe": {"type": "string"}}}}
VARIABLES = (("leer", ""), ("nichts", None), ("zahl", 2**53), ("tief", {"a": [1.0, 0.1 + 0.2, "ü"]}), ("gone", 1))


def _log(number: int) -> dict[str, object]:
    message = ("", "größe 🌱", "a\nb\t\\ 'quoted' \"double\"", "x" * 20_000)[number % 4]
    return {"name": "prefect", "level": number, "message": message, "timestamp": f"2024-01-01T00:00:{number:02}.5Z"}


def _run(server: Server, flow: str, deployment: "str | None", told: "tuple[int, str, str]") -> None:
    number, state, when = told
    run = server.post(
        "flow_runs/",
        flow_id=flow,
        deployment_id=deployment,
        name=f"lauf-{number} ü",
        parameters={"n": number, "text": "x" * 5_000},
        context={"z": None},
        tags=["t", ""],
        idempotency_key=f"schlüssel {number}",
        state={"type": "SCHEDULED", "state_details": {"scheduled_time": when}},
    )
    for number_of_task, key in enumerate(("laden", "größe")):
        task = server.post(
            "task_runs/", flow_run_id=run["id"], task_key=key, dynamic_key=str(number_of_task), name=f"{key}-{number}",
            task_inputs={"x": [{"input_type": "constant", "type": "int"}]},
            cache_key=None if number % 2 else f"c{number}",
        )  # fmt: skip
        server.post(f"task_runs/{task['id']}/set_state", state={"type": "RUNNING"}, force=True)
        server.post(f"task_runs/{task['id']}/set_state", state={"type": "COMPLETED", "data": None}, force=True)
        server.post(
            "artifacts/", key=f"bericht-{number}", type="markdown", description="ü", flow_run_id=run["id"],
            task_run_id=task["id"], data={"rows": [number, None, 1e-300]}, metadata_={"a": "b"},
        )  # fmt: skip
    server.post(f"flow_runs/{run['id']}/set_state", state={"type": "RUNNING"}, force=True)
    if state not in {"RUNNING", "SCHEDULED"}:
        server.post(f"flow_runs/{run['id']}/set_state", state={"type": state, "message": "grund: ü"}, force=True)
    server.post(f"flow_runs/{run['id']}/input", key="antwort", value='{"ja": "ü"}')
    if number == len(STATES) - 1:
        server.ask("DELETE", f"flow_runs/{run['id']}")


def _blocks(server: Server) -> None:
    secret = server.ask("GET", "block_types/slug/secret")
    schemas = server.post("block_schemas/filter", block_schemas={"block_type_id": {"any_": [secret["id"]]}})
    for name, value in (("geheim", "pässword 🌱"), ("gone", "x")):
        document = server.post(
            "block_documents/", name=name, data={"value": value}, block_schema_id=schemas[0]["id"],
            block_type_id=secret["id"],
        )  # fmt: skip
    server.ask("DELETE", f"block_documents/{document['id']}")


def _automation(server: Server, name: str) -> dict[str, Any]:
    trigger = {
        "type": "event", "posture": "Reactive", "expect": ["prefect.flow-run.Failed"], "threshold": 1, "within": 0,
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
    }  # fmt: skip
    made: dict[str, Any] = server.post(
        "automations/", name=name, description="", trigger=trigger, actions=[{"type": "do-nothing"}], tags=["ü"]
    )
    return made


def tell(server: Server) -> None:
    """Print everything that the interface gives, and every state of every run."""
    told = {name: server.all(name) for name in LISTS}
    told["states"] = [
        _steady(server.ask("GET", f"{kind}_run_states/?{kind}_run_id={run['id']}"))
        for kind in ("flow", "task")
        for run in told[f"{kind}_runs"]
    ]
    told["inputs"] = [
        _steady(server.post(f"flow_runs/{run['id']}/input/filter", prefix="")) for run in told["flow_runs"]
    ]
    told["workers"] = _steady(server.post("work_pools/größe 🌱/workers/filter"))
    told["queues"] = sorted(queue["name"] for queue in server.post("work_pools/größe 🌱/queues/filter"))
    print(json.dumps(told))


def go_on(server: Server) -> None:
    """Use again what is there: the same names give the same things, unique keys hold, deletes cascade."""
    flow = server.post("flows/", name=FLOWS[0][0], tags=[])
    again = server.post("flow_runs/", flow_id=flow["id"], name="x", idempotency_key="schlüssel 0")
    new = server.post("flow_runs/", flow_id=flow["id"], name="neu")
    server.post(f"flow_runs/{new['id']}/set_state", state={"type": "RUNNING"}, force=True)
    finished = server.post(f"flow_runs/{new['id']}/set_state", state={"type": "COMPLETED"}, force=True)
    twice = server._client.post("/api/variables/", json={"name": "leer", "value": 1})
    _automation(server, "neu")
    server.ask("DELETE", f"flows/{flow['id']}")
    print(
        json.dumps(
            {
                "flow": flow["id"], "again": again["id"], "finished": finished["status"], "twice": twice.status_code,
                "left": {name: len(server.all(name)) for name in ("flows", "flow_runs", "task_runs", "deployments")},
                "secret": [document["data"] for document in server.all("block_documents")],
            }
        )
    )  # fmt: skip


COMMANDS = {"start": start, "fill": fill, "tell": tell, "continue": go_on}

if __name__ == "__main__":
    main(*sys.argv[1:])
