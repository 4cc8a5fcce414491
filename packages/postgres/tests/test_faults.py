"""Servers that die, hang or hold a lock, callers that give up: an error in time, and nothing is lost or mixed up."""

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from satchel import Session, Sessions, StorageClosedError, StorageUnavailableError
from satchel_conformance import Status, validate
from satchel_conformance.backends import run_in
from satchel_conformance.proxy import BlackHole, Cut, Delay, Proxy, address_in
from satchel_conformance.servers.postgres import POSTGRES_STOPS
from satchel_postgres import PostgresStorage

Raw = AsyncConnection[Any]


async def stop(url: str, how: str) -> None:
    """Stop the server, and wait until it is back."""
    before = await started(url)
    await asyncio.to_thread(run_in, urlsplit(url).port, POSTGRES_STOPS[how])
    async with asyncio.timeout(60):
        while await started(url) in (None, before):
            await asyncio.sleep(0.02)


async def started(url: str) -> Any:
    """Return when the server was started, or None if it does not answer."""
    try:
        async with await AsyncConnection.connect(url, autocommit=True) as connection:
            return await (await connection.execute("SELECT pg_postmaster_start_time()")).fetchone()
    except psycopg.Error:
        return None


async def until_it_works(call: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except StorageUnavailableError:
                await asyncio.sleep(0.01)


async def test_a_killed_server_has_everything_that_it_acknowledged(postgres_restarted_url: str) -> None:
    kill = partial(run_in, urlsplit(postgres_restarted_url).port, POSTGRES_STOPS["killed"])
    report = await validate(postgres_restarted_url, kill=kill, clauses=["R9-killed-server"])
    assert report.ok, report.summary()
    assert report.counts[Status.PASSED] == 1


@pytest.mark.parametrize("how", ["restarted", "killed"])
@pytest.mark.parametrize("kind", ["url", "pool"])
async def test_a_storage_survives_a_server_that_dies_and_comes_back(
    postgres_restarted_url: str, namespace: str, kind: str, how: str
) -> None:
    url = postgres_restarted_url
    async with (
        AsyncConnectionPool(url, min_size=1, max_size=8, open=False) as pool,
        PostgresStorage[Any](
            url if kind == "url" else pool, namespace=namespace, timeout=timedelta(seconds=5)
        ) as storage,
    ):
        version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(2, 30)))
        await stop(url, how)
        assert await until_it_works(lambda: storage.read("chat:1")) == {"pizza": 1}
        if kind == "pool":  # which does not know yet that its connections died: a call may find one of them
            await asyncio.gather(*(until_it_works(lambda: storage.read("chat:1")) for _ in range(28)))
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(2, 30)))
        version = await storage.write_versioned("chat:1", {"pizza": 2}, version)
        assert await storage.read_versioned("chat:1") == ({"pizza": 2}, version)


@pytest.mark.parametrize("how", ["restarted", "killed"])
async def test_every_acknowledged_write_is_there_after_the_server_died(
    postgres_restarted_url: str, namespace: str, how: str
) -> None:
    """Under a load of session updates: none is lost or counted twice, and the same objects go on."""
    acknowledged = updated = 0
    running = True
    async with PostgresStorage[Any](postgres_restarted_url, namespace=namespace) as storage:
        sessions = Sessions(storage, initial=lambda: {"writes": 0})

        async def write(writer: int) -> None:
            nonlocal acknowledged
            number = 0
            while running:
                number += 1
                value = {"number": number, "padding": str(number) * 1000}
                await until_it_works(partial(storage.write, f"last:{writer}", value))
                version = storage.version_of(storage.codec.encode({"number": number - 1}))
                expected = None if number == 1 else version
                try:
                    await storage.write_versioned(f"count:{writer}", {"number": number}, expected)
                except StorageUnavailableError:  # it may have been done, and versions tell
                    if await until_it_works(lambda: storage.read(f"count:{writer}")) != {"number": number}:
                        await until_it_works(
                            partial(storage.write_versioned, f"count:{writer}", {"number": number}, expected)
                        )
                acknowledged += 1
                last = await until_it_works(lambda: storage.read(f"last:{writer}"))
                assert last == value

        def add(session: Session[Any]) -> None:
            session.data["writes"] += 1

        async with asyncio.TaskGroup() as writers:
            for writer in range(6):
                writers.create_task(write(writer))
            for round_ in range(3):
                if round_:
                    await stop(postgres_restarted_url, how)
                before = acknowledged
                for _ in range(10):
                    await sessions.update("chat:1", add)
                    updated += 1
                while acknowledged < before + 30:
                    await asyncio.sleep(0.01)
            running = False
        found = await storage.read_many(f"count:{writer}" for writer in range(6))
        assert sum(each["number"] for each in found.values()) == acknowledged
        assert await storage.read("chat:1") == {"writes": updated}


async def test_connections_that_the_server_closes_are_replaced_unnoticed(
    postgres_url: str, namespace: str, raw: Raw
) -> None:
    url = f"{postgres_url}?application_name={namespace}"
    async with PostgresStorage[Any](url, namespace=namespace) as storage:
        for number in range(3):
            await asyncio.gather(*(storage.write(f"chat:{each}", number) for each in range(4)))
            await raw.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = %s",
                (namespace,),
            )
        assert await storage.read("chat:3") == 2


async def test_a_server_that_does_not_answer_costs_no_more_than_the_timeout(postgres_url: str, namespace: str) -> None:
    timeout = timedelta(milliseconds=500)
    with Proxy(*address_in(postgres_url)) as proxy:
        url = proxy.url(postgres_url)
        async with PostgresStorage[Any](url, namespace=namespace, timeout=timeout, max_connections=4) as storage:
            await storage.write("chat:1", 1)
            proxy.arm(BlackHole())
            start = time.monotonic()
            calls = [storage.write("chat:1", 2), storage.read("chat:1"), storage.read_many(["chat:1"])]
            results = await asyncio.gather(*calls, *(storage.read("chat:1") for _ in range(50)), return_exceptions=True)
            assert all(isinstance(result, StorageUnavailableError) for result in results)
            assert time.monotonic() - start < 2.5
            proxy.heal()
            assert await until_it_works(lambda: storage.read("chat:1")) == 1
            await storage.write("chat:1", 3)
            assert await storage.read("chat:1") == 3


async def test_one_who_gives_up_does_not_wait_for_a_server_that_hangs(postgres_url: str, namespace: str) -> None:
    """Left to itself, psycopg would first cancel the statement, which takes as long as the server likes."""
    with Proxy(*address_in(postgres_url)) as proxy:
        async with PostgresStorage[Any](proxy.url(postgres_url), namespace=namespace) as storage:
            await storage.write("chat:1", 1)
            struck = proxy.arm(BlackHole())
            call = asyncio.create_task(storage.read("chat:1"))
            await asyncio.wrap_future(struck)
            start = time.monotonic()
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()
            assert time.monotonic() - start < 0.3
            proxy.heal()
            assert await storage.read("chat:1") == 1


async def test_a_storage_is_closed_in_time_though_the_server_hangs(postgres_url: str, namespace: str) -> None:
    with Proxy(*address_in(postgres_url)) as proxy:
        storage = PostgresStorage[Any](proxy.url(postgres_url), namespace=namespace)
        await storage.write("chat:1", 1)
        struck = proxy.arm(BlackHole())
        call = asyncio.create_task(storage.read("chat:1"))
        await asyncio.wrap_future(struck)
        start = time.monotonic()
        await storage.aclose()
        assert time.monotonic() - start < 3
        with pytest.raises(StorageClosedError):
            await call


async def test_a_change_whose_answer_is_lost_is_not_made_twice(postgres_url: str, namespace: str) -> None:
    with Proxy(*address_in(postgres_url)) as proxy:
        async with PostgresStorage[Any](proxy.url(postgres_url), namespace=namespace) as storage:
            version = await storage.write_versioned("chat:1", 1, None)
            proxy.arm(Cut("answer"), times=1)
            with pytest.raises(StorageUnavailableError, match="closed the connection"):
                await storage.write_versioned("chat:1", 2, version)
            assert await storage.read("chat:1") == 2
            proxy.arm(Cut("answer"), times=1)
            with pytest.raises(StorageUnavailableError):
                await storage.write_versioned("chat:2", 1, None)
            assert await storage.read("chat:2") == 1


@pytest.mark.skipif(not psycopg.capabilities.has_cancel_safe(), reason="this libpq cannot cancel without blocking")
async def test_a_write_that_waits_for_a_lock_is_given_up_and_never_made(
    postgres_url: str, namespace: str, raw: Raw
) -> None:
    """A statement that stayed at the server would overwrite, once it got its lock, what others have written since."""
    url = f"{postgres_url}?application_name={namespace}&max_connections=2"
    async with PostgresStorage[Any](url, namespace=namespace, timeout=timedelta(milliseconds=300)) as storage:
        await storage.write("chat:1", "old")
        async with raw.transaction():
            await raw.execute("SELECT 1 FROM satchel_sessions WHERE key = %s FOR UPDATE", (f"{namespace}:chat:1",))
            with pytest.raises(StorageUnavailableError, match="did not answer within 0.3 s"):
                await storage.write("chat:1", "late")
            assert await storage.read("chat:1") == "old"
            async with asyncio.timeout(10):
                while storage._runner._tasks:
                    await asyncio.sleep(0.01)
        cursor = await raw.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state <> 'idle'", (namespace,)
        )
        assert await cursor.fetchone() == (0,)
        assert await storage.read("chat:1") == "old"


async def test_calls_that_are_cancelled_at_any_moment_mix_no_answers_and_lose_no_connection(
    postgres_url: str, namespace: str, raw: Raw
) -> None:
    chance = random.Random(7)
    keys = [f"chat:{number}" for number in range(20)]
    url = f"{postgres_url}?application_name={namespace}&max_connections=6"
    async with PostgresStorage[Any](url, namespace=namespace) as storage:
        await storage.write_many({key: key for key in keys})

        async def use(key: str) -> None:
            for _ in range(2):
                assert await storage.read(key) == key
                assert await storage.read_many([key, "missing"]) == {key: key}
                record = await storage.read_versioned(key)
                assert record is not None
                await storage.write_versioned(key, key, record.version)
                await storage.write(key, key)

        async def give_up(key: str) -> None:
            task = asyncio.ensure_future(use(key))
            for _ in range(chance.randrange(200)):
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
        assert await not_more_than(6, raw, namespace) > 0
        await asyncio.gather(*(use(key) for key in keys))


async def not_more_than(most: int, raw: Raw, application: str) -> int:
    """Return how many connections the server has, once they are so few: one that was given up takes it a moment."""
    async with asyncio.timeout(5):
        while True:
            cursor = await raw.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", (application,)
            )
            found = await cursor.fetchone()
            assert found is not None
            number: int = found[0]
            if number <= most:
                return number
            await asyncio.sleep(0.01)


async def test_a_connection_that_is_given_up_while_it_is_made_is_closed(
    postgres_url: str, namespace: str, raw: Raw
) -> None:
    gc.disable()  # which would close it some time later
    try:
        for turns in range(60):
            url = f"{postgres_url}?application_name={namespace}&max_connections=1"
            storage = PostgresStorage[Any](url, namespace=namespace)
            task = asyncio.ensure_future(storage.read("chat:1"))
            for _ in range(turns):
                await asyncio.sleep(0.0002)
            task.cancel()
            await asyncio.wait([task])
            await storage.aclose()
        await not_more_than(0, raw, namespace)
    finally:
        gc.enable()


async def test_an_answer_that_comes_late_is_nobody_elses(postgres_url: str, namespace: str) -> None:
    with Proxy(*address_in(postgres_url)) as proxy:
        url = f"{proxy.url(postgres_url)}?max_connections=1"
        async with PostgresStorage[Any](url, namespace=namespace, timeout=timedelta(milliseconds=300)) as storage:
            await storage.write_many({"chat:1": 1, "chat:2": 2})
            proxy.arm(Delay(0.5), times=1)
            with pytest.raises(StorageUnavailableError):
                await storage.read("chat:1")
            assert await until_it_works(lambda: storage.read("chat:2")) == 2


@pytest.fixture
async def crowded(postgres_restarted_url: str) -> AsyncIterator[str]:
    """The URL of a user who may have one connection."""
    async with await AsyncConnection.connect(postgres_restarted_url, autocommit=True) as connection:
        await connection.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 1")
        yield postgres_restarted_url.replace("//postgres@", "//crowded@")
        await connection.execute("DROP ROLE crowded")


async def test_too_many_connections_are_said_to_be_that(crowded: str) -> None:
    async with await AsyncConnection.connect(crowded):
        with pytest.raises(StorageUnavailableError, match="cannot be reached: too many connections for role"):
            async with PostgresStorage[Any](crowded):
                pass
