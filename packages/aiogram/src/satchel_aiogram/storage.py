"""aiogram's finite-state machine in any storage: the state and the data of a user in a chat are one record."""

from collections.abc import Mapping
from typing import Any, TypedDict

from aiogram.exceptions import DataNotDictLikeError
from aiogram.fsm.state import State
from aiogram.fsm.storage.base import DEFAULT_DESTINY, BaseStorage, StateType, StorageKey

from satchel import CorruptValueError, Session, Sessions, StorageAdapter, session_key
from satchel.keys import show


class _Record(TypedDict, total=False):
    """What is stored: a part that is empty is left out, and with nothing left there is no record."""

    state: str
    data: dict[str, Any]


class FSMStorage(BaseStorage):
    """The storage of a dispatcher: `Dispatcher(storage=FSMStorage(storage))`.

    Every change is one compare-and-set, done again when somebody else was faster, so that no update is lost: whoever
    calls `update_data` at once with different fields finds them all. Reading is one round trip, changing two. On a
    storage without versions that holds among the tasks of one process.

    Args:
        storage: any storage of JSON values. Closing the dispatcher does not close it.
        prefix: the start of every key, to keep several dispatchers of one storage apart.

    Raises:
        InvalidKeyError: the prefix is empty.
    """

    def __init__(self, storage: StorageAdapter[Any], *, prefix: str = "fsm") -> None:
        session_key(prefix)
        self._prefix = prefix
        self._records: Sessions[Any] = Sessions(storage, initial=dict)

    async def set_state(self, key: StorageKey, state: StateType = None) -> None:
        """Set the state; None is no state."""
        name = state.state if isinstance(state, State) else state
        await self._change(key, lambda record: {**record, "state": name})

    async def get_state(self, key: StorageKey) -> str | None:
        """Return the state, or None if there is none."""
        return (await self._read(key)).get("state")

    async def set_data(self, key: StorageKey, data: Mapping[str, Any]) -> None:
        """Replace the data.

        Raises:
            UnsupportedValueError: a part of it is not JSON.
            DataNotDictLikeError: it is no mapping.
        """
        fields = _checked(data)
        await self._change(key, lambda record: {**record, "data": fields})

    async def get_data(self, key: StorageKey) -> dict[str, Any]:
        """Return the data; it is the caller's own."""
        return (await self._read(key)).get("data", {})

    async def update_data(self, key: StorageKey, data: Mapping[str, Any]) -> dict[str, Any]:
        """Set some fields of the data, whatever others do to the other ones, and return all of it.

        Raises:
            UnsupportedValueError: a part of it is not JSON.
            DataNotDictLikeError: it is no mapping.
        """
        fields = _checked(data)
        record = await self._change(key, lambda record: {**record, "data": {**record.get("data", {}), **fields}})
        return {**record.get("data", {})}

    async def close(self) -> None:
        """Do nothing: a storage is closed by who opened it."""

    async def _read(self, key: StorageKey) -> _Record:
        name = key_of(key, self._prefix)
        return _known(name, await self._records.read(name) or {})

    async def _change(self, key: StorageKey, change: Any) -> _Record:
        name = key_of(key, self._prefix)

        def apply(session: Session[Any]) -> _Record:
            changed: _Record = change(_known(name, session.data))
            session.data = {part: value for part, value in changed.items() if value not in (None, {})} or None
            return changed

        return await self._records.update(name, apply)


def key_of(key: StorageKey, prefix: str = "fsm") -> str:
    """Return the session key of what aiogram stores under `key`: `fsm:bot:42:chat:-100:user:7`.

    A thread, a business connection and a destiny that is not the default follow with their names, so different keys
    never meet.

    Raises:
        InvalidKeyError: a part is empty, or the key too long.
    """
    parts: list[str | int] = [prefix, "bot", key.bot_id, "chat", key.chat_id, "user", key.user_id]
    if key.thread_id is not None:
        parts += ["thread", key.thread_id]
    if key.business_connection_id is not None:
        parts += ["business", key.business_connection_id]
    if key.destiny != DEFAULT_DESTINY:
        parts += ["destiny", key.destiny]
    return session_key(*parts)


def _checked(data: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise DataNotDictLikeError(f"Data must be a dict or dict-like object, got {type(data).__name__}")
    return dict(data)


def _known(name: str, record: Any) -> _Record:
    """Return a record that was read.

    Raises:
        CorruptValueError: it is none of ours.
    """
    if not (
        isinstance(record, dict)
        and isinstance(record.get("state", ""), str)
        and isinstance(record.get("data", {}), dict)
    ):
        raise CorruptValueError(f"{show(name)} is no state of aiogram: an object of state and data")
    known: _Record = record  # type: ignore[assignment]
    return known
