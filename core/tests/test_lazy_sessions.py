"""Lazy sessions: nothing is read until it is asked for, and nothing is written that was not touched."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from recording import Recording
from satchel import (
    EmptySessionError,
    LazySession,
    MemoryStorage,
    NoSessionError,
    Payload,
    SessionClosedError,
    SessionError,
    Sessions,
)


@pytest.fixture
def storage() -> Recording:
    return Recording()


@pytest.fixture
def sessions(storage: Recording) -> Sessions[Any]:
    return Sessions(storage, initial=lambda: {"pizza": 0})


async def test_an_untouched_session_costs_nothing(sessions: Sessions[Any], storage: Recording) -> None:
    async with sessions.lazy("chat:1") as session:
        assert session.key == "chat:1"
    assert storage.visits == []


async def test_awaiting_reads_once(sessions: Sessions[Any], storage: Recording) -> None:
    async with sessions.lazy("chat:1") as session:
        first, second = await asyncio.gather(_get(session), _get(session))
        assert first is second is await session is session.data
        assert session.is_new
    assert storage.visits == ["get"]


async def test_a_change_after_reading_is_one_conditional_write(sessions: Sessions[Any], storage: Recording) -> None:
    async with sessions.lazy("chat:1") as session:
        data = await session
        data["pizza"] += 1
    assert storage.visits == ["get", "put?"]
    assert await sessions.read("chat:1") == {"pizza": 1}


async def test_assigning_skips_the_read(sessions: Sessions[Any], storage: Recording) -> None:
    async with sessions.lazy("chat:1") as session:
        session.data = {"pizza": 5}
        assert session.data == {"pizza": 5}
        assert await session == {"pizza": 5}
    assert storage.visits == ["put"]


async def test_an_awaitable_may_be_assigned(sessions: Sessions[Any], storage: Recording) -> None:
    async def later() -> dict[str, int]:
        await asyncio.sleep(0)
        return {"pizza": 6}

    async with sessions.lazy("chat:1") as session:
        session.data = later()
    assert storage.visits == ["put"]
    async with sessions.lazy("chat:1") as session:
        session.data = later()
        (await session)["pizza"] = 7
    assert await sessions.read("chat:1") == {"pizza": 7}


async def test_an_awaitable_of_none_deletes(sessions: Sessions[Any], storage: Recording) -> None:
    await storage.write("chat:1", {"pizza": 1})
    async with sessions.lazy("chat:1") as session:
        session.data = asyncio.sleep(0)
    assert await sessions.read("chat:1") is None


async def test_nothing_assigned_is_awaited_or_written_when_the_block_raises(
    sessions: Sessions[Any], storage: Recording
) -> None:
    async def never() -> Any:
        raise AssertionError

    with pytest.raises(RuntimeError, match="boom"):
        async with sessions.lazy("chat:1") as session:
            session.data = never()
            raise RuntimeError("boom")
    assert storage.visits == []


async def test_deleting_skips_the_read(sessions: Sessions[Any], storage: Recording) -> None:
    await storage.write("chat:1", {"pizza": 1})
    storage.visits.clear()
    async with sessions.lazy("chat:1") as session:
        session.delete()
        with pytest.raises(EmptySessionError, match="was deleted"):
            await session
    assert storage.visits == ["drop"]


async def test_a_session_that_was_not_awaited_says_so(sessions: Sessions[Any]) -> None:
    async with sessions.lazy("chat:1") as session:
        with pytest.raises(SessionError, match="data = await session"):
            _ = session.data
        with pytest.raises(SessionError, match="data = await session"):
            _ = session.is_new
        with pytest.raises(SessionError, match="data = await session"):
            session.set_state(pizza=1)


async def test_saving_goes_on_from_what_was_saved(sessions: Sessions[Any], storage: Recording) -> None:
    async with sessions.lazy("chat:1") as session:
        data = await session
        data["pizza"] = 1
        await session.save()
        data["pizza"] = 2
    assert storage.visits == ["get", "put?", "put?"]
    assert await sessions.read("chat:1") == {"pizza": 2}


async def test_an_update_without_a_key_is_free_until_it_is_touched(storage: Recording) -> None:
    sessions = Sessions(storage, key=lambda update: None, initial=dict)
    async with sessions.lazy(object()) as session:
        with pytest.raises(NoSessionError):
            await session
        with pytest.raises(NoSessionError):
            session.data = {}
    assert storage.visits == []


async def test_use_after_the_block_raises(sessions: Sessions[Any]) -> None:
    async with sessions.lazy("chat:1") as session:
        await session
    with pytest.raises(SessionClosedError):
        await session
    with pytest.raises(SessionClosedError):
        session.data = {}


async def test_touched_sessions_of_one_key_run_one_after_the_other(sessions: Sessions[Any]) -> None:
    async def handler() -> None:
        async with sessions.lazy("chat:1") as session:
            data = await session
            count = data["pizza"]
            await asyncio.sleep(0)
            data["pizza"] = count + 1

    await asyncio.gather(*(handler() for _ in range(50)))
    assert await sessions.read("chat:1") == {"pizza": 50}


async def _get(session: Any) -> Any:
    return await session


async def test_who_waits_for_a_block_that_has_ended_keeps_nobody_out() -> None:
    sessions: Sessions[Any] = Sessions(MemoryStorage(), initial=dict, timeout=timedelta(seconds=1))
    async with sessions.open("chat:1"), sessions.lazy("chat:1") as session:
        waiting = [asyncio.create_task(_get(session)) for _ in range(2)]
        await asyncio.sleep(0)
    for task in waiting:
        with pytest.raises(SessionClosedError):
            await task
    async with sessions.open("chat:1"):
        pass


async def test_what_is_assigned_while_it_is_read_is_kept() -> None:
    class Slow(MemoryStorage[Any]):
        async def get(self, name: str) -> Payload | None:
            await asyncio.sleep(0)
            return await super().get(name)

    async def assign(session: LazySession[Any]) -> None:
        session.data = {"pizza": 2}

    sessions: Sessions[Any] = Sessions(Slow())
    for stored in ({"pizza": 1}, {"pizza": 2}, None):
        async with sessions.lazy("chat:1") as session:
            session.data = stored
        async with sessions.lazy("chat:1") as session:
            await asyncio.gather(_get(session), assign(session))
            assert session.data == {"pizza": 2}
        assert await sessions.read("chat:1") == {"pizza": 2}


async def test_what_was_promised_is_not_known_before_it_is_awaited(sessions: Sessions[Any], storage: Recording) -> None:
    await storage.write("chat:1", {"pizza": 1})

    async def later() -> dict[str, int]:
        return {"pizza": 2}

    async with sessions.lazy("chat:1") as session:
        await session
        session.data = later()
        with pytest.raises(SessionError, match="awaiting it"):
            _ = session.data
        assert await session == {"pizza": 2}
