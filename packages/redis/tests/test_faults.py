"""Servers that die, hang or lose connections, and callers that give up: an error in time, and no answer mixed up."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from satchel import ConfigurationError, ConflictError, StorageUnavailableError
from satchel_conformance import Status, validate
from satchel_conformance.backends import kill_server
from satchel_redis import RedisStorage


@pytest.fixture
async def own(redis_restarted_url: str) -> AsyncIterator[Redis]:
    """A client of the server that this worker has for itself."""
    async with Redis.from_url(redis_restarted_url) as client:
        yield client


async def shut_down(own: Redis) -> None:
    """Returns when the server is gone; it comes back a moment later."""
    await own.shutdown(nosave=True)


async def read_when_back(storage: RedisStorage[Any], key: str) -> Any:
    async with asyncio.timeout(10):
        while True:
            try:
                return await storage.read(key)
            except StorageUnavailableError:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["url", "RESP2 client", "RESP3 client"])
async def test_a_storage_survives_a_server_that_dies_and_comes_back(
    redis_restarted_url: str, namespace: str, own: Redis, kind: str
) -> None:
    async with Redis.from_url(redis_restarted_url, protocol=3 if kind == "RESP3 client" else 2) as client:
        redis = redis_restarted_url if kind == "url" else client
        async with RedisStorage[Any](redis, namespace=namespace, timeout=timedelta(seconds=2)) as storage:
            version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
            await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(2, 30)))
            await shut_down(own)
            start = time.monotonic()
            with pytest.raises(StorageUnavailableError):
                await storage.write("chat:1", {"pizza": 9})
            assert time.monotonic() - start < 2.5
            assert await read_when_back(storage, "chat:1") == {"pizza": 1}
            # None of the many connections that died with the server is used.
            await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(2, 30)))
            version = await storage.write_versioned("chat:1", {"pizza": 2}, version)
            assert await storage.read_versioned("chat:1") == ({"pizza": 2}, version)


async def test_connections_that_the_server_closes_are_replaced_unnoticed(
    redis_restarted_url: str, namespace: str, own: Redis
) -> None:
    async with (
        Redis.from_url(redis_restarted_url, client_name=namespace) as client,
        RedisStorage[Any](client, namespace=namespace) as storage,
    ):
        for number in range(5):
            await asyncio.gather(*(storage.write(f"chat:{each}", number) for each in range(10)))
            for each in await own.client_list():
                if each["name"] == namespace:
                    await own.client_kill_filter(_id=each["id"])
            await hear_of_the_end(client)
        assert await storage.read("chat:9") == 4


async def hear_of_the_end(client: Redis) -> None:
    """Wait until each connection has been told that it is closed: a change sent before that is rightly an error."""
    connections = client.connection_pool._available_connections
    async with asyncio.timeout(10):
        while not all(each._reader is None or each._reader.at_eof() for each in connections):
            await asyncio.sleep(0.001)


async def test_a_server_that_does_not_answer_costs_no_more_than_the_timeout(url: str, namespace: str) -> None:
    timeout = timedelta(milliseconds=200)
    async with (
        Proxy(url) as proxy,
        RedisStorage[Any](proxy.url, namespace=namespace, timeout=timeout, max_connections=8) as storage,
    ):
        await storage.write("chat:1", 1)
        proxy.silent = True
        start = time.monotonic()
        calls = [storage.write("chat:1", 2), storage.read("chat:1"), storage.read_many(["chat:1"])]
        results = await asyncio.gather(*calls, *(storage.read("chat:1") for _ in range(100)), return_exceptions=True)
        assert all(isinstance(result, StorageUnavailableError) for result in results)
        assert time.monotonic() - start < 2
        proxy.silent = False
        assert await storage.read("chat:1") in (1, 2)
        await storage.write("chat:1", 3)
        assert await storage.read("chat:1") == 3


async def test_a_change_whose_answer_is_lost_is_not_made_twice(
    redis_restarted_url: str, namespace: str, own: Redis
) -> None:
    """Not even by a client whose own retries would do so, and then report a conflict with itself."""
    async with (
        Proxy(redis_restarted_url) as proxy,
        Redis.from_url(proxy.url, retry_on_error=[RedisConnectionError]) as client,
        RedisStorage[Any](client, namespace=namespace) as storage,
    ):
        version = await storage.write_versioned("chat:1", 1, None)
        version = await storage.write_versioned("chat:1", 2, version)
        await own.config_resetstat()
        proxy.lose_answers = 1
        with pytest.raises(StorageUnavailableError):
            await storage.write_versioned("chat:1", 3, version)
        commands = await own.info("commandstats")
        assert commands["cmdstat_evalsha"]["calls"] == 1
        assert await storage.read("chat:1") == 3
        proxy.lose_answers = 1
        with pytest.raises(StorageUnavailableError):
            await storage.write_versioned("chat:2", 1, None)
        assert await storage.read("chat:2") == 1
        proxy.lose_answers = 1
        assert await storage.read("chat:1") == 3  # a read, though, is made again


async def test_calls_that_are_cancelled_at_any_moment_mix_no_answers_and_lose_no_connection(
    url: str, namespace: str, raw: Redis
) -> None:
    chance = random.Random(7)
    keys = [f"chat:{number}" for number in range(40)]
    full = f"{url}?client_name={namespace}&max_connections=6"
    async with RedisStorage[Any](full, namespace=namespace) as storage:
        await storage.write_many({key: key for key in keys})

        async def use(key: str) -> None:
            for _ in range(4):
                assert await storage.read(key) == key
                assert await storage.read_many([key, "missing"]) == {key: key}
                record = await storage.read_versioned(key)
                assert record is not None
                await storage.write_versioned(key, key, record.version)
                await storage.write(key, key)

        async def give_up(key: str) -> None:
            task = asyncio.ensure_future(use(key))
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)
            task.cancel()
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            task.cancel()  # while it is cleaning up
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None

        for _ in range(10):
            await asyncio.gather(*(give_up(key) for key in keys), *(use(key) for key in keys[:3]))
        assert await asyncio.gather(*(storage.read(key) for key in keys)) == keys
        assert 0 < sum(client["name"] == namespace for client in await raw.client_list()) <= 6
        await asyncio.gather(*(use(key) for key in keys))


async def test_a_server_without_memory_says_so_and_keeps_what_it_has(
    redis_restarted_url: str, namespace: str, own: Redis
) -> None:
    async with RedisStorage[Any](redis_restarted_url, namespace=namespace) as storage:
        version = await storage.write_versioned("chat:1", 1, None)
        version = await storage.write_versioned("chat:1", 1, version)
        await own.config_set("maxmemory", 1)
        try:
            for change in (
                storage.write("chat:1", 2),
                storage.write_versioned("chat:1", 2, version),
                storage.write_many({"chat:1": 2, "chat:2": 2}),
            ):
                with pytest.raises(StorageUnavailableError, match="has reached its maxmemory"):
                    await change
            assert await storage.read_many(["chat:1", "chat:2"]) == {"chat:1": 1}
        finally:
            await own.config_set("maxmemory", 0)
        await storage.write("chat:1", 2)


async def test_a_replica_takes_no_writes_and_says_so(redis_restarted_url: str, namespace: str, own: Redis) -> None:
    async with RedisStorage[Any](redis_restarted_url, namespace=namespace) as storage:
        await storage.write("chat:1", 1)
        await own.replicaof("127.0.0.1", "1")
        try:
            with pytest.raises(StorageUnavailableError, match="is a replica"):
                await storage.write("chat:1", 2)
        finally:
            await own.replicaof("NO", "ONE")
        await storage.write("chat:1", 3)
        assert await storage.read("chat:1") == 3


@pytest.mark.parametrize("kind", ["url", "RESP2 client", "RESP3 client"])
async def test_after_a_failover_behind_one_address_a_storage_finds_the_server_that_takes_writes(
    redis_restarted_url: str, valkey_url: str, namespace: str, own: Redis, kind: str
) -> None:
    """Also where the one that was demoted keeps its connections, each of which leads to it for ever."""
    async with (
        Proxy(redis_restarted_url) as proxy,
        Redis.from_url(proxy.url, protocol=3 if kind == "RESP3 client" else 2) as client,
        RedisStorage[Any](proxy.url if kind == "url" else client, namespace=namespace) as storage,
    ):
        for call in (storage.write, storage.write_versioned):
            proxy.move_to(redis_restarted_url)
            proxy.cut()
            arguments: tuple[Any, ...] = (0,) if call == storage.write else (0, None)
            keys = [f"{call.__name__}:{number}" for number in range(10)]
            async with asyncio.timeout(10):
                while [key for key in keys if await storage.read(key) is None]:
                    with suppress(StorageUnavailableError, ConflictError):  # of the connections that are cut
                        await asyncio.gather(*(call(key, *arguments) for key in keys))
            version = storage.version_of(b"0")
            await own.replicaof("127.0.0.1", "1")
            try:
                proxy.move_to(valkey_url)
                with pytest.raises(StorageUnavailableError, match="is a replica"):
                    await storage.write_versioned(keys[0], 1, version)
                for number in range(2):
                    await asyncio.gather(*(storage.write(key, number) for key in keys))
                await storage.write_many(dict.fromkeys(keys, 0))
                await asyncio.gather(*(storage.write_versioned(key, 1, version) for key in keys))
            finally:
                await own.replicaof("NO", "ONE")


async def test_a_script_that_an_older_replica_refuses_is_known_as_a_write_there() -> None:
    """Redis 6 gives it the code of any error in a script."""
    answers = [b"-ERR Error running script: @user_script: 4: -READONLY You can't write here.\r\n", b":1\r\n"]
    connected = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        while command := await reader.read(65536):
            writer.write(answers.pop(0) if b"EVALSHA" in command else b"+PONG\r\n" * command.count(b"*"))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with RedisStorage[Any](f"redis://127.0.0.1:{port}") as storage:
            with pytest.raises(StorageUnavailableError, match="is a replica"):
                await storage.write_versioned("chat:1", 1, "a version")
            before = connected
            await storage.write_versioned("chat:1", 1, "a version")
            assert connected == before + 1


KEYS = [f"chat:{number}" for number in range(3000)]


@pytest.mark.parametrize("small", [False, True], ids=["any pool", "a pool of one"])
@pytest.mark.parametrize("lost", ["everything", "the pool's"])
async def test_a_listing_is_complete_when_another_process_takes_over_behind_the_address(
    redis_url: str, valkey_url: str, namespace: str, lost: str, small: bool
) -> None:
    for url in (redis_url, valkey_url):
        async with RedisStorage[Any](url, namespace=namespace) as storage:
            await storage.write_many(dict.fromkeys(KEYS, 1))
    async with (
        Proxy(redis_url) as proxy,
        Redis.from_url(proxy.url, max_connections=1 if small else None) as client,
        RedisStorage[Any](client, namespace=namespace) as storage,
    ):
        listing = storage.keys()
        found = [await anext(listing)]
        proxy.move_to(valkey_url)
        if lost == "everything":
            proxy.cut()
        await client.connection_pool.disconnect()
        found += [key async for key in listing]
        assert sorted(found) == sorted(KEYS)


async def test_a_listing_is_complete_when_the_server_is_restarted_meanwhile(
    redis_restarted_url: str, namespace: str, own: Redis
) -> None:
    async with RedisStorage[Any](redis_restarted_url, namespace=namespace) as storage:
        await storage.write_many(dict.fromkeys(KEYS, 1))
        listing = storage.keys()
        found = [await anext(listing)]
        await shut_down(own)
        await read_when_back(storage, KEYS[0])
        found += [key async for key in listing]
        assert sorted(found) == sorted(KEYS)


async def test_a_listing_goes_on_however_often_its_connection_is_lost_while_it_gets_on(
    url: str, namespace: str
) -> None:
    async with Proxy(url) as proxy, RedisStorage[Any](proxy.url, namespace=namespace) as storage:
        await storage.write_many(dict.fromkeys(KEYS, 1))
        found = []
        async for key in storage.keys():
            found.append(key)
            if len(found) % 300 == 0:
                proxy.cut()
        assert sorted(found) == sorted(KEYS)

        listing = storage.keys()
        await anext(listing)
        proxy.lose_answers = 1000
        with pytest.raises(StorageUnavailableError):
            async for _ in listing:
                pass
        assert proxy.lose_answers > 990


async def test_a_listing_that_is_given_up_leaves_no_connection(url: str, namespace: str, raw: Redis) -> None:
    async def connections() -> int:
        return sum(each["name"] == namespace for each in await raw.client_list())

    async with Proxy(url) as proxy:
        async with RedisStorage[Any](f"{proxy.url}?client_name={namespace}", namespace=namespace) as storage:
            await storage.write_many(dict.fromkeys(KEYS, 1))
            kept = await connections()

            async def listed() -> list[str]:
                return [key async for key in storage.keys()]

            task = asyncio.ensure_future(listed())
            async with asyncio.timeout(5):
                while await connections() == kept:
                    await asyncio.sleep(0)
            proxy.silent = True
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            proxy.silent = False
            async for _ in storage.keys():
                break
            async with asyncio.timeout(5):
                while await connections() > kept:  # the server notices in its own time
                    pass
            assert await storage.read(KEYS[0]) == 1
            listing = storage.keys()
            await anext(listing)
            assert await connections() == kept + 1
        async with asyncio.timeout(5):
            while await connections():
                pass
        await listing.aclose()  # type: ignore[attr-defined]


async def test_a_password_that_is_set_later_is_asked_for(redis_restarted_url: str, namespace: str, own: Redis) -> None:
    await own.config_set("requirepass", "hunter2")
    try:
        with pytest.raises(ConfigurationError, match="user name and password"):
            async with RedisStorage[Any](redis_restarted_url, namespace=namespace):
                pass
        with pytest.raises(ConfigurationError, match="user name and password") as caught:
            async with RedisStorage[Any](redis_restarted_url.replace("//", "//:hunter3@")):
                pass
        assert "hunter" not in str(caught.value)
        async with RedisStorage[Any](redis_restarted_url.replace("//", "//:hunter2@"), namespace=namespace) as storage:
            assert await storage.read("chat:1") is None
    finally:
        await own.config_set("requirepass", "")


class Proxy:
    """Stands before a server, and keeps its answers back, or loses so many of them and the connection with each."""

    def __init__(self, url: str) -> None:
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        self.lose_answers = 0
        self.silent = False

    def move_to(self, url: str) -> None:
        """Connect whoever comes from now on to another server."""
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port

    def cut(self) -> None:
        """Lose all connections."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self._tasks.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection(self._host, self._port)
        asking = asyncio.ensure_future(pass_on(reader, requests))
        try:
            while data := await answers.read(65536):
                if self.lose_answers:
                    self.lose_answers -= 1
                    break
                if not self.silent:
                    writer.write(data)
        finally:
            asking.cancel()
            writer.close()
            requests.close()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_with_appendfsync_always_a_killed_server_has_everything_that_it_acknowledged(
    redis_restarted_url: str,
) -> None:
    report = await validate(
        redis_restarted_url,
        capabilities=replace(RedisStorage.capabilities, durable=True),
        kill=partial(kill_server, redis_restarted_url, "redis-server"),
        clauses=["R9-killed-server"],
    )
    assert report.ok, report.summary()
    assert report.counts[Status.PASSED] == 1
