"""A network fault on demand: a TCP proxy in front of a server, switched by a test while it runs.

It forwards until told otherwise. Bytes that were held back are delivered in order once the fault is over, as TCP would.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from enum import Enum
from typing import Any, Self, TypeVar, cast

from servers.ports import HOST, free_port

T = TypeVar("T")
CHUNK = 64 * 1024
# What is under way per direction before the sender feels that nobody reads: 4 MiB.
CHUNKS_UNDER_WAY = 64
# Closing with a linger time of nothing sends a reset instead of a goodbye.
RESET = struct.pack("ii", 1, 0)
CALL_SECONDS = 30


class Direction(Enum):
    """Which way bytes flow."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class FaultProxy:
    """Stands between clients, who come to `port`, and a server on loopback, which need not be up yet."""

    def __init__(self, server_port: int, *, port: int | None = None) -> None:
        self.server_port = server_port
        self.port = port or free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)
        self._door: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._links: set[asyncio.StreamWriter] = set()
        self._delay = 0.0
        self._flowing = {direction: asyncio.Event() for direction in Direction}

    @property
    def address(self) -> str:
        """Where clients go instead of to the server."""
        return f"{HOST}:{self.port}"

    def start(self) -> Self:
        """Listen, and forward."""
        self._thread.start()
        self.forward()
        return self

    def stop(self) -> None:
        """Cut every connection and listen no more."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def forward(self) -> None:
        """End every fault: let go what was held back, and listen again."""
        self._call(self._set(0.0, ()))
        self._call(self._open())

    def delay(self, seconds: float) -> None:
        """Deliver everything so much later, in both directions; throughput stays."""
        self._call(self._set(seconds, ()))

    def stall(self, *directions: Direction) -> None:
        """Hold back all bytes in these directions, both when none is named; connections stay, and new ones come."""
        self._call(self._set(0.0, directions or tuple(Direction)))

    def cut(self) -> None:
        """Reset every connection there is; the next one is served."""
        self._call(self._cut())

    def refuse(self) -> None:
        """Reset every connection and refuse new ones until `forward`."""
        self._call(self._shut())
        self._call(self._cut())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        done: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(CALL_SECONDS)

    async def _set(self, delay: float, stalled: tuple[Direction, ...]) -> None:
        self._delay = delay
        for direction, flowing in self._flowing.items():
            if direction in stalled:
                flowing.clear()
            else:
                flowing.set()

    async def _open(self) -> None:
        if self._door is None:
            self._door = await asyncio.start_server(self._link, HOST, self.port, limit=CHUNK)

    async def _shut(self) -> None:
        if self._door is not None:
            self._door.close()
            self._door = None

    async def _cut(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        for writer in tuple(self._links):
            reset(writer)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end(self) -> None:
        await self._shut()
        await self._cut()

    async def _link(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """One connection, from a task of its own."""
        self._keep(cast("asyncio.Task[None]", asyncio.current_task()))
        ends = [to_client]
        self._links.add(to_client)
        try:
            server, to_server = await asyncio.open_connection(HOST, self.server_port, limit=CHUNK)
            ends.append(to_server)
            self._links.add(to_server)
            there = self._begin(self._carry(client, to_server, Direction.TO_SERVER))
            back = self._begin(self._carry(server, to_client, Direction.TO_CLIENT))
            await asyncio.wait({there, back})
        except OSError:
            reset(to_client)  # nobody is there
        except asyncio.CancelledError:
            pass  # cut, and so at its end; asyncio would print the stack of a task of this kind
        finally:
            for end in ends:
                self._links.discard(end)
                end.close()  # in order, unless it was reset before

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._keep(self._loop.create_task(work))

    def _keep(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        """One direction of one connection, until its end or a reset."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_UNDER_WAY)
        delivery = self._begin(self._deliver(under_way, writer, direction))
        try:
            chunk = b"-"
            while chunk:
                chunk = await reader.read(CHUNK)
                await under_way.put((self._loop.time() + self._delay, chunk))
            await delivery
        except OSError:
            reset(writer)  # what one side did, the other sees
        finally:
            delivery.cancel()

    async def _deliver(
        self,
        under_way: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        while True:
            due, chunk = await under_way.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await self._flowing[direction].wait()
            try:
                if not chunk:
                    writer.write_eof()
                    return
                writer.write(chunk)
                await writer.drain()
            except OSError:
                return

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close without a goodbye, so that the other side sees an error rather than an end."""
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None and not writer.transport.is_closing():
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
