"""No lost updates: of everything that was set at once, by two bots and by several processes, nothing is missing."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

from telebot.async_telebot import AsyncTeleBot
from telebot.asyncio_storage import StateRedisStorage
from telebot.types import Update

from satchel import open_storage
from satchel_telebot import AsyncStateStorage

UPDATES = 20
PROCESSES = 3


async def kept(*storages: Any) -> int:
    """Let bots set a field of one user's data for each update, all at once; return how many fields there are then."""
    await storages[0].set_state(7, 7, "on", bot_id=42)
    await asyncio.gather(
        *(
            _bot(storage).process_new_updates(
                [_message(f"field_{number}") for number in range(first, UPDATES, len(storages))]
            )
            for first, storage in enumerate(storages)
        )
    )
    found = len(await storages[0].get_data(7, 7, bot_id=42))
    await storages[0].delete_state(7, 7, bot_id=42)
    return found


def _bot(storage: Any) -> Any:
    bot: Any = AsyncTeleBot("42:TEST", state_storage=storage)

    async def note(message: Any) -> None:
        await bot.add_data(message.from_user.id, message.chat.id, **{message.text: 1})

    bot.register_message_handler(note, func=lambda _: True)

    return bot


def _message(text: str) -> Any:
    chat, user = {"id": 7, "type": "private"}, {"id": 7, "is_bot": False, "first_name": "Ann"}
    fields = {"message_id": 1, "date": 1_700_000_000, "chat": chat, "from": user, "text": text}
    return Update.de_json({"update_id": 1, "message": fields})


async def test_concurrent_updates_through_two_bots_are_all_kept(storage: Any) -> None:
    assert await kept(AsyncStateStorage(storage), AsyncStateStorage(storage)) == UPDATES


async def test_pytelegrambotapis_own_storage_in_the_same_test(
    redis_url: str, namespace: str, record_property: Any
) -> None:
    theirs = [StateRedisStorage(redis_url=redis_url, prefix=namespace) for _ in range(2)]
    async with open_storage(redis_url, namespace=namespace) as storage:
        ours = [AsyncStateStorage(storage) for _ in range(2)]
        counts = {"StateRedisStorage": await kept(*theirs), "AsyncStateStorage": await kept(*ours)}
    for one in theirs:
        await one.redis.aclose()
    for name, count in counts.items():
        record_property(name, count)
        sys.stdout.write(f"{name}: {count} of {UPDATES} concurrent updates kept\n")
    assert counts["AsyncStateStorage"] == UPDATES


async def test_updates_of_several_processes_are_all_kept(redis_url: str, namespace: str, tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/bot.db", f"{redis_url}?namespace={namespace}"]
    for url in urls:
        async with open_storage(url) as storage:
            await AsyncStateStorage(storage).set_state(7, 7, "on", bot_id=42)
    command = [sys.executable, str(Path(__file__).parent / "worker.py"), str(PROCESSES), str(UPDATES), *urls]
    assert subprocess.run(command, check=False).returncode == 0
    for url in urls:
        async with open_storage(url) as storage:
            data = await AsyncStateStorage(storage).get_data(7, 7, bot_id=42)
        assert data == {f"{number}-{index}": True for number in range(PROCESSES) for index in range(UPDATES)}
