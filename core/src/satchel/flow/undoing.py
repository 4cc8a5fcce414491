"""What a handler did to a session before it raised is undone, for the state that it fails to."""

from copy import deepcopy
from typing import Generic

from satchel.errors import EmptySessionError
from satchel.flow.outbox import Outbox
from satchel.session import Session
from satchel.storage import V


class Undo(Generic[V]):
    """A session's data, as they are now, and what is scheduled.

    Args:
        session: the session.
        outbox: what is scheduled.

    Attributes:
        outbox: what was scheduled.
    """

    def __init__(self, session: Session[V], outbox: Outbox) -> None:
        self._session = session
        self._data: V | None = None
        self._copy: V | None = None
        self.take(outbox)

    def take(self, outbox: Outbox) -> None:
        """Go by what the data are now instead, as they were saved, and by what is scheduled since."""
        self.outbox = outbox
        try:
            self._data = self._session.data
        except EmptySessionError:  # deleted
            self._data = None
        self._copy = deepcopy(self._data)

    def undo(self) -> None:
        """Make the data what they were."""
        data, before = self._data, self._copy
        if isinstance(data, dict) and isinstance(before, dict):
            # In place, as the handlers that led here may hold it, and go on.
            data.clear()
            data.update(before)
            self._session.data = self._data
        else:
            self._session.data = before
