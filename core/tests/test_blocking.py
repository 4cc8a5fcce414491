"""The blocking facade: the same names, from any thread, on real storages."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import satchel
from recording import Plain
from satchel import (
    Change,
    ConfigurationError,
    ConflictError,
    LockTimeoutError,
    MemoryStorage,
    NoSessionError,
    SatchelError,
    SessionAlreadyOpenError,
    SessionClosedError,
    StorageClosedError,
)
from satchel.blocking import Sessions, Storage, open_storage, run


@pytest.fixture
def storage() -> Iterator[Storage[Any]]:
    with open_storage("memory://?ttl=1h") as opened:
        yield opened


def test_a_storage_has_every_method_of_the_asynchronous_one(storage: Storage[Any]) -> None:
    version = storage.write_versioned("chat:1", {"n": 1}, None)
    assert storage.read("chat:1") == {"n": 1}
    assert storage.read_versioned("chat:1") == ({"n": 1}, version)
    with pytest.raises(ConflictError):
        storage.write_versioned("chat:1", {"n": 2}, None)
    assert storage.touch("chat:1")
    storage.write_many({"chat:2": 2, "chat:3": 3})
    assert storage.read_many(["chat:2", "nobody"]) == {"chat:2": 2}
    assert sorted(storage.keys("chat:")) == ["chat:1", "chat:2", "chat:3"]
    assert next(storage.keys()).startswith("chat:")
    records = storage.read_records(["chat:1"])
    assert storage.commit({"chat:1": Change(None, records["chat:1"].version)}) == {}
    assert set(storage.write_records({"chat:1": Change(1, None), "chat:2": Change(1, None)})) == {"chat:1"}
    storage.delete_many(["chat:2"])
    storage.write("chat:1", 1)
    record = storage.read_versioned("chat:1")
    assert record is not None
    storage.delete_versioned("chat:1", record.version)
    storage.delete("chat:3")
    assert list(storage.keys()) == []
    assert storage.purge_expired() == 0
    assert storage.capabilities == MemoryStorage.capabilities
    assert repr(storage) == "<blocking <MemoryStorage memory://>>"


def test_every_method_is_called_the_same() -> None:
    protocols = (satchel.StorageAdapter, satchel.Versioned, satchel.Expiring, satchel.Listing, satchel.Batch)
    several = (satchel.Transactional, satchel.VersionedBatch)
    methods = {name for kind in (*protocols, *several) for name in vars(kind) if not name.startswith("_")}
    assert methods <= set(dir(Storage))
    internal = {"lock", "is_locked", "strict", "unread", "using"}
    assert {name for name in dir(satchel.Sessions) if not name.startswith("_")} - internal <= set(dir(Sessions))


def test_a_method_that_the_storage_does_not_have_says_so() -> None:
    with pytest.raises(AttributeError, match=r"has no keys\(\)"):
        list(Storage(Plain()).keys())
    with pytest.raises(ConfigurationError, match="object is no storage"):
        Storage(object())  # type: ignore[arg-type]


def test_a_session_is_saved_at_the_end_of_its_block_unless_that_raises(storage: Storage[Any]) -> None:
    sessions = Sessions[Any](storage, initial=lambda: {"n": 0})
    with sessions.open("chat:1") as session:
        assert session.is_new
        session.data["n"] += 1
        session.set_state(name="Ada")
        session.save()
        assert storage.read("chat:1") == {"n": 1, "name": "Ada"}
    with pytest.raises(ZeroDivisionError), sessions.open("chat:1") as session:
        session.data["n"] = 9
        raise ZeroDivisionError
    assert sessions.read("chat:1") == {"n": 1, "name": "Ada"}
    with pytest.raises(SessionClosedError):
        _ = session.data

    with sessions.open("chat:1") as session:
        session.reset_state()
        assert session.data == {"n": 0}
        session.delete()
    assert sessions.read("chat:1") is None


def test_a_lazy_session_is_read_when_it_is_asked_for(storage: Storage[Any]) -> None:
    sessions = Sessions[Any](storage, initial=lambda: {"n": 0})
    with sessions.lazy("chat:1") as session:
        assert session.key == "chat:1"
    assert storage.read("chat:1") is None
    with sessions.lazy("chat:1") as session:
        session.set_state(n=5)
    with sessions.lazy("chat:1") as session:
        assert session.data == {"n": 5}
        session.data = None
    assert storage.read("chat:1") is None


def test_update_rename_delete_and_migrate(storage: Storage[Any]) -> None:
    sessions = Sessions[Any](storage, initial=lambda: {"n": 0}, migrations={1: lambda data: data})

    def add(session: Any) -> int:
        session.data["n"] += 1
        return int(session.data["n"])

    assert sessions.update("group:1", add) == 1
    assert sessions.rename("group:1", "supergroup:1")
    storage.write("old", {"n": 3})
    assert sessions.migrate("old")
    sessions.delete("old")
    assert sorted(storage.keys()) == ["supergroup:1"]


def test_threads_take_turns_and_lose_no_update(tmp_path: Path) -> None:
    with open_storage(f"sqlite:///{tmp_path}/bot.db?synchronous=NORMAL") as storage:
        sessions = Sessions[Any](storage, initial=lambda: {"n": 0}, on_conflict="raise")

        def work(_: int) -> None:
            for _ in range(10):
                with sessions.open("chat:1") as session:
                    session.data["n"] += 1

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))

        assert sessions.read("chat:1") == {"n": 80}


def test_opening_a_session_inside_of_itself_raises_at_once(storage: Storage[Any]) -> None:
    sessions = Sessions[Any](storage, initial=dict, prefix="bot:")
    again = pytest.raises(SessionAlreadyOpenError, match="'bot:chat:1' is open in this thread")
    with sessions.open("chat:1"), again, sessions.open("chat:1"):
        pass
    with sessions.open("chat:1") as session:
        assert session.key == "bot:chat:1"


def test_another_thread_waits_no_longer_than_the_timeout(storage: Storage[Any]) -> None:
    sessions = Sessions[Any](storage, initial=dict, timeout=timedelta(milliseconds=50))
    raised: list[BaseException] = []

    def other() -> None:
        try:
            with sessions.open("chat:1"):
                pass
        except LockTimeoutError as error:
            raised.append(error)

    with sessions.open("chat:1"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    assert len(raised) == 1


def test_what_goes_wrong_on_entry_is_raised_there(storage: Storage[Any]) -> None:
    sessions = Sessions[Any](storage, key=lambda update: None)
    with sessions.open(object()) as session, pytest.raises(NoSessionError):
        _ = session.data
    storage.close()
    with pytest.raises(StorageClosedError), Sessions[Any](storage, initial=dict).open("chat:1"):
        pytest.fail("the block was entered")
    with pytest.raises(ConfigurationError, match="blocking Sessions take a storage of satchel.blocking"):
        Sessions(MemoryStorage())  # type: ignore[arg-type]


def test_what_is_made_of_a_wrapped_storage_runs_on_its_event_loop_from_any_thread(storage: Storage[Any]) -> None:
    storage.write("chat:1", 1)

    async def double() -> object:
        await storage.wrapped.write("chat:1", 2 * await storage.wrapped.read("chat:1"))
        return asyncio.get_running_loop()

    with ThreadPoolExecutor() as pool:
        loops = {pool.submit(lambda: run(double())).result() for _ in range(3)}
    assert len(loops) == 1
    assert storage.read("chat:1") == 8


def test_calling_it_from_what_it_awaits_raises_instead_of_waiting_for_ever(storage: Storage[Any]) -> None:
    sessions = Sessions[Any](storage, initial=dict)
    with pytest.raises(SatchelError, match="use the asynchronous names"):
        sessions.update("chat:1", lambda session: storage.read("chat:2"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_a_loop_of_its_own(tmp_path: Path) -> None:
    program = f"""
import os
from satchel.blocking import Sessions, open_storage
first = open_storage("sqlite:///{tmp_path}/bot.db")
first.write("parent", 1)
child = os.fork()
if child == 0:
    with open_storage("sqlite:///{tmp_path}/bot.db") as storage:
        storage.write("child", storage.read("parent") + 1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert first.read("child") == 2
first.close()
"""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", program], check=True, timeout=60)


def test_nothing_waits_for_a_session_that_its_own_thread_has_open(storage: Storage[Any]) -> None:
    sessions: Sessions[Any] = Sessions(storage, initial=dict)
    with sessions.open("chat:1"):
        for call in (
            lambda: sessions.update("chat:1", lambda session: session.delete()),
            lambda: sessions.delete("chat:1"),
            lambda: sessions.rename("chat:2", "chat:1"),
            lambda: sessions.migrate("chat:1"),
        ):
            with pytest.raises(SessionAlreadyOpenError):
                call()
        sessions.delete("chat:2")
