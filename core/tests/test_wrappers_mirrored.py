"""A mirror: in the end both storages hold the same, whoever wrote last, and what went wrong is known."""

import asyncio
import logging
import random
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from failing import Failing
from recording import Plain
from satchel import (
    ANY,
    JSON,
    Change,
    ConflictError,
    Expected,
    MemoryStorage,
    Payload,
    Sessions,
    StorageUnavailableError,
    UnsupportedValueError,
    ValueTooLargeError,
)
from satchel.encryption import generate_key
from satchel.wrappers import Mirrored


async def content(storage: MemoryStorage[Any]) -> dict[str, Any]:
    return await storage.read_many([key async for key in storage.keys()])


async def test_every_change_reaches_both() -> None:
    old, new = MemoryStorage[Any](ttl=timedelta(hours=1)), MemoryStorage[Any](ttl=timedelta(hours=1))
    storage = Mirrored(old, new)
    await storage.write("a", {"n": 1})
    version = await storage.write_versioned("b", 1, None)
    version = await storage.write_versioned("b", 2, version)
    await storage.write_many({"c": 1, "d": 1, "e": 1})
    versions = await storage.commit({"f": Change(1, None), "b": Change(3, version)})
    assert await content(new) == await content(old) == {"a": {"n": 1}, "b": 3, "c": 1, "d": 1, "e": 1, "f": 1}
    await storage.delete("a")
    await storage.delete_versioned("b", versions["b"])
    await storage.delete_many(["c", "d"])
    await storage.commit({"f": Change(None, versions["f"])})
    assert await content(new) == await content(old) == {"e": 1}
    assert set(await storage.write_records({"e": Change(2, "another"), "g": Change(1, None)})) == {"g"}
    assert await content(new) == await content(old) == {"e": 1, "g": 1}
    assert storage.behind == frozenset()
    assert storage.failures == 0


async def test_the_first_decides_what_is_there_and_what_conflicts() -> None:
    old, new = MemoryStorage[Any](), MemoryStorage[Any]()
    await new.write_many({"a": "of the new one", "b": "of the new one"})
    storage = Mirrored(old, new)
    assert await storage.read("a") is None
    await storage.write_versioned("a", 1, None)
    assert await new.read("a") == 1
    with pytest.raises(ConflictError):
        await storage.write_versioned("a", 2, None)
    with pytest.raises(UnsupportedValueError):
        await storage.write("a", {1})
    assert await content(new) == {"a": 1, "b": "of the new one"}
    assert storage.behind == frozenset()


async def test_a_touch_reaches_both_and_copies_what_the_second_lacks() -> None:
    old, new = (MemoryStorage[Any](ttl=timedelta(milliseconds=80)) for _ in range(2))
    storage = Mirrored(old, new)
    await storage.write("a", 1)
    await old.write("b", 1)
    await asyncio.sleep(0.05)
    assert await storage.touch("a")
    assert await storage.touch("b")
    assert not await storage.touch("nobody")
    await asyncio.sleep(0.04)
    assert await content(new) == {"a": 1, "b": 1} or await content(old) == {}  # the machine may be busy


class Held(MemoryStorage[Any]):
    """A storage that keeps one write waiting until a test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if not self.arrived.is_set():
            self.arrived.set()
            await self.go_on.wait()
        return await super().put(name, payload, expected)


async def test_an_older_copy_that_arrives_last_is_put_right() -> None:
    """Two processes: the first one's copy is held up until the second one has written and copied."""
    old, new = MemoryStorage[Any](), Held()
    here, there = Mirrored(old, new), Mirrored(old, new)
    first = asyncio.ensure_future(here.write("chat:1", "first"))
    await new.arrived.wait()
    await there.write("chat:1", "second")
    assert await new.read("chat:1") == "second"
    new.go_on.set()
    await first
    assert await old.read("chat:1") == await new.read("chat:1") == "second"


async def test_a_copy_that_arrives_after_the_record_was_deleted_is_deleted_again() -> None:
    old, new = MemoryStorage[Any](), Held()
    here, there = Mirrored(old, new), Mirrored(old, new)
    first = asyncio.ensure_future(here.write("chat:1", "first"))
    await new.arrived.wait()
    await there.delete("chat:1")
    new.go_on.set()
    await first
    assert await content(old) == await content(new) == {}


class Slow(MemoryStorage[Any]):
    """Calls that take their time, each its own."""

    local = False

    async def pause(self) -> None:
        for _ in range(random.randrange(6)):
            await asyncio.sleep(0)

    async def get(self, name: str) -> Payload | None:
        await self.pause()
        found = await super().get(name)
        await self.pause()
        return found

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        await self.pause()
        done = await super().put(name, payload, expected)
        await self.pause()
        return done

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        await self.pause()
        done = await super().drop(name, expected)
        await self.pause()
        return done


@pytest.mark.parametrize("codec", [JSON, JSON.encrypted(generate_key())], ids=["plain", "encrypted"])
async def test_whatever_order_copies_arrive_in_both_hold_the_same_in_the_end(codec: Any) -> None:
    for _ in range(20):
        old, new = Slow(codec=codec), Slow()
        mirrors = [Mirrored(old, new) for _ in range(3)]

        async def work(mirror: Mirrored[Any], number: int) -> None:
            for step in range(4):
                match random.randrange(3):
                    case 0:
                        await mirror.write(f"chat:{step % 2}", [number, step])
                    case 1:
                        await mirror.delete(f"chat:{step % 2}")
                    case _:
                        record = await mirror.read_versioned("chat:0")
                        with suppress(ConflictError):
                            await mirror.write_versioned("chat:0", [number, step], record and record.version)

        await asyncio.gather(*(work(mirror, number) for number, mirror in enumerate(mirrors * 2)))
        if not any(mirror.behind for mirror in mirrors):  # which says so when it gives up
            assert await content(new) == await content(old)


async def test_when_the_second_is_away_the_bot_goes_on_and_what_is_missing_is_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "satchel")
    old, new = MemoryStorage[Any](), Failing()
    storage = Mirrored(old, new)
    await storage.write_many({"gone": 1, "kept": 1})
    new.away = True
    await storage.write("a", 1)
    await storage.write("b", 2)
    await storage.delete("gone")
    assert await storage.read("a") == 1
    assert storage.behind == {"a", "b", "gone"}
    assert storage.failures == 3
    assert caplog.messages == ["<Failing memory://> falls behind: memory:// does not answer"]
    assert await storage.repair() == 3
    new.away = False
    await storage.write("a", 3)
    assert storage.behind == {"b", "gone"}
    assert await storage.repair() == 0
    assert await content(new) == await content(old) == {"a": 3, "b": 2, "kept": 1}


async def test_strictly_what_fails_in_the_second_raises_though_the_first_has_it() -> None:
    old, new = MemoryStorage[Any](), Failing()
    storage = Mirrored(old, new, strict=True)
    new.away = True
    with pytest.raises(StorageUnavailableError):
        await storage.write("a", 1)
    assert await old.read("a") == 1
    assert storage.behind == {"a"}


async def test_a_change_of_the_first_with_an_unknown_outcome_is_noted_and_repaired() -> None:
    old, new = Failing(), MemoryStorage[Any]()
    storage = Mirrored(old, new)
    await storage.setup()
    old.lost = 1
    with pytest.raises(StorageUnavailableError):
        await storage.write("a", 1)
    assert storage.behind == {"a"}
    assert await storage.repair() == 0
    assert await new.read("a") == 1


async def test_a_call_that_is_cancelled_before_its_copy_is_noted() -> None:
    old, new = MemoryStorage[Any](), Held()
    storage = Mirrored(old, new)
    writing = asyncio.ensure_future(storage.write("a", 1))
    await new.arrived.wait()
    writing.cancel()
    await asyncio.wait([writing])
    assert storage.behind == {"a"}


class Small(MemoryStorage[Any]):
    """Takes less than the other."""

    capabilities = MemoryStorage.capabilities.__class__(max_value_bytes=10)


async def test_a_second_storage_that_takes_less_is_found_out_before_the_move() -> None:
    storage = Mirrored(MemoryStorage[Any](), Small())
    await storage.write("a", "a long, long text")
    assert storage.behind == {"a"}
    strict = Mirrored(MemoryStorage[Any](), Small(), strict=True)
    with pytest.raises(ValueTooLargeError):
        await strict.write("a", "a long, long text")


async def test_a_bot_moves_from_one_storage_to_another_while_it_runs() -> None:
    old, new = MemoryStorage[Any](), MemoryStorage[Any]()
    await old.write_many({f"chat:{number}": {"n": number} for number in range(20)})
    mirror = Mirrored(old, new)
    sessions = Sessions(mirror, initial=lambda: {"n": 0})

    async def bot() -> None:
        for number in range(60):
            async with sessions.open(f"chat:{number % 30}") as session:
                session.data["n"] += 1000
            await asyncio.sleep(0)

    async def copy() -> None:
        for key in [key async for key in old.keys()]:
            value = await old.read(key)
            await asyncio.sleep(0)
            with suppress(ConflictError):
                await new.write_versioned(key, value, None)  # not over what the mirror has written

    await asyncio.gather(bot(), copy())
    assert await content(new) == await content(old)
    assert len(await content(new)) == 30


async def test_either_may_have_three_methods_only() -> None:
    new = Plain()
    storage = Mirrored(MemoryStorage[Any](), new)
    await storage.write_many({"a": 1, "b": 2})
    await storage.delete_many(["a"])
    assert [await new.read(key) for key in "ab"] == [None, 2]
    old = Plain()
    plain: Any = Mirrored(old, MemoryStorage[Any]())
    await plain.write("a", 1)
    assert await plain.secondary.read("a") == 1
