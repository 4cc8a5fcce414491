"""Connections that break, and servers that are silent, at moments of which the suite does not know."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import AsyncMongoClient

from satchel import StorageUnavailableError
from satchel_conformance.proxy import BlackHole, Cut, Proxy
from satchel_mongodb import MongoDBStorage


@pytest.fixture
async def proxy(mongodb_url: str) -> AsyncIterator[Proxy]:
    parts = urlsplit(mongodb_url)
    with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        yield proxy


@pytest.mark.parametrize("retries", [True, False])
async def test_a_change_whose_answer_is_lost_is_not_made_twice(
    mongodb_url: str, namespace: str, proxy: Proxy, retries: bool
) -> None:
    """The driver's own retry is known to the server as one; without it, the change raises, and never conflicts."""
    async with (
        AsyncMongoClient[Any](proxy.url(mongodb_url), retryWrites=retries) as client,
        MongoDBStorage[Any](client, namespace=namespace) as storage,
    ):
        version = await storage.write_versioned("chat:1", 0, None)
        for number in range(1, 4):
            proxy.arm(Cut(before="answer"), times=1)
            try:
                version = await storage.write_versioned("chat:1", number, version)
                assert retries
            except StorageUnavailableError:
                assert not retries
                record = await storage.read_versioned("chat:1")
                assert record is not None
                version = record.version
            assert await storage.read("chat:1") == number
            proxy.arm(Cut(before="answer"), times=1)
            try:
                await storage.write_versioned(f"new:{number}", number, None)
                assert retries
            except StorageUnavailableError:
                assert not retries
            assert await storage.read(f"new:{number}") == number


async def test_a_call_that_an_operator_ends_may_be_made_again(mongodb_url: str, namespace: str) -> None:
    async with (
        AsyncMongoClient[Any](mongodb_url) as raw,
        MongoDBStorage[Any](f"{mongodb_url}&appName={namespace}", namespace=namespace) as storage,
    ):
        await storage.write("chat:1", 1)
        async with raw.start_session() as session, await session.start_transaction():
            own = {"_id": f"{namespace}:chat:1"}
            await raw["satchel"]["satchel_sessions"].update_one(own, {"$set": {"payload": "2"}}, session=session)
            writing = asyncio.ensure_future(storage.write("chat:1", 3))  # which waits for the transaction
            found: list[Any] = []
            while not found and not writing.done():
                under_way = await raw.admin.aggregate([{"$currentOp": {}}, {"$match": {"appName": namespace}}])
                found = [each["opid"] async for each in under_way if each["op"] == "update"]
            await raw.admin.command("killOp", op=found[0])
            with pytest.raises(StorageUnavailableError, match="cannot do it now: Interrupted"):
                await writing
            await session.abort_transaction()
        await storage.write("chat:1", 3)
        assert await storage.read("chat:1") == 3


async def test_closing_takes_no_longer_than_the_timeout_when_the_server_is_silent(
    mongodb_url: str, namespace: str, proxy: Proxy
) -> None:
    tasks = asyncio.all_tasks()
    storage = MongoDBStorage[Any](proxy.url(mongodb_url), namespace=namespace, timeout=timedelta(seconds=1))
    await asyncio.gather(*(storage.write(f"chat:{number}", 1) for number in range(10)))
    proxy.arm(BlackHole())
    start = time.monotonic()
    await storage.aclose()
    assert time.monotonic() - start < 2
    assert {task for task in asyncio.all_tasks() - tasks if not task.done()} == set()


async def test_a_client_that_waits_for_longer_than_the_storage_is_given_up_in_time(
    mongodb_url: str, namespace: str, proxy: Proxy
) -> None:
    slow: dict[str, Any] = {"serverSelectionTimeoutMS": 60_000, "connectTimeoutMS": 60_000, "socketTimeoutMS": 60_000}
    async with (
        AsyncMongoClient[Any](proxy.url(mongodb_url), **slow) as client,
        MongoDBStorage[Any](client, namespace=namespace, timeout=timedelta(seconds=1)) as storage,
    ):
        await storage.write("chat:1", 1)
        proxy.arm(BlackHole())
        start = time.monotonic()
        calls = (storage.write("chat:1", 2), storage.read("chat:1"), storage.read_many(["chat:1"]))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, StorageUnavailableError) for result in results)
        assert time.monotonic() - start < 3
        proxy.heal()
        async with asyncio.timeout(20):
            while True:
                try:
                    await storage.write("chat:1", 3)
                    break
                except StorageUnavailableError:  # a busy machine takes its time to connect anew
                    pass
        assert await storage.read("chat:1") == 3
