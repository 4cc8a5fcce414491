"""What the two state storages do to a record, `{"state": …, "data": {…}}`, each change a function for `update`."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypedDict, TypeVar

from satchel import JSON, ConflictError, CorruptValueError, EmptySessionError, Session, session_key
from satchel.keys import show
from satchel.merging import merge

T = TypeVar("T")
Change = Callable[[Session[Any]], T]
Id = int | str | None


class Record(TypedDict):
    """What is stored: there is a record from when a state is set until it is deleted."""

    state: Any
    data: dict[str, Any]


class NoStateError(EmptySessionError, RuntimeError):
    """Data was set for a user who is in no state. It is a RuntimeError too, which pyTelegramBotAPI's storages raise."""


def key_of(
    prefix: str,
    chat_id: Id,
    user_id: Id,
    business_connection_id: str | None = None,
    message_thread_id: int | None = None,
    bot_id: int | None = None,
) -> str:
    """Return the session key of a user's state: `telebot:bot:42:chat:-100:user:7`, without what is None.

    A business connection and a thread follow with their names, so different users never meet.

    Raises:
        InvalidKeyError: the prefix is empty, or the key too long.
    """
    named: dict[str, Id] = {
        "bot": bot_id,
        "chat": chat_id,
        "user": user_id,
        "thread": message_thread_id,
        "business": business_connection_id or None,
    }
    return session_key(prefix, *(part for name, found in named.items() if found is not None for part in (name, found)))


def known(key: str, record: Any) -> Record:
    """Return a record that was read.

    Raises:
        CorruptValueError: it is none of ours.
    """
    if not (isinstance(record, dict) and "state" in record and isinstance(record.get("data"), dict)):
        raise CorruptValueError(f"{show(key)} is no state of pyTelegramBotAPI: an object of state and data")
    return Record(state=record["state"], data=record["data"])


def setting_state(state: Any) -> Change[bool]:
    """Set the state, a name or a `State`, and keep the data."""
    name = getattr(state, "name", state)

    def change(session: Session[Any]) -> bool:
        record = _found(session)
        session.data = Record(state=name, data={} if record is None else record["data"])
        return True

    return change


def deleting() -> Change[bool]:
    """Delete state and data; tell whether there was a state."""

    def change(session: Session[Any]) -> bool:
        if session.is_new:
            return False
        session.delete()
        return True

    return change


def setting_data(name: str, value: Any) -> Change[bool]:
    """Set one field of the data.

    Raises:
        NoStateError: there is no state.
    """

    def change(session: Session[Any]) -> bool:
        record = _found(session)
        if record is None:
            raise _no_state(session)
        session.data = Record(state=record["state"], data={**record["data"], name: value})
        return True

    return change


def replacing_data(data: dict[str, Any]) -> Change[bool]:
    """Replace the data, if there is a state; tell whether there is."""

    def change(session: Session[Any]) -> bool:
        record = _found(session)
        if record is not None:
            session.data = Record(state=record["state"], data=data)
        return record is not None

    return change


class Block:
    """The data of a state inside of a `with` block.

    Attributes:
        data: what the block may change.
    """

    def __init__(self, record: Record | None) -> None:
        self._had_state = record is not None
        self._before: dict[str, Any] = {} if record is None else record["data"]
        self.data = deepcopy(self._before)

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to save."""
        return self.data != self._before or repr(self.data) != repr(self._before)  # 1 is not 1.0, nor True

    def merging(self) -> Change[ConflictError | None]:
        """Put what the block changed on top of what others changed meanwhile, field by field.

        A state that was deleted meanwhile, as by the handler inside of its own block, stays deleted.

        Returns:
            the error to raise, if both changed the same field; raised here, it would only be tried again.

        Raises:
            NoStateError: there was no state to begin with.
            UnsupportedValueError: the data is not JSON.
        """
        JSON.encode({"data": self.data})  # whose error says where, as that of any other change

        def change(session: Session[Any]) -> ConflictError | None:
            record = _found(session)
            if record is None and not self._had_state:
                raise _no_state(session)
            if record is not None:
                try:
                    data = merge(self._before, self.data, record["data"])
                except ConflictError as error:
                    return ConflictError(f"the data of {show(session.key or '')} {error}")
                session.data = Record(state=record["state"], data=data)
            return None

        return change


def _found(session: Session[Any]) -> Record | None:
    return None if session.is_new else known(session.key or "", session.data)


def _no_state(session: Session[Any]) -> NoStateError:
    return NoStateError(f"{show(session.key or '')} has no state, so it has no data: set_state() comes first")
