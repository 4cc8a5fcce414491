"""A master and a replica that a real Sentinel watches over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ResponseError

from satchel import ConfigurationError, StorageUnavailableError
from satchel_conformance import validate
from satchel_redis import RedisStorage


@pytest.fixture
async def raw(redis_sentinel_url: str) -> AsyncIterator[Redis]:
    """A client of the Sentinel."""
    parts = urlsplit(redis_sentinel_url)
    async with Redis(host=parts.hostname or "", port=parts.port or 0) as client:
        yield client


async def test_a_storage_follows_the_master_when_it_changes(
    redis_sentinel_url: str, namespace: str, raw: Redis
) -> None:
    async with RedisStorage[Any](redis_sentinel_url, namespace=namespace, timeout=timedelta(seconds=5)) as storage:
        await storage.write("chat:1", {"pizza": 1})
        keys = [f"chat:{number}" for number in range(1, 3000)]
        await storage.write_many({key: {"pizza": 1} for key in keys})
        listing = storage.keys()
        listed = [await anext(listing)]
        before = await master(raw)
        async with asyncio.timeout(60):
            while await master(raw) == before:
                with suppress(ResponseError):  # it is not sure of its replica yet, or at it already
                    await raw.sentinel_failover("mymaster")
            while True:
                try:
                    await storage.write("chat:2", 2)
                    break
                except StorageUnavailableError:  # the old master has not stepped down yet
                    await asyncio.sleep(0.02)
        assert await storage.read("chat:1") == {"pizza": 1}
        # The old master has given its connections up, and a cursor means nothing to the new one.
        listed += [key async for key in listing]
        assert sorted(listed) == sorted(keys)


async def test_changes_that_a_replica_confirms_cost_no_more_round_trips(redis_sentinel_url: str, raw: Redis) -> None:
    url = f"redis://:secret@127.0.0.1:{int((await master(raw))[1])}?wait_replicas=1"
    async with Redis.from_url(url.partition("?")[0]) as its_master, asyncio.timeout(60):
        # After a failover the old master is the replica, once it has seen that and taken over all data.
        while (await its_master.info("replication")).get("slave0", {}).get("state") != "online":
            await asyncio.sleep(0.05)
    report = await validate(url, clauses=["R8", "R7-*", "R9-cancelled"])
    assert report.ok, report.table()


async def master(raw: Redis) -> Any:
    return await raw.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")  # type: ignore[no-untyped-call]


async def test_a_client_for_the_master_is_taken_and_one_for_replicas_refused(
    redis_sentinel_url: str, namespace: str
) -> None:
    parts = urlsplit(redis_sentinel_url)
    address = (parts.hostname, parts.port)
    found = Sentinel([address], password="secret", decode_responses=True)  # type: ignore[no-untyped-call]
    async with found.sentinels[0]:
        async with found.master_for("mymaster") as client, RedisStorage[Any](client, namespace=namespace) as storage:
            await storage.write("chat:1", "Zoë")
            assert await storage.read("chat:1") == "Zoë"
            assert storage.where == "redis+sentinel:///mymaster/0"
        with pytest.raises(ConfigurationError, match="a storage writes"):
            RedisStorage(found.slave_for("mymaster"))


async def test_closing_leaves_no_connection_to_a_sentinel(redis_sentinel_url: str, namespace: str, raw: Redis) -> None:
    before = await raw.client_list()
    async with RedisStorage[Any](redis_sentinel_url, namespace=namespace) as storage:
        await storage.write("chat:1", 1)
        assert len(await raw.client_list()) > len(before)
    async with asyncio.timeout(5):
        while len(await raw.client_list()) > len(before):
            pass


async def test_a_master_that_no_sentinel_knows_is_said(redis_sentinel_url: str) -> None:
    with pytest.raises(StorageUnavailableError, match="no Sentinel knows") as caught:
        async with RedisStorage[Any](redis_sentinel_url.replace("mymaster", "another")):
            pass
    assert "secret" not in str(caught.value)


async def test_a_sentinel_that_is_not_there_is_passed_over(
    redis_sentinel_url: str, namespace: str, free_tcp_port: int
) -> None:
    two = redis_sentinel_url.replace("@", f"@127.0.0.1:{free_tcp_port},")
    async with RedisStorage[Any](two, namespace=namespace) as storage:
        assert await storage.read("chat:1") is None


async def test_a_wrong_password_is_said_without_it(redis_sentinel_url: str) -> None:
    with pytest.raises(ConfigurationError, match="user name and password") as caught:
        async with RedisStorage[Any](redis_sentinel_url.replace("secret", "hunter2")):
            pass
    assert "hunter2" not in str(caught.value)
