"""What is particular to memcached: its keys, its clock, its tokens, and what is wrong in one line."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymemcache import Client  # type: ignore[import-untyped]

from satchel import ConfigurationError, ConflictError, StorageUnavailableError, open_storage
from satchel_conformance.proxy import Proxy
from satchel_memcached import MemcachedStorage

DAY = 24 * 60 * 60


@pytest.fixture
def namespace() -> str:
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
async def storage(memcached_url: str, namespace: str) -> AsyncIterator[MemcachedStorage[Any]]:
    async with MemcachedStorage[Any].from_url(memcached_url, namespace=namespace) as storage:
        yield storage


@pytest.fixture
def raw(memcached_url: str) -> Iterator[Client]:
    """A client of the driver's own, to look behind the storage's back."""
    parts = urlsplit(memcached_url)
    client = Client((parts.hostname or "", parts.port or 0), default_noreply=False)
    yield client
    client.close()


def seconds_left(raw: Client, key: str) -> int:
    """Return the remaining lifetime of an item as the server counts it; -1 is for ever."""
    answer: bytes = raw.raw_command(f"mg {key} t")
    return int(answer.removeprefix(b"HD t"))


async def test_at_rest_a_session_is_an_item_of_readable_json(memcached_url: str, namespace: str, raw: Client) -> None:
    async with MemcachedStorage[Any].from_url(memcached_url, namespace=f"{namespace} bot") as storage:
        await storage.write("telegram:42", {"name": "Zoë", "pizza": 1})
    assert raw.get(f"{namespace}%20bot:telegram:42") == '{"name":"Zoë","pizza":1}'.encode()


async def test_long_keys_that_begin_alike_are_two_records(storage: MemcachedStorage[Any]) -> None:
    keys = ["k" * 511 + end for end in "ab"] + ["鍵" * 170 + end for end in "ab"]
    for key in keys:
        await storage.write(key, key)
    assert [await storage.read(key) for key in keys] == keys


async def test_an_edit_by_hand_counts_as_a_new_version(
    storage: MemcachedStorage[Any], namespace: str, raw: Client
) -> None:
    version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
    raw.set(f"{namespace}:chat:1", b'{"pizza": 2}')
    with pytest.raises(ConflictError):
        await storage.write_versioned("chat:1", {"pizza": 9}, version)
    with pytest.raises(ConflictError):
        await storage.delete_versioned("chat:1", version)
    assert await storage.read("chat:1") == {"pizza": 2}


@pytest.mark.parametrize(("ttl", "left"), [
    (timedelta(seconds=60), range(59, 62)),
    (timedelta(days=29), range(29 * DAY - 1, 29 * DAY + 2)),
    (timedelta(days=30), range(30 * DAY - 1, 30 * DAY + 4)),
    (timedelta(days=400), range(400 * DAY - 1, 400 * DAY + 4)),
    (timedelta(days=365_000), range(-1, 0)),
    (None, range(-1, 0)),
])  # fmt: skip
async def test_the_server_counts_the_lifetime(
    memcached_url: str, namespace: str, raw: Client, ttl: timedelta | None, left: range
) -> None:
    async with MemcachedStorage[Any].from_url(memcached_url, namespace=namespace, ttl=ttl) as storage:
        version = await storage.write_versioned("replaced", 1, None)
        await storage.write_versioned("replaced", 2, version)
        await storage.write("written", 1)
        raw.set(f"{namespace}:touched", b"1", 1000)
        assert await storage.touch("touched")
    for key in ("written", "replaced", "touched"):
        assert seconds_left(raw, f"{namespace}:{key}") in left


async def test_after_the_server_was_restarted_the_next_call_works(
    memcached_url: str, namespace: str, storage: MemcachedStorage[Any]
) -> None:
    parts = urlsplit(memcached_url)
    with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        async with MemcachedStorage[Any].from_url(proxy.url(memcached_url), namespace=namespace) as through:
            await asyncio.gather(*(through.write(f"chat:{number}", number) for number in range(20)))
            proxy.restart()
            assert await asyncio.gather(*(through.read(f"chat:{number}") for number in range(20))) == list(range(20))


async def test_more_calls_than_connections_wait(memcached_url: str, namespace: str) -> None:
    parts = urlsplit(memcached_url)
    with Proxy(parts.hostname or "", parts.port or 0) as proxy, proxy.counting() as count:
        async with open_storage(f"{proxy.url(memcached_url)}?max_connections=2", namespace=namespace) as storage:
            await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(50)))
    assert count.connections <= 2


@pytest.mark.parametrize(
    "url",
    [
        "memcached://a,b",
        "memcached://bot:secret@host",
        "memcached://host/0",
        "memcached://host?weight=1",
        "memcached://host?max_connections=0",
        "memcached://host?ttl=1500ms",
    ],
)
def test_a_wrong_url_is_refused_before_anything_is_connected(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_storage(url)
    assert "secret" not in str(caught.value)


async def test_a_port_where_nobody_listens_is_said_at_once(free_tcp_port: int) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(StorageUnavailableError, match=f"memcached://127.0.0.1:{free_tcp_port} cannot be reached"):
            await MemcachedStorage[Any](port=free_tcp_port).read("chat:1")


async def test_a_server_of_another_kind_is_said() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        storage = MemcachedStorage[Any](port=server.sockets[0].getsockname()[1])
        with pytest.raises(ConfigurationError, match="does not speak the protocol of memcached"):
            await storage.read("chat:1")
        await storage.aclose()
