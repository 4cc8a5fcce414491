"""Bottender's session: its state, its id, when it was last active, and what was wrong there."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recording import Recording, put
from satchel import ConfigurationError, EmptySessionError, MemoryStorage, SessionError, Sessions, session_key
from satchel import blocking as threads

MINUTE = timedelta(minutes=1)


class Clock:
    """The time that sessions see: it passes when the test says so."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __call__(self) -> int:
        return int(self.now.timestamp() * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("satchel.lifetimes.now", clock)
    return clock


@pytest.fixture
def storage() -> Recording:
    return Recording()


async def test_a_new_conversation_starts_from_the_initial_state(storage: Recording) -> None:
    sessions = Sessions(storage, initial=lambda: {"count": 0})
    for expected in (1, 2):
        async with sessions.open("telegram:42") as session:
            session.set_state(count=session.state["count"] + 1)
            assert session.state == {"count": expected}


async def test_initial_state_is_made_anew_for_each_conversation(storage: Recording) -> None:
    sessions = Sessions(storage, initial=lambda: {"items": []})
    for chat in ("telegram:1", "telegram:2"):
        async with sessions.open(chat) as session:
            session.data["items"].append(chat)
    assert await storage.read("telegram:2") == {"items": ["telegram:2"]}


async def test_updates_of_state_are_merged_shallowly(storage: Recording) -> None:
    await storage.write("telegram:42", {"count": 1, "order": {"size": "L", "drink": "tea"}})
    async with Sessions(storage).open("telegram:42") as session:
        session.set_state({"order": {"size": "M"}}, name="Ada")
        assert session.state == {"count": 1, "order": {"size": "M"}, "name": "Ada"}
        session.set_state({"self": 1, "state": 2})
    assert await storage.read("telegram:42") == {
        "count": 1, "order": {"size": "M"}, "name": "Ada", "self": 1, "state": 2
    }  # fmt: skip


async def test_state_is_to_look_at(storage: Recording) -> None:
    async with Sessions(storage, initial=lambda: {"count": 0}).open("telegram:42") as session:
        state: Any = session.state
        with pytest.raises(TypeError):
            state["count"] = 1
        session.set_state(count=2)
        assert state == {"count": 2}


async def test_resetting_goes_back_to_the_initial_state(storage: Recording) -> None:
    await storage.write("telegram:42", {"count": 5, "name": "Ada"})
    async with Sessions(storage, initial=lambda: {"count": 0}).open("telegram:42") as session:
        session.reset_state()
        assert session.state == {"count": 0}
    assert await storage.read("telegram:42") == {"count": 0}

    async with Sessions(storage).open("telegram:42") as session:
        with pytest.raises(EmptySessionError):
            session.reset_state()
        assert session.state == {"count": 0}


async def test_new_defaults_reach_old_conversations(storage: Recording) -> None:
    """Bottender copied its initial state once: what was added to it later was missing for ever."""
    await storage.write("telegram:42", {"count": 5})
    sessions = Sessions(storage, initial=lambda: {"count": 0, "language": "en"}, backfill=True)
    async with sessions.open("telegram:42") as session:
        assert session.state == {"count": 5, "language": "en"}


async def test_state_is_of_data_that_is_a_dict(storage: Recording) -> None:
    async with Sessions(storage, initial=lambda: [1]).open("telegram:42") as session:
        for use in (lambda: session.state, lambda: session.set_state(a=1)):
            with pytest.raises(SessionError, match="a dict, not list"):
                use()


async def test_state_of_a_lazy_session_is_there_once_it_was_awaited(storage: Recording) -> None:
    async with Sessions(storage, initial=lambda: {"count": 0}).lazy("telegram:42") as session:
        with pytest.raises(SessionError, match="read by awaiting it"):
            _ = session.state
        with pytest.raises(SessionError, match="read by awaiting it"):
            _ = session.last_activity
        await session
        assert session.state == {"count": 0}
        assert session.last_activity is None


async def test_the_id_is_the_platform_and_the_key_and_no_two_are_the_same(storage: Recording) -> None:
    assert session_key("telegram", 16423) == "telegram:16423"
    ids = [session_key("line", "U4af"), session_key("line:U4af"), session_key("line", "U4af", "x"),
           session_key("line:U4af", "x"), session_key("line", "U4af:x")]  # fmt: skip
    assert len(set(ids)) == len(ids)
    async with Sessions(storage, initial=dict).open("../telegram:..//16423") as session:
        session.data["n"] = 1
        assert session.key == "../telegram:..//16423"
    assert await storage.read("../telegram:..//16423") == {"n": 1}


async def test_every_write_notes_when_the_session_was_last_active(storage: Recording, clock: Clock) -> None:
    sessions = Sessions(storage, initial=lambda: {"count": 0}, activity=MINUTE)
    seen = []
    for seconds in (0, 1, 2):
        clock.now += timedelta(seconds=seconds)
        async with sessions.open("telegram:42") as session:
            seen.append(session.last_activity)
            session.data["count"] += 1
    start = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert seen == [None, start, start + timedelta(seconds=1)]
    assert storage.visits == ["get", "put?"] * 3


async def test_a_turn_that_changes_nothing_writes_only_where_the_note_is_older_than_its_precision(
    storage: Recording, clock: Clock
) -> None:
    sessions = Sessions(storage, activity=MINUTE)
    async with Sessions(storage, initial=dict, activity=MINUTE).open("telegram:42") as session:
        session.data["n"] = 1
    storage.visits.clear()

    start = clock.now
    for seconds, visits in ((59, ["get"]), (60, ["get", "put?"]), (61, ["get"]), (120, ["get", "put?"])):
        clock.now = start + timedelta(seconds=seconds)
        async with sessions.open("telegram:42") as session:
            assert session.data == {"n": 1}
        assert storage.visits == visits, seconds
        storage.visits.clear()
    async with sessions.open("telegram:42") as session:
        assert session.last_activity == start + timedelta(seconds=120)


async def test_a_conversation_that_never_wrote_has_no_record_to_note_anything_in(storage: Recording) -> None:
    async with Sessions(storage, initial=dict, activity=MINUTE).open("telegram:42") as session:
        assert session.last_activity is None
    assert storage.visits == ["get"]


async def test_data_that_was_stored_without_a_note_stays_readable_and_gets_one(
    storage: Recording, clock: Clock
) -> None:
    await storage.write("telegram:42", {"n": 1})
    sessions = Sessions(storage, activity=MINUTE)
    async with sessions.open("telegram:42") as session:
        assert (session.data, session.last_activity) == ({"n": 1}, None)
    async with sessions.open("telegram:42") as session:
        assert (session.data, session.last_activity) == ({"n": 1}, clock.now)

    async with Sessions(storage).open("telegram:42") as session:  # somebody who keeps no note leaves it
        assert (session.data, session.last_activity) == ({"n": 1}, clock.now)
        session.data["n"] = 2
    assert await storage.read("telegram:42") == {
        "$satchel": {"created": clock(), "used": clock()}, "data": {"n": 2}
    }  # fmt: skip


async def test_save_and_update_note_it_too(storage: Recording, clock: Clock) -> None:
    sessions = Sessions(storage, initial=dict, activity=MINUTE)
    async with sessions.open("telegram:42") as session:
        session.data["n"] = 1
        await session.save()
    clock.now += timedelta(seconds=5)
    await sessions.update("telegram:42", put(n=2))
    async with sessions.open("telegram:42") as session:
        assert session.last_activity == clock.now


async def test_an_idle_timeout_notes_it_as_well_and_the_finer_of_both_counts(storage: Recording, clock: Clock) -> None:
    for activity, precision in ((None, 60), (MINUTE / 2, 30), (10 * MINUTE, 60)):
        sessions = Sessions[Any](storage, initial=dict, idle_timeout=10 * MINUTE, activity=activity)
        async with sessions.open("telegram:42") as session:
            session.data = {"n": precision}
        for seconds, writes in ((precision - 1, False), (1, True)):
            clock.now += timedelta(seconds=seconds)
            storage.visits.clear()
            async with sessions.open("telegram:42") as session:
                assert session.last_activity is not None
            assert ("put?" in storage.visits) == writes


@pytest.mark.parametrize("activity", [timedelta(0), -MINUTE])
def test_a_precision_is_positive(activity: timedelta) -> None:
    with pytest.raises(ConfigurationError, match="activity is"):
        Sessions(MemoryStorage(), activity=activity)


@pytest.fixture
def blocking() -> Iterator[threads.Storage[Any]]:
    with threads.open_storage("memory://") as opened:
        yield opened


def test_it_is_all_there_for_blocking_bots(blocking: threads.Storage[Any], clock: Clock) -> None:
    sessions = threads.Sessions[Any](blocking, initial=lambda: {"count": 0}, activity=MINUTE)
    with sessions.lazy("telegram:42") as lazy:
        assert lazy.state == {"count": 0}
        lazy.set_state(count=1)
    with sessions.open("telegram:42") as session:
        assert session.state == {"count": 1}
        assert session.last_activity == clock.now
