#!/usr/bin/env python3
"""
Gives something to practise on: a small shop's SQLite file, and a PostgreSQL server that belongs to nobody else.

    .venv/bin/python scripts/practice.py start     make the folder practice/, and start the server
    .venv/bin/python scripts/practice.py stop      stop the server, and remove the folder

``practice/`` then holds ``shop.db``, ``target_url`` (the URL of an empty database, which only you can read), ``psql``
(a program that opens that database) and ``server.env`` (variables with which the migration guide finds the server). The
server is the one of ``migrator demo``. Another folder is named by a second argument.
"""

import argparse
import os
import secrets
import select
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from migrator.demo.server import EmbeddedServer

DATABASE = ROLE = "shop"
LONGEST_STOP_SECONDS: Final = 60
CUSTOMERS: Final = 200
ORDERS: Final = 5_000
FIRST_ORDER: Final = 1_704_106_800_000
"""The moment of the first order, in milliseconds since 1970; each order follows a minute after the one before."""

TABLES: Final = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    joined_on DATE
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    customer_id INTEGER NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    ordered_at TIMESTAMP NOT NULL,
    total DECIMAL(10, 2) NOT NULL CHECK (total > 0),
    quantity INTEGER,
    is_gift BOOLEAN NOT NULL DEFAULT 0
);
CREATE INDEX orders_by_customer ON orders (customer_id);
"""


def main(arguments: list[str]) -> int:
    """Do what the first argument says, and return the exit code."""
    parser = argparse.ArgumentParser(description="Something to practise a migration on.")
    parser.add_argument("action", choices=ACTIONS, metavar="start|stop")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("practice"))
    given = parser.parse_args(arguments)
    return ACTIONS[given.action](given.folder.absolute())


def start(folder: Path) -> int:
    """Make the folder with the sample, start the server beside this process, and say what is there."""
    if folder.exists():
        print(f"{folder} is there already; remove it with: {Path(__file__).name} stop", file=sys.stderr)
        return 2
    folder.mkdir(mode=0o700, parents=True)
    make_sample(folder / "shop.db")
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal is not meant for the server
        )
    if not (server.stdout and server.stdout.readline()):
        server.wait()
        print(f"the server has not started: {(folder / 'server.log').read_text()}", file=sys.stderr)
        return 2
    (folder / "pid").write_text(f"{server.pid}\n")
    print(f"{folder.name}/shop.db: {CUSTOMERS:,} customers, {ORDERS:,} orders")
    print(f"{folder.name}/target_url: an empty database on a PostgreSQL of its own")
    server.returncode = 0  # it lives on, and is nobody's child
    return 0


def serve(folder: Path) -> int:
    """Run the server until SIGTERM. A line on stdout says that it is ready."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with EmbeddedServer() as server:
        password = secrets.token_urlsafe(16)
        server.create_role(ROLE, password)
        server.create_database(DATABASE, ROLE)
        url = server.url(DATABASE, ROLE, password)
        write(folder / "target_url", f"{url}\n", 0o600)
        psql = f'#!/bin/sh\nexec {shlex.quote(str(server.programs / "psql"))} {shlex.quote(url)} "$@"\n'
        write(folder / "psql", psql, 0o700)
        variables = {"POSTGRES_PORT": str(server.port), "ADMIN_URL": server.url("postgres")}
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in variables.items()]
        lines.append(f'PATH={shlex.quote(str(server.programs))}:"$PATH"\n')
        write(folder / "server.env", "".join(lines), 0o600)
        os.write(1, b"ready\n")
        while True:
            signal.pause()


def stop(folder: Path) -> int:
    """Stop the server and remove the folder."""
    pid = folder / "pid"
    if not pid.exists():
        print(f"no server was started in {folder}", file=sys.stderr)
        return 2
    process = int(pid.read_text())
    try:
        os.kill(process, signal.SIGTERM)
    except ProcessLookupError:
        process = 0
    if process and sys.platform == "linux":
        wait_for_end(process)
    shutil.rmtree(folder)
    return 0


def wait_for_end(process: int) -> None:
    """Wait until a process that is no child of this one has ended; the server takes its last files with it."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        select.select([handle], [], [], LONGEST_STOP_SECONDS)
    finally:
        os.close(handle)


def make_sample(path: Path) -> None:
    """Write the shop's SQLite file, the same each time. Some of its values are not what their columns say."""
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(TABLES)
        database.executemany("INSERT INTO customers (name, email, joined_on) VALUES (?, ?, ?)", customers())
        database.executemany(
            "INSERT INTO orders (customer_id, ordered_at, total, quantity, is_gift) VALUES (?, ?, ?, ?, ?)", orders()
        )


def customers() -> Iterator[tuple[str, str, str]]:
    """Yield the customers. The first joined on the day that never was."""
    for number in range(CUSTOMERS):
        joined = f"2023-{1 + number % 12:02}-{1 + number % 28:02}" if number else "0000-00-00"
        yield f"Customer {number}", f"customer{number}@example.org", joined


def orders() -> Iterator[tuple[int, int, str, int | str, int]]:
    """Yield the orders. Their moments are numbers of milliseconds, and two quantities are words."""
    for number in range(ORDERS):
        quantity = "many" if number in {6, 8} else 1 + number % 9
        total = f"{(number * 37) % 10_000 / 100 + 1:.2f}"
        yield 1 + number % CUSTOMERS, FIRST_ORDER + number * 60_000, total, quantity, number % 10 == 0


def write(path: Path, text: str, mode: int) -> None:
    """Write a file that nobody else may open, not even for a moment."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)


ACTIONS: Final = {"start": start, "stop": stop, "serve": serve}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
