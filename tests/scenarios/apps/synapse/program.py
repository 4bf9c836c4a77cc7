"""
Drives a Synapse homeserver through its HTTP API; runs under Synapse's own Python: ``program.py VERB URL``.

``create`` lets Synapse make the tables, as it does when it starts; ``start`` starts it once and registers somebody.
``index`` has Synapse fill its full-text tables again, by its own updates in the background.
Every other verb runs the homeserver on a port of this machine and talks to it as clients and administrators do.
"""

import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

import yaml

NAME = "synapse.example"
SECRET = "of a test"
KEY = "ed25519 a_test wLwxOCdVDrA9l4b4mXYTaPpDZJ0KkYvSXa2mV0vhPEE\n"
"""The homeserver's signing key, which stays when its database moves."""
KEPT = "/?&=%!#:@$+~*'(),;"
"""What an address keeps as it is; paths are quoted where a part may hold these."""
UNLIMITED = {"per_second": 10_000, "burst_count": 10_000}


def configuration(url: str, folder: Path, port: int) -> dict[str, Any]:
    """Return a homeserver's configuration: quiet, alone, and without limits on how often somebody may ask."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        database: dict[str, Any] = {"name": "sqlite3", "args": {"database": parts.path[1:]}}
    else:
        given = {"host": parts.hostname, "port": parts.port, "user": parts.username, "dbname": parts.path[1:]}
        given |= {"password": parts.password}
        args: dict[str, Any] = {name: unquote(str(value)) for name, value in given.items() if value}
        database = {"name": "psycopg2", "allow_unsafe_locale": True, "args": {**args, "cp_min": 1, "cp_max": 4}}
    (folder / "signing.key").write_text(KEY)
    (folder / "log.yaml").write_text(json.dumps({"version": 1, "root": {"level": "ERROR"}}))
    rates = ["message", "registration", "joins_per_room", "admin_redaction", "reports", "room_creation"]
    return {
        "server_name": NAME,
        "pid_file": str(folder / "pid"),
        "signing_key_path": str(folder / "signing.key"),
        "log_config": str(folder / "log.yaml"),
        "media_store_path": str(folder / "media"),
        "listeners": [
            {"port": port, "bind_addresses": ["127.0.0.1"], "type": "http", "resources": [{"names": ["client"]}]}
        ],
        "database": database,
        "registration_shared_secret": SECRET,
        "macaroon_secret_key": SECRET,
        "form_secret": SECRET,
        "report_stats": False,
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "federation_domain_whitelist": [],
        "experimental_features": {"msc3575_enabled": True},
        **{f"rc_{name}": UNLIMITED for name in rates},
        "rc_presence": {"per_user": UNLIMITED},
        "rc_login": dict.fromkeys(("address", "account", "failed_attempts"), UNLIMITED),
        "rc_joins": {"local": UNLIMITED, "remote": UNLIMITED},
        "rc_invites": dict.fromkeys(("per_room", "per_user", "per_issuer"), UNLIMITED),
    }


@dataclass
class Client:
    """Somebody who talks to the homeserver."""

    address: str
    user: str = ""
    token: str = ""

    def ask(self, method: str, path: str, body: object = None, **more: Any) -> Any:
        """Ask something and return the answer, or ``{"errcode": ...}``."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= {"Content-Type": more.get("kind", "application/json")}
        request = Request(self.address + quote(path, safe=KEPT), data, headers, method=method)  # noqa: S310 - of this machine
        try:
            with urlopen(request, timeout=60) as answer:  # noqa: S310
                content = answer.read()
                return content if more.get("raw") else json.loads(content)
        except HTTPError as error:
            refused = json.loads(error.read() or "{}")
            if more.get("refused"):
                return {"errcode": refused.get("errcode")}
            raise AssertionError(f"{method} {path}: {error.code} {refused}") from error

    def send(self, room: str, content: dict[str, Any], kind: str = "m.room.message") -> str:
        """Send an event into a room and return its id."""
        number = next(NUMBERS)
        path = f"/_matrix/client/v3/rooms/{quote(room)}/send/{kind}/{number}"
        return str(self.ask("PUT", path, content)["event_id"])

    def state(self, room: str, kind: str, content: dict[str, Any], key: str = "") -> str:
        """Set something about a room and return the event's id."""
        path = f"/_matrix/client/v3/rooms/{quote(room)}/state/{kind}/{quote(key)}"
        return str(self.ask("PUT", path, content)["event_id"])


def _numbers() -> Iterator[str]:
    """Give ids of transactions that no run gives again."""
    start = time.time_ns()
    yield from (f"t{start + number}" for number in range(10**9))


NUMBERS = _numbers()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def homeserver(url: str) -> Iterator[Client]:
    """Run the homeserver on a database; gives a client that isn't logged in."""
    folder = Path(tempfile.mkdtemp())
    port = _free_port()
    (folder / "homeserver.yaml").write_text(yaml.safe_dump(configuration(url, folder, port)))
    command = (sys.executable, "-m", "synapse.app.homeserver", "--config-path", str(folder / "homeserver.yaml"))
    with (folder / "output").open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
    client = Client(f"http://127.0.0.1:{port}")
    try:
        _wait_until_it_answers(client, server, folder / "output")
        yield client
    finally:
        server.terminate()
        server.wait(60)
        shutil.rmtree(folder)


def _wait_until_it_answers(client: Client, server: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline = time.monotonic() + 300
    while server.poll() is None and time.monotonic() < deadline:
        try:
            client.ask("GET", "/_matrix/client/versions")
        except (URLError, ConnectionError):
            time.sleep(0.1)  # nothing tells when a port begins to listen
        else:
            return
    raise AssertionError(output.read_text()[-4000:])


def register(client: Client, user: str, *, admin: bool = False) -> Client:
    """Register somebody with the secret that administrators share."""
    path = "/_synapse/admin/v1/register"
    nonce = client.ask("GET", path)["nonce"]
    said = "\0".join((nonce, user, "größe 🌱", "admin" if admin else "notadmin")).encode()
    mac = hmac.new(SECRET.encode(), said, hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": user, "password": "größe 🌱", "admin": admin, "mac": mac}
    given = client.ask("POST", path, body)
    return Client(client.address, given["user_id"], given["access_token"])


def login(client: Client, user: str, **more: Any) -> Client:
    """Log somebody in who is registered."""
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": "größe 🌱",
        **more,
    }
    given = client.ask("POST", "/_matrix/client/v3/login", body)
    return Client(client.address, given["user_id"], given["access_token"])


def create(url: str) -> None:
    """Let Synapse make its tables, and what its updates in the background make of them, as its documentation says."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "homeserver.yaml"
        file.write_text(yaml.safe_dump(configuration(url, Path(name), 8008)))
        command = ("-m", "synapse._scripts.update_synapse_database", "--run-background-updates", "--database-config")
        subprocess.run([sys.executable, *command, file], check=True, cwd=name)


def index(url: str) -> None:
    """Have the full-text tables of events and users filled again, with the statements of the documentation."""
    import psycopg2

    page = Path(__file__).parents[4] / "docs" / "applications" / "synapse.md"
    [statements] = re.findall("```sql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(statements)
    connection.close()
    create(url)


def start(url: str) -> None:
    """Start the homeserver once, and let the operator register and open a room."""
    with homeserver(url) as client:
        operator = register(client, "operator", admin=True)
        operator.ask("POST", "/_matrix/client/v3/createRoom", {"name": "a try"})


def fill(url: str) -> None:
    """Fill rooms, devices, keys and settings through the API."""
    create(url)
    with homeserver(url) as client:
        ada, bob, cat = register(client, "ada", admin=True), register(client, "bob"), register(client, "cat")
        fill_accounts(ada, bob)
        room = fill_room(ada, bob, cat)
        fill_keys(ada, bob)
        fill_media(ada)
        login(client, "bob", device_id="LOST", initial_device_display_name="verloren 🌱")
        bob.ask("GET", "/_matrix/client/v3/sync?timeout=0&set_presence=unavailable")
        sliding: dict[str, Any] = {
            "lists": {"all": {"ranges": [[0, 9]], "required_state": [["m.room.name", ""]], "timeline_limit": 3}}
        }
        sliding |= {"conn_id": "main"}
        ada.ask("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", sliding)
        dropped = ada.ask("POST", "/_matrix/client/v3/createRoom", {"name": "gone"})["room_id"]
        ada.ask("DELETE", f"/_synapse/admin/v1/rooms/{quote(dropped)}", {"purge": True})
        ada.ask("POST", f"/_matrix/client/v3/rooms/{quote(room)}/upgrade", {"new_version": "11"})
        gone = register(client, "gone")
        ada.ask("POST", f"/_synapse/admin/v1/deactivate/{quote(gone.user)}", {"erase": True})
        ada.ask("POST", "/_synapse/admin/v1/registration_tokens/new", {"token": "abcd", "uses_allowed": 3})
        deadline = time.monotonic() + 60
        while not ada.ask("POST", "/_matrix/client/v3/user_directory/search", {"search_term": "Żak"})["results"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)  # the directory of users is written in the background, and nothing tells when


def fill_accounts(ada: Client, bob: Client) -> None:
    """Fill profiles, settings, filters, pushers and rules of two users."""
    me = f"/_matrix/client/v3/user/{quote(ada.user)}"
    ada.ask("PUT", f"/_matrix/client/v3/profile/{quote(ada.user)}/displayname", {"displayname": "Ada Löw 🌱"})
    bob.ask("PUT", f"/_matrix/client/v3/profile/{quote(bob.user)}/displayname", {"displayname": "Bob Żak"})
    ada.ask("PUT", f"{me}/account_data/org.example.größe", {"": [1, None, True, 0.1], "ü": {"n": 2**53 - 1}})
    ada.ask("POST", f"{me}/filter", {"room": {"timeline": {"limit": 3}}})
    ada.ask("PUT", "/_matrix/client/v3/pushrules/global/content/ü", {"pattern": "größe", "actions": ["notify"]})
    ada.ask("PUT", "/_matrix/client/v3/pushrules/global/override/.m.rule.master/enabled", {"enabled": False})
    pusher: dict[str, Any] = {
        "kind": "http",
        "app_id": "org.example",
        "pushkey": "k",
        "app_display_name": "ü",
        "lang": "de",
    }
    pusher |= {"device_display_name": "", "data": {"url": "https://push.example/_matrix/push/v1/notify"}}
    ada.ask("POST", "/_matrix/client/v3/pushers/set", pusher)
    ada.ask("PUT", f"/_matrix/client/v3/presence/{quote(ada.user)}/status", {"presence": "online", "status_msg": "🌱"})


def fill_room(ada: Client, bob: Client, cat: Client) -> str:
    """Fill rooms with events of every kind and return the first one's id."""
    made: dict[str, Any] = {
        "preset": "public_chat",
        "name": "Größe 🌱",
        "topic": "x" * 5000,
        "room_alias_name": "größe",
    }
    made |= {"visibility": "public", "room_version": "10", "invite": [cat.user]}
    room = str(ada.ask("POST", "/_matrix/client/v3/createRoom", made)["room_id"])
    bob.ask("POST", f"/_matrix/client/v3/join/{quote(room)}", {})
    cat.ask("POST", f"/_matrix/client/v3/join/{quote(room)}", {})
    events = [bob.send(room, {"msgtype": "m.text", "body": f"Nachricht {n} größe 🌱 running"}) for n in range(20)]
    ada.send(room, {"msgtype": "m.text", "body": "a\0b \u2028 ' \\", "größe": {"n": [2**53 - 1, None, ""]}})
    ada.send(room, {"msgtype": "m.text", "body": "Wörter " * 5000})
    first = {"event_id": events[0]}
    ada.send(room, {"m.relates_to": {"rel_type": "m.annotation", **first, "key": "👍"}}, "m.reaction")
    for number in range(3):
        thread = {"rel_type": "m.thread", **first}
        ada.send(room, {"msgtype": "m.text", "body": f"Antwort {number}", "m.relates_to": thread})
    new = {"msgtype": "m.text", "body": "neu"}
    bob.send(room, {**new, "m.new_content": new, "m.relates_to": {"rel_type": "m.replace", "event_id": events[1]}})
    path = f"/_matrix/client/v3/rooms/{quote(room)}"
    bob.ask("PUT", f"{path}/redact/{quote(events[2])}/r1", {"reason": "nein 🌱"})
    ada.ask("POST", f"{path}/receipt/m.read/{quote(events[5])}", {})
    ada.ask("POST", f"{path}/read_markers", {"m.fully_read": events[5]})
    ada.ask("PUT", f"/_matrix/client/v3/user/{quote(ada.user)}/rooms/{quote(room)}/tags/m.favourite", {"order": 0.1})
    ada.ask("POST", f"{path}/report/{quote(events[3])}", {"reason": "ü", "score": -100})
    ada.ask("POST", f"{path}/kick", {"user_id": cat.user, "reason": ""})
    ada.state(room, "org.example.größe", {"n": -5}, "🌱")
    ada.state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["evil.example"]})
    secret = {"preset": "private_chat", "is_direct": True, "invite": [bob.user]}
    encrypted = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    private = ada.ask("POST", "/_matrix/client/v3/createRoom", {**secret, "initial_state": [encrypted]})["room_id"]
    bob.ask("POST", f"/_matrix/client/v3/join/{quote(private)}", {})
    bob.send(private, {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AAAA"}, "m.room.encrypted")
    bob.ask("POST", f"/_matrix/client/v3/rooms/{quote(private)}/leave", {})
    bob.ask("POST", f"/_matrix/client/v3/rooms/{quote(private)}/forget", {})
    return room


def fill_keys(ada: Client, bob: Client) -> None:
    """Fill keys of devices, a backup of keys, and messages from device to device."""
    device = ada.ask("GET", "/_matrix/client/v3/devices")["devices"][0]["device_id"]
    names = {"user_id": ada.user, "device_id": device, "algorithms": ["m.olm.v1.curve25519-aes-sha2"]}
    keys = {"device_keys": {**names, "keys": {f"ed25519:{device}": "AAAA"}, "signatures": {}}}
    one_time = {f"signed_curve25519:{n}": {"key": f"k{n}", "signatures": {}} for n in range(5)}
    ada.ask("POST", "/_matrix/client/v3/keys/upload", {**keys, "one_time_keys": one_time, "fallback_keys": {}})
    claim = {"one_time_keys": {ada.user: {device: "signed_curve25519"}}}
    bob.ask("POST", "/_matrix/client/v3/keys/claim", claim)
    backup = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "ü"}}
    version = ada.ask("POST", "/_matrix/client/v3/room_keys/version", backup)["version"]
    session = {"first_message_index": 1, "forwarded_count": 0, "is_verified": True, "session_data": {"c": "🌱"}}
    ada.ask("PUT", f"/_matrix/client/v3/room_keys/keys/!r:{NAME}/s?version={version}", session)
    path = f"/_matrix/client/v3/sendToDevice/m.room_key_request/{next(NUMBERS)}"
    bob.ask("PUT", path, {"messages": {ada.user: {device: {"action": "request", "ü": None}}}})


def fill_media(ada: Client) -> None:
    """Upload a picture, of which thumbnails are made, and make it the user's."""
    from PIL import Image

    content = BytesIO()
    Image.new("RGB", (90, 60), "red").save(content, "PNG")
    path = f"/_matrix/media/v3/upload?filename={quote('ü 🌱.png')}"
    uri = ada.ask("POST", path, content.getvalue(), kind="image/png")["content_uri"]
    ada.ask("PUT", f"/_matrix/client/v3/profile/{quote(ada.user)}/avatar_url", {"avatar_url": uri})


@contextmanager
def running(url: str) -> Iterator[tuple[Client, Client]]:
    """Run the homeserver on a filled database, a copy of it if it is SQLite's; gives two users who are logged in."""
    parts = urlsplit(url)
    with tempfile.TemporaryDirectory() as folder:
        if parts.scheme == "sqlite":
            url = f"sqlite:///{shutil.copy(parts.path[1:], Path(folder) / 'copy.db')}"
        with homeserver(url) as client:
            yield login(client, "ada", device_id="TELL"), login(client, "bob", device_id="TELL")


IGNORED = {"age", "last_active_ago", "last_seen_ts", "last_seen_ip", "last_seen_user_agent", "next_batch", "prev_batch"}
"""What the API gives about now."""


def steady(value: Any) -> Any:
    """Return an answer without what it says about now."""
    if isinstance(value, dict):
        return {name: steady(part) for name, part in value.items() if name not in IGNORED}
    return [steady(part) for part in value] if isinstance(value, list) else value


def tell(url: str) -> None:
    """Print what clients and administrators see."""
    with running(url) as (ada, bob):
        me, admin = f"/_matrix/client/v3/user/{quote(ada.user)}", "/_synapse/admin/v1"
        # Rooms without a name come first in one database and last in the other; state has no order at all.
        rooms = sorted(ada.ask("GET", f"{admin}/rooms?limit=100")["rooms"], key=lambda one: one["room_id"])
        states = [ada.ask("GET", f"{admin}/rooms/{quote(room['room_id'])}/state")["state"] for room in rooms]
        search = {"search_categories": {"room_events": {"search_term": "Nachricht", "order_by": "recent"}}}
        found = ada.ask("POST", "/_matrix/client/v3/search", search)["search_categories"]["room_events"]
        sync = ada.ask("GET", "/_matrix/client/v3/sync?timeout=0&full_state=true&set_presence=offline")
        told = {
            "users": ada.ask("GET", "/_synapse/admin/v2/users?from=0&deactivated=true&limit=100"),
            "user": ada.ask("GET", f"/_synapse/admin/v2/users/{quote(ada.user)}"),
            "rooms": rooms,
            "messages": [messages(ada, room["room_id"]) for room in rooms],
            "state": [sorted(state, key=lambda one: one["event_id"]) for state in states],
            "joined": sorted(sync["rooms"]["join"]),
            "unread": {room: given["unread_notifications"] for room, given in sorted(sync["rooms"]["join"].items())},
            "account": sorted(sync["account_data"]["events"], key=json.dumps),
            "tags": {room: given["account_data"] for room, given in sorted(sync["rooms"]["join"].items())},
            "to device": sync.get("to_device"),
            "filter": ada.ask("GET", f"{me}/filter/0"),
            "pushers": ada.ask("GET", "/_matrix/client/v3/pushers"),
            "push rules": ada.ask("GET", "/_matrix/client/v3/pushrules/"),
            "devices": sorted(
                bob.ask("GET", "/_matrix/client/v3/devices")["devices"], key=lambda one: one["device_id"]
            ),
            "keys": ada.ask("POST", "/_matrix/client/v3/keys/query", {"device_keys": {ada.user: []}})["device_keys"],
            "backup": ada.ask("GET", "/_matrix/client/v3/room_keys/keys?version=1"),
            "reports": ada.ask("GET", f"{admin}/event_reports"),
            "media": ada.ask("GET", f"{admin}/users/{quote(ada.user)}/media"),
            "tokens": ada.ask("GET", f"{admin}/registration_tokens"),
            "statistics": ada.ask("GET", f"{admin}/statistics/users/media"),
            "found": [found["count"], sorted(one["result"]["event_id"] for one in found["results"])],
            "public": ada.ask("GET", "/_matrix/client/v3/publicRooms"),
        }
        print(json.dumps(steady(told)))


def messages(ada: Client, room: str) -> Any:
    """Return the events of a room with relations, as an administrator sees them."""
    return ada.ask("GET", f"/_synapse/admin/v1/rooms/{quote(room)}/messages?dir=f&limit=1000")["chunk"]


def go_on(url: str) -> None:
    """Write on: events, rooms, users, keys, a purge; print what came of it."""
    with homeserver(url) as client:
        ada, bob = login(client, "ada", device_id="ON"), login(client, "bob", device_id="ON")
        room = ada.ask("GET", f"/_matrix/client/v3/directory/room/{quote(f'#größe:{NAME}')}")["room_id"]
        old = next(one for one in ada.ask("GET", "/_synapse/admin/v1/rooms")["rooms"] if one["version"] == "10")
        bob.ask("POST", f"/_matrix/client/v3/join/{quote(room)}", {})
        sent = [bob.send(room, {"msgtype": "m.text", "body": f"danach {n} einzigartig"}) for n in range(3)]
        search = {"search_categories": {"room_events": {"search_term": "einzigartig"}}}
        found = bob.ask("POST", "/_matrix/client/v3/search", search)["search_categories"]["room_events"]["count"]
        dan = register(client, "dan")
        told = {
            "sent": len(set(sent)),
            "found": found,
            "taken": client.ask("GET", "/_matrix/client/v3/register/available?username=ada", refused=True),
            "alias": bob.ask("POST", "/_matrix/client/v3/createRoom", {"room_alias_name": "größe"}, refused=True),
            "filter": dan.ask("POST", f"/_matrix/client/v3/user/{quote(dan.user)}/filter", {})["filter_id"],
            "filter again": ada.ask("POST", f"/_matrix/client/v3/user/{quote(ada.user)}/filter", {"room": {}})[
                "filter_id"
            ],
            "events": [event["content"].get("body") for event in messages(ada, room)],
            "context": ada.ask("GET", f"/_matrix/client/v3/rooms/{quote(room)}/context/{quote(sent[1])}?limit=4")[
                "event"
            ]["content"],
        }
        ada.ask("DELETE", f"/_matrix/client/v3/user/{quote(ada.user)}/rooms/{quote(room)}/tags/m.favourite")
        fill_room_again(ada, dan, room)
        backup = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {}}
        told["backup"] = ada.ask("POST", "/_matrix/client/v3/room_keys/version", backup)["version"]
        sliding: dict[str, Any] = {
            "lists": {"all": {"ranges": [[0, 9]], "required_state": [["*", "*"]], "timeline_limit": 2}}
        }
        sliding |= {"conn_id": "main"}
        synced = ada.ask("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", sliding)
        told["sliding"] = sorted(given.get("name", "") for given in synced["rooms"].values())
        told["report"] = ada.ask("GET", "/_synapse/admin/v1/event_reports")["total"]
        ada.ask("DELETE", f"/_synapse/admin/v1/rooms/{quote(old['room_id'])}", {"purge": True, "force_purge": True})
        told["left"] = sorted(one["name"] or "" for one in ada.ask("GET", "/_synapse/admin/v1/rooms")["rooms"])
        print(json.dumps(told))


def fill_room_again(ada: Client, dan: Client, room: str) -> None:
    """Do in a room of before what takes numbers from sequences: membership, receipts, reports, settings, media."""
    dan.ask("POST", f"/_matrix/client/v3/join/{quote(room)}", {})
    last = dan.send(room, {"msgtype": "m.text", "body": "hier"})
    path = f"/_matrix/client/v3/rooms/{quote(room)}"
    ada.ask("POST", f"{path}/receipt/m.read/{quote(last)}", {})
    ada.ask("POST", f"{path}/report/{quote(last)}", {"reason": "", "score": 0})
    ada.ask("PUT", f"/_matrix/client/v3/user/{quote(ada.user)}/account_data/org.example.new", {"n": 1})
    ada.ask("PUT", f"/_matrix/client/v3/presence/{quote(ada.user)}/status", {"presence": "online"})
    fill_accounts(ada, dan)
    fill_media(ada)
    fill_keys(dan, ada)


COMMANDS = {"fill": fill, "create": create, "start": start, "index": index, "tell": tell, "continue": go_on}

if __name__ == "__main__":
    os.environ.setdefault("SYNAPSE_LOG_TESTING", "")
    COMMANDS[sys.argv[1]](sys.argv[2])
