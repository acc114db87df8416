from __future__ import annotations

import gc
import socket
import socketserver
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from typing import cast

import pytest

from servers.ports import HOST, free_port
from servers.proxy import Direction, FaultProxy
from tests.waiting import TIMEOUT_S, until

# Long enough for bytes on loopback to arrive, short enough to wait for bytes that must not.
SILENCE_S = 0.3


class Echo(socketserver.BaseRequestHandler):
    """Sends back the received bytes and counts them."""

    def handle(self) -> None:
        server = cast("EchoServer", self.server)
        try:
            while chunk := self.request.recv(65536):
                server.received += len(chunk)
                self.request.sendall(chunk)
        except ConnectionError:
            pass


class EchoServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    received = 0


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer((HOST, 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[FaultProxy]:
    with FaultProxy(echo.server_address[1]) as started:
        yield started


def client(proxy: FaultProxy) -> socket.socket:
    connected = socket.create_connection((HOST, proxy.port), timeout=TIMEOUT_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def connect_and_read(proxy: FaultProxy) -> bytes:
    with closing(client(proxy)) as link:
        return link.recv(1)


def echoed(link: socket.socket, sent: bytes) -> bytes:
    link.sendall(sent)
    return received(link, len(sent))


def send_and_end(link: socket.socket, sent: bytes) -> None:
    link.sendall(sent)
    link.shutdown(socket.SHUT_WR)


def received(link: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        chunk = link.recv(65536)
        assert chunk, "the connection ended early"
        got += chunk
    return got


def assert_silent(link: socket.socket) -> None:
    link.settimeout(SILENCE_S)
    with pytest.raises(TimeoutError):
        link.recv(1)
    link.settimeout(TIMEOUT_S)


def test_bytes_pass_both_ways_in_order(proxy: FaultProxy) -> None:
    sent = bytes(range(256)) * 8192
    got: list[bytes] = []
    with closing(client(proxy)) as link:
        reader = threading.Thread(target=lambda: got.append(received(link, len(sent))))
        reader.start()
        link.sendall(sent)
        reader.join()
    assert got == [sent]


def test_the_end_of_a_stream_is_passed_on(proxy: FaultProxy) -> None:
    with closing(client(proxy)) as link:
        link.sendall(b"last")
        link.shutdown(socket.SHUT_WR)
        assert received(link, 4) == b"last"
        assert link.recv(1) == b""


def test_nothing_is_lost_before_an_end(proxy: FaultProxy) -> None:
    sent = b"x" * 1_000_000
    with closing(client(proxy)) as link:
        sender = threading.Thread(target=send_and_end, args=(link, sent))
        sender.start()
        time.sleep(SILENCE_S)  # buffers fill, both sides end, and only then does the client read
        assert received(link, len(sent)) == sent
        assert link.recv(1) == b""
        sender.join()


def test_a_delay_holds_each_byte_back_both_ways(proxy: FaultProxy) -> None:
    with closing(client(proxy)) as link:
        assert echoed(link, b"a") == b"a"
        proxy.delay(0.1)
        began = time.monotonic()
        assert echoed(link, b"b") == b"b"
        assert time.monotonic() - began >= 0.2


def test_a_delay_does_not_add_up_over_bytes_in_flight(proxy: FaultProxy) -> None:
    with closing(client(proxy)) as link:
        proxy.delay(0.2)
        began = time.monotonic()
        for _ in range(50):
            link.sendall(b"x")
            time.sleep(0.001)
        assert received(link, 50) == b"x" * 50
        assert time.monotonic() - began < 50 * 0.2


@pytest.mark.parametrize(
    ("stalled", "reaches_the_server"),
    [((), False), ((Direction.TO_SERVER,), False), ((Direction.TO_CLIENT,), True)],
)
def test_a_stall_keeps_the_connection_and_delivers_later(
    proxy: FaultProxy, echo: EchoServer, stalled: tuple[Direction, ...], reaches_the_server: bool
) -> None:
    with closing(client(proxy)) as link:
        assert echoed(link, b"a") == b"a"
        proxy.stall(*stalled)
        link.sendall(b"held")
        assert_silent(link)
        if reaches_the_server:
            until(lambda: echo.received == 5)
        else:
            assert echo.received == 1
        proxy.forward()
        assert received(link, 4) == b"held"


def test_a_cut_resets_what_is_connected_and_serves_the_next(proxy: FaultProxy) -> None:
    with closing(client(proxy)) as link:
        assert echoed(link, b"a") == b"a"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            link.recv(1)
    with closing(client(proxy)) as link:
        assert echoed(link, b"b") == b"b"


def test_a_cut_ends_a_stalled_connection_too(proxy: FaultProxy) -> None:
    with closing(client(proxy)) as link:
        proxy.stall()
        link.sendall(b"never seen")
        assert_silent(link)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            link.recv(1)


def test_refused_clients_are_served_again_after_the_fault(proxy: FaultProxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        client(proxy)
    proxy.forward()
    with closing(client(proxy)) as link:
        assert echoed(link, b"a") == b"a"


def test_a_server_that_is_down_is_a_reset() -> None:
    with FaultProxy(free_port()) as proxy, pytest.raises(ConnectionResetError):
        connect_and_read(proxy)  # the reset may come in either step


def test_a_stopped_proxy_no_longer_listens(echo: EchoServer) -> None:
    with FaultProxy(echo.server_address[1]) as proxy:
        pass
    with pytest.raises(ConnectionRefusedError):
        client(proxy)


def test_a_stop_leaves_no_connection_open_that_was_just_accepted() -> None:
    """An open one would be reported by the garbage collector, in whatever test runs then."""
    reported: list[object] = []
    before, sys.unraisablehook = sys.unraisablehook, reported.append
    try:
        with closing(socket.create_server((HOST, 0))) as server, warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            for _ in range(30):
                proxy = FaultProxy(server.getsockname()[1]).start()
                clients = [socket.socket() for _ in range(5)]
                for each in clients:
                    each.setblocking(False)
                    each.connect_ex((HOST, proxy.port))
                proxy.stop()
                for each in clients:
                    each.close()
                del proxy
                gc.collect()
    finally:
        sys.unraisablehook = before
    assert not reported
