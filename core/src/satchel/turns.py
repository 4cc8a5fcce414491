"""One turn of an assistant: how its user is stored, when a session rolls over, and what a handler sees of it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict, cast

from satchel.clock import now
from satchel.codecs import JSON
from satchel.errors import CorruptValueError, SessionError
from satchel.keys import show
from satchel.session import Session


class SessionStore(TypedDict):
    """What lasts for a session, as it is stored. Times are of ISO 8601, in UTC.

    Attributes:
        id: the session's; None if its platform has no sessions.
        created_timestamp: when it began.
        new_user: it is the user's first.
        unknown_inputs: how many inputs in a row were not understood.
        slots: what was understood, by name.
        data: the bot's own.
    """

    id: str | None
    created_timestamp: str
    new_user: bool
    unknown_inputs: int
    slots: dict[str, Any]
    data: dict[str, Any]


class User(TypedDict):
    """What lasts, as it is stored: one record for each user.

    Attributes:
        created_timestamp: when the user was first seen.
        last_active_timestamp: when the user was last seen.
        current_handler: the active handler.
        previous_handler: the one before, which is another.
        previous_response: the last response.
        session_store: what lasts for the session.
        storage: the bot's own.
    """

    created_timestamp: str
    last_active_timestamp: str | None
    current_handler: Any
    previous_handler: Any
    previous_response: Any
    session_store: SessionStore | None
    storage: dict[str, Any]


class Turn:
    """What an assistant knows of a user in one turn. `Assistant.respond` makes it, and saves it.

    Attributes:
        is_new_session: a session began with this turn.
        last_active_timestamp: when the user was last seen before this turn; None if never.
    """

    def __init__(self, record: Session[User], *, is_new_session: bool, last_active_timestamp: datetime | None) -> None:
        self._record = record
        self.is_new_session = is_new_session
        self.last_active_timestamp = last_active_timestamp

    @property
    def session(self) -> dict[str, Any]:
        """What is yours for the length of the session: change it in place."""
        return self._store["data"]

    @property
    def storage(self) -> dict[str, Any]:
        """What is yours for good: change it in place."""
        return self._user["storage"]

    @property
    def session_id(self) -> str | None:
        """The id of the session, if it came with one."""
        return self._store["id"]

    @property
    def new_user(self) -> bool:
        """Whether this is the user's first session."""
        return self._store["new_user"]

    @property
    def unknown_inputs(self) -> int:
        """How many inputs in a row, this one included, were not understood; 0 if this one was."""
        return self._store["unknown_inputs"]

    @property
    def slots(self) -> dict[str, Any]:
        """All slots of the session, the latest value of each, with those of this turn. One may be removed in place."""
        return self._store["slots"]

    @property
    def created_timestamp(self) -> datetime:
        """When the user was first seen."""
        return datetime.fromisoformat(self._user["created_timestamp"])

    @property
    def current_handler(self) -> Any:
        """The active handler, a JSON value such as its name; None before the first. Assign to it to change it."""
        return self._user["current_handler"]

    @current_handler.setter
    def current_handler(self, handler: Any) -> None:
        user = self._user
        if handler != user["current_handler"]:
            user["previous_handler"], user["current_handler"] = user["current_handler"], handler

    @property
    def previous_handler(self) -> Any:
        """The handler that was active before the current one, and is another; None if there was none."""
        return self._user["previous_handler"]

    @property
    def previous_response(self) -> Any:
        """The response of the turn before; None if there was none."""
        return self._user["previous_response"]

    @property
    def session_store(self) -> Mapping[str, Any]:
        """The session as it is stored, a `SessionStore`, to look at."""
        return MappingProxyType(self._store)

    @property
    def _user(self) -> User:
        return self._record.data

    @property
    def _store(self) -> SessionStore:
        return cast("SessionStore", self._user["session_store"])


class Request(NamedTuple):
    """What an update says of itself; the slots are encoded, as each attempt needs its own."""

    session_id: str | None
    slots: bytes
    is_unknown: bool

    @classmethod
    def checked(cls, session_id: str | None, slots: Mapping[str, Any] | None, is_unknown: bool) -> "Request":
        """Return the request.

        Raises:
            SessionError: one of the three is not right.
            UnsupportedValueError: a slot is no JSON.
        """
        if session_id is not None and (not isinstance(session_id, str) or not session_id):
            raise SessionError("session_id is a string and not empty, or None")
        if slots is not None and not isinstance(slots, Mapping):
            raise SessionError(f"slots are a mapping of names to values, not {type(slots).__name__}")
        if not isinstance(is_unknown, bool):
            raise SessionError(f"is_unknown is True or False, not {type(is_unknown).__name__}")
        return cls(session_id, JSON.encode(dict(slots or {})), is_unknown)


def begin(record: Session[User], request: Request, idle: int | None) -> Turn:
    """Note that the user was seen, in the session that goes on, or begins after so many idle milliseconds.

    Raises:
        CorruptValueError: the record is no user of an assistant.
    """
    user, at = record.data, now()
    if not isinstance(user, dict) or not User.__required_keys__ <= user.keys():
        raise CorruptValueError(f"{show(record.key or '')} holds no record of an assistant")
    last = None if user["last_active_timestamp"] is None else datetime.fromisoformat(user["last_active_timestamp"])
    is_idle = last is not None and idle is not None and at - _milliseconds(last) >= idle
    store = user["session_store"]
    begins = store is None or is_idle or request.session_id not in (None, store["id"])
    if store is None or begins:
        store = SessionStore(
            id=request.session_id,
            created_timestamp=_iso(at),
            new_user=store is None,
            unknown_inputs=0,
            slots={},
            data={},
        )
    store["unknown_inputs"] = store["unknown_inputs"] + 1 if request.is_unknown else 0
    store["slots"].update(JSON.decode(request.slots))
    user["session_store"] = store
    user["last_active_timestamp"] = _iso(at)
    return Turn(record, is_new_session=begins, last_active_timestamp=last)


def never_seen() -> User:
    """Return the record of a user before the first turn."""
    return User(
        created_timestamp=_iso(now()),
        last_active_timestamp=None,
        current_handler=None,
        previous_handler=None,
        previous_response=None,
        session_store=None,
        storage={},
    )


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
