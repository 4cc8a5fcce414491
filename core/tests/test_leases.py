"""The lease lock: one holder of all processes. Two `LeaseLock`s stand for two processes."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from recording import Plain
from satchel import (
    ANY,
    ConfigurationError,
    CorruptValueError,
    Expected,
    LeaseLock,
    LeaseLostError,
    LockTimeoutError,
    MemoryStorage,
    Payload,
    SessionAlreadyOpenError,
    Sessions,
)
from satchel.encryption import generate_key
from satchel.wrappers import HiddenKeys

SHORT = timedelta(milliseconds=60)


@pytest.fixture
def storage() -> MemoryStorage[Any]:
    return MemoryStorage()


async def test_one_holder_at_a_time(storage: MemoryStorage[Any]) -> None:
    locks = [LeaseLock(storage) for _ in range(4)]
    inside = 0

    async def work(lock: LeaseLock) -> None:
        nonlocal inside
        for _ in range(5):
            async with lock.hold("chat:1"):
                inside += 1
                assert inside == 1
                await asyncio.sleep(0)
                inside -= 1

    await asyncio.gather(*(work(lock) for lock in locks for _ in range(2)))
    assert [key async for key in storage.keys()] == []


async def test_a_living_holder_keeps_its_lease_beyond_the_duration(storage: MemoryStorage[Any]) -> None:
    waiter = LeaseLock(storage, duration=SHORT, timeout=SHORT * 3)
    async with LeaseLock(storage, duration=SHORT).hold("chat:1") as hold:
        with pytest.raises(LockTimeoutError, match="chat:1.* was leased to another process"):
            async with waiter.hold("chat:1"):
                raise AssertionError
        hold.ensure()
    async with waiter.hold("chat:1"):
        pass


async def test_the_lease_of_a_dead_holder_is_taken_over_after_its_duration_and_not_before(
    storage: MemoryStorage[Any],
) -> None:
    await storage.write("lease:chat:1", {"owner": "dead", "seconds": SHORT.total_seconds(), "renewals": 0})
    started = asyncio.get_running_loop().time()
    async with LeaseLock(storage).hold("chat:1"):
        assert asyncio.get_running_loop().time() - started >= SHORT.total_seconds()


async def test_a_holder_that_was_taken_over_cannot_save(
    storage: MemoryStorage[Any], caplog: pytest.LogCaptureFixture
) -> None:
    sessions = Sessions(storage, initial=lambda: {"n": 0}, lock=LeaseLock(storage, duration=SHORT))
    thief = {"owner": "thief", "seconds": 60.0, "renewals": 0}
    with caplog.at_level(logging.WARNING, "satchel"), pytest.raises(LeaseLostError, match="chat:1"):
        async with sessions.open("chat:1") as session:
            session.data["n"] = 1
            await storage.write("lease:chat:1", thief)
            await asyncio.sleep(SHORT.total_seconds())
    assert await storage.read("chat:1") is None
    assert await storage.read("lease:chat:1") == thief
    assert "was lost" in caplog.text


async def test_a_renewal_whose_answer_was_lost_is_recognised_as_our_own(storage: MemoryStorage[Any]) -> None:
    async with LeaseLock(storage, duration=SHORT).hold("chat:1") as hold:
        record = await storage.read("lease:chat:1")
        assert record is not None
        await storage.write("lease:chat:1", record | {"renewals": 99})
        await asyncio.sleep(SHORT.total_seconds())
        hold.ensure()
    assert await storage.read("lease:chat:1") is None


async def test_opening_a_session_inside_of_itself_raises(storage: MemoryStorage[Any]) -> None:
    sessions = Sessions(storage, initial=dict, lock=LeaseLock(storage))
    async with sessions.open("chat:1"):
        with pytest.raises(SessionAlreadyOpenError):
            async with sessions.open("chat:1"):
                raise AssertionError


async def test_an_untouched_lazy_session_takes_no_lease(storage: MemoryStorage[Any]) -> None:
    sessions = Sessions(storage, initial=dict, lock=LeaseLock(storage))
    async with sessions.lazy("chat:1"):
        assert [key async for key in storage.keys()] == []


async def test_the_longest_key_can_be_leased(storage: MemoryStorage[Any]) -> None:
    async with LeaseLock(storage).hold("ü" * 256):
        assert len([key async for key in storage.keys("lease:")]) == 1


async def test_data_that_is_no_lease_is_not_overwritten(storage: MemoryStorage[Any]) -> None:
    await storage.write("lease:chat:1", {"mine": 1})
    with pytest.raises(CorruptValueError, match="is not a lease"):
        async with LeaseLock(storage).hold("chat:1"):
            raise AssertionError
    assert await storage.read("lease:chat:1") == {"mine": 1}


def test_a_lease_needs_versions() -> None:
    with pytest.raises(ConfigurationError, match="versioned"):
        LeaseLock(Plain())


async def test_each_holders_token_is_greater_than_the_last_ones(storage: MemoryStorage[Any]) -> None:
    tokens = []
    for lock in (LeaseLock(storage), LeaseLock(storage)):
        async with lock.hold("chat:1") as lease:
            tokens.append(lease.token)
            await asyncio.sleep(0.001)  # the clock that a token is taken from counts microseconds

    assert tokens == sorted(set(tokens))


async def test_who_takes_over_gets_a_greater_token_even_if_its_clock_is_behind(storage: MemoryStorage[Any]) -> None:
    dead = {"owner": "dead", "token": 2**62, "seconds": SHORT.total_seconds(), "renewals": 3}
    await storage.write("lease:chat:1", dead)

    async with LeaseLock(storage).hold("chat:1") as lease:
        assert lease.token == 2**62 + 1


async def test_a_lease_of_an_earlier_release_is_understood(storage: MemoryStorage[Any]) -> None:
    await storage.write("lease:chat:1", {"owner": "dead", "seconds": SHORT.total_seconds(), "renewals": 0})

    async with LeaseLock(storage).hold("chat:1") as lease:
        assert lease.token > 0


async def test_who_is_cancelled_while_it_takes_a_lease_leaves_none() -> None:
    class Slow(MemoryStorage[Any]):
        async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
            written = await super().put(name, payload, expected)
            taken.set()
            await asyncio.sleep(10)
            return written

    taken = asyncio.Event()
    storage = Slow()

    async def work() -> None:
        async with LeaseLock(storage).hold("chat:1"):
            raise AssertionError

    working = asyncio.create_task(work())
    await taken.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert [key async for key in storage.keys()] == []


def test_a_lease_outlives_no_ttl() -> None:
    storage: MemoryStorage[Any] = MemoryStorage(ttl=SHORT)
    with pytest.raises(ConfigurationError, match="a lease of 0:00:00.060000 would not last in .* ttl is 0:00:00.06"):
        LeaseLock(storage, duration=SHORT)
    LeaseLock(storage, duration=SHORT / 2)


async def test_a_key_is_leased_that_is_the_longest_of_its_storage() -> None:
    storage: HiddenKeys[Any] = HiddenKeys(MemoryStorage(), generate_key())
    async with LeaseLock(storage).hold("k" * storage.capabilities.max_key_bytes):
        pass
