"""Satchel in pyTelegramBotAPI: its states, and the data that belong to them, in any storage."""

from satchel_telebot.asynchronous import AsyncStateStorage
from satchel_telebot.changes import NoStateError, key_of
from satchel_telebot.synchronous import StateStorage

__all__ = ["AsyncStateStorage", "NoStateError", "StateStorage", "key_of"]
