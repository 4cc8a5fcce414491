"""The state storage of an `AsyncTeleBot`."""

from types import TracebackType
from typing import Any, TypeVar

from telebot.asyncio_storage import StateStorageBase

from satchel import Sessions, StorageAdapter, session_key
from satchel_telebot.changes import (
    Block,
    Change,
    Id,
    Record,
    deleting,
    key_of,
    known,
    replacing_data,
    setting_data,
    setting_state,
)

T = TypeVar("T")


class AsyncStateStorage(StateStorageBase):
    """States and their data: `AsyncTeleBot(token, state_storage=AsyncStateStorage(storage))`.

    State and data of a user in a chat are one record. Every change is one compare-and-set, done again when somebody
    else was faster, so that no update is lost; on a storage without versions, among the tasks of one process.

    Args:
        storage: any storage of JSON values; it is closed by who opened it.
        prefix: the start of every key. The bot's id follows, so several bots may share a storage.

    Raises:
        ConfigurationError: it is no storage, or a blocking one, which `StateStorage` takes.
        InvalidKeyError: the prefix is empty.
    """

    def __init__(self, storage: StorageAdapter[Any], *, prefix: str = "telebot") -> None:
        super().__init__()
        session_key(prefix)
        self._prefix = prefix
        self._records: Sessions[Any] = Sessions(storage)

    async def set_state(
        self,
        chat_id: Id,
        user_id: Id,
        state: Any,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """Set the state, a name or a `State`; the data stays."""
        key = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return await self._change(key, setting_state(state))

    async def get_state(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> Any:
        """Return the name of the state, or None."""
        key = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        record = await self._read(key)
        return None if record is None else record["state"]

    async def delete_state(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """Delete the state and its data, and tell whether there was one."""
        key = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return await self._change(key, deleting())

    async def set_data(
        self,
        chat_id: Id,
        user_id: Id,
        key: str,
        value: Any,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """Set one field of the data, whatever others do to the other ones.

        Raises:
            NoStateError: the user is in no state.
            UnsupportedValueError: the value is not JSON.
        """
        name = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return await self._change(name, setting_data(key, value))

    async def get_data(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> dict[str, Any]:
        """Return the data; it is the caller's own."""
        key = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        record = await self._read(key)
        return {} if record is None else record["data"]

    async def reset_data(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """Remove all data, and tell whether there is a state."""
        key = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return await self._change(key, replacing_data({}))

    def get_interactive_data(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> Any:
        """Return the data as a block, `async with`: what it changes is merged when it ends, and not if it raises."""
        key = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return _AsyncData(self, key)

    async def save(
        self,
        chat_id: Id,
        user_id: Id,
        data: dict[str, Any],
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """Replace the data, if there is a state; tell whether there is."""
        key = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return await self._change(key, replacing_data(data))

    async def block(self, key: str) -> Block:
        """Read the data for a block."""
        return Block(await self._read(key))

    async def end(self, key: str, block: Block) -> None:
        """Save what a block changed.

        Raises:
            NoStateError: the user was in no state.
            ConflictError: others changed the same field meanwhile.
        """
        if block.is_changed and (conflict := await self._change(key, block.merging())) is not None:
            raise conflict

    async def _read(self, key: str) -> Record | None:
        record = await self._records.read(key)
        return None if record is None else known(key, record)

    async def _change(self, key: str, change: Change[T]) -> T:
        return await self._records.update(key, change)


class _AsyncData:
    def __init__(self, storage: AsyncStateStorage, key: str) -> None:
        self._storage = storage
        self._key = key

    async def __aenter__(self) -> dict[str, Any]:
        self._block = await self._storage.block(self._key)
        return self._block.data

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self._storage.end(self._key, self._block)
