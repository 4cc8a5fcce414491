"""A fallback: sessions can be read during an outage, and nothing diverges by it."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from failing import Failing
from recording import Plain
from satchel import Change, ConfigurationError, ConflictError, MemoryStorage, Sessions, StorageUnavailableError
from satchel.wrappers import Fallback, Mirrored

AT_ONCE = timedelta(microseconds=1)


async def pair(**options: Any) -> tuple[Failing, Failing, Fallback[Any]]:
    """Return two storages that hold the same, and a third that is both."""
    primary, secondary = Failing(), Failing()
    for storage in (primary, secondary):
        await storage.write_many({"a": {"n": 1}, "b": {"n": 2}})
    return primary, secondary, Fallback(primary, secondary, **{"pause": AT_ONCE, **options})


async def test_while_the_first_works_the_second_is_not_asked() -> None:
    _, secondary, storage = await pair()
    secondary.calls = 0
    assert await storage.read("a") == {"n": 1}
    assert await storage.read("nobody") is None
    await storage.write("a", {"n": 3})
    assert secondary.calls == 0


async def test_reads_come_from_the_second_while_the_first_is_away() -> None:
    primary, _, storage = await pair()
    primary.away = True
    assert await storage.read("a") == {"n": 1}
    record = await storage.read_versioned("a")
    assert record is not None
    assert record.value == {"n": 1}
    assert await storage.read_many(["a", "b"]) == {"a": {"n": 1}, "b": {"n": 2}}
    records = await storage.read_records(["a", "b"])
    assert {key: one.value for key, one in records.items()} == {"a": {"n": 1}, "b": {"n": 2}}


async def test_what_the_second_does_not_have_is_not_said_to_be_missing() -> None:
    primary, _, storage = await pair()
    primary.away = True
    for call in (
        storage.read("nobody"),
        storage.read_versioned("nobody"),
        storage.read_many(["a", "nobody"]),
        storage.read_records(["a", "nobody"]),
    ):
        with pytest.raises(StorageUnavailableError, match="memory:// does not answer, and the fallback does not have"):
            await call


async def test_with_both_away_the_error_names_both() -> None:
    primary, secondary, storage = await pair()
    primary.away = secondary.away = True
    with pytest.raises(
        StorageUnavailableError, match="does not answer; nor does the fallback help: memory://"
    ) as caught:
        await storage.read("a")
    assert isinstance(caught.value.__cause__, StorageUnavailableError)


async def test_nothing_is_written_to_the_second_and_nothing_listed_from_it() -> None:
    primary, secondary, storage = await pair()
    before = await secondary.read_records(["a", "b", "c"])
    primary.away = True
    for call in (
        storage.write("a", 9),
        storage.delete("a"),
        storage.write_versioned("c", 9, None),
        storage.write_versioned("a", 9, "some version"),
        storage.commit({"c": Change(9, None)}),
        storage.write_records({"c": Change(9, None)}),
        storage.touch("a"),
    ):
        with pytest.raises(StorageUnavailableError):
            await call
    assert await secondary.read_records(["a", "b", "c"]) == before


async def test_a_version_of_the_second_is_good_for_no_write() -> None:
    primary, _, storage = await pair()
    primary.away = True
    record = await storage.read_versioned("a")
    assert record is not None

    async def raise_with(kind: type[Exception]) -> None:
        assert record is not None
        for call in (
            storage.write_versioned("a", 9, record.version),
            storage.delete_versioned("a", record.version),
            storage.commit({"a": Change(9, record.version)}),
        ):
            with pytest.raises(kind):
                await call

    await raise_with(StorageUnavailableError)
    primary.away = False
    await raise_with(ConflictError)  # although both hold the same
    assert await primary.read("a") == {"n": 1}


async def test_a_session_that_was_loaded_from_the_second_is_merged_into_the_first() -> None:
    primary, _, storage = await pair()
    sessions = Sessions(storage)
    await primary.write("a", {"n": 1, "new": True})  # the second is behind
    primary.away = True
    async with sessions.open("a") as session:
        assert session.data == {"n": 1}
        session.data["mine"] = True
        primary.away = False
    assert await primary.read("a") == {"n": 1, "new": True, "mine": True}


async def test_a_changed_session_raises_while_the_first_is_away_and_an_unchanged_one_does_not() -> None:
    primary, _, storage = await pair()
    sessions = Sessions(storage, timeout=timedelta(seconds=5))
    primary.away = True
    async with sessions.open("a") as session:
        assert session.data == {"n": 1}
    with pytest.raises(StorageUnavailableError):
        async with sessions.open("a") as session:
            session.data["n"] = 2


async def test_during_an_outage_the_first_is_left_alone_for_a_while_until_a_write_gets_through() -> None:
    primary, _, storage = await pair(pause=timedelta(hours=1))
    primary.away = True
    await storage.read("a")
    primary.calls = 0
    for _ in range(3):
        await storage.read("a")
    assert primary.calls == 0
    primary.away = False
    await storage.write("a", {"n": 7})
    assert await storage.read("a") == {"n": 7}


async def test_the_log_says_once_that_it_reads_from_the_second_and_once_that_it_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    primary, _, storage = await pair()
    caplog.set_level(logging.WARNING, "satchel")
    primary.away = True
    calls = primary.calls
    while primary.calls < calls + 3:
        await storage.read("a")
        await asyncio.sleep(0)
    primary.away = False
    calls = primary.calls
    while primary.calls < calls + 3:  # after a pause of a millisecond
        await storage.read("a")
        await asyncio.sleep(0)
    assert [message for message in caplog.messages if message.startswith("reading")] == [
        "reading from <Failing memory://>: memory:// does not answer",
        "reading from <Failing memory://> again",
    ]


async def test_one_of_the_two_may_be_away_when_the_bot_starts() -> None:
    for primary_away, secondary_away in ((True, False), (False, True)):
        primary, secondary = Failing(), Failing()
        primary.away, secondary.away = primary_away, secondary_away
        async with Fallback(primary, secondary):
            pass
    primary, secondary = Failing(), Failing()
    primary.away = secondary.away = True
    with pytest.raises(StorageUnavailableError):
        await Fallback(primary, secondary).setup()


async def test_the_second_may_have_less_than_the_first() -> None:
    spare = Plain()
    await spare.write("a", 1)
    primary = Failing()
    storage = Fallback(primary, spare)
    primary.away = True
    assert await storage.read_many(["a"]) == {"a": 1}
    record = await storage.read_versioned("a")
    assert record is not None
    assert record.value == 1


async def test_a_mirror_is_a_fallback_that_is_up_to_date() -> None:
    primary, secondary = Failing(), MemoryStorage[Any]()
    storage = Fallback(Mirrored(primary, secondary), secondary)
    await storage.write("chat:1", {"n": 1})
    primary.away = True
    assert await storage.read("chat:1") == {"n": 1}


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="pause"):
        Fallback(MemoryStorage(), MemoryStorage(), pause=timedelta(0))
    with pytest.raises(ConfigurationError, match="int is no storage"):
        Fallback(MemoryStorage(), 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_conflict_shows_that_the_first_is_back() -> None:
    primary, secondary, storage = await pair(pause=timedelta(hours=1))
    await primary.write("a", {"n": 5})
    sessions: Sessions[Any] = Sessions(storage, initial=dict)
    primary.away = True
    async with sessions.open("a") as session:
        primary.away, secondary.calls = False, 0
        session.data["m"] = 1
    assert await primary.read("a") == {"n": 5, "m": 1}
    assert secondary.calls == 0
