"""Events of one user in a chat run one after the other, in every process of a bot."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from aiogram import Dispatcher
from aiogram.fsm.context import FSMContext
from aiogram.fsm.storage.base import StorageKey
from aiogram.types import Message

from satchel import ConfigurationError, LockTimeoutError, MemoryStorage, SessionAlreadyOpenError, blocking
from satchel_aiogram import EventIsolation, FSMStorage

Feed = Callable[..., Coroutine[Any, Any, Any]]


class Bots:
    """Two processes of a bot, as far as a storage can tell: each dispatcher has locks of its own."""

    def __init__(self, storage: Any, **options: Any) -> None:
        self.inside = 0
        self.most = 0
        self.seen: list[str | None] = []
        self.go_on = asyncio.Event()
        self.dispatchers = [self._made(storage, options) for _ in range(2)]

    def _made(self, storage: Any, options: Any) -> Dispatcher:
        dispatcher = Dispatcher(storage=FSMStorage(storage), events_isolation=EventIsolation(storage, **options))
        dispatcher.message.register(self._handle)
        return dispatcher

    async def _handle(self, message: Message, state: FSMContext, raw_state: str | None) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.seen.append(raw_state)
        await state.set_state(message.text)
        await asyncio.wait_for(self.go_on.wait(), 10)
        self.inside -= 1


async def test_events_of_one_user_wait_for_each_other(storage: Any, feed: Feed) -> None:
    bots = Bots(storage)
    bots.go_on.set()
    await asyncio.gather(*(feed(one, f"{number}") for number in range(5) for one in bots.dispatchers))
    assert bots.most == 1
    assert bots.seen[0] is None
    assert None not in bots.seen[1:]  # the state was read after the lock was taken


async def test_events_of_different_users_do_not(storage: Any, feed: Feed) -> None:
    bots = Bots(storage)
    both = asyncio.gather(*(feed(one, "on", user=user) for user, one in enumerate(bots.dispatchers, 1)))
    async with asyncio.timeout(10):
        while bots.inside < 2:
            await asyncio.sleep(0.001)
    bots.go_on.set()
    await both


async def test_an_event_does_not_wait_for_ever(storage: Any, feed: Feed) -> None:
    bots = Bots(storage, timeout=timedelta(milliseconds=50))
    first = asyncio.create_task(feed(bots.dispatchers[0], "first"))
    async with asyncio.timeout(10):
        while not bots.inside:
            await asyncio.sleep(0.001)
    with pytest.raises(LockTimeoutError):
        await feed(bots.dispatchers[1], "second")
    bots.go_on.set()
    await first
    await feed(bots.dispatchers[1], "third")


async def test_an_event_that_awaits_another_of_its_user_is_told_so(storage: Any, feed: Feed) -> None:
    dispatcher = Dispatcher(storage=FSMStorage(storage), events_isolation=EventIsolation(storage))

    @dispatcher.message()
    async def nested(_: Message) -> None:
        await feed(dispatcher, "again")

    with pytest.raises(SessionAlreadyOpenError):
        await feed(dispatcher, "once")


async def test_nothing_is_left_of_a_lock(storage: Any, feed: Feed) -> None:
    bots = Bots(storage)
    bots.go_on.set()
    await feed(bots.dispatchers[0], "on")
    assert [key async for key in storage.keys("lease:")] == []


class Unversioned:
    """Three methods, and nothing else."""

    def __init__(self) -> None:
        memory: MemoryStorage[Any] = MemoryStorage()
        self.read, self.write, self.delete = memory.read, memory.write, memory.delete


async def test_a_storage_without_versions_locks_nothing_and_says_so() -> None:
    with pytest.raises(ConfigurationError, match="versioned"):
        EventIsolation(Unversioned())


@pytest.mark.parametrize("kind", [EventIsolation, FSMStorage])
def test_a_blocking_storage_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="is for blocking callers"):
        kind(blocking.Storage(MemoryStorage()))


async def test_within_one_process_a_storage_without_versions_loses_nothing(feed: Feed) -> None:
    fsm = FSMStorage(Unversioned())
    dispatcher = Dispatcher(storage=fsm)

    @dispatcher.message()
    async def note(message: Message, state: FSMContext) -> None:
        await state.update_data({str(message.text): True})

    await asyncio.gather(*(feed(dispatcher, f"{number}") for number in range(20)))
    assert len(await fsm.get_data(StorageKey(bot_id=42, chat_id=7, user_id=7))) == 20
