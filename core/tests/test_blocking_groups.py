"""Groups of sessions in the blocking facade."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

import satchel
from recording import Together
from satchel import ConfigurationError, LockTimeoutError, MemoryStorage, SessionAlreadyOpenError, SessionError
from satchel.blocking import SessionGroup, Sessions, Storage

KEYS = {"user": "user:7", "chat": "chat:42"}


@pytest.fixture
def inside() -> Together:
    return Together()


@pytest.fixture
def storage(inside: Together) -> Iterator[Storage[Any]]:
    with Storage(inside) as opened:
        yield opened


@pytest.fixture
def group(storage: Storage[Any]) -> SessionGroup:
    return SessionGroup(user=Sessions(storage, initial=dict), chat=Sessions(storage, initial=lambda: {"n": 0}))


def test_parts_are_loaded_and_saved_together(group: SessionGroup, storage: Storage[Any], inside: Together) -> None:
    with group.open(KEYS) as parts:
        assert parts.keys == KEYS
        parts.user.data["name"] = "Ada"
        parts["chat"].data["n"] += 1
    assert storage.read_many(list(KEYS.values())) == {"user:7": {"name": "Ada"}, "chat:42": {"n": 1}}
    assert inside.visits[:2] == ["get 2", "put 2"]


def test_lazy_parts_are_read_when_they_are_asked_for(
    group: SessionGroup, storage: Storage[Any], inside: Together
) -> None:
    with group.lazy(KEYS) as parts:
        assert inside.visits == []
        parts.chat.data["n"] += 1
        assert inside.visits == ["get"]
        assert parts.data == {"user": {}, "chat": {"n": 1}}
    assert storage.read("chat:42") == {"n": 1}
    assert storage.read("user:7") is None


def test_the_whole_is_assigned_saved_and_deleted(group: SessionGroup, storage: Storage[Any]) -> None:
    with group.open(KEYS) as parts:
        parts.data = {"user": {"name": "Ada"}, "chat": {"n": 5}}
        parts.save()
        assert storage.read("chat:42") == {"n": 5}
    with group.open(KEYS) as parts:
        parts.delete()
    assert list(storage.keys()) == []
    with pytest.raises(AttributeError, match="no part 'shop'"), group.open(KEYS) as parts:
        _ = parts.shop


def test_what_raises_saves_nothing(group: SessionGroup, storage: Storage[Any]) -> None:
    with pytest.raises(LookupError), group.open(KEYS) as parts:
        parts.user.data["name"] = "Ada"
        raise LookupError
    assert list(storage.keys()) == []


def test_threads_take_turns_at_a_group(group: SessionGroup, storage: Storage[Any]) -> None:
    def count(_: int) -> None:
        with group.open(KEYS) as parts:
            parts.chat.data["n"] += 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(40)))
    assert storage.read("chat:42") == {"n": 40}


def test_a_part_that_this_thread_has_open_is_refused_and_another_thread_waits(storage: Storage[Any]) -> None:
    chats = Sessions[Any](storage, initial=dict, timeout=timedelta(milliseconds=50))
    group = SessionGroup(user=Sessions(storage, initial=dict), chat=chats)

    def enter() -> None:
        with group.open(KEYS):
            pass

    with chats.open("chat:42"), pytest.raises(SessionAlreadyOpenError, match="chat:42"):
        enter()
    with group.open(KEYS), pytest.raises(SessionAlreadyOpenError, match="chat:42"), chats.open("chat:42"):
        pass
    with chats.open("chat:42"), ThreadPoolExecutor(1) as other, pytest.raises(LockTimeoutError):
        other.submit(enter).result()
    enter()


def test_a_group_takes_blocking_sessions_with_keys_of_their_own(storage: Storage[Any]) -> None:
    with pytest.raises(ConfigurationError, match="part user of a group is Sessions of satchel.blocking, not Sessions"):
        SessionGroup(user=satchel.Sessions(MemoryStorage()))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="at least one part"):
        SessionGroup()
    both = SessionGroup(one=Sessions(storage, initial=dict), other=Sessions(storage, initial=dict))
    with pytest.raises(SessionError), both.open("chat:42"):
        pass
