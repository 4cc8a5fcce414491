"""Retries: a backend that is away for a moment is not noticed, and nobody's write is lost to a repetition."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from failing import Failing
from satchel import (
    ANY,
    JSON,
    Change,
    ConfigurationError,
    ConflictError,
    Expected,
    MemoryStorage,
    Payload,
    Sessions,
    StorageUnavailableError,
    UnsupportedValueError,
)
from satchel.wrappers import Retrying

QUICK = timedelta(milliseconds=1)


def retrying(inside: Any, **options: Any) -> Retrying[Any]:
    return Retrying(inside, **{"first_wait": QUICK, "longest_wait": QUICK, **options})


async def test_every_call_survives_a_backend_that_is_away_for_a_moment() -> None:
    inside = Failing(ttl=timedelta(hours=1))
    storage = retrying(inside)
    inside.fails = 2
    await storage.setup()
    inside.fails = 2
    await storage.write("a", 1)
    inside.fails = 2
    assert await storage.read("a") == 1
    inside.fails = 2
    version = await storage.write_versioned("b", 1, None)
    inside.fails = 2
    version = await storage.write_versioned("b", 2, version)
    inside.fails = 2
    assert await storage.read_versioned("b") == (2, version)
    inside.fails = 2
    assert await storage.read_many(key for key in ("a", "b")) == {"a": 1, "b": 2}
    inside.fails = 2
    assert await storage.touch("a")
    inside.fails = 2
    versions = await storage.commit({"b": Change(3, version), "c": Change(3, None)})
    inside.fails = 2
    versions = await storage.write_records({"b": Change(4, versions["b"])})
    inside.fails = 2
    await storage.delete_versioned("b", versions["b"])
    inside.fails = 2
    await storage.delete("a")
    assert [key async for key in storage.keys()] == ["c"]


async def test_attempts_are_bounded() -> None:
    inside = Failing()
    inside.away = True
    with pytest.raises(StorageUnavailableError, match="memory:// does not answer"):
        await retrying(inside, attempts=3).read("chat:1")
    assert inside.calls == 3


async def test_time_is_bounded() -> None:
    inside = Failing()
    inside.away = True
    start = time.monotonic()
    with pytest.raises(StorageUnavailableError):
        await retrying(inside, attempts=10**9, timeout=timedelta(milliseconds=50)).read("chat:1")
    assert time.monotonic() - start < 5
    assert inside.calls > 1


async def test_calls_at_the_same_time_do_not_count_each_others_attempts() -> None:
    inside = Failing()
    storage = retrying(inside, attempts=4)
    await storage.setup()
    inside.away = True
    inside.calls = 0
    results = await asyncio.gather(*(storage.read(f"chat:{n}") for n in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {StorageUnavailableError}
    assert inside.calls == 80


async def test_only_what_may_help_is_repeated() -> None:
    inside = Failing()
    storage = retrying(inside)
    await storage.write("chat:1", 1)
    inside.calls = 0
    with pytest.raises(ConflictError):
        await storage.write_versioned("chat:1", 2, None)
    with pytest.raises(UnsupportedValueError):
        await storage.write("chat:1", {1})
    assert inside.calls == 1


async def test_a_conditional_write_whose_answer_was_lost_is_neither_a_success_nor_a_conflict() -> None:
    inside = Failing()
    storage = retrying(inside)
    version = await storage.write_versioned("chat:1", {"n": 1}, None)
    inside.lost = 1
    with pytest.raises(StorageUnavailableError, match="changed since; by this call, or by somebody else") as caught:
        await storage.write_versioned("chat:1", {"n": 2}, version)
    assert isinstance(caught.value.__cause__, ConflictError)
    assert await storage.read("chat:1") == {"n": 2}


class Overtaken(Failing):
    """The first conditional write does not arrive, and meanwhile somebody else writes."""

    theirs: Any = None

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if self.theirs is None:
            return await super().put(name, payload, expected)
        theirs, self.theirs = self.theirs, None
        await MemoryStorage.put(self, name, JSON.encode(theirs))
        raise StorageUnavailableError("memory:// did not answer in time")


@pytest.mark.parametrize("theirs", [6, 7])
async def test_what_somebody_else_wrote_meanwhile_is_never_taken_for_ours_nor_overwritten(theirs: int) -> None:
    """To take a record that holds my value for my own write would lose one of two increments from 5 to 6."""
    inside = Overtaken()
    version = await inside.write_versioned("counter", 5, None)
    inside.theirs = theirs
    with pytest.raises(StorageUnavailableError, match="by somebody else"):
        await retrying(inside).write_versioned("counter", 6, version)
    assert await inside.read("counter") == theirs


async def test_a_conditional_delete_and_a_commit_are_as_careful() -> None:
    inside = Failing()
    storage = retrying(inside)
    version = await storage.write_versioned("chat:1", 1, None)
    inside.lost = 1
    with pytest.raises(StorageUnavailableError, match="by somebody else"):
        await storage.commit({"chat:1": Change(2, version)})
    record = await storage.read_versioned("chat:1")
    assert record is not None
    inside.lost = 1
    with pytest.raises(StorageUnavailableError, match="by somebody else"):
        await storage.delete_versioned("chat:1", record.version)
    assert await storage.read("chat:1") is None


async def test_sessions_are_saved_in_spite_of_a_short_outage() -> None:
    inside = Failing()
    sessions = Sessions(retrying(inside), initial=lambda: {"n": 0})
    for _ in range(5):
        inside.fails = 2
        async with sessions.open("chat:1") as session:
            session.data["n"] += 1
            inside.fails = 2
    assert await sessions.read("chat:1") == {"n": 5}


class FailingList(MemoryStorage[Any]):
    """A listing that breaks off: before its first page, and later after it."""

    def __init__(self) -> None:
        super().__init__()
        self.breaks = ["before", "after"]

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        when = self.breaks.pop(0) if self.breaks else ""
        if when == "before":
            raise StorageUnavailableError("memory:// does not answer")
        yield [f"{prefix}a"]
        if when == "after":
            raise StorageUnavailableError("memory:// does not answer")
        yield [f"{prefix}b"]


async def test_a_listing_is_begun_again_but_gives_no_key_twice() -> None:
    storage = retrying(FailingList())
    listed = []
    with pytest.raises(StorageUnavailableError):
        async for key in storage.keys():
            listed.append(key)  # noqa: PERF401  # it raises halfway
    assert listed == ["a"]
    assert [key async for key in storage.keys()] == ["a", "b"]


@pytest.mark.parametrize(
    "options", [{"attempts": 0}, {"timeout": timedelta(0)}, {"first_wait": 1}, {"longest_wait": "1"}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Retrying(MemoryStorage(), **options)


async def test_of_several_records_it_is_said_which_may_have_been_changed_by_somebody_else() -> None:
    inside = Failing()
    storage = retrying(inside)
    version = await storage.write_versioned("chat:1", 1, None)
    inside.lost = 1
    with pytest.raises(StorageUnavailableError, match="in time, and 'chat:1' has changed since; by this"):
        await storage.write_records({"chat:1": Change(2, version)})
    assert await storage.read("chat:1") == 2
    assert await storage.write_records({"chat:1": Change(3, version), "chat:2": Change(1, None)}) == {
        "chat:2": inside.version_of(b"1")
    }
