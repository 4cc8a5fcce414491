"""The sessions of a bot, for blocking callers."""

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Generic, TypeVar

import satchel
from satchel.blocking.loop import Block, run
from satchel.blocking.session import LazySession, Session
from satchel.blocking.storage import Storage
from satchel.errors import ConfigurationError, SessionAlreadyOpenError
from satchel.keys import show
from satchel.session import LazySession as AsyncLazySession
from satchel.session import Session as AsyncSession
from satchel.storage import V

T = TypeVar("T")


class Sessions(Generic[V]):
    """The sessions of a bot, for blocking callers: threads take turns at a session as tasks do.

    Args:
        storage: a blocking storage.
        options: those of `satchel.Sessions`; a `key` function, a migration and what `update` applies may be async, too.
    """

    def __init__(self, storage: Storage[Any], **options: Any) -> None:
        self.wrapped: satchel.Sessions[V] = satchel.Sessions(checked(storage, "Sessions").wrapped, **options)
        self._open: dict[str, int] = {}  # by session key, the thread that has it open

    @contextmanager
    def open(self, update: object) -> Iterator[Session[V]]:
        """Load the session of `update`; at the end of the block, save it if it changed. Nothing if the block raises.

        Raises:
            SessionAlreadyOpenError: this thread has it open.
        """
        thread = threading.get_ident()
        with Block(lambda: self._strict(update, thread)) as session, self.held(session.key):
            yield Session(session)

    @contextmanager
    def lazy(self, update: object) -> Iterator[LazySession[V]]:
        """Open the session of `update` without reading it: it is read when `session.data` is first asked for."""

        async def made() -> AbstractAsyncContextManager[AsyncLazySession[V]]:
            return self.wrapped.lazy(update)

        with Block(made) as session:
            yield LazySession(session)

    def update(self, update: object, change: Callable[[AsyncSession[V]], T]) -> T:
        """Apply `change` to the session, again and again until no other writer came in between; see `satchel.Sessions`.

        `change` runs in the thread of the event loop, so it is to be quick, and to call nothing that blocks.
        """
        return self._alone(lambda: self.wrapped.update(update, change), update)

    def read(self, update: object) -> V | None:
        """Return the stored data of a session, or None; `initial` is not asked."""
        return run(self.wrapped.read(update))

    def delete(self, update: object) -> None:
        """Remove a session, whatever is in it."""
        self._alone(lambda: self.wrapped.delete(update), update)

    def rename(self, old: object, new: object) -> bool:
        """Move a session to another key, as when a group becomes a supergroup, and tell whether there was one."""
        return self._alone(lambda: self.wrapped.rename(old, new), old, new)

    def migrate(self, update: object) -> bool:
        """Store the data of a session in today's layout, and tell whether it was in an older one."""
        return self._alone(lambda: self.wrapped.migrate(update), update)

    # What groups call, too.

    def need_free(self, key: str | None, thread: int) -> None:
        """See that a session is not open in a thread, which would wait for itself.

        Raises:
            SessionAlreadyOpenError: it is.
        """
        if key is not None and self._open.get(key) == thread:
            raise SessionAlreadyOpenError(f"session {show(key)} is open in this thread already: use that one")

    @contextmanager
    def held(self, key: str | None) -> Iterator[None]:
        """Note that this thread has a session open, if that keeps others out."""
        if key is None or not self.wrapped.is_locked:
            yield
            return
        self._open[key] = threading.get_ident()
        try:
            yield
        finally:
            # A block that a thread has abandoned may end when another thread has the session open.
            if self._open.get(key) == threading.get_ident():
                del self._open[key]

    def _alone(self, work: Callable[[], Awaitable[T]], *updates: object) -> T:
        """Do something to sessions that this thread has not open."""
        thread = threading.get_ident()

        async def done() -> T:
            for update in updates:
                self.need_free((await self.wrapped.strict(update)).key, thread)
            return await work()

        return run(done())

    async def _strict(self, update: object, thread: int) -> AbstractAsyncContextManager[AsyncSession[V]]:
        session = await self.wrapped.strict(update)
        self.need_free(session.key, thread)
        return self.wrapped.using(session)


class Around(Sessions[V]):
    """Asynchronous sessions that somebody has made already, on the storage that a blocking one has wrapped."""

    def __init__(self, sessions: satchel.Sessions[V]) -> None:
        self.wrapped = sessions
        self._open = {}


def checked(storage: Storage[Any], who: str) -> Storage[Any]:
    """Return the storage that somebody takes.

    Raises:
        ConfigurationError: it is none of `satchel.blocking`.
    """
    if not isinstance(storage, Storage):
        name = type(storage).__name__
        raise ConfigurationError(f"blocking {who} take a storage of satchel.blocking, not {name}: Storage(…)")
    return storage
