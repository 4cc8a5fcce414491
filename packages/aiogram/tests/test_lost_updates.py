"""No lost updates: of everything that was set at once, in one process and in several, nothing is missing."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from aiogram import Dispatcher
from aiogram.fsm.context import FSMContext
from aiogram.fsm.storage.base import BaseStorage, DefaultKeyBuilder, StorageKey
from aiogram.fsm.storage.redis import RedisStorage
from aiogram.types import Message

from satchel import open_storage
from satchel_aiogram import FSMStorage

Feed = Callable[..., Coroutine[Any, Any, Any]]

KEY = StorageKey(bot_id=42, chat_id=7, user_id=7)
UPDATES = 20
PROCESSES = 3


async def kept(storage: BaseStorage, feed: Feed) -> int:
    """Let many updates of one user each set a field of its own, at once; return how many fields there are then."""
    dispatcher = Dispatcher(storage=storage)

    @dispatcher.message()
    async def note(message: Message, state: FSMContext) -> None:
        await state.update_data({str(message.text): True})

    await asyncio.gather(*(feed(dispatcher, f"field {number}") for number in range(UPDATES)))
    return len(await storage.get_data(KEY))


async def test_concurrent_updates_of_a_user_are_all_kept(storage: Any, feed: Feed) -> None:
    assert await kept(FSMStorage(storage), feed) == UPDATES


async def test_aiograms_own_storage_in_the_same_test(
    redis_url: str, feed: Feed, namespace: str, record_property: Any
) -> None:
    theirs = RedisStorage.from_url(redis_url, key_builder=DefaultKeyBuilder(prefix=namespace))
    async with open_storage(redis_url, namespace=namespace) as storage:
        ours = FSMStorage(storage)
        counts = {"RedisStorage": await kept(theirs, feed), "FSMStorage": await kept(ours, feed)}
        await ours.set_data(KEY, {})
    await theirs.set_data(KEY, {})
    await theirs.close()
    for name, count in counts.items():
        record_property(name, count)
        sys.stdout.write(f"{name}: {count} of {UPDATES} concurrent updates kept\n")
    assert counts["FSMStorage"] == UPDATES


async def test_updates_of_several_processes_are_all_kept(redis_url: str, namespace: str, tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/bot.db", f"{redis_url}?namespace={namespace}"]
    command = [sys.executable, str(Path(__file__).parent / "worker.py"), str(PROCESSES), str(UPDATES), *urls]
    assert subprocess.run(command, check=False).returncode == 0
    for url in urls:
        async with open_storage(url) as storage:
            fsm = FSMStorage(storage)
            counted = await fsm.get_data(StorageKey(bot_id=42, chat_id=1, user_id=7))
            noted = await fsm.get_data(StorageKey(bot_id=42, chat_id=2, user_id=7))
        assert counted == {"count": PROCESSES * UPDATES}  # read and written back, by one handler at a time
        assert len(noted) == PROCESSES * UPDATES
