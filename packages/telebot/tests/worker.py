"""Processes of a bot: `python worker.py PROCESSES TIMES URL…` handles so many updates of one user in each of them.

Each has two threads, and is forked, as importing pyTelegramBotAPI takes a while.
"""

import os
import sys
import threading
from typing import Any

from telebot import TeleBot
from telebot.types import Update

from satchel.blocking import open_storage
from satchel_telebot import StateStorage


def main(url: str, number: int, times: int) -> None:
    with open_storage(url) as storage:
        bot: Any = TeleBot("42:TEST", num_threads=2, state_storage=StateStorage(storage))
        done = threading.Semaphore(0)

        def note(message: Any) -> None:
            bot.add_data(message.from_user.id, message.chat.id, **{message.text: True})
            done.release()

        bot.register_message_handler(note, func=lambda _: True)

        chat, user = {"id": 7, "type": "private"}, {"id": 7, "is_bot": False, "first_name": "Ann"}
        fields = {"message_id": 1, "date": 1_700_000_000, "chat": chat, "from": user}
        updates = [
            Update.de_json({"update_id": index, "message": {**fields, "text": f"{number}-{index}"}})
            for index in range(times)
        ]
        bot.process_new_updates(updates)
        for _ in updates:
            done.acquire(timeout=60)


def forked(url: str, number: int, times: int) -> int:
    """Start a process, and return its id."""
    process = os.fork()
    if not process:
        main(url, number, times)
        os._exit(0)
    return process


if __name__ == "__main__":
    processes, times = map(int, sys.argv[1:3])
    started = [forked(url, number, times) for url in sys.argv[3:] for number in range(processes)]
    failed = [process for process in started if os.waitpid(process, 0)[1]]
    sys.exit(len(failed))
