"""aiogram's finite-state machine in any storage: the state and the data of a user in a chat are one record."""

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from aiogram.exceptions import DataNotDictLikeError
from aiogram.fsm.state import State
from aiogram.fsm.storage.base import DEFAULT_DESTINY, BaseStorage, StateType, StorageKey

from satchel import CorruptValueError, Session, Sessions, StorageAdapter, session_key
from satchel.keys import show


class Record(TypedDict):
    """What is stored: None is no state, `{}` no data, and what has neither is no record."""

    state: str | None
    data: dict[str, Any]


class FSMStorage(BaseStorage):
    """The storage of a dispatcher: `Dispatcher(storage=FSMStorage(storage))`.

    Every change is one compare-and-set, done again when somebody else was faster, so that no update is lost: whoever
    calls `update_data` at once with different fields finds them all. Reading is one round trip, changing two. On a
    storage without versions that holds among the tasks of one process.

    Args:
        storage: any storage of JSON values. Closing the dispatcher does not close it.
        prefix: the start of every key, to keep several dispatchers of one storage apart.
        with_bot_id: whether keys have the bot's id, so that several bots may share a storage. False is for what was
            copied from aiogram's own Redis storage, whose keys by default have none.

    Raises:
        ConfigurationError: it is no storage, or a blocking one.
        InvalidKeyError: the prefix is empty.
    """

    def __init__(self, storage: StorageAdapter[Any], *, prefix: str = "aiogram", with_bot_id: bool = True) -> None:
        session_key(prefix)
        self._prefix = prefix
        self._with_bot_id = with_bot_id
        self._records: Sessions[Any] = Sessions(storage, initial=dict)

    async def set_state(self, key: StorageKey, state: StateType = None) -> None:
        """Set the state; None is no state."""
        name = state.state if isinstance(state, State) else state
        await self._change(key, lambda record: Record(state=name, data=record["data"]))

    async def get_state(self, key: StorageKey) -> str | None:
        """Return the state, or None if there is none."""
        return (await self._read(key))["state"]

    async def set_data(self, key: StorageKey, data: Mapping[str, Any]) -> None:
        """Replace the data.

        Raises:
            UnsupportedValueError: a part of it is not JSON.
            DataNotDictLikeError: it is no mapping.
        """
        fields = _checked(data)
        await self._change(key, lambda record: Record(state=record["state"], data=fields))

    async def get_data(self, key: StorageKey) -> dict[str, Any]:
        """Return the data; it is the caller's own."""
        return (await self._read(key))["data"]

    async def update_data(self, key: StorageKey, data: Mapping[str, Any]) -> dict[str, Any]:
        """Set some fields of the data, whatever others do to the other ones, and return all of it.

        Raises:
            UnsupportedValueError: a part of it is not JSON.
            DataNotDictLikeError: it is no mapping.
        """
        fields = _checked(data)
        changed = await self._change(
            key, lambda record: Record(state=record["state"], data={**record["data"], **fields})
        )
        return {**changed["data"]}

    async def close(self) -> None:
        """Do nothing: a storage is closed by who opened it."""

    def _key(self, key: StorageKey) -> str:
        return key_of(key, self._prefix, with_bot_id=self._with_bot_id)

    async def _read(self, key: StorageKey) -> Record:
        name = self._key(key)
        return _known(name, await self._records.read(name) or {})

    async def _change(self, key: StorageKey, change: Callable[[Record], Record]) -> Record:
        name = self._key(key)

        def apply(session: Session[Any]) -> Record:
            changed = change(_known(name, session.data))
            session.data = None if changed["state"] is None and not changed["data"] else changed
            return changed

        return await self._records.update(name, apply)


def key_of(key: StorageKey, prefix: str = "aiogram", *, with_bot_id: bool = True) -> str:
    """Return the session key of what aiogram stores under `key`: `aiogram:bot:42:chat:-100:user:7`.

    What else there is has its name and place, so different keys never meet:
    `aiogram:bot:42:chat:-100:thread:5:user:7:business:abc:destiny:menu`.

    Raises:
        InvalidKeyError: a part is empty, or the key too long.
    """
    named: dict[str, str | int | None] = {
        "bot": key.bot_id if with_bot_id else None,
        "chat": key.chat_id,
        "thread": key.thread_id,
        "user": key.user_id,
        "business": key.business_connection_id,
        "destiny": None if key.destiny == DEFAULT_DESTINY else key.destiny,
    }
    return session_key(prefix, *(part for name, found in named.items() if found is not None for part in (name, found)))


def _checked(data: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise DataNotDictLikeError(f"Data must be a dict or dict-like object, got {type(data).__name__}")
    return dict(data)


def _known(name: str, record: Any) -> Record:
    """Return a record that was read.

    Raises:
        CorruptValueError: it is none of ours.
    """
    state, data = (record.get("state"), record.get("data", {})) if isinstance(record, dict) else (None, None)
    if not isinstance(state, str | None) or not isinstance(data, dict):
        raise CorruptValueError(f"{show(name)} is no state of aiogram: an object of state and data")
    return Record(state=state, data=data)
