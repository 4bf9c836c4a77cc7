"""
Drives JupyterHub through its REST API; runs under its own Python: ``program.py fill|create|start|tell|continue URL``.

The hub is initialized as ``jupyterhub`` does it, and serves its API on a port; neither proxy nor notebook servers are
started. What only a running notebook server writes goes through JupyterHub's own ORM. ``tell`` prints what the API and
the ORM give, as JSON.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

os.environ |= {"JUPYTERHUB_CRYPT_KEY": "11" * 32, "CONFIGPROXY_AUTH_TOKEN": "22" * 32}

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.httputil import url_concat
from tornado.netutil import bind_sockets
from traitlets.config import Config

TOKEN = "a-token-of-the-tests-that-is-long-enough"
SCOPES = """
    admin:users admin:groups admin:servers admin:services admin:auth_state
    tokens shares list:services read:roles read:services
"""
TEXT = "größe 🌱 / 'quoted' \\ \"double\""


class Hub:
    """A hub with its API on a port."""

    def __init__(self, app: Any, address: str) -> None:
        self.app = app
        self.address = address
        self.client = AsyncHTTPClient()

    async def __call__(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """Call the API and return what it gives; an error of the API as its code."""
        request = HTTPRequest(
            url_concat(f"{self.address}/hub/api{path}", query),
            method,
            {"Authorization": f"token {TOKEN}", "Accept": "application/jupyterhub-pagination+json" if query else "*/*"},
            None if body is None else json.dumps(body),
            allow_nonstandard_methods=True,
        )
        given = await self.client.fetch(request, raise_error=False)
        if given.code >= 500:
            raise RuntimeError(f"{method} {path}: {given.code} {given.body!r}")
        return json.loads(given.body) if given.code < 400 and given.body else given.code


async def started(url: str) -> Hub:
    """Return a hub that is initialized, with what it writes then: its roles, its client, the users of its settings."""
    config = Config()
    config.JupyterHub.db_url = url
    config.JupyterHub.authenticator_class = "dummy"
    config.JupyterHub.load_roles = [
        {"name": "auditor", "description": TEXT, "scopes": ["read:users", "list:groups"], "users": ["ada"]},
        {
            "name": "api",
            "scopes": SCOPES.split(),
            "services": ["tests"],
        },
    ]
    config.JupyterHub.services = [{"name": "tests", "api_token": TOKEN, "admin": True}]
    config.JupyterHub.log_level = logging.ERROR
    config.JupyterHub.cookie_secret = b"3" * 32
    config.Authenticator.admin_users = {"ada"}
    config.Authenticator.allow_all = True
    config.Authenticator.enable_auth_state = True
    app = JupyterHub(config=config)
    await app.initialize([])
    [socket, *_] = bind_sockets(0, "127.0.0.1")
    HTTPServer(app.tornado_application).add_socket(socket)
    return Hub(app, f"http://127.0.0.1:{socket.getsockname()[1]}")


async def create(url: str) -> None:
    """Make the tables as JupyterHub does in a database without any, at its newest version."""
    orm.new_session_factory(url)


async def fill(url: str) -> None:
    """Fill a database through the API: users, groups, tokens, servers, shares; some of them removed again."""
    hub = await started(url)
    await hub("POST", "/users", {"usernames": ["grace", "linus", "gone", "größe"]})
    await hub("DELETE", "/users/gone")
    for group in ("team", "größe 🌱", "gone"):
        await hub("POST", f"/groups/{quote(group)}", {})
    await hub("POST", "/groups/team/users", {"users": ["grace", "linus"]})
    await hub("PUT", "/groups/team/properties", {"ü": [1, None, 0.1 + 0.2], "nested": {"🌱": "x" * 3000}})
    await hub("DELETE", "/groups/gone")
    for user in ("ada", "grace"):
        await hub("POST", f"/users/{user}/tokens", {"note": TEXT, "expires_in": 10**8, "scopes": ["self"]})
        await hub("POST", f"/users/{user}/tokens", {"note": "", "roles": ["user"]})
    gone = await hub("POST", "/users/grace/tokens", {"note": "gone"})
    await hub("DELETE", f"/users/grace/tokens/{gone['id']}")
    await write(hub)
    await hub("POST", "/shares/ada/", {"user": "grace"})
    await hub("POST", "/shares/ada/", {"group": "team"})
    await hub("POST", "/share-codes/ada/", {"expires_in": 10**7})
    await hub("POST", "/services/later", {"info": {"ü": [None, "🌱"]}})


async def write(hub: Hub) -> None:
    """Write with the ORM what a running notebook server and a login write."""
    app, db = hub.app, hub.app.db
    user = app.users["ada"]
    await user.save_auth_state({"token": "geheim 🌱", "n": 0.1 + 0.2, "empty": None})
    for name in ("", "zweiter 🌱"):
        spawner = orm.Spawner(
            name=name, user=user.orm_user, state={"pid": 2**31, "ü": [None]}, user_options={"x": 1e-300}
        )
        spawner.started = datetime.fromisoformat("1999-12-31 23:59:59.999999")
        spawner.server = orm.Server(proto="http", ip="::1", port=8888, base_url="/user/ada/ü/")
        db.add(spawner)
    client = db.query(orm.OAuthClient).filter_by(identifier="jupyterhub").one()
    db.add(orm.OAuthCode(client=client, code="code-ü", user=user.orm_user, redirect_uri="/", expires_at=2_000_000_000))
    app.users["größe"].orm_user.last_activity = datetime.fromisoformat("2024-02-29 12:00:00.000001")
    db.commit()


async def tell(url: str) -> None:
    """Print what the API gives, and every row as the ORM gives it: what it decodes, it has decoded."""
    hub = await started(url)
    told = {
        path: await hub("GET", path)
        for path in ("/users?include_stopped_servers", "/groups", "/services", "/shares/ada", "/users/grace/shared")
    }
    told["tokens"] = [await hub("GET", f"/users/{name}/tokens") for name in ("ada", "grace")]
    told["auth state"] = (await hub("GET", "/users/ada"))["auth_state"]
    rows = {mapper.local_table.name: objects(hub.app.db, mapper) for mapper in orm.Base.registry.mappers}
    print(json.dumps(ordered({"api": told, "rows": rows}), default=repr))


def ordered(value: Any) -> Any:
    """Return a value whose lists are in order: the API gives roles and scopes as sets."""
    if isinstance(value, dict):
        return {key: ordered(one) for key, one in value.items()}
    if isinstance(value, list):
        return sorted(map(ordered, value), key=lambda one: json.dumps(one, sort_keys=True, default=repr))
    return value


def objects(db: Any, mapper: Any) -> list[dict[str, str]]:
    """Return a table's rows by the names of the ORM; a token's last activity is that of the last call."""
    names = [column.key for column in mapper.column_attrs if column.key != "last_activity"]
    return sorted(({name: repr(getattr(row, name)) for name in names} for row in db.query(mapper.class_)), key=repr)


async def go_on(url: str) -> None:
    """Write anew: ids that follow on, names that are taken, a user whose tokens, shares and servers go with it."""
    hub = await started(url)
    db = hub.app.db
    new = await hub("POST", "/users", {"usernames": ["neu"]})
    answer = {
        "taken": [await hub("POST", "/users/grace"), await hub("POST", "/groups/team", {})],
        "user": [user["name"] for user in new],
        "ids": {user.name: user.id for user in db.query(orm.User)},
        "token": (await hub("POST", "/users/neu/tokens", {"note": "neu"}))["id"],
        "group": await hub("POST", "/groups/neu", {"users": ["neu"]}),
        "groups": {group.name: group.id for group in db.query(orm.Group)},
        "share": (await hub("POST", "/shares/ada/", {"user": "linus"}))["scopes"],
        "gone": await hub("DELETE", "/users/grace"),
    }
    db.expire_all()
    counted = {mapper.local_table.name: db.query(mapper.class_).count() for mapper in orm.Base.registry.mappers}
    print(json.dumps(answer | {"left": counted}, default=repr))


COMMANDS: dict[str, Callable[[str], Awaitable[object]]] = {
    "fill": fill,
    "create": create,
    "start": started,
    "tell": tell,
    "continue": go_on,
}

if __name__ == "__main__":
    asyncio.run(COMMANDS[sys.argv[1]](sys.argv[2].replace("postgresql://", "postgresql+psycopg2://")))  # type: ignore[arg-type]
