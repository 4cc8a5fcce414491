"""A conversation as the Agents SDK knows it: a list of items that grows at its end."""

from typing import Any

from agents import SessionSettings, TResponseInputItem
from agents.memory import Session as SessionProtocol

from satchel import ConfigurationError, CorruptValueError, Session, Sessions
from satchel.keys import check_key, show


class AgentSession(SessionProtocol):
    """The conversation of one session key: its items are one record, and each change of it is one conditional write.

        sessions = Sessions(storage, prefix="agent:")
        result = await Runner.run(agent, "Hello", session=AgentSession("chat:42", sessions))

    Any number of tasks and processes may have it open: on a versioned storage no item is lost, none is added twice,
    and none is popped by two. The items of one `add_items` stay together.

    Args:
        session_id: the session key.
        sessions: where conversations are; make it once, as tasks of this process take turns by it. Its lifetimes end a
            conversation; its `initial` is not asked.
        session_settings: of the SDK; `limit` is how many of the latest items an agent is given.

    Raises:
        ConfigurationError: the sessions are none of `satchel`, as a storage, or those of `satchel.blocking`.
        InvalidKeyError: the session key cannot be one.
    """

    def __init__(
        self, session_id: str, sessions: Sessions[Any], *, session_settings: SessionSettings | None = None
    ) -> None:
        if not isinstance(sessions, Sessions):
            raise ConfigurationError(f"AgentSession takes Sessions of satchel, not {type(sessions)}")
        self.session_id = check_key(session_id)
        self.session_settings = session_settings or SessionSettings()
        self._sessions = sessions

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the latest `limit` items, the oldest of them first; None is what the settings say, else all.

        Raises:
            CorruptValueError: what is stored is no conversation.
        """
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        items = self._items(await self._sessions.read(self.session_id))
        return items if limit is None else items[max(0, len(items) - max(0, limit)) :]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items at the end.

        Raises:
            UnsupportedValueError: an item is not JSON. None of them is added.
            ValueTooLargeError: the conversation has become too large for the storage. None of them is added.
            ConflictError: others were faster for the whole of the sessions' timeout. None of them is added.
        """
        added = list(items)

        def append(session: Session[Any]) -> None:
            session.data = {"items": [*self._items(None if session.is_new else session.data), *added]}

        if added:
            await self._sessions.update(self.session_id, append)

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the latest item and return it, or None if there is none."""

        def pop(session: Session[Any]) -> TResponseInputItem | None:
            items = self._items(None if session.is_new else session.data)
            return items.pop() if items else None

        return await self._sessions.update(self.session_id, pop)

    async def clear_session(self) -> None:
        """Remove the conversation."""
        await self._sessions.delete(self.session_id)

    def _items(self, data: Any) -> list[TResponseInputItem]:
        match data:
            case None:
                return []
            case {"items": list() as items}:
                return items
            case _:
                raise CorruptValueError(f"session {show(self.session_id)} is no conversation of the Agents SDK")
