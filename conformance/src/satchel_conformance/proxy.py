"""A TCP proxy between a driver and its server: it breaks connections on cue and counts what crosses them.

    with Proxy("127.0.0.1", 6379) as proxy:
        client = connect(proxy.url("redis://user:secret@127.0.0.1:6379/0"))
        with proxy.counting() as count:
            client.get("key")
        assert count.round_trips == 1
        proxy.arm(Cut(before="answer"), times=1)

It knows no protocol, so TLS passes. To it a *request* is a burst: the bytes that a client sends on one connection
before it is sent any byte back. Pipelined commands are one request; the steps of a handshake are one each. Only of
HTTP/2 without TLS it knows what is housekeeping, and takes that for neither a request nor an answer.
"""

import asyncio
import math
import re
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

from satchel_conformance.http2 import ANSWERS, HEADERS, PREFACE, RST_STREAM, Frames

T = TypeVar("T")

QUIET: Final = 0.02
"""Seconds without a byte that end a burst, lest a server that answers the first half early makes two of it.

Ten times that from 4 KiB on, as drivers send what fills their buffers in pieces, and a busy machine may stop one in
between. Only while one counts or a fault is armed, and only answers that come sooner, have to wait for it.
"""

_CHUNK: Final = 1 << 16
_OPTION: Final = re.compile(r"[?&]\w+=(https?://|(?=[\w.-]+:\d+(&|$)))")


@dataclass(frozen=True)
class Refuse:
    """The server is down: existing connections are reset, and connecting fails with ECONNREFUSED."""


@dataclass(frozen=True)
class Cut:
    """The connection is reset: either no byte of the request reaches the server, or none of its answer the client."""

    before: Literal["request", "answer"]


@dataclass(frozen=True)
class Delay:
    """The server gets the request; its answer is held for so many seconds, or until the fault is healed."""

    seconds: float | None = None


@dataclass(frozen=True)
class Truncate:
    """The first `size` bytes of the answer arrive, then EOF, or nothing until the fault is healed. Less passes."""

    size: int
    then: Literal["cut", "hang"] = "cut"


@dataclass(frozen=True)
class Drip:
    """The answer arrives `size` bytes at a time, with `pause` seconds between, until the fault is healed."""

    size: int = 1
    pause: float = 0.001


@dataclass(frozen=True)
class BlackHole:
    """Connecting works, nothing answers, requests are dropped. A connection that fell in stays there after healing."""


Fault = Refuse | Cut | Delay | Truncate | Drip | BlackHole


@dataclass(eq=False)
class Count:
    """What crossed the proxy: requests (answered or not), new connections, bytes from clients, bytes to clients.

    `in_a_row` are the requests that began when none of the others was under way: how often one had to wait for the
    server. `under_way` are those that have no answer yet.
    """

    round_trips: int = 0
    in_a_row: int = 0
    connections: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    under_way: set[object] = field(default_factory=set, repr=False)


class _Armed:
    def __init__(self, fault: Fault, left: float) -> None:
        self.fault, self.left = fault, left
        self.healed = asyncio.Event()
        self.struck: Future[bool] = Future()
        self.struck.set_running_or_notify_cancel()  # one who gives up waiting for it does not cancel it

    def resolve(self, struck: bool) -> None:
        if not self.struck.done():
            self.struck.set_result(struck)

    async def pause(self, seconds: float | None = None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.healed.wait()


class _Traffic:
    """What the connections of a proxy share: what befalls requests, and what is counted."""

    def __init__(self) -> None:
        self.armed: _Armed | None = None
        self.counts: list[Count] = []

    def request(self, connection: "_Connection") -> _Armed | None:
        for count in self.counts:
            count.round_trips += 1
            count.in_a_row += not count.under_way
            count.under_way.add(connection)
        if not self.armed or self.armed.left < 1:
            return None
        self.armed.left -= 1
        return self.armed

    def answered(self, connection: "_Connection") -> None:
        for count in self.counts:
            count.under_way.discard(connection)

    def add(self, **numbers: int) -> None:
        for count in self.counts:
            for name, number in numbers.items():
                setattr(count, name, getattr(count, name) + number)


class Proxy:
    """Listens on a free port of 127.0.0.1 and forwards to a server, while its `with` block lasts.

    It runs in a thread of its own, so it goes on while the caller's event loop is blocked. Call its methods from any
    thread, sync or async: each takes milliseconds at most, and is in force when it returns, for what is sent from then
    on. Have child processes spawned, not forked: a fork keeps sockets open.
    """

    host: Final = "127.0.0.1"

    def __init__(self, host: str, port: int) -> None:
        """Take the server's address. Of several that a name has, the first of IPv4 is used, or else the first."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        best = min(found, key=lambda one: one[0] != socket.AF_INET)
        self._family, self._target = best[0], best[4]
        self._traffic = _Traffic()
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        """Start to listen."""
        self._place = self._bind(0)  # it never listens: while there is no listener, the port stays ours, and refuses
        self.port: int = self._place.getsockname()[1]
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="satchel-proxy", daemon=True)
        self._thread.start()
        self.heal()
        return self

    def __exit__(self, *_: object) -> None:
        """Reset every connection and end."""
        self.arm(Refuse())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.close()

    def url(self, original: str) -> str:
        """Return the URL with the proxy in place of the server's host and port; see `address_in`."""
        start, end = _place_of_address(original)
        return f"{original[:start]}{self.host}:{self.port}{original[end:]}"

    def arm(self, fault: Fault, times: int | None = None) -> Future[bool]:
        """Let `fault` strike the next so many requests, on whatever connection, or all until it is healed.

        It takes the place of the one before, which is healed.

        Returns:
            A future for when it strikes first, to wait for with `.result(timeout)` or `asyncio.wrap_future`. True: it
            did; a fault of the answer does when the server has answered. False: it was healed before.
        """
        if times is not None and (times < 1 or isinstance(fault, Refuse)):
            raise ValueError(f"{fault} cannot be armed for {times} requests")
        return self._do(self._arm(fault, times or math.inf))

    def heal(self) -> None:
        """Forward everything as it is; answers that are held go out."""
        self._do(self._heal())

    def restart(self) -> None:
        """Do as a server does that is restarted: every connection is reset, and new ones work."""
        self.arm(Refuse())
        self.heal()

    @contextmanager
    def counting(self) -> Iterator[Count]:
        """Count inside the block; all that a client has an answer to is counted.

        Do it on a warm connection, or handshakes count. Answers may take `QUIET` longer, to tell bursts apart.
        """
        count = Count()
        self._do(self._switch([*self._traffic.counts, count]))
        try:
            yield count
        finally:
            self._do(self._switch([one for one in self._traffic.counts if one is not count]))

    def _do(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result()

    async def _catch_up(self) -> None:
        for _ in range(10):  # what clients have sent so far is taken in within a few turns of the loop
            await asyncio.sleep(0)

    async def _switch(self, counts: list[Count]) -> None:
        await self._catch_up()
        self._traffic.counts = counts

    async def _heal(self) -> None:
        await self._catch_up()
        if self._traffic.armed:
            self._traffic.armed.resolve(struck=False)
            self._traffic.armed.healed.set()
            self._traffic.armed = None
        if not self._listener:
            self._listener = self._bind(self.port)
            self._listener.listen(128)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _arm(self, fault: Fault, times: float) -> Future[bool]:
        await self._heal()
        self._traffic.armed = armed = _Armed(fault, times)
        if isinstance(fault, Refuse) and self._listener:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            armed.resolve(struck=True)
        return armed.struck

    def _bind(self, port: int) -> socket.socket:
        bound = socket.socket()
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((self.host, port))
        return bound

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):  # the client is gone again
            connection = _Connection(listener.accept()[0], socket.socket(self._family), self._traffic)
            self._traffic.add(connections=1)
            task = self._loop.create_task(connection.run(self._target))
            self._tasks.add(task)
            task.add_done_callback(connection.close)  # also of a task that is cancelled before it starts
            task.add_done_callback(self._tasks.discard)


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket, traffic: _Traffic) -> None:
        self.client, self.server, self.traffic = client, server, traffic
        self.asking = False  # the client has sent something, and was not sent anything since
        self.asked = 0  # how many bytes that were
        self.quiet = 0.0  # when it has been quiet for long enough
        self.told = 0  # how many bytes of the answer it was sent
        self.frames: tuple[Frames, Frames] | None = None  # of the client and of the server, if they speak HTTP/2
        # A black hole swallows the server's greeting, too; any other fault waits for a request.
        self.armed = traffic.armed if traffic.armed and isinstance(traffic.armed.fault, BlackHole) else None
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _reset_on_close(end, True)

    async def run(self, target: Any) -> None:
        self.loop = asyncio.get_running_loop()
        try:
            await self.loop.sock_connect(self.server, target)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self.up())
                pumps.create_task(self.down())
            _reset_on_close(self.client, False)
            _reset_on_close(self.server, False)
        except* OSError:
            pass  # an end that broke, or our own cut

    def close(self, _: object) -> None:
        self.end_request()
        self.client.close()
        self.server.close()

    async def up(self) -> None:
        first = True
        while data := await self.loop.sock_recv(self.client, _CHUNK):
            if first and data.startswith(PREFACE):
                self.frames = Frames(len(PREFACE)), Frames()
            first = False
            self.notice(data)
            self.asked += len(data)
            self.quiet = self.loop.time() + QUIET * (1 if self.asked < 4096 else 10)
            self.traffic.add(bytes_up=len(data))
            if self.armed and isinstance(self.armed.fault, BlackHole):
                self.armed.resolve(struck=True)
            elif self.armed and self.armed.fault == Cut("request"):
                self.armed.resolve(struck=True)
                raise ConnectionAbortedError
            else:
                await self.loop.sock_sendall(self.server, data)
        self.server.shutdown(socket.SHUT_WR)

    def notice(self, data: bytes) -> None:
        """See whether a request begins with what the client has sent."""
        for frame in self.frames[0].begun(data) if self.frames else (HEADERS,):
            if frame == RST_STREAM:  # it has given up, and there may be no answer
                self.end_request()
            elif frame == HEADERS and not self.asking:
                self.asking, self.asked, self.told, self.armed = True, 0, 0, self.traffic.request(self)

    def end_request(self) -> None:
        self.asking = False
        self.traffic.answered(self)

    async def down(self) -> None:
        while data := await self.loop.sock_recv(self.server, _CHUNK):
            if self.asking and (self.armed or self.traffic.counts):
                await self.settle()
            await (self.fail(self.armed, data) if self.armed else self.tell(data))
        self.client.shutdown(socket.SHUT_WR)

    async def settle(self) -> None:
        while (rest := self.quiet - self.loop.time()) > 0:  # it moves on with the burst
            await asyncio.sleep(rest)

    async def fail(self, armed: _Armed, data: bytes) -> None:
        match armed.fault:
            case Delay(seconds):
                armed.resolve(struck=True)
                await armed.pause(seconds)
                self.armed = None
                await self.tell(data)
            case Cut("answer"):
                self.server.shutdown(socket.SHUT_WR)  # unlike a reset, it lets the server carry out all that it got,
                with suppress(TimeoutError):  # and hang up when it has; we do not insist
                    async with asyncio.timeout(1):
                        while await self.loop.sock_recv(self.server, _CHUNK):
                            pass
                armed.resolve(struck=True)
                raise ConnectionAbortedError
            case Truncate(size, then):
                end = size - self.told
                await self.tell(data[:end])
                if self.told == size:
                    armed.resolve(struck=True)
                    if then == "cut":
                        _reset_on_close(self.client, False)  # a reset could overtake what has not been read yet
                        raise ConnectionAbortedError
                    await armed.pause()
                    self.armed = None
                    await self.tell(data[end:])
            case Drip(size, pause):
                for start in range(0, len(data), size):
                    await self.tell(data[start : start + size])
                    armed.resolve(struck=True)
                    await armed.pause(pause)
            case _:
                pass  # swallowed by a black hole

    async def tell(self, data: bytes) -> None:
        if data:
            if not self.frames or not ANSWERS.isdisjoint(list(self.frames[1].begun(data))):
                self.end_request()
            self.told += len(data)
            self.traffic.add(bytes_down=len(data))
            await self.loop.sock_sendall(self.client, data)


def address_in(url: str) -> tuple[str, int]:
    """Return the host and the port of the server that a storage URL is about.

    They are where a URL has them, or else in a URL among its options: `s3://bucket?endpoint_url=http://host:port`.

    Raises:
        ValueError: there is no host with a port.
    """
    start, end = _place_of_address(url)
    parts = urlsplit(f"//{url[start:end]}")
    if not parts.hostname or not parts.port:
        raise ValueError("the URL names no host and port of one server")
    return parts.hostname, parts.port


def _place_of_address(url: str) -> tuple[int, int]:
    """Return where in the URL the host and the port (or several) begin and end."""
    inner = _OPTION.search(url)
    start = inner.end() if inner else url.index("://") + 3
    end = next((place for place in range(start, len(url)) if url[place] in "/?&#"), len(url))
    return max(start, url.rfind("@", start, end) + 1), end


def _reset_on_close(end: socket.socket, reset: bool) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))
