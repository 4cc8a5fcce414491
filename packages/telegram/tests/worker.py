"""Processes of a bot: `python worker.py PROCESSES TIMES URL…` handles so many updates of one chat in each of them.

They are forked, as importing python-telegram-bot takes a while.
"""

import asyncio
import json
import os
import sys
from typing import Any

from telegram import Update
from telegram.ext import ApplicationBuilder, ContextTypes, MessageHandler, filters
from telegram.request import BaseRequest

from satchel import open_storage
from satchel_telegram import Persistence


class Offline(BaseRequest):
    @property
    def read_timeout(self) -> None:
        return None

    async def initialize(self) -> None:
        pass

    async def shutdown(self) -> None:
        pass

    async def do_request(self, *arguments: Any, **options: Any) -> tuple[int, bytes]:
        me = {"id": 42, "is_bot": True, "first_name": "Bot", "username": "bot"}
        return 200, json.dumps({"ok": True, "result": me}).encode()


async def note(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    assert update.message is not None
    assert context.chat_data is not None
    context.chat_data[str(update.message.text)] = True


async def main(url: str, number: int, times: int) -> None:
    async with open_storage(url) as storage:
        builder = ApplicationBuilder().token("42:TEST").updater(None).job_queue(None)
        builder = builder.request(Offline()).get_updates_request(Offline())
        application = builder.persistence(Persistence(storage, lazy=True)).build()
        application.add_handler(MessageHandler(filters.TEXT, note))
        async with application:
            for index in range(times):
                await application.process_update(message(f"{number}-{index}"))
                await application.update_persistence()


def message(text: str) -> Update:
    chat, user = {"id": 7, "type": "private"}, {"id": 7, "is_bot": False, "first_name": "Ann"}
    fields = {"message_id": 1, "date": 1_700_000_000, "chat": chat, "from": user, "text": text}
    return Update.de_json({"update_id": 1, "message": fields})


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
