"""A small TCP proxy in front of a server that cuts and stalls connections when it is told to: ``proxy``."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest

Fault = Literal["reset", "black hole", "slow drip", "deaf"]
"""A reset; nothing goes on, in either direction; a few bytes now and then; all is taken, and no answer comes back."""


_LONGEST_WORDS = 200


@dataclass(slots=True)
class _Plan:
    fault: Fault
    after: int
    """Bytes that the client may send on one connection before it happens; so small ones are left alone."""
    times: int
    """Connections that it happens to."""
    words: bytes
    """What the client has to say for it to happen."""


class Proxy:
    """Forwards to a server on this machine; one fault at a time is planned with ``will``."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._plan: _Plan | None = None
        self.happened = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._ready.wait()

    def will(self, fault: Fault, *, after: int = 0, times: int = 1, words: str = "") -> None:
        """Let it happen to the next connections that send more than ``after`` bytes, and ``words`` among the last."""
        self._plan = _Plan(fault, after, times, words.encode())
        self.happened = 0

    def fall_silent(self) -> None:
        """Pass on no more answers, on no connection there is, also not that the server has closed it."""
        for deaf in tuple(self._deaf):
            self._loop.call_soon_threadsafe(deaf.set)

    def close(self) -> None:
        """Stop; connections that are open are cut."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()  # or one that waits for nothing that comes would be collected
        self._taken: list[asyncio.BaseTransport] = []
        self._deaf: set[asyncio.Event] = set()
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        # What has just come stays open, and is missed, if the server is closed, or its task cancelled, before its turn.
        self._loop.remove_reader(server.sockets[0].fileno())
        await asyncio.sleep(0)
        server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0)
        for transport in self._taken:  # a task that was cancelled before it began has closed nothing
            transport.close()
        await asyncio.sleep(0)  # what was closed is gone in the next one

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._taken.append(writer.transport)
        task = asyncio.create_task(self._accept(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
            deaf = asyncio.Event()
            self._deaf.add(deaf)
            up = asyncio.create_task(self._up(reader, up_writer, writer, deaf))
            down = asyncio.create_task(_pump(up_reader, writer, deaf))
            try:
                await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            finally:
                up.cancel()
                down.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
                up_writer.transport.abort()
        except OSError:
            pass  # the server is away
        finally:
            writer.transport.abort()

    async def _up(
        self,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        deaf: asyncio.Event,
    ) -> None:
        sent, tail = 0, b""
        while data := await reader.read(4096):
            sent += len(data)
            tail, seen = data[-_LONGEST_WORDS:], tail + data  # what is looked for may come in two parts
            plan = self._plan
            if plan is not None and self.happened < plan.times and sent > plan.after and plan.words in seen:
                self.happened += 1
                await self._happens(plan.fault, reader, server, client, deaf)
                return
            server.write(data)
            await server.drain()

    async def _happens(
        self,
        fault: Fault,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        deaf: asyncio.Event,
    ) -> None:
        if fault == "reset":
            plug = client.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        deaf.set()
        if fault == "black hole":
            await asyncio.Event().wait()
        while data := await reader.read(4096 if fault == "deaf" else 1):
            server.write(data)
            await asyncio.sleep(0 if fault == "deaf" else 0.05)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deaf: asyncio.Event) -> None:
    while data := await reader.read(4096):
        if not deaf.is_set():
            writer.write(data)
            await writer.drain()
    if deaf.is_set():  # that the server is gone isn't told either
        await asyncio.Event().wait()


@pytest.fixture
def proxies() -> Iterator[list[Proxy]]:
    """Give a list of proxies, which are closed with the test."""
    opened: list[Proxy] = []
    yield opened
    for proxy in opened:
        proxy.close()
