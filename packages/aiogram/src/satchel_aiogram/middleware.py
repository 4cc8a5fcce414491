"""A session for every handler: what it changes is saved when it returns."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiogram import BaseMiddleware
from aiogram.types import TelegramObject

from satchel import ConfigurationError, SessionGroup, Sessions


class SessionMiddleware(BaseMiddleware):
    """Hands the session of an event to its handler, as the argument `session`.

        dispatcher.update.outer_middleware(SessionMiddleware(Sessions(storage, initial=dict, key=per_chat)))

        @dispatcher.message()
        async def count(message: Message, session: Session[dict[str, int]]) -> None:
            session.data["messages"] = session.data.get("messages", 0) + 1

    As an outer middleware of `dispatcher.update` it covers filters too, and key functions get the `Update`; of an
    observer or a router, they get the event itself. If the handler raises, nothing is saved.

    Args:
        sessions: whose key function finds the session of an event; a group gives all of its parts.
        lazy: the session is not read before it is awaited: `data = await session`.
        name: what the handler's argument is called.

    Raises:
        ConfigurationError: the sessions are neither, as those of `satchel.blocking`.
    """

    def __init__(self, sessions: Sessions[Any] | SessionGroup, *, lazy: bool = False, name: str = "session") -> None:
        if not isinstance(sessions, Sessions | SessionGroup):
            kind = type(sessions)
            raise ConfigurationError(f"SessionMiddleware takes Sessions or a SessionGroup of satchel, not {kind}")
        self._open: Callable[[object], Any] = sessions.lazy if lazy else sessions.open
        self._name = name

    async def __call__(
        self,
        handler: Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]],
        event: TelegramObject,
        data: dict[str, Any],
    ) -> Any:
        """Call the handler inside the session's block."""
        async with self._open(event) as session:
            data[self._name] = session
            return await handler(event, data)
