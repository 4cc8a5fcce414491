"""The persistence of an application: each chat, user and conversation is a record of its own, in any storage."""

import json
from typing import Any

from telegram.ext import BasePersistence, PersistenceInput

from satchel import CorruptValueError, StorageAdapter, session_key
from satchel.keys import show
from satchel_telegram.keyboards import CallbackData, packed, unpacked
from satchel_telegram.records import Data, Records

ConversationKey = tuple[int | str, ...]


class Persistence(BasePersistence[Data, Data, Data]):
    """What an application remembers: `ApplicationBuilder().persistence(Persistence(storage, lazy=True))`.

    The application saves every `update_interval`, and when it stops. Saving is a compare-and-set: fields that were
    changed here go on top of what other processes have written meanwhile. Where both changed one field, what is stored
    stays, and a `ConflictError` with its name goes to the application's error handlers. Data that could not be saved,
    because the storage was away, is saved with the next that can.

    Eager (the default), everything is read at the start, as the application expects; that takes a storage that can
    list its keys. Lazy, a chat's and a user's data are read whenever an update of theirs is handled.

    Args:
        storage: any storage of JSON values. Stopping the application does not close it.
        lazy: start with empty `chat_data` and `user_data`, and read what an update needs before its handler runs.
        prefix: the start of every key. The bot's id follows, so several bots may share a storage.
        store_data: which kinds of data to store; all by default.
        update_interval: seconds between two rounds of saving.

    Raises:
        ConfigurationError: it is no storage, or a blocking one; or it cannot list its keys, and eager mode needs it to.
        InvalidKeyError: the prefix is empty.
    """

    def __init__(
        self,
        storage: StorageAdapter[Any],
        *,
        lazy: bool = False,
        prefix: str = "ptb",
        store_data: PersistenceInput | None = None,
        update_interval: float = 60,
    ) -> None:
        super().__init__(store_data=store_data, update_interval=update_interval)
        session_key(prefix)
        self._prefix = prefix
        self._lazy = lazy
        self._records = Records(storage)
        if not lazy:
            _ = self._records.listing

    async def get_bot_data(self) -> Data:
        """Return the bot's data."""
        return await self._records.load(self._key("bot_data")) or {}

    async def get_chat_data(self) -> dict[int, Data]:
        """Return the data of all chats; nothing in lazy mode."""
        return await self._all("chat_data")

    async def get_user_data(self) -> dict[int, Data]:
        """Return the data of all users; nothing in lazy mode."""
        return await self._all("user_data")

    async def refresh_bot_data(self, bot_data: Data) -> None:
        """In lazy mode, bring in what other processes have saved."""
        await self._refresh(self._key("bot_data"), bot_data)

    async def refresh_chat_data(self, chat_id: int, chat_data: Data) -> None:
        """In lazy mode, read the data of a chat before a handler sees it."""
        await self._refresh(self._key("chat_data", chat_id), chat_data)

    async def refresh_user_data(self, user_id: int, user_data: Data) -> None:
        """In lazy mode, read the data of a user before a handler sees it."""
        await self._refresh(self._key("user_data", user_id), user_data)

    async def update_bot_data(self, data: Data) -> None:
        """Save the bot's data; raises as `update_chat_data` does."""
        await self._records.save(self._key("bot_data"), data)

    async def update_chat_data(self, chat_id: int, data: Data) -> None:
        """Save the data of a chat.

        Raises:
            UnsupportedValueError: a part of it is not JSON. What was stored stays.
            ConflictError: another process has changed the same field. The other fields are saved.
        """
        await self._records.save(self._key("chat_data", chat_id), data)

    async def update_user_data(self, user_id: int, data: Data) -> None:
        """Save the data of a user; raises as `update_chat_data` does."""
        await self._records.save(self._key("user_data", user_id), data)

    async def drop_chat_data(self, chat_id: int) -> None:
        """Delete the data of a chat."""
        await self._records.put(self._key("chat_data", chat_id), None)

    async def drop_user_data(self, user_id: int) -> None:
        """Delete the data of a user."""
        await self._records.put(self._key("user_data", user_id), None)

    async def get_conversations(self, name: str) -> dict[ConversationKey, object]:
        """Return the states of all conversations of a handler; the application asks once, when it starts.

        Raises:
            ConfigurationError: the storage cannot list its keys.
        """
        found = await self._records.list(self._key("conversation", name) + ":")
        return dict(_conversation(key, record) for key, record in found.items())

    async def update_conversation(self, name: str, key: ConversationKey, new_state: object | None) -> None:
        """Save the state of a conversation, whatever other processes made of it; None is its end.

        Raises:
            UnsupportedValueError: the state is not JSON.
        """
        record = None if new_state is None else {"state": new_state}
        await self._records.put(self._key("conversation", name, json.dumps(key)), record)

    async def get_callback_data(self) -> CallbackData | None:
        """Return what the buttons of all keyboards stand for, or None; the application asks once, when it starts."""
        record = await self._records.load(self._key("callback_data"))
        return None if record is None else unpacked(record)

    async def update_callback_data(self, data: CallbackData) -> None:
        """Save what the buttons of the keyboards stand for, those of other processes kept.

        Raises:
            UnsupportedValueError: what a button stands for is not JSON.
        """
        # That two processes have used a keyboard at different times is nobody's loss.
        await self._records.save(self._key("callback_data"), packed(data), report=False)

    async def flush(self) -> None:
        """Save what could not be saved before. The storage stays open: it is closed by who opened it."""
        await self._records.flush()

    def _key(self, *parts: str | int) -> str:
        return session_key(self._prefix, "bot", self.bot.id, *parts)

    async def _all(self, kind: str) -> dict[int, Data]:
        found = {} if self._lazy else await self._records.list(self._key(kind) + ":")
        return {int(number): self._records.met(self._key(kind, number), record) for number, record in found.items()}

    async def _refresh(self, key: str, live: Data) -> None:
        if self._lazy:
            await self._records.refresh(key, live)


def _conversation(key: str, record: Any) -> tuple[ConversationKey, object]:
    if not isinstance(record, dict) or "state" not in record:
        raise CorruptValueError(f"{show(key)} is no conversation of python-telegram-bot: an object with a state")
    return tuple(json.loads(key)), record["state"]
