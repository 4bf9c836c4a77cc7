"""
Drives Open WebUI through its HTTP API, in its own process; runs under its own Python: ``program.py VERB URL``.

What it is installed with is its own slim set of packages, without models and vector databases: chats, users and
settings need none of these. ``create`` lets it make its tables, as it does when it is imported; ``start`` starts it
once and signs somebody up. ``tell`` prints all rows as SQLAlchemy gives them, and what the API gives.
"""

import importlib.util
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PASSWORD = "größe 🌱 of a test"
LEFT_OUT = frozenset({"last_active_at"})
"""What isn't compared: each login and each request writes it."""


def configure(url: str, folder: str) -> None:
    """Say in the environment, which it reads when it is imported, what database it uses, and to be quiet."""
    quiet = {"OFFLINE_MODE": "true", "ENABLE_VERSION_UPDATE_CHECK": "false", "GLOBAL_LOG_LEVEL": "ERROR"}
    quiet |= {"ENABLE_OLLAMA_API": "false", "ENABLE_OPENAI_API": "false", "ANONYMIZED_TELEMETRY": "false"}
    quiet |= {"DO_NOT_TRACK": "true", "SCARF_NO_ANALYTICS": "true", "USE_SLIM_DOCKER": "true"}
    found = importlib.util.find_spec("open_webui")
    assert found
    assert found.origin
    os.environ.update(
        quiet, DATABASE_URL=url, DATA_DIR=folder, WEBUI_SECRET_KEY="of a test", STATIC_DIR=f"{folder}/static"
    )
    os.environ["FRONTEND_BUILD_DIR"] = str(Path(found.origin).parent / "frontend")


@contextmanager
def running() -> Iterator[Any]:
    """Run the application in this process; gives a client that nobody is logged in with."""
    from open_webui.main import app
    from starlette.testclient import TestClient

    logging.disable(logging.CRITICAL)
    with TestClient(app) as client:
        yield client


def ask(client: Any, method: str, path: str, body: object = None, **more: Any) -> Any:
    """Ask the API something and return the answer."""
    given = more if body is None else {"json": body, **more}
    wanted = given.pop("refused", False)
    answer = client.request(method, f"/api/v1{path}", **given)
    if wanted:
        return answer.status_code
    assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
    return answer.json() if answer.content else None


def enter(client: Any, email: str, *, new: bool = False) -> str:
    """Sign somebody up or in, who uses the client from now on, and return the user's id."""
    client.headers.pop("Authorization", None)
    client.cookies.clear()
    body = {"email": email, "password": PASSWORD}
    given = ask(
        client, "POST", "/auths/signup" if new else "/auths/signin", body | ({"name": "Ada Löw-Żak 🌱"} if new else {})
    )
    client.headers["Authorization"] = f"Bearer {given['token']}"
    return str(given["id"])


def create() -> None:
    """Make the tables, as it does when its configuration is imported."""
    import open_webui.config  # noqa: F401


def start() -> None:
    """Start it once; the operator signs up and writes a note."""
    with running() as client:
        enter(client, "operator@example.org", new=True)
        ask(client, "POST", "/notes/create", {"title": "A try"})


def chat(number: int) -> dict[str, Any]:
    """Return what the browser sends as a chat."""
    messages = {
        f"m{number}-{n}": {
            "id": f"m{number}-{n}",
            "parentId": f"m{number}-{n - 1}" if n else None,
            "childrenIds": [f"m{number}-{n + 1}"] if n < 4 else [],
            "role": ("user", "assistant")[n % 2],
            "content": ("größe 🌱", "", "x" * 40_000, "a\r\n\t\u2028'\\\"", "العربية")[(n + number) % 5],
            "timestamp": 1_700_000_000 + n,
            "models": ["m"],
            "usage": {"n": 0.1 + n, "ü": [2**53, None, True]},
        }
        for n in range(5)
    }
    history = {"messages": messages, "currentId": f"m{number}-4"}
    return {
        "title": f"Größe {number} 🌱",
        "models": ["m"],
        "history": history,
        "tags": [],
        "timestamp": 1_700_000_000_123,
    }


def fill() -> None:
    """Fill users, chats, folders, notes, channels, prompts, tools, files and settings through the API."""
    with running() as client:
        enter(client, "ada@example.org", new=True)
        for name in ("bob", "gone"):
            ask(
                client,
                "POST",
                "/auths/add",
                {"name": name, "email": f"{name}@example.org", "password": PASSWORD, "role": "user"},
            )
        gone = next(user for user in ask(client, "GET", "/users/all")["users"] if user["name"] == "gone")
        ask(client, "DELETE", f"/users/{gone['id']}")
        ask(client, "POST", "/users/user/settings/update", {"ui": {"ü": [1, None, 0.1], "": "🌱"}})
        folder = ask(client, "POST", "/folders/", {"name": "Größe 🌱", "data": {"ü": None}})
        chats = [ask(client, "POST", "/chats/new", {"chat": chat(number)})["id"] for number in range(6)]
        for number, key in enumerate(chats):
            ask(client, "POST", f"/chats/{key}/tags", {"name": f"größe {number % 2}"})
        ask(client, "POST", f"/chats/{chats[0]}/pin")
        ask(client, "POST", f"/chats/{chats[1]}/archive")
        ask(client, "POST", f"/chats/{chats[2]}/share")
        ask(client, "POST", f"/chats/{chats[3]}/folder", {"folder_id": folder["id"]})
        ask(client, "POST", f"/chats/{chats[4]}/clone", {"title": "Kopie"})
        ask(client, "DELETE", f"/chats/{chats[5]}")
        note = {"title": "Größe 🌱", "data": {"content": {"md": "x" * 100_000, "html": "", "json": None}}, "meta": {}}
        ask(client, "POST", "/notes/create", note)
        prompt = {"command": "größe", "name": "Größe 🌱", "content": "{{ü}} \\ '", "data": {}, "meta": {}}
        ask(client, "POST", "/prompts/create", prompt)
        ask(client, "POST", "/memories/add", {"content": "merken 🌱"}, refused=True)  # without vectors it may refuse
        feedback = {"type": "rating", "data": {"rating": -1, "reason": "ü"}, "meta": {"arena": False}, "snapshot": {}}
        ask(client, "POST", "/evaluations/feedback", feedback)
        group = ask(
            client,
            "POST",
            "/groups/create",
            {"name": "Hüter", "description": "", "permissions": {"chat": {"file_upload": False}}},
        )
        bob = next(user for user in ask(client, "GET", "/users/all")["users"] if user["name"] == "bob")
        ask(client, "POST", f"/groups/id/{group['id']}/users/add", {"user_ids": [bob["id"]]})
        ask(
            client, "POST", "/files/?process=false", files={"file": ("ü 🌱.txt", b"\0\xff", "text/plain")}, refused=True
        )
        ask(
            client,
            "POST",
            "/auths/admin/config",
            {**ask(client, "GET", "/auths/admin/config"), "ENABLE_CHANNELS": True},
        )
        channel = ask(
            client, "POST", "/channels/create", {"name": "größe", "description": "🌱", "data": {}, "meta": {}}
        )
        sent = [
            ask(
                client,
                "POST",
                f"/channels/{channel['id']}/messages/post",
                {"content": f"Nachricht {n} 🌱", "data": {}, "meta": {}},
            )
            for n in range(3)
        ]
        path = f"/channels/{channel['id']}/messages"
        ask(client, "POST", f"{path}/{sent[0]['id']}/reactions/add", {"name": "👍"})
        ask(client, "POST", f"{path}/post", {"content": "Antwort", "parent_id": sent[0]["id"], "data": {}, "meta": {}})
        ask(client, "DELETE", f"{path}/{sent[1]['id']}/delete")
        enter(client, "bob@example.org")
        ask(client, "POST", "/chats/new", {"chat": chat(9)})


def rows() -> dict[str, list[str]]:
    """Return all rows of all tables, as SQLAlchemy's models give them."""
    from open_webui.internal.db import Base, get_db

    told = {}
    with get_db() as session:
        for mapper in sorted(Base.registry.mappers, key=lambda one: one.class_.__name__):
            names = [column.key for column in mapper.column_attrs if column.key not in LEFT_OUT]
            found = [{name: steady(getattr(row, name)) for name in names} for row in session.query(mapper.class_)]
            told[mapper.class_.__name__] = sorted(repr(row) for row in found)
    return told


def steady(value: Any) -> Any:
    """Return a value in one form: objects of JSON with sorted keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, (dict, list)) else value


def tell() -> None:
    """Print what the models and the API give."""
    with running() as client:
        told: dict[str, Any] = {"rows": rows()}
        enter(client, "ada@example.org")
        told["chats"] = sorted(
            (ask(client, "GET", f"/chats/{one['id']}") for one in ask(client, "GET", "/chats/")), key=str
        )
        told["archived"] = ask(client, "GET", "/chats/archived")
        told["tags"] = sorted(ask(client, "GET", "/chats/all/tags"), key=str)
        told["tagged"] = sorted(one["id"] for one in ask(client, "POST", "/chats/tags", {"name": "größe 0"}))
        told["found"] = sorted(one["id"] for one in ask(client, "GET", "/chats/search?text=Größe"))
        told["folders"] = ask(client, "GET", "/folders/")
        told["notes"] = ask(client, "GET", "/notes/")
        told["settings"] = ask(client, "GET", "/users/user/settings")
        told["feedback"] = ask(client, "GET", "/evaluations/feedbacks/all/export")
        print(json.dumps(told, sort_keys=True))


def go_on() -> None:
    """Write on: chats, tags, notes, keys that are taken, cascades; print what came of it."""
    with running() as client:
        enter(client, "ada@example.org")
        old = sorted(ask(client, "GET", "/chats/"), key=lambda one: one["title"])
        made = ask(client, "POST", "/chats/new", {"chat": chat(20)})
        ask(client, "POST", f"/chats/{made['id']}/tags", {"name": "größe 0"})
        told: dict[str, Any] = {
            "taken": ask(
                client,
                "POST",
                "/auths/add",
                {"name": "x", "email": "bob@example.org", "password": PASSWORD},
                refused=True,
            ),
            "command": ask(
                client, "POST", "/prompts/create", {"command": "größe", "name": "", "content": ""}, refused=True
            ),
            "tagged": len(ask(client, "POST", "/chats/tags", {"name": "größe 0"})),
        }
        ask(client, "DELETE", f"/chats/{old[0]['id']}")
        ask(client, "DELETE", f"/folders/{ask(client, 'GET', '/folders/')[0]['id']}")
        ask(client, "POST", "/notes/create", {"title": "Neu", "data": {}})
        told["left"] = sorted(one["title"] for one in ask(client, "GET", "/chats/"))
        bob = next(user for user in ask(client, "GET", "/users/all")["users"] if user["name"] == "bob")
        ask(client, "DELETE", f"/users/{bob['id']}")
        told["counts"] = {name: len(found) for name, found in rows().items()}
        print(json.dumps(told))


COMMANDS = {"fill": fill, "create": create, "start": start, "tell": tell, "continue": go_on}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        configure(sys.argv[2], name)
        COMMANDS[sys.argv[1]]()
        sys.stdout.flush()
