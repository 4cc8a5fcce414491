"""Groups of sessions for blocking callers."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from typing import Any

from satchel.blocking.loop import Block, run
from satchel.blocking.session import LazySession, Session
from satchel.blocking.sessions import Sessions
from satchel.errors import ConfigurationError
from satchel.groups import Parts as AsyncParts
from satchel.groups import SessionGroup as AsyncSessionGroup
from satchel.groups import key_for
from satchel.session import LazySession as AsyncLazySession


class Parts:
    """The sessions of one update, by name; see `satchel.groups.Parts`."""

    def __init__(self, parts: AsyncParts) -> None:
        self._parts = parts

    def __getattr__(self, name: str) -> Any:
        return _blocking(getattr(self._parts, name))

    def __getitem__(self, name: str) -> Session[Any]:
        """Return the session of a part."""
        return _blocking(self._parts[name])

    @property
    def keys(self) -> dict[str, str | None]:
        """The session key of each part."""
        return self._parts.keys

    @property
    def data(self) -> dict[str, Any]:
        """The data of all parts that have a key. Assigning to it assigns the parts that it names, None deletes all."""
        return {name: self[name].data for name, key in self.keys.items() if key is not None}

    @data.setter
    def data(self, values: Mapping[str, Any] | None) -> None:
        self._parts.data = values

    def delete(self) -> None:
        """Remove every part that has a key, at the end of the block."""
        self._parts.delete()

    def save(self) -> None:
        """Save now what has changed, and go on."""
        run(self._parts.save())


class SessionGroup:
    """Several blocking `Sessions` for one update; see `satchel.SessionGroup`.

    Raises:
        ConfigurationError: there is no part, or one is no `Sessions` of `satchel.blocking`.
    """

    def __init__(self, **parts: Sessions[Any]) -> None:
        for name, sessions in parts.items():
            if not isinstance(sessions, Sessions):
                kind = type(sessions).__name__
                raise ConfigurationError(f"part {name} of a group is Sessions of satchel.blocking, not {kind}")
        self._blocking = parts
        self.wrapped = AsyncSessionGroup(**{name: sessions.wrapped for name, sessions in parts.items()})

    @contextmanager
    def open(self, update: object) -> Iterator[Parts]:
        """Load every part; at the end of the block, save what changed. Nothing if the block raises.

        Raises:
            SessionAlreadyOpenError: this thread has one of them open.
            SessionError: two parts have one key in one storage.
        """
        thread = threading.get_ident()

        async def made() -> AbstractAsyncContextManager[AsyncParts]:
            for name, sessions in self._blocking.items():
                session = await sessions.wrapped.strict(key_for(name, update, self._blocking))
                sessions.need_free(session.key, thread)
            return self.wrapped.open(update)

        with Block(made) as parts, ExitStack() as stack:
            for name, key in parts.keys.items():
                stack.enter_context(self._blocking[name].held(key))
            yield Parts(parts)

    @contextmanager
    def lazy(self, update: object) -> Iterator[Parts]:
        """Open every part without reading it: each is read when its data is first asked for."""

        async def made() -> AbstractAsyncContextManager[AsyncParts]:
            return self.wrapped.lazy(update)

        with Block(made) as parts:
            yield Parts(parts)


def _blocking(session: Any) -> Session[Any]:
    return LazySession(session) if isinstance(session, AsyncLazySession) else Session(session)
