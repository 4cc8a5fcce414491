"""Strict sessions: loaded on entry, saved on exit, and only if they changed."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from recording import Plain, Recording, put
from satchel import (
    JSON,
    ConfigurationError,
    ConflictError,
    EmptySessionError,
    InvalidKeyError,
    LockTimeoutError,
    MemoryStorage,
    NoSessionError,
    Session,
    SessionAlreadyOpenError,
    SessionClosedError,
    SessionError,
    Sessions,
    UnsupportedValueError,
    blocking,
)


@pytest.fixture
def storage() -> Recording:
    return Recording()


@pytest.fixture
def sessions(storage: Recording) -> Sessions[Any]:
    return Sessions(storage, initial=lambda: {"pizza": 0})


async def test_what_a_block_changes_is_there_for_the_next_one(sessions: Sessions[Any]) -> None:
    for count in range(3):
        async with sessions.open("chat:1") as session:
            assert session.data == {"pizza": count}
            session.data["pizza"] += 1
    assert await sessions.read("chat:1") == {"pizza": 3}


async def test_a_changed_session_costs_one_read_and_one_conditional_write(
    sessions: Sessions[Any], storage: Recording
) -> None:
    async with sessions.open("chat:1") as session:
        session.data["pizza"] += 1
    assert storage.visits == ["get", "put?"]


async def test_an_unchanged_session_is_not_written(sessions: Sessions[Any], storage: Recording) -> None:
    await storage.write("chat:1", {"pizza": 1})
    storage.visits.clear()
    async with sessions.open("chat:1") as session:
        session.data["pizza"] += 1
        session.data["pizza"] -= 1
    assert storage.visits == ["get"]


async def test_an_untouched_initial_is_not_written(sessions: Sessions[Any], storage: Recording) -> None:
    async with sessions.open("chat:1") as session:
        assert session.data == {"pizza": 0}
        assert session.is_new
    assert storage.visits == ["get"]


async def test_what_is_assigned_to_a_new_session_is_written_even_if_it_equals_initial(sessions: Sessions[Any]) -> None:
    async with sessions.open("chat:1") as session:
        session.data = {"pizza": 0}
    assert await sessions.read("chat:1") == {"pizza": 0}


async def test_a_number_that_only_changes_its_type_is_a_change(sessions: Sessions[Any]) -> None:
    async with sessions.open("chat:1") as session:
        session.data = {"pizza": 1}
    async with sessions.open("chat:1") as session:
        session.data["pizza"] = 1.0
    assert repr(await sessions.read("chat:1")) == "{'pizza': 1.0}"


async def test_nothing_is_written_when_the_block_raises(sessions: Sessions[Any], storage: Recording) -> None:
    with pytest.raises(RuntimeError, match="boom"):
        async with sessions.open("chat:1") as session:
            session.data["pizza"] = 9
            raise RuntimeError("boom")
    assert storage.visits == ["get"]


async def test_nothing_is_written_when_the_block_is_cancelled(sessions: Sessions[Any], storage: Recording) -> None:
    inside = asyncio.Event()

    async def handler() -> None:
        async with sessions.open("chat:1") as session:
            session.data["pizza"] = 9
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(handler())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert storage.visits == ["get"]
    async with sessions.open("chat:1") as session:  # the lock is free again
        assert session.is_new


@pytest.mark.parametrize("how", ["assign", "call"])
async def test_a_deleted_session_is_gone_after_the_block(sessions: Sessions[Any], storage: Recording, how: str) -> None:
    await storage.write("chat:1", {"pizza": 1})
    storage.visits.clear()
    async with sessions.open("chat:1") as session:
        if how == "assign":
            session.data = None
        else:
            session.delete()
        with pytest.raises(EmptySessionError, match="was deleted"):
            _ = session.data
        assert await storage.read("chat:1") == {"pizza": 1}
    assert await sessions.read("chat:1") is None
    assert storage.visits == ["get", "get", "drop?", "get"]


async def test_deleting_a_session_that_is_not_stored_costs_nothing(sessions: Sessions[Any], storage: Recording) -> None:
    async with sessions.open("chat:1") as session:
        session.delete()
    assert storage.visits == ["get"]


async def test_a_session_can_start_anew_after_it_was_deleted(sessions: Sessions[Any], storage: Recording) -> None:
    await storage.write("chat:1", {"pizza": 1})
    async with sessions.open("chat:1") as session:
        session.delete()
        await session.save()
        assert await storage.read("chat:1") is None
        session.data = {"pizza": 5}
    assert await sessions.read("chat:1") == {"pizza": 5}


async def test_without_data_and_without_initial_access_raises_and_nothing_is_done(storage: Recording) -> None:
    async with Sessions(storage).open("chat:1") as session:
        with pytest.raises(EmptySessionError, match="chat:1"):
            _ = session.data
        with pytest.raises(EmptySessionError):
            session.reset_state()
    assert storage.visits == ["get"]


async def test_assigning_needs_no_initial(storage: Recording) -> None:
    sessions = Sessions(storage)
    async with sessions.open("chat:1") as session:
        session.data = 7
    assert await sessions.read("chat:1") == 7


@pytest.mark.parametrize("value", [0, "", [], {}, False])
async def test_falsy_data_is_data(storage: Recording, value: Any) -> None:
    sessions = Sessions(storage, initial=lambda: "initial")
    async with sessions.open("chat:1") as session:
        session.data = value
    async with sessions.open("chat:1") as session:
        assert not session.is_new
        assert session.data == value


async def test_initial_is_made_anew_for_every_session() -> None:
    sessions = Sessions(MemoryStorage(), initial=lambda: {"items": []})
    async with sessions.open("chat:1") as session:
        session.data["items"].append(1)
    async with sessions.open("chat:2") as session:
        assert session.data == {"items": []}


async def test_state_is_set_by_field_and_reset_to_initial(sessions: Sessions[Any]) -> None:
    async with sessions.open("chat:1") as session:
        session.set_state({"name": "Zoë"}, pizza=2)
        session.set_state(pizza=3)
    assert await sessions.read("chat:1") == {"pizza": 3, "name": "Zoë"}
    async with sessions.open("chat:1") as session:
        session.delete()
        session.reset_state()
    assert await sessions.read("chat:1") == {"pizza": 0}


async def test_state_needs_a_dict() -> None:
    async with Sessions(MemoryStorage(), initial=lambda: [1]).open("chat:1") as session:
        with pytest.raises(SessionError, match="not list"):
            session.set_state(a=1)


async def test_what_is_saved_stays_saved_when_the_block_raises_later(sessions: Sessions[Any]) -> None:
    with pytest.raises(RuntimeError):
        async with sessions.open("chat:1") as session:
            session.data["pizza"] = 1
            await session.save()
            session.data["pizza"] = 2
            raise RuntimeError
    assert await sessions.read("chat:1") == {"pizza": 1}


async def test_saving_twice_writes_once(sessions: Sessions[Any], storage: Recording) -> None:
    async with sessions.open("chat:1") as session:
        session.data["pizza"] = 1
        await session.save()
        await session.save()
    assert storage.visits == ["get", "put?"]


async def test_use_after_the_block_raises(sessions: Sessions[Any]) -> None:
    async with sessions.open("chat:1") as session:
        pass
    for use in (
        lambda: session.data,
        lambda: session.is_new,
        session.delete,
        session.reset_state,
        lambda: session.set_state(a=1),
        lambda: setattr(session, "data", {}),
    ):
        with pytest.raises(SessionClosedError, match="chat:1"):
            use()
    with pytest.raises(SessionClosedError):
        await session.save()
    assert session.key == "chat:1"


async def test_an_update_without_a_key_has_no_session_and_costs_nothing(storage: Recording) -> None:
    sessions = Sessions(storage, key=lambda update: None, initial=dict)
    async with sessions.open(object()) as session:
        assert session.key is None
    async with sessions.open(object()) as session:
        with pytest.raises(NoSessionError):
            _ = session.data
        with pytest.raises(NoSessionError):
            session.data = {}
        with pytest.raises(NoSessionError):
            await session.save()
    for call in (sessions.read(object()), sessions.delete(object()), sessions.update(object(), put())):
        with pytest.raises(NoSessionError, match="object"):
            await call
    assert storage.visits == []


@pytest.mark.parametrize("key", ["", 42, "x" * 513, "\ud800"])
async def test_a_bad_key_from_the_key_function_is_refused_before_anything_is_done(storage: Recording, key: Any) -> None:
    sessions = Sessions(storage, key=lambda update: key)
    with pytest.raises(InvalidKeyError):
        async with sessions.open(object()):
            raise AssertionError
    with pytest.raises(InvalidKeyError):
        async with sessions.lazy(object()):
            raise AssertionError
    assert storage.visits == []


async def test_data_that_cannot_be_stored_raises_and_the_old_session_stays(sessions: Sessions[Any]) -> None:
    async with sessions.open("chat:1") as session:
        session.data["pizza"] = 1
    with pytest.raises(UnsupportedValueError, match=r"^\$\.tags is a set"):
        async with sessions.open("chat:1") as session:
            session.data["tags"] = {"x"}
    assert await sessions.read("chat:1") == {"pizza": 1}


async def test_updates_of_one_key_run_one_after_the_other(sessions: Sessions[Any]) -> None:
    async def handler() -> None:
        async with sessions.open("chat:1") as session:
            count = session.data["pizza"]
            await asyncio.sleep(0)
            session.data["pizza"] = count + 1

    await asyncio.gather(*(handler() for _ in range(50)))
    assert await sessions.read("chat:1") == {"pizza": 50}


async def test_updates_of_different_keys_run_side_by_side(sessions: Sessions[Any]) -> None:
    async with sessions.open("chat:1") as one, sessions.open("chat:2") as two:
        one.data["pizza"], two.data["pizza"] = 1, 2
    assert await sessions.read("chat:1") == {"pizza": 1}
    assert await sessions.read("chat:2") == {"pizza": 2}


@pytest.mark.parametrize("how", ["open", "lazy", "update", "delete", "rename"])
async def test_opening_a_session_inside_of_itself_raises_instead_of_hanging(sessions: Sessions[Any], how: str) -> None:
    async with sessions.open("chat:1") as session:
        session.data["pizza"] = 1
        with pytest.raises(SessionAlreadyOpenError, match="chat:1"):
            match how:
                case "open":
                    async with sessions.open("chat:1"):
                        pass
                case "lazy":
                    async with sessions.lazy("chat:1") as lazy:
                        await lazy
                case "update":
                    await sessions.update("chat:1", put(pizza=1))
                case "delete":
                    await sessions.delete("chat:1")
                case "rename":
                    await sessions.rename("chat:1", "chat:2")
    assert await sessions.read("chat:1") == {"pizza": 1}


async def test_waiting_for_a_busy_session_ends_with_the_timeout() -> None:
    sessions = Sessions(MemoryStorage(), initial=dict, timeout=timedelta(milliseconds=20))
    async with sessions.open("chat:1"):

        async def other() -> None:
            async with sessions.open("chat:1"):
                pass

        with pytest.raises(LockTimeoutError, match=r"chat:1.* in use for 0.02 s"):
            await asyncio.create_task(other())


async def test_an_idle_lock_leaves_nothing_behind(sessions: Sessions[Any]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(100):
            tasks.create_task(sessions.update(f"chat:{number % 10}", put(pizza=1)))
    assert sessions.lock._waiting == {}  # type: ignore[attr-defined]


async def test_update_saves_what_a_function_changes_and_returns_what_it_returns(sessions: Sessions[Any]) -> None:
    async def bake(session: Session[Any]) -> str:
        await asyncio.sleep(0)
        session.data["pizza"] += 8
        return "baked"

    assert await sessions.update("chat:1", bake) == "baked"
    assert await sessions.update("chat:1", lambda session: session.data.pop("pizza")) == 8
    assert await sessions.read("chat:1") == {}


async def test_update_can_delete(sessions: Sessions[Any]) -> None:
    await sessions.update("chat:1", put(pizza=1))
    await sessions.update("chat:1", Session.delete)
    assert await sessions.read("chat:1") is None


async def test_an_update_that_raises_writes_nothing(sessions: Sessions[Any], storage: Recording) -> None:
    with pytest.raises(ZeroDivisionError):
        await sessions.update("chat:1", lambda session: session.data["pizza"] / 0)
    assert storage.visits == ["get"]


async def test_rename_moves_a_session(sessions: Sessions[Any]) -> None:
    await sessions.update("chat:1", put(pizza=1))
    assert await sessions.rename("chat:1", "chat:-1001") is True
    assert await sessions.read("chat:1") is None
    assert await sessions.read("chat:-1001") == {"pizza": 1}
    assert await sessions.rename("chat:1", "chat:-1001") is False


async def test_rename_to_itself_changes_nothing(sessions: Sessions[Any]) -> None:
    await sessions.update("chat:1", put(pizza=1))
    assert await sessions.rename("chat:1", "chat:1") is True
    assert await sessions.read("chat:1") == {"pizza": 1}


async def test_rename_never_overwrites_other_data(sessions: Sessions[Any]) -> None:
    await sessions.update("chat:1", put(pizza=1))
    await sessions.update("chat:2", put(pizza=2))
    with pytest.raises(ConflictError, match="chat:2.* exists already"):
        await sessions.rename("chat:1", "chat:2")
    assert await sessions.read("chat:1") == {"pizza": 1}
    assert await sessions.read("chat:2") == {"pizza": 2}


async def test_an_interrupted_rename_is_finished_by_doing_it_again(sessions: Sessions[Any], storage: Recording) -> None:
    await storage.write("chat:1", {"pizza": 1})
    await storage.write("chat:2", {"pizza": 1})  # copied, and then the process died
    assert await sessions.rename("chat:1", "chat:2") is True
    assert await sessions.read("chat:1") is None
    assert await sessions.read("chat:2") == {"pizza": 1}


async def test_rename_waits_for_whoever_has_the_session_open(sessions: Sessions[Any]) -> None:
    async with sessions.open("chat:1") as session:
        moving = asyncio.create_task(sessions.rename("chat:1", "chat:2"))
        await asyncio.sleep(0)
        session.data["pizza"] = 1
    assert await moving is True
    assert await sessions.read("chat:2") == {"pizza": 1}


async def test_a_storage_of_three_methods_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "satchel"):
        sessions = Sessions(Plain(), initial=lambda: {"n": 0})
    assert [record.name for record in caplog.records] == ["satchel"]
    assert "has no versions" in caplog.text
    async with sessions.open("a") as session:
        session.data["n"] += 1
    await sessions.update("a", lambda session: session.set_state(n=session.data["n"] + 1))
    assert await sessions.rename("a", "b")
    async with sessions.open("b") as session:
        assert session.data == {"n": 2}
        session.delete()
    assert await sessions.read("b") is None


@pytest.mark.parametrize(
    "options",
    [
        {"storage": object()},
        {"on_conflict": "ignore"},
        {"initial": {"pizza": 0}},
        {"timeout": timedelta(0)},
        {"timeout": 30},
        {"key": "chat"},
        {"key": None},
        {"lock": "chat"},
        {"lock": None},
        {"lock": MemoryStorage()},
    ],
)
def test_wrong_options_are_refused_at_once(options: dict[str, Any]) -> None:
    wrong: Any = {"storage": MemoryStorage()} | options
    with pytest.raises(ConfigurationError):
        Sessions(**wrong)


class Named(blocking.Storage[Any]):
    """A blocking storage of somebody's own."""


@pytest.mark.parametrize("kind", [blocking.Storage, Named])
def test_a_storage_for_blocking_callers_is_refused(kind: type[blocking.Storage[Any]]) -> None:
    wrong: Any = kind(MemoryStorage())
    with pytest.raises(ConfigurationError, match="<blocking .*> is for blocking callers"):
        Sessions(wrong)


async def test_a_deleted_session_that_cannot_be_reset_stays_deleted() -> None:
    storage: MemoryStorage[Any] = MemoryStorage()
    await storage.write("chat:1", {"n": 1})
    async with Sessions[Any](storage).open("chat:1") as session:
        session.delete()
        with pytest.raises(EmptySessionError):
            session.reset_state()
    assert await storage.read("chat:1") is None


def test_what_compresses_or_encrypts_is_for_the_storage() -> None:
    with pytest.raises(ConfigurationError, match="the storage's codec"):
        Sessions(MemoryStorage(), codec=JSON.compressed())
