"""Middleware that gives listeners the session of a request, as their argument `session`.

Bolt runs a listener after all middleware has returned, in another thread or task, and tells no middleware how it went.
So the session is not open yet: the listener opens it, for a block.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Generic, Self, TypeVar

from slack_bolt import BoltRequest, BoltResponse
from slack_bolt.async_app import AsyncBoltRequest
from slack_bolt.middleware import Middleware
from slack_bolt.middleware.async_middleware import AsyncMiddleware

from satchel import ConfigurationError, LazySession, NoSessionError, Session, Sessions, blocking
from satchel.storage import V
from satchel_slack.keys import KeyFunction, per_channel

T = TypeVar("T")


class _Bound:
    """A session key, and what is needed to open its session.

    Attributes:
        key: the session key; None if the request has no session.
    """

    def __init__(self, key: str | None) -> None:
        self.key = key

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: Bolt copies its context for lazy listeners."""
        return self

    def _need_key(self) -> str:
        if self.key is None:
            raise NoSessionError("this request has no session: its key is None")
        return self.key


class BoundSession(_Bound, Generic[V]):
    """The session of a request, which is opened as with `satchel.blocking.Sessions`.

    Each method raises `NoSessionError` if the request has no session, and what that of `Sessions` raises.
    """

    def __init__(self, sessions: blocking.Sessions[V], key: str | None) -> None:
        super().__init__(key)
        self._sessions = sessions

    def open(self) -> AbstractContextManager[blocking.Session[V]]:
        """Load the session, for a block, and save it if it changed."""
        return self._sessions.open(self._need_key())

    def lazy(self) -> AbstractContextManager[blocking.LazySession[V]]:
        """Open the session, for a block, and load it when its data is asked for."""
        return self._sessions.lazy(self._need_key())

    def update(self, change: Callable[[Session[V]], T]) -> T:
        """Apply `change` again and again until no other writer came in between."""
        return self._sessions.update(self._need_key(), change)


class AsyncBoundSession(_Bound, Generic[V]):
    """The session of a request, which is opened as with `satchel.Sessions`.

    Each method raises `NoSessionError` if the request has no session, and what that of `Sessions` raises.
    """

    def __init__(self, sessions: Sessions[V], key: str | None) -> None:
        super().__init__(key)
        self._sessions = sessions

    def open(self) -> AbstractAsyncContextManager[Session[V]]:
        """Load the session, for a block, and save it if it changed."""
        return self._sessions.open(self._need_key())

    def lazy(self) -> AbstractAsyncContextManager[LazySession[V]]:
        """Open the session, for a block, and load it when it is awaited."""
        return self._sessions.lazy(self._need_key())

    async def update(self, change: Callable[[Session[V]], Any]) -> Any:
        """Apply `change`, sync or async, again and again until no other writer came in between."""
        return await self._sessions.update(self._need_key(), change)


class SessionMiddleware(Middleware, Generic[V]):
    """Gives the listeners of an `App` a `BoundSession`.

        app.use(SessionMiddleware(sessions))

        @app.message("pizza")
        def order(session, say):
            with session.open() as opened:
                opened.data["pizza"] += 1
                say(f"{opened.data['pizza']} pizzas so far")

    Args:
        sessions: those of `satchel.blocking`.
        key: finds the session key in the context of a request.
        name: what listeners call the argument.

    Raises:
        ConfigurationError: the sessions are none of `satchel.blocking`.
    """

    def __init__(
        self, sessions: blocking.Sessions[V], *, key: KeyFunction = per_channel, name: str = "session"
    ) -> None:
        if not isinstance(sessions, blocking.Sessions):
            raise ConfigurationError(f"SessionMiddleware takes Sessions of satchel.blocking, not {type(sessions)}")
        self._sessions, self._key, self._argument = sessions, key, name

    def process(self, *, req: BoltRequest, resp: BoltResponse, next: Callable[[], BoltResponse]) -> BoltResponse:  # noqa: A002
        """Put the session into the context, from where listeners are given their arguments."""
        req.context[self._argument] = BoundSession(self._sessions, self._key(req.context))
        next()
        return resp


class AsyncSessionMiddleware(AsyncMiddleware, Generic[V]):
    """Gives the listeners of an `AsyncApp` an `AsyncBoundSession`; see `SessionMiddleware`.

    Args:
        sessions: those of `satchel`.
        key: finds the session key in the context of a request.
        name: what listeners call the argument.

    Raises:
        ConfigurationError: they are none of `satchel`, as those of `satchel.blocking`.
    """

    def __init__(self, sessions: Sessions[V], *, key: KeyFunction = per_channel, name: str = "session") -> None:
        if not isinstance(sessions, Sessions):
            raise ConfigurationError(f"AsyncSessionMiddleware takes Sessions of satchel, not {type(sessions)}")
        self._sessions, self._key, self._argument = sessions, key, name

    async def async_process(
        self,
        *,
        req: AsyncBoltRequest,
        resp: BoltResponse,
        next: Callable[[], Awaitable[BoltResponse]],  # noqa: A002
    ) -> BoltResponse:
        """Put the session into the context, from where listeners are given their arguments."""
        req.context[self._argument] = AsyncBoundSession(self._sessions, self._key(req.context))
        await next()
        return resp
