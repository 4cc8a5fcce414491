"""A real replica set of three, whose primary steps down, or dies, while sessions are updated."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from satchel import ConflictError, Session, Sessions, StorageUnavailableError
from satchel_conformance import Status, validate
from satchel_conformance.backends import killing, run_in
from satchel_conformance.servers.mongodb import signal_member
from satchel_mongodb import MongoDBStorage

KEYS = [f"chat:{number}" for number in range(4)]


class Bot:
    """Updates one session again and again, and knows which updates are done, and which may be."""

    def __init__(self, name: str, sessions: Sessions[Any], key: str) -> None:
        self.name, self.sessions, self.key = name, sessions, key
        self.done: list[str] = []
        self.unsure: list[str] = []
        self.running = True

    async def run(self) -> None:
        for number in count():
            step = f"{self.name}-{number}"

            def add(session: Session[Any], step: str = step) -> None:
                session.data.append(step)

            try:
                await self.sessions.update(self.key, add)
            except StorageUnavailableError:
                self.unsure.append(step)
            else:
                self.done.append(step)
            if not self.running:
                return
            await asyncio.sleep(0.005)


@pytest.fixture
async def raw(mongodb_set_url: str) -> AsyncIterator[AsyncMongoClient[Any]]:
    """A client of the replica set."""
    async with AsyncMongoClient[Any](mongodb_set_url) as client:
        yield client


async def ports(raw: AsyncMongoClient[Any]) -> list[int]:
    """Return the port of the primary, once there is one, and then those of the others."""
    hello = await raw.admin.command("hello")
    first, every = hello["me"], hello["hosts"]
    return [int(address.rpartition(":")[2]) for address in sorted(every, key=lambda address: address != first)]


async def step_down(raw: AsyncMongoClient[Any]) -> None:
    await raw.admin.command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=2)


async def die(raw: AsyncMongoClient[Any]) -> None:
    await asyncio.to_thread(signal_member, (await ports(raw))[0], "KILL")


@pytest.mark.parametrize("retries", [True, False])
@pytest.mark.parametrize("fail", [step_down, die])
async def test_no_acknowledged_update_is_lost_when_the_primary_changes(
    mongodb_set_url: str,
    namespace: str,
    raw: AsyncMongoClient[Any],
    fail: Callable[[AsyncMongoClient[Any]], Awaitable[None]],
    retries: bool,
) -> None:
    url = mongodb_set_url if retries else f"{mongodb_set_url}&retryWrites=false&retryReads=false"
    async with (
        MongoDBStorage[Any](url, namespace=namespace) as first,
        MongoDBStorage[Any](url, namespace=namespace) as second,
    ):
        bots = [
            Bot(f"{name}{key}", Sessions(storage, initial=list), key)
            for name, storage in (("a", first), ("b", second))
            for key in KEYS
        ]

        async def all_do_more() -> None:
            before = [len(bot.done) for bot in bots]
            async with asyncio.timeout(60):
                while not all(len(bot.done) >= done + 5 for bot, done in zip(bots, before, strict=True)):
                    await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as group:
            for bot in bots:
                group.create_task(bot.run())
            await all_do_more()
            await fail(raw)
            await all_do_more()
            for bot in bots:
                bot.running = False
        for key in KEYS:
            kept = await first.read(key)
            assert kept is not None
            assert len(kept) == len(set(kept))
            done = {step for bot in bots if bot.key == key for step in bot.done}
            unsure = {step for bot in bots if bot.key == key for step in bot.unsure}
            assert done <= set(kept) <= done | unsure


async def test_a_change_that_no_majority_confirms_raises_in_time_and_is_made_or_not(
    mongodb_set_url: str, namespace: str, raw: AsyncMongoClient[Any]
) -> None:
    async with MongoDBStorage[Any](mongodb_set_url, namespace=namespace, timeout=timedelta(seconds=1)) as storage:
        version = await storage.write_versioned("chat:1", 1, None)
        _, *others = await ports(raw)
        assert len(others) == 2
        for port in others:
            await asyncio.to_thread(signal_member, port, "STOP")
        try:
            start = time.monotonic()
            with pytest.raises(StorageUnavailableError):
                await storage.write_versioned("chat:1", 2, version)
            assert time.monotonic() - start < 2
        finally:
            for port in others:
                await asyncio.to_thread(signal_member, port, "CONT")
        async with asyncio.timeout(30):
            while True:
                try:
                    record = await storage.read_versioned("chat:1")
                    assert record is not None
                    assert record.value in (1, 2)
                    await storage.write_versioned("chat:1", 3, record.version)
                    break
                except (StorageUnavailableError, ConflictError):
                    await asyncio.sleep(0.05)
        assert await storage.read("chat:1") == 3


async def test_the_server_removes_what_has_ended(
    mongodb_set_url: str, namespace: str, raw: AsyncMongoClient[Any]
) -> None:
    async with MongoDBStorage[Any](mongodb_set_url, namespace=namespace, ttl=timedelta(milliseconds=1)) as storage:
        await storage.write("chat:1", 1)
        async with asyncio.timeout(30):
            while await raw["satchel"]["satchel_sessions"].find_one({"_id": f"{namespace}:chat:1"}):
                await asyncio.sleep(0.05)


async def test_members_that_are_killed_all_at_once_have_everything_that_was_acknowledged(
    raw: AsyncMongoClient[Any], mongodb_set_url: str
) -> None:
    kill = partial(run_in, (await ports(raw))[0], killing("mongod"))
    report = await validate(mongodb_set_url, kill=kill, clauses=["R9-killed-server"])
    assert report.ok, report.summary()
    assert report.counts[Status.PASSED] == 1
