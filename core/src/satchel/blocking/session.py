"""One session for blocking callers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic

from satchel.blocking.loop import run
from satchel.session import LazySession as AsyncLazySession
from satchel.session import Session as AsyncSession
from satchel.storage import V


class Session(Generic[V]):
    """One session, for the length of a `with` block; see `satchel.Session`."""

    def __init__(self, session: AsyncSession[V]) -> None:
        self._session = session

    @property
    def key(self) -> str | None:
        """The session key."""
        return self._session.key

    @property
    def data(self) -> V:
        """The session's data: change it in place, or assign to it. Assigning None deletes the session."""
        return self._session.data

    @data.setter
    def data(self, value: V | None) -> None:
        self._session.data = value

    @property
    def is_new(self) -> bool:
        """Whether nothing was stored when the session was loaded."""
        return self._session.is_new

    @property
    def last_activity(self) -> datetime | None:
        """When the session was last used before now, in UTC; None if it is new, or that was not noted."""
        return self._session.last_activity

    def delete(self) -> None:
        """Remove the session at the end of the block."""
        self._session.delete()

    @property
    def state(self) -> Mapping[str, Any]:
        """The data, which has to be a dict, to look at: `set_state` changes it."""
        _ = self.data  # a lazy session is read first
        return self._session.state

    def set_state(self, state: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        """Set top-level fields of the data, which has to be a dict."""
        _ = self.data  # a lazy session is read first
        self._session.set_state(state, **fields)

    def reset_state(self) -> None:
        """Set the data back to `initial()`."""
        self._session.reset_state()

    def save(self) -> None:
        """Save now what has changed, and go on."""
        run(self._session.save())


class LazySession(Session[V]):
    """One session that is read when its data is first asked for; see `satchel.LazySession`."""

    _session: AsyncLazySession[V]

    @property
    def data(self) -> V:
        """The session's data, read from the storage the first time. Assigning needs no reading."""
        return run(_got(self._session))

    @data.setter
    def data(self, value: V | None) -> None:
        self._session.data = value


async def _got(session: AsyncLazySession[V]) -> V:
    return await session
