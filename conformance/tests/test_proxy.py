"""The proxy: each fault is what a client sees of it, counts are exact, and nothing is left behind."""

import asyncio
import gc
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from satchel_conformance.http2 import DATA, GOAWAY, HEADERS, PREFACE, RST_STREAM, Frames
from satchel_conformance.proxy import BlackHole, Cut, Delay, Drip, Fault, Proxy, Refuse, Truncate

pytestmark = pytest.mark.timeout(30)
LARGE = bytes(range(256)).replace(b"\n", b"") * 8000


class Echo:
    """A server that greets, then sends back each line, slowly if wanted, and hangs up after "bye"."""

    def __init__(
        self, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, greeting: bytes = b"", pause: float = 0
    ) -> None:
        self.host, self.tls, self.greeting, self.pause = host, tls, greeting, pause
        self.received = b""
        self.connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.serve, self.host, 0, limit=1 << 24, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for writer in self.connections:
            writer.transport.abort()
        await self.all_have_left()

    async def all_have_left(self) -> None:
        await asyncio.gather(*self.connections.values())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections[writer] = task
        with suppress(ConnectionError):
            writer.write(self.greeting)
            while line := await reader.readline():
                self.received += line
                await asyncio.sleep(self.pause)
                writer.write(line)
                await writer.drain()
                if line == b"bye\n":
                    break
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


class Client:
    """One connection to an echo server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def ask(self, line: bytes) -> bytes:
        self.send(line + b"\n")
        return await self.reader.readline()

    async def is_kept_waiting(self) -> bool:
        """Give an answer that should not come a moment to come anyway."""
        try:
            await asyncio.wait_for(self.reader.read(1), 0.02)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def connected(proxy: Proxy, tls: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port, limit=1 << 24, ssl=tls)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with Echo() as server:
        yield server


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", echo.port) as proxy:
        yield proxy


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def strikes(struck: Future[bool]) -> bool:
    return await asyncio.wait_for(asyncio.wrap_future(struck), 5)


# To an echo server, byte for byte.


async def test_what_goes_through_is_the_same_in_both_directions(proxy: Proxy) -> None:
    async with connected(proxy) as client:
        assert await client.ask(LARGE) == LARGE + b"\n"


async def test_the_end_of_what_a_client_sends_is_passed_on_and_the_answer_still_arrives(proxy: Proxy) -> None:
    async with connected(proxy) as client:
        client.send(b"last words")
        client.writer.write_eof()
        assert await client.reader.read() == b"last words"


async def test_a_client_that_ends_first_and_reads_late_gets_everything() -> None:
    async with Echo(greeting=LARGE) as echo:
        with Proxy("127.0.0.1", echo.port) as proxy, socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((proxy.host, proxy.port))
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as file:
                assert await asyncio.to_thread(file.read) == LARGE


async def test_a_server_that_hangs_up_is_passed_on(proxy: Proxy) -> None:
    async with connected(proxy) as client:
        assert await client.ask(b"bye") == b"bye\n"
        assert await client.reader.read() == b""


@pytest.mark.parametrize(("listens", "name"), [("127.0.0.1", "localhost"), ("::1", "::1")])
async def test_a_server_is_found_by_its_name_and_by_ipv6(listens: str, name: str) -> None:
    if listens == "::1" and not has_ipv6():
        pytest.skip("no IPv6 here")
    async with Echo(host=listens) as echo:
        with Proxy(name, echo.port) as proxy:
            async with connected(proxy) as client:
                assert await client.ask(b"hello") == b"hello\n"


async def test_a_server_that_is_not_there_is_a_reset(echo: Echo) -> None:
    async with Echo() as gone:
        pass
    with Proxy("127.0.0.1", gone.port) as proxy, pytest.raises(ConnectionResetError):
        async with connected(proxy) as client:
            await client.ask(b"hello")


async def test_refused_is_what_the_system_calls_refused(proxy: Proxy) -> None:
    async with connected(proxy) as client:
        await client.ask(b"warm")
        assert await strikes(proxy.arm(Refuse()))
        with pytest.raises(ConnectionResetError):
            await client.ask(b"hello")
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            async with connected(proxy):
                pass
    proxy.heal()
    async with connected(proxy) as client:
        assert await client.ask(b"back") == b"back\n"


async def test_nobody_else_gets_the_port_while_connections_are_refused(proxy: Proxy) -> None:
    proxy.arm(Refuse())
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((proxy.host, proxy.port))


@pytest.mark.parametrize("line", [b"hello\n", LARGE + b"\n"], ids=["small", "large"])
async def test_cut_before_the_request_no_byte_reaches_the_server(echo: Echo, proxy: Proxy, line: bytes) -> None:
    async with connected(proxy) as client:
        struck = proxy.arm(Cut(before="request"))
        with pytest.raises(ConnectionError):
            await client.ask(line)
        assert await strikes(struck)
    assert echo.received == b""


async def test_cut_before_the_answer_the_server_carried_out_all_and_the_client_got_nothing() -> None:
    async with Echo(pause=0.003) as echo:
        with Proxy("127.0.0.1", echo.port) as proxy:
            async with connected(proxy) as client:
                struck = proxy.arm(Cut(before="answer"))
                client.send(b"line\n" * 10)
                with pytest.raises(ConnectionResetError):
                    await client.reader.readexactly(1)
                assert await strikes(struck)
        assert echo.received == b"line\n" * 10


async def test_a_delayed_answer_is_held_until_it_is_released(echo: Echo, proxy: Proxy) -> None:
    async with connected(proxy) as client:
        struck = proxy.arm(Delay())
        client.send(b"hello\n")
        assert await strikes(struck)
        assert echo.received == b"hello\n"
        assert await client.is_kept_waiting()
        proxy.heal()
        assert await client.reader.readline() == b"hello\n"
        assert await client.ask(b"again") == b"again\n"


async def test_a_delayed_answer_comes_late_by_as_much_as_was_asked_for(proxy: Proxy) -> None:
    async with connected(proxy) as client:
        proxy.arm(Delay(0.1))
        start = time.monotonic()
        assert await client.ask(LARGE) == LARGE + b"\n"
        assert 0.1 <= time.monotonic() - start < 2, "once, however many pieces the answer comes in"


@pytest.mark.parametrize("size", [0, 1, 7, 8])
async def test_of_a_truncated_answer_the_first_bytes_arrive_and_then_the_end(proxy: Proxy, size: int) -> None:
    async with connected(proxy) as client:
        struck = proxy.arm(Truncate(size))
        client.send(b"1234567\n")
        assert await client.reader.read() == b"1234567\n"[:size]
        assert await strikes(struck)


async def test_a_large_answer_is_truncated_to_the_byte(proxy: Proxy) -> None:
    async with connected(proxy) as client:
        proxy.arm(Truncate(1_000_003))
        client.send(LARGE + b"\n")
        assert await client.reader.read() == LARGE[:1_000_003]


async def test_an_answer_that_is_short_enough_is_not_truncated_and_each_answer_counts_anew(proxy: Proxy) -> None:
    async with connected(proxy) as client:
        struck = proxy.arm(Truncate(4))
        for _ in range(3):
            assert await client.ask(b"ab") == b"ab\n"
        assert not struck.done()
        proxy.heal()
        assert struck.result() is False


async def test_a_truncated_answer_may_hang_until_it_is_healed(proxy: Proxy) -> None:
    async with connected(proxy) as client:
        struck = proxy.arm(Truncate(3, then="hang"))
        client.send(b"123" + LARGE + b"\n")
        assert await client.reader.readexactly(3) == b"123"
        assert await strikes(struck)
        assert await client.is_kept_waiting()
        proxy.heal()
        assert await client.reader.readline() == LARGE + b"\n"


async def test_a_dripping_answer_comes_bit_by_bit_and_whole(proxy: Proxy) -> None:
    async with connected(proxy) as client:
        proxy.arm(Drip(size=2, pause=0.001))
        assert await client.ask(b"1234567890") == b"1234567890\n"
        proxy.arm(Drip(size=2, pause=60))
        client.send(b"1234567890\n")
        assert await client.reader.readexactly(2) == b"12"
        assert await client.is_kept_waiting()
        proxy.heal()
        assert await client.reader.readline() == b"34567890\n"


async def test_in_a_black_hole_connecting_works_and_nothing_else_does() -> None:
    async with Echo(greeting=b"welcome\n") as echo:
        with Proxy("127.0.0.1", echo.port) as proxy:
            async with connected(proxy) as old:
                assert await old.reader.readline() == b"welcome\n"
                struck = proxy.arm(BlackHole())
                async with connected(proxy) as new:
                    for client in (old, new):
                        client.send(b"hello\n")
                        assert await client.is_kept_waiting()
                    assert await strikes(struck)
                    proxy.heal()
                    new.send(b"anyone?\n")
                    assert await new.is_kept_waiting()
            async with connected(proxy) as client:
                assert await client.reader.readline() == b"welcome\n"
                assert await client.ask(b"hello") == b"hello\n"
        assert echo.received == b"hello\n"


async def test_a_restart_resets_every_connection_and_takes_new_ones(proxy: Proxy) -> None:
    async with connected(proxy) as warm, connected(proxy) as idle:
        await warm.ask(b"warm")
        proxy.restart()
        for client in (warm, idle):
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(1)
        async with connected(proxy) as client:
            assert await client.ask(b"hello") == b"hello\n"


async def test_a_fault_strikes_as_many_requests_as_it_was_armed_for_on_any_connection(proxy: Proxy) -> None:
    proxy.arm(Cut(before="answer"), times=2)
    for _ in range(2):
        async with connected(proxy) as client:
            with pytest.raises(ConnectionResetError):
                await client.ask(b"hello")
    async with connected(proxy) as client:
        assert await client.ask(b"hello") == b"hello\n"


async def test_a_fault_takes_the_place_of_the_one_before(proxy: Proxy) -> None:
    async with connected(proxy) as client:
        held = proxy.arm(Delay())
        client.send(b"hello\n")
        assert await strikes(held)
        proxy.arm(Truncate(1))
        assert await client.reader.readline() == b"hello\n"
        client.send(b"hello\n")
        assert await client.reader.read() == b"h"


async def test_what_was_sent_before_a_fault_is_not_struck_and_what_is_sent_after_is(echo: Echo, proxy: Proxy) -> None:
    with socket.create_connection((proxy.host, proxy.port)) as client:
        client.settimeout(5)
        for _ in range(10):
            client.sendall(b"before\n")
            proxy.arm(Delay())
            assert await asyncio.to_thread(client.recv, 100) == b"before\n"
            struck = proxy.arm(Delay(0), times=1)
            client.sendall(b"after\n")
            assert await asyncio.to_thread(client.recv, 100) == b"after\n"
            assert struck.result(5) is True


@pytest.mark.parametrize(("fault", "times"), [(Refuse(), 1), (Delay(), 0), (Delay(), -1)])
async def test_a_number_of_times_that_makes_no_sense_is_refused(proxy: Proxy, fault: Fault, times: int) -> None:
    with pytest.raises(ValueError, match=f"for {times} requests"):
        proxy.arm(fault, times)


async def test_one_burst_is_one_round_trip_however_many_segments_it_comes_in(proxy: Proxy) -> None:
    async with connected(proxy) as client:
        await client.ask(b"warm")
        with proxy.counting() as count:
            client.send(LARGE)
            await client.writer.drain()
            client.send(b"\n")
            await client.reader.readline()
        size = len(LARGE) + 1
        assert (count.round_trips, count.connections, count.bytes_up, count.bytes_down) == (1, 0, size, size)


async def test_one_burst_is_one_round_trip_even_if_the_server_answers_before_it_has_it_all(
    echo: Echo, proxy: Proxy
) -> None:
    async with connected(proxy) as client:
        with proxy.counting() as count:
            for line in (b"1" * 4999 + b"\n", b"2" * 4999 + b"\n", b"3" * 4999 + b"\n"):
                client.send(line)
                while not echo.received.endswith(line):
                    await asyncio.sleep(0.001)
            await client.reader.readexactly(15_000)
        assert count.round_trips == 1


async def test_requests_that_fail_are_counted_and_so_are_new_connections(proxy: Proxy) -> None:
    with proxy.counting() as outer:
        proxy.arm(Cut(before="answer"), times=1)
        async with connected(proxy) as client:
            with pytest.raises(ConnectionResetError):
                await client.ask(b"hello")
        with proxy.counting() as inner:
            async with connected(proxy) as client:
                await client.ask(b"hello")
                await client.ask(b"hello")
        async with connected(proxy) as client:
            await client.ask(b"hello")
    assert (inner.round_trips, inner.connections, inner.bytes_up, inner.bytes_down) == (2, 1, 12, 12)
    assert (outer.round_trips, outer.connections, outer.bytes_up, outer.bytes_down) == (4, 3, 24, 18)


async def test_requests_side_by_side_are_one_in_a_row(proxy: Proxy) -> None:
    async with connected(proxy) as one, connected(proxy) as other:
        with proxy.counting() as count:
            proxy.arm(Delay())
            one.send(b"hello\n")
            other.send(b"hello\n")
            async with asyncio.timeout(5):
                while count.round_trips < 2:
                    await asyncio.sleep(0.001)
            proxy.heal()
            assert [await each.reader.readline() for each in (one, other)] == [b"hello\n"] * 2
            assert (count.round_trips, count.in_a_row) == (2, 1)
            await one.ask(b"hello")
            await other.ask(b"hello")
            assert (count.round_trips, count.in_a_row) == (4, 3)


async def test_what_waits_for_an_answer_since_before_is_not_under_way(proxy: Proxy) -> None:
    async with connected(proxy) as waiting, connected(proxy) as client:
        held = proxy.arm(Delay(), times=1)
        waiting.send(b"hello\n")
        assert await strikes(held)
        with proxy.counting() as count:
            await client.ask(b"hello")
            await client.ask(b"hello")
        assert (count.round_trips, count.in_a_row) == (2, 2)
        proxy.heal()
        assert await waiting.reader.readline() == b"hello\n"


async def test_a_request_whose_connection_broke_is_not_under_way_any_more(proxy: Proxy) -> None:
    with proxy.counting() as count:
        proxy.arm(Cut(before="answer"), times=1)
        async with connected(proxy) as client:
            with pytest.raises(ConnectionResetError):
                await client.ask(b"hello")
        async with connected(proxy) as client:
            await client.ask(b"hello")
    assert (count.round_trips, count.in_a_row) == (2, 2)


async def test_tls_passes_and_its_handshake_is_seen_as_round_trips() -> None:
    def context(side: int) -> ssl.SSLContext:
        made = ssl.SSLContext(side)
        made.maximum_version = ssl.TLSVersion.TLSv1_2  # the last that can do without a certificate
        made.set_ciphers("AECDH:@SECLEVEL=0")
        return made

    client_side = context(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname = False
    client_side.verify_mode = ssl.CERT_NONE
    async with Echo(tls=context(ssl.PROTOCOL_TLS_SERVER)) as echo:
        with Proxy("127.0.0.1", echo.port) as proxy, proxy.counting() as cold:
            async with connected(proxy, client_side) as client:
                assert await client.ask(b"hello") == b"hello\n"
                assert (cold.round_trips, cold.connections) == (3, 1)
                with proxy.counting() as warm:
                    await client.ask(b"hello")
                assert (warm.round_trips, warm.connections) == (1, 0)


PING, WINDOW_UPDATE = 6, 8


def frame(kind: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, 0, 0, 0, 0, 1]) + payload


class Housekeeper(Echo):
    """A server of HTTP/2, as far as frames go: it widens the window for all data, and answers once a request ends."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections[writer] = task
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readexactly(len(PREFACE))
            while header := await reader.readexactly(9):
                payload = await reader.readexactly(int.from_bytes(header[:3]))
                if header[3] == PING:
                    writer.write(frame(PING, payload))
                elif header[3] == DATA:
                    writer.write(frame(WINDOW_UPDATE, b"1234"))
                if payload == b"end":
                    writer.write(frame(HEADERS) + frame(DATA, LARGE) + frame(HEADERS, b"ok"))
        writer.close()


async def answered(client: Client) -> None:
    await client.reader.readuntil(frame(HEADERS, b"ok"))


@asynccontextmanager
async def to_housekeeper() -> AsyncIterator[tuple[Proxy, Client]]:
    async with Housekeeper() as server:
        with Proxy("127.0.0.1", server.port) as proxy:
            async with connected(proxy) as client:
                client.send(PREFACE + frame(HEADERS, b"end"))
                await answered(client)
                client.send(frame(PING))  # left open on purpose: it is answered, but is no request
                yield proxy, client


async def test_of_http2_a_request_is_counted_and_no_ping_and_no_window() -> None:
    async with to_housekeeper() as (proxy, client):
        with proxy.counting() as count:
            for _ in range(3):
                client.send(frame(PING))
                client.send(frame(HEADERS) + frame(DATA, LARGE))
                await client.reader.readuntil(frame(WINDOW_UPDATE, b"1234"))
                client.send(frame(DATA, b"end"))
                await answered(client)
                client.send(frame(WINDOW_UPDATE, b"1234"))
        assert (count.round_trips, count.connections) == (3, 0)


async def test_of_http2_a_fault_strikes_a_request_and_no_ping() -> None:
    async with to_housekeeper() as (proxy, client):
        struck = proxy.arm(Cut(before="request"), times=1)
        client.send(frame(PING, b"12345678"))
        await client.reader.readuntil(frame(PING, b"12345678"))
        assert not struck.done()
        client.send(frame(HEADERS, b"end"))
        with pytest.raises(ConnectionResetError):
            await answered(client)
        assert await strikes(struck)


async def test_of_http2_a_request_that_was_given_up_is_not_waited_for() -> None:
    async with to_housekeeper() as (proxy, client):
        with proxy.counting() as count:
            client.send(frame(HEADERS) + frame(RST_STREAM) + frame(HEADERS, b"end"))
            await answered(client)
        assert count.round_trips == 2


@pytest.mark.parametrize("size", [1, 5, 9, 10, 1000])
def test_frames_are_found_in_whatever_pieces_they_come(size: int) -> None:
    kinds = [HEADERS, DATA, PING, GOAWAY, HEADERS]
    sent = PREFACE + b"".join(
        frame(kind, b"x" * length) for kind, length in zip(kinds, (3, 300, 8, 0, 70), strict=True)
    )
    frames = Frames(len(PREFACE))
    pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
    assert [kind for piece in pieces for kind in frames.begun(piece)] == kinds


@pytest.mark.parametrize(
    "fault",
    [None, Refuse(), Cut(before="request"), Delay(), Truncate(1, then="hang"), Drip(pause=60), BlackHole()],
    ids=str,
)
async def test_nothing_is_left_behind_even_in_the_middle_of_a_fault(echo: Echo, fault: Fault | None) -> None:
    def held() -> tuple[int, int]:
        gc.collect()
        return threading.active_count(), len(list(Path("/dev/fd").iterdir()))

    before = held()
    with Proxy("127.0.0.1", echo.port) as proxy:
        async with connected(proxy) as client, connected(proxy):
            assert await client.ask(b"hello") == b"hello\n"
            if fault:
                struck = proxy.arm(fault)
                client.send(b"hello\n")
                assert await strikes(struck)
            never = proxy.arm(BlackHole())
    assert never.result(0) is False
    await echo.all_have_left()
    assert held() == before


@pytest.mark.parametrize(
    ("original", "changed"),
    [
        ("redis://localhost", "redis://{}"),
        ("redis://localhost:6379/0?protocol=3", "redis://{}/0?protocol=3"),
        ("rediss://:p%40ss@[::1]:6379/0#part", "rediss://:p%40ss@{}/0#part"),
        ("postgresql://user:pass@db/app?ssl=off&x=", "postgresql://user:pass@{}/app?ssl=off&x="),
        ("mongodb://u:p@one:1,two:2/?replicaSet=rs", "mongodb://u:p@{}/?replicaSet=rs"),
        ("http://[fe80::1]:8000", "http://{}"),
        (
            "s3://bucket/bots?endpoint_url=http://localhost:9000&region=x",
            "s3://bucket/bots?endpoint_url=http://{}&region=x",
        ),
        ("firestore://project/app?ttl=1d&emulator=localhost:8080", "firestore://project/app?ttl=1d&emulator={}"),
    ],
)
def test_a_url_is_the_same_but_for_the_place(original: str, changed: str) -> None:
    with Proxy("127.0.0.1", 1) as proxy:
        assert proxy.url(original) == changed.format(f"127.0.0.1:{proxy.port}")


# To a real Redis.


@pytest.fixture
def redis_proxy(redis_url: str) -> Iterator[Proxy]:
    where = urlsplit(redis_url)
    with Proxy(where.hostname or "localhost", where.port or 6379) as proxy:
        yield proxy


@pytest.fixture
def client(redis_url: str, redis_proxy: Proxy) -> "Iterator[redis.Redis]":
    """A warm client that goes through the proxy and does not try again by itself."""
    url = redis_proxy.url(redis_url)
    with redis.Redis.from_url(url, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
        client.ping()
        yield client


@pytest.fixture
async def async_client(redis_url: str, redis_proxy: Proxy) -> "AsyncIterator[redis.asyncio.Redis]":
    """The same with asyncio."""
    url = redis_proxy.url(redis_url)
    async with redis.asyncio.Redis.from_url(url, socket_timeout=5, retry=AsyncRetry(NoBackoff(), 0)) as client:
        await client.ping()
        yield client


@pytest.fixture
def key() -> str:
    """A key that no other test has."""
    return f"proxy:{uuid4()}"


@pytest.mark.parametrize(
    ("fault", "written"),
    [(Refuse(), False), (Cut(before="request"), False), (Cut(before="answer"), True), (Truncate(3), True)],
    ids=str,
)
def test_redis_sees_a_broken_connection_and_works_again_when_it_is_healed(
    redis_proxy: Proxy, client: "redis.Redis", key: str, fault: Fault, written: bool
) -> None:
    client.set(key, "old", px=60_000)
    struck = redis_proxy.arm(fault)
    with pytest.raises(redis.ConnectionError):
        client.set(key, "new", px=60_000)
    assert struck.result(5) is True
    redis_proxy.heal()
    assert client.get(key) == (b"new" if written else b"old")


@pytest.mark.parametrize(
    ("fault", "written"),
    [(Delay(), True), (Truncate(3, then="hang"), True), (Drip(size=1, pause=60), True), (BlackHole(), False)],
    ids=str,
)
async def test_redis_is_kept_waiting_and_works_again_when_it_is_healed(
    redis_proxy: Proxy, async_client: "redis.asyncio.Redis", key: str, fault: Fault, written: bool
) -> None:
    await async_client.set(key, "old", px=60_000)
    struck = redis_proxy.arm(fault)
    writing = asyncio.ensure_future(async_client.set(key, "new", px=60_000))
    assert await strikes(struck)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(writing, 0.02)
    redis_proxy.heal()
    assert await async_client.get(key) == (b"new" if written else b"old")


def test_redis_gives_up_waiting_by_its_own_timeout(redis_proxy: Proxy, redis_url: str, key: str) -> None:
    url = redis_proxy.url(redis_url)
    with redis.Redis.from_url(url, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)) as impatient:
        impatient.ping()
        redis_proxy.arm(Delay())
        with pytest.raises(redis.TimeoutError):
            impatient.get(key)


def test_redis_gets_a_dripping_answer_whole(redis_proxy: Proxy, client: "redis.Redis", key: str) -> None:
    client.set(key, "x" * 100, px=60_000)
    redis_proxy.arm(Drip(size=3, pause=0.0001))
    assert client.get(key) == b"x" * 100


def test_redis_connects_again_after_a_restart(redis_proxy: Proxy, client: "redis.Redis") -> None:
    with redis_proxy.counting() as count:
        redis_proxy.restart()
        assert client.ping()
    assert count.connections == 1


def _get(client: "redis.Redis", key: str) -> object:
    return client.get(key)


def _set(client: "redis.Redis", key: str) -> object:
    return client.set(key, "value", px=60_000)


def _set_large(client: "redis.Redis", key: str) -> object:
    return client.set(key, LARGE, px=60_000)


def _pipeline(client: "redis.Redis", key: str) -> object:
    pipeline = client.pipeline(transaction=False)
    for number in range(300):
        pipeline.set(f"{key}:{number}", "x" * 500, px=60_000)
    return pipeline.execute()


def _multi(client: "redis.Redis", key: str) -> object:
    pipeline = client.pipeline(transaction=True)
    pipeline.set(key, 1, px=60_000)
    pipeline.incr(key)
    return pipeline.execute()


def _optimistic(client: "redis.Redis", key: str) -> object:
    pipeline: Any
    with client.pipeline() as pipeline:
        pipeline.watch(key)
        pipeline.get(key)
        pipeline.multi()
        pipeline.set(key, 1, px=60_000)
        return pipeline.execute()


@pytest.mark.parametrize(
    ("call", "round_trips"),
    [(_get, 1), (_set, 1), (_set_large, 1), (_pipeline, 1), (_multi, 1), (_optimistic, 3)],
)
def test_round_trips_of_redis_are_counted_exactly(
    redis_proxy: Proxy, client: "redis.Redis", key: str, call: Callable[["redis.Redis", str], object], round_trips: int
) -> None:
    with redis_proxy.counting() as count:
        call(client, key)
    assert (count.round_trips, count.connections) == (round_trips, 0)


def test_bytes_of_redis_are_counted_exactly(redis_proxy: Proxy, client: "redis.Redis") -> None:
    with redis_proxy.counting() as count:
        client.ping()
    assert (count.bytes_up, count.bytes_down) == (len(b"*1\r\n$4\r\nPING\r\n"), len(b"+PONG\r\n"))


async def test_round_trips_of_redis_with_asyncio_are_counted_exactly(
    redis_proxy: Proxy, async_client: "redis.asyncio.Redis", key: str
) -> None:
    with redis_proxy.counting() as count:
        await async_client.set(key, LARGE, px=60_000)
        assert await async_client.get(key) == LARGE
        pipeline = async_client.pipeline(transaction=True)
        for number in range(300):
            pipeline.set(f"{key}:{number}", "x" * 500, px=60_000)
        await pipeline.execute()
    assert (count.round_trips, count.connections) == (3, 0)


async def test_the_proxy_goes_on_while_the_event_loop_is_blocked(redis_proxy: Proxy, client: "redis.Redis") -> None:
    redis_proxy.arm(Cut(before="answer"), times=1)
    with pytest.raises(redis.ConnectionError):
        client.ping()
    assert client.ping()
