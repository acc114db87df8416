"""A TCP proxy in front of a server that simulates network faults, switched by a test while it runs.

Without a fault it forwards. Bytes held back by a fault are delivered in order once it ends, as with TCP.
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
# Chunks in flight per direction before backpressure reaches the sender: 4 MiB.
CHUNKS_IN_FLIGHT = 64
# Closing with a linger time of 0 sends RST instead of FIN.
RESET = struct.pack("ii", 1, 0)
CALL_SECONDS = 30
# Of the loop, until an accepted connection has a task.
ROUNDS = 5


class Direction(Enum):
    """Direction of bytes through the proxy."""

    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class FaultProxy:
    """Forwards clients of `port` to a server on loopback, which may start later. Methods block for at most 30 s."""

    def __init__(self, server_port: int, *, port: int | None = None) -> None:
        self.server_port = server_port
        self.port = port or free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{self.port}", daemon=True)
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._links: set[asyncio.StreamWriter] = set()
        self._delay = 0.0
        self._renamed = (b"", b"")
        self._flowing = {direction: asyncio.Event() for direction in Direction}

    @property
    def address(self) -> str:
        """The address for clients, instead of the server's."""
        return f"{HOST}:{self.port}"

    def start(self) -> Self:
        """Listen and forward."""
        self._thread.start()
        self.forward()
        return self

    def stop(self) -> None:
        """Reset every connection and stop listening."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def forward(self) -> None:
        """End every fault: deliver what was held back, and accept connections again."""
        self._call(self._set(0.0, ()))
        self._call(self._open())

    def delay(self, seconds: float) -> None:
        """Deliver everything `seconds` later, in both directions; throughput stays."""
        self._call(self._set(seconds, ()))

    def stall(self, *directions: Direction) -> None:
        """Hold back all bytes in these directions (default: both); connections stay, new ones are accepted."""
        self._call(self._set(0.0, directions or tuple(Direction)))

    def rename(self, answered: str, instead: str) -> None:
        """Replace an address in what the server says by another of the same length, until the next call."""
        if len(answered) != len(instead):
            msg = f"{answered} and {instead} differ in length: the server's messages carry lengths"
            raise ValueError(msg)
        self._renamed = (answered.encode(), instead.encode())

    def cut(self) -> None:
        """Reset every open connection; new ones are served."""
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
        if self._listener is None:
            self._listener = await asyncio.start_server(self._link, HOST, self.port, limit=CHUNK)

    async def _shut(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        # asyncio forgets a connection that it has just accepted when the listener is closed at that moment.
        for each in listener.sockets:
            self._loop.remove_reader(each.fileno())
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        listener.close()

    async def _cut(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        for writer in tuple(self._links):
            reset(writer)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end(self) -> None:
        await self._shut()
        while asyncio.all_tasks() - {asyncio.current_task()}:
            await self._cut()
            await asyncio.sleep(0)

    async def _link(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """One connection, from a task of its own."""
        self._keep(cast("asyncio.Task[None]", asyncio.current_task()))
        ends = [to_client]
        self._links.add(to_client)
        try:
            server, to_server = await asyncio.open_connection(HOST, self.server_port, limit=CHUNK)
            ends.append(to_server)
            self._links.add(to_server)
            forth = self._begin(self._carry(client, to_server, Direction.TO_SERVER))
            back = self._begin(self._carry(server, to_client, Direction.TO_CLIENT))
            await asyncio.wait({forth, back})
        except OSError:
            reset(to_client)  # the server does not listen
        except asyncio.CancelledError:
            pass  # reset by `cut`; asyncio would print a stack trace of a cancelled connection task
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
        in_flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_IN_FLIGHT)
        delivery = self._begin(self._deliver(in_flight, writer, direction))
        try:
            chunk = b"-"
            while chunk:
                chunk = await reader.read(CHUNK)
                if direction is Direction.TO_CLIENT and self._renamed[0]:
                    chunk = chunk.replace(*self._renamed)
                await in_flight.put((self._loop.time() + self._delay, chunk))
            await delivery
        except OSError:
            reset(writer)  # pass the error on to the other side
        finally:
            delivery.cancel()

    async def _deliver(
        self,
        in_flight: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        while True:
            due, chunk = await in_flight.get()
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
    """Close with RST, so that the peer sees an error instead of an end of the stream."""
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None and not writer.transport.is_closing():
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
