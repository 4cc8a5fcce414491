"""Processes of a bot: `python worker.py PROCESSES TIMES URL…` handles so many updates of one user, all at once.

They are forked, as importing aiogram takes seconds.
"""

import asyncio
import os
import sys

from aiogram import Bot, Dispatcher
from aiogram.fsm.context import FSMContext
from aiogram.types import Message, Update

from satchel import open_storage
from satchel_aiogram import EventIsolation, FSMStorage


async def main(url: str, number: int, times: int) -> None:
    async with open_storage(url) as storage:
        isolated = Dispatcher(storage=FSMStorage(storage), events_isolation=EventIsolation(storage))
        free = Dispatcher(storage=FSMStorage(storage))

        @isolated.message()
        async def count(_: Message, state: FSMContext) -> None:
            data = await state.get_data()
            await asyncio.sleep(0)
            await state.set_data({**data, "count": data.get("count", 0) + 1})

        @free.message()
        async def note(message: Message, state: FSMContext) -> None:
            await state.update_data({str(message.text): True})

        bot = Bot("42:TEST")
        for dispatcher, chat in ((isolated, 1), (free, 2)):
            await asyncio.gather(
                *(dispatcher.feed_update(bot, message(bot, chat, f"{number}-{index}")) for index in range(times))
            )


def message(bot: Bot, chat: int, text: str) -> Update:
    update = {
        "update_id": 1,
        "message": {
            "message_id": 1,
            "date": 1_700_000_000,
            "chat": {"id": chat, "type": "group"},
            "from": {"id": 7, "is_bot": False, "first_name": "Ann"},
            "text": text,
        },
    }
    return Update.model_validate(update, context={"bot": bot})


def forked(url: str, number: int, times: int) -> int:
    """Start a process, and return its id."""
    process = os.fork()
    if not process:
        asyncio.run(main(url, number, times))
        os._exit(0)
    return process


if __name__ == "__main__":
    processes, times = map(int, sys.argv[1:3])
    started = [forked(url, number, times) for url in sys.argv[3:] for number in range(processes)]
    failed = [process for process in started if os.waitpid(process, 0)[1]]
    sys.exit(len(failed))
