"""The cache: reads from memory, and no update lost to them."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recording import Plain, Recording
from satchel import (
    ANY,
    Change,
    ConfigurationError,
    ConflictError,
    Expected,
    InvalidKeyError,
    LeaseLock,
    MemoryStorage,
    Payload,
    Record,
    Session,
    Sessions,
    StorageClosedError,
)
from satchel.wrappers import Cached
from satchel_sqlite import SQLiteStorage


async def test_a_second_read_does_not_reach_the_backend() -> None:
    inside = Recording()
    storage = Cached(inside)
    await storage.write("chat:1", {"n": 1})
    inside.visits.clear()
    assert await storage.read("chat:1") == {"n": 1}
    record = await storage.read_versioned("chat:1")
    assert record == Record({"n": 1}, inside.version_of(b'{"n":1}'))
    assert await storage.read_records(["chat:1"]) == {"chat:1": record}
    assert await storage.read_many(["chat:1"]) == {"chat:1": {"n": 1}}
    assert inside.visits == ["get"]


async def test_a_session_that_one_process_uses_costs_a_write_each_time_and_no_read() -> None:
    inside = Recording()
    sessions = Sessions(Cached(inside), initial=lambda: {"n": 0})
    for _ in range(4):
        async with sessions.open("chat:1") as session:
            session.data["n"] += 1
    assert inside.visits == ["get", "put?", "put?", "put?", "put?"]
    assert await inside.read("chat:1") == {"n": 4}


async def test_a_lease_is_seen_to_end() -> None:
    inside = MemoryStorage[Any]()
    locks = [LeaseLock(Cached(inside, max_age=timedelta(hours=1))) for _ in range(2)]

    async def work(lock: LeaseLock) -> None:
        for _ in range(5):
            async with lock.hold("chat:1"):
                await asyncio.sleep(0.002)

    async with asyncio.timeout(8):  # it was an hour
        await asyncio.gather(*map(work, locks))


async def test_batches_ask_only_for_what_is_not_known() -> None:
    inside = MemoryStorage[Any]()
    storage = Cached(inside)
    await storage.write_many({"a": 1, "b": 2, "c": 3})
    assert await storage.read("a") == 1
    await inside.write_many({"a": "unseen", "b": "seen"})
    assert await storage.read_many(key for key in "abcd") == {"a": 1, "b": "seen", "c": 3}


async def test_what_this_process_writes_it_sees_at_once() -> None:
    inside = MemoryStorage[Any]()
    storage = Cached(inside)
    await storage.write("a", 1)
    assert await storage.read("a") == 1
    await storage.write("a", 2)
    assert await storage.read("a") == 2
    version = await storage.write_versioned("b", 1, None)
    await storage.commit({"a": Change(3, inside.version_of(b"2")), "b": Change(None, version)})
    assert await storage.read_many(["a", "b"]) == {"a": 3}
    versions = await storage.write_records({"a": Change(4, inside.version_of(b"3")), "b": Change(1, None)})
    assert await storage.read_records(["a", "b"]) == {"a": (4, versions["a"]), "b": (1, versions["b"])}
    assert await storage.write_records({"b": Change(None, versions["b"])}) == {"b": ""}
    assert await storage.read("b") is None
    await storage.write_many({"a": 4})
    assert await storage.read("a") == 4
    await storage.delete("a")
    assert await storage.read("a") is None
    await storage.write("a", 5)
    assert await storage.read("a") == 5
    await storage.delete_many(["a"])
    assert await storage.read("a") is None


async def test_what_others_write_is_seen_when_the_record_is_old_enough() -> None:
    inside = MemoryStorage[Any]()
    storage = Cached(inside, max_age=timedelta(milliseconds=50))
    await storage.write("chat:1", 1)
    assert await storage.read("chat:1") == 1
    start = time.monotonic()
    await inside.write("chat:1", 2)
    while await storage.read("chat:1") == 1:
        assert time.monotonic() - start < 5
        await asyncio.sleep(0.001)
    assert await storage.read("chat:1") == 2


async def test_an_old_record_leads_to_a_conflict_and_then_to_the_new_one() -> None:
    inside = MemoryStorage[Any]()
    storage = Cached(inside, max_age=timedelta(hours=1))
    await inside.write("chat:1", {"n": 1})
    old = await storage.read_versioned("chat:1")
    await inside.write("chat:1", {"n": 2})
    assert await storage.read_versioned("chat:1") == old
    assert old is not None
    with pytest.raises(ConflictError):
        await storage.write_versioned("chat:1", {"n": 99}, old.version)
    assert await storage.read("chat:1") == {"n": 2}
    await inside.write("chat:1", {"n": 3})
    with pytest.raises(ConflictError):
        await storage.commit({"chat:1": Change({"n": 99}, old.version)})
    assert await storage.read("chat:1") == {"n": 3}
    await inside.write("chat:1", {"n": 4})
    assert await storage.write_records({"chat:1": Change({"n": 99}, old.version)}) == {}
    assert await storage.read("chat:1") == {"n": 4}


def put(name: str, number: int) -> Callable[[Session[Any]], None]:
    """Return a change of one field."""

    def change(session: Session[Any]) -> None:
        session.data[name] = number

    return change


@pytest.mark.parametrize("how", ["open", "update"])
async def test_sessions_lose_nothing_to_an_old_record(how: str) -> None:
    inside = MemoryStorage[Any]()
    here, there = (Sessions(Cached(inside, max_age=timedelta(hours=1)), initial=dict) for _ in range(2))
    for number in range(10):
        for name, sessions in (("here", here), ("there", there)):
            if how == "open":
                async with sessions.open("chat:1") as session:
                    session.data[name] = number
            else:
                await sessions.update("chat:1", put(name, number))
    assert await inside.read("chat:1") == {"here": 9, "there": 9}


_WORKER = """
import asyncio, sys
from satchel import Sessions
from satchel.wrappers import Cached
from satchel_sqlite import SQLiteStorage

async def main(path):
    async with Cached(SQLiteStorage(path, synchronous="NORMAL")) as storage:
        sessions = Sessions(storage, initial=lambda: {"n": 0})
        for _ in range(60):
            def add(session):
                session.data["n"] += 1
            await sessions.update("chat:1", add)

asyncio.run(main(sys.argv[1]))
"""


async def test_increments_of_several_processes_with_caches_all_count(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    running = [subprocess.Popen([sys.executable, "-c", _WORKER, str(path)]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    async with SQLiteStorage[Any](path) as storage:
        assert await storage.read("chat:1") == {"n": 180}


async def test_what_is_kept_is_shared_with_nobody() -> None:
    storage = Cached(MemoryStorage[Any]())
    value = {"list": [1]}
    await storage.write_versioned("chat:1", value, None)
    value["list"].append(2)
    first: Any = await storage.read("chat:1")
    assert first == {"list": [1]}
    first["list"].append(3)
    assert await storage.read("chat:1") == {"list": [1]}


async def test_absence_is_not_kept() -> None:
    inside = MemoryStorage[Any]()
    storage = Cached(inside)
    assert await storage.read("chat:1") is None
    await inside.write("chat:1", 1)
    assert await storage.read("chat:1") == 1


async def test_a_record_never_outlives_itself() -> None:
    inside = MemoryStorage[Any](ttl=timedelta(milliseconds=60))
    storage = Cached(inside, max_age=timedelta(hours=1))
    await storage.write_versioned("written", 1, None)
    await inside.write("read", 1)
    await storage.read("read")
    await asyncio.sleep(0.07)
    assert await storage.read("written") is None
    assert await storage.read("read") is None


async def test_of_a_record_with_a_lifetime_only_what_was_written_here_is_kept() -> None:
    inside = Recording(ttl=timedelta(hours=1))
    storage = Cached(inside)
    await inside.write("read", 1)
    await storage.write_versioned("written", 1, None)
    inside.visits.clear()
    for _ in range(2):
        await storage.read("read")
        await storage.read("written")
    assert inside.visits == ["get", "get"]


async def test_a_record_that_is_gone_when_it_is_touched_is_forgotten() -> None:
    inside = MemoryStorage[Any]()
    storage = Cached(inside)
    await storage.write_versioned("chat:1", 1, None)
    await inside.delete("chat:1")
    assert not await storage.touch("chat:1")
    assert await storage.read("chat:1") is None


async def test_size_is_bounded_and_the_least_recently_used_goes_first() -> None:
    inside = Recording()
    storage = Cached(inside, max_size=2)
    for key in ("a", "b"):
        await storage.write_versioned(key, key, None)
    await storage.read("a")
    await storage.write_versioned("c", "c", None)
    inside.visits.clear()
    assert [await storage.read(key) for key in ("a", "c")] == ["a", "c"]
    assert inside.visits == []
    assert await storage.read("b") == "b"
    assert inside.visits == ["get"]


class Slow(MemoryStorage[Any]):
    """Answers that a test holds back: what they say is what was true when the call came."""

    def __init__(self) -> None:
        super().__init__()
        self.held: asyncio.Event | None = None
        self.arrived = asyncio.Event()

    async def hold(self) -> None:
        if self.held is not None:
            held, self.held = self.held, None
            self.arrived.set()
            await held.wait()

    async def get(self, name: str) -> Payload | None:
        found = await super().get(name)
        await self.hold()
        return found

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        done = await super().put(name, payload, expected)
        await self.hold()
        return done


async def held(inside: Slow, call: Any) -> tuple[asyncio.Event, "asyncio.Task[Any]"]:
    """Start a call, and return once it is at the backend; its answer comes when the event is set."""
    go_on = inside.held = asyncio.Event()
    inside.arrived.clear()
    task = asyncio.ensure_future(call)
    await inside.arrived.wait()
    return go_on, task


async def test_an_answer_that_comes_after_a_write_does_not_bring_the_old_value_back() -> None:
    inside = Slow()
    storage = Cached(inside)
    await storage.write("chat:1", "old")
    go_on, reading = await held(inside, storage.read("chat:1"))
    await storage.write("chat:1", "new")
    go_on.set()
    assert await reading == "old"
    assert await storage.read("chat:1") == "new"


async def test_a_read_during_a_write_is_not_kept() -> None:
    inside = Slow()
    storage = Cached(inside)
    go_on, writing = await held(inside, storage.write("chat:1", "new"))
    await inside.write("chat:1", "in between")
    assert await storage.read("chat:1") == "in between"
    await inside.write("chat:1", "new")
    go_on.set()
    await writing
    assert await storage.read("chat:1") == "new"


async def test_of_two_writes_at_once_neither_is_kept_since_nobody_knows_which_came_last() -> None:
    inside = Slow()
    storage = Cached(inside)
    first = await storage.write_versioned("chat:1", 1, None)
    go_on, writing = await held(inside, storage.write_versioned("chat:1", 2, first))
    await storage.write("chat:1", 3)
    go_on.set()
    await writing
    assert await storage.read("chat:1") == 3


async def test_a_value_that_changes_while_it_is_written_is_kept_as_it_was_written() -> None:
    inside = Slow()
    storage = Cached(inside)
    value = {"n": 1}
    go_on, writing = await held(inside, storage.write_versioned("chat:1", value, None))
    value["n"] = 2
    go_on.set()
    await writing
    assert await storage.read("chat:1") == await inside.read("chat:1") == {"n": 1}


async def test_a_write_that_failed_is_forgotten_too() -> None:
    inside = Slow()
    storage = Cached(inside)
    await storage.write_versioned("chat:1", "old", None)
    _, writing = await held(inside, storage.write("chat:1", "new"))
    writing.cancel()
    await asyncio.wait([writing])
    assert await storage.read("chat:1") == "new"


async def test_after_closing_nothing_comes_from_memory() -> None:
    storage = Cached(MemoryStorage[Any]())
    await storage.write_versioned("chat:1", 1, None)
    await storage.aclose()
    with pytest.raises(StorageClosedError):
        await storage.read("chat:1")


async def test_bad_keys_are_refused_as_ever() -> None:
    storage: Any = Cached(MemoryStorage())
    for bad in ("", None, ["chat"], "x" * 513):
        for call in (storage.read(bad), storage.write(bad, 1), storage.read_many([bad]), storage.delete_many([bad])):
            with pytest.raises(InvalidKeyError):
                await call


async def test_a_storage_of_three_methods_is_cached_too() -> None:
    inside = Plain()
    storage: Any = Cached(inside)
    await storage.write("chat:1", 1)
    assert await storage.read("chat:1") == 1
    await inside.write("chat:1", 2)
    assert await storage.read("chat:1") == 1


@pytest.mark.parametrize("options", [{"max_age": timedelta(0)}, {"max_age": 10}, {"max_size": 0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Cached(MemoryStorage(), **options)
