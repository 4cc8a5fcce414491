"""The state storage of a `TeleBot`, for its threads."""

from types import TracebackType
from typing import Any, TypeVar

from telebot.storage import StateStorageBase

from satchel import session_key
from satchel.blocking import Sessions, Storage
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


class StateStorage(StateStorageBase):
    """States and their data: `TeleBot(token, state_storage=StateStorage(storage))`.

    State and data of a user in a chat are one record. Every change is one compare-and-set, done again when somebody
    else was faster, so that no update is lost; on a storage without versions, among the threads of one process.

    Args:
        storage: a storage of `satchel.blocking`, of JSON values; it is closed by who opened it.
        prefix: the start of every key. The bot's id follows, so several bots may share a storage.

    Raises:
        ConfigurationError: the storage is not of `satchel.blocking`.
        InvalidKeyError: the prefix is empty.
    """

    def __init__(self, storage: Storage[Any], *, prefix: str = "telebot") -> None:
        super().__init__()
        session_key(prefix)
        self._prefix = prefix
        self._records: Sessions[Any] = Sessions(storage)

    def set_state(
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
        return self._change(key, setting_state(state))

    def get_state(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> Any:
        """Return the name of the state, or None."""
        key = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        record = self._read(key)
        return None if record is None else record["state"]

    def delete_state(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """Delete the state and its data, and tell whether there was one."""
        key = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return self._change(key, deleting())

    def set_data(
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
        return self._change(name, setting_data(key, value))

    def get_data(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> dict[str, Any]:
        """Return the data; it is the caller's own."""
        key = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        record = self._read(key)
        return {} if record is None else record["data"]

    def reset_data(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> bool:
        """Remove all data, and tell whether there is a state."""
        key = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return self._change(key, replacing_data({}))

    def get_interactive_data(
        self,
        chat_id: Id,
        user_id: Id,
        business_connection_id: str | None = None,
        message_thread_id: int | None = None,
        bot_id: int | None = None,
    ) -> Any:
        """Return the data as a block, `with`: what it changes is merged when it ends, and not if it raises."""
        key = key_of(self._prefix, chat_id, user_id, business_connection_id, message_thread_id, bot_id)
        return _Data(self, key)

    def save(
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
        return self._change(key, replacing_data(data))

    def block(self, key: str) -> Block:
        """Read the data for a block."""
        return Block(self._read(key))

    def end(self, key: str, block: Block) -> None:
        """Save what a block changed.

        Raises:
            NoStateError: the user was in no state.
            ConflictError: others changed the same field meanwhile.
        """
        if block.is_changed and (conflict := self._change(key, block.merging())) is not None:
            raise conflict

    def _read(self, key: str) -> Record | None:
        record = self._records.read(key)
        return None if record is None else known(key, record)

    def _change(self, key: str, change: Change[T]) -> T:
        return self._records.update(key, change)


class _Data:
    def __init__(self, storage: StateStorage, key: str) -> None:
        self._storage = storage
        self._key = key

    def __enter__(self) -> dict[str, Any]:
        self._block = self._storage.block(self._key)
        return self._block.data

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._storage.end(self._key, self._block)
