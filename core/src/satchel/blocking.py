"""The same for bots without asyncio: Slack Bolt, Flask, AWS Lambda. Every name is that of the asynchronous one.

    from satchel.blocking import Sessions, open_storage

    storage = open_storage("sqlite:///bot.db")
    sessions = Sessions(storage, initial=lambda: {"pizza": 0})

    with sessions.open("chat:42") as session:
        session.data["pizza"] += 1

Everything may be used from any number of threads. The work is done on one event loop, in a thread that is started when
it is first needed and ends with the process; a process that is forked starts its own.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import satchel
from satchel.errors import ConfigurationError, SatchelError, SessionAlreadyOpenError
from satchel.keys import show
from satchel.session import LazySession as AsyncLazySession
from satchel.session import Session as AsyncSession
from satchel.storage import Change, Record, StorageAdapter, V

__all__ = ["LazySession", "Session", "Sessions", "Storage", "open_storage", "run"]

T = TypeVar("T")


class _Loop:
    """The event loop that the work is done on."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._running: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what the coroutine returns, or raise what it raises; an interrupted caller cancels it."""
        loop = self._started()
        if threading.current_thread().name == _THREAD:
            coroutine.close()
            raise SatchelError("satchel.blocking was called by what it is awaiting itself: use the asynchronous names")
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # it was the wait that was interrupted, if anything
            raise

    def forget(self) -> None:
        """In a forked process: there is no thread any more."""
        self._starting = threading.Lock()
        self._running = None

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._running is None:
                self._running = asyncio.new_event_loop()
                threading.Thread(target=self._running.run_forever, name=_THREAD, daemon=True).start()
            return self._running


_THREAD: Final = "satchel-blocking"
_LOOP: Final = _Loop()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LOOP.forget)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns: for what is made of the `wrapped` storages, on the event loop that is theirs."""
    return _LOOP.run(coroutine)


def open_storage(url: str, **options: Any) -> "Storage[Any]":
    """Make the storage that `url` names; see `satchel.open_storage`."""
    return Storage(satchel.open_storage(url, **options))


class Storage(Generic[V]):
    """A storage for blocking callers. A method that the storage does not have raises `AttributeError`.

    Attributes:
        wrapped: the asynchronous storage; use it here only.
    """

    def __init__(self, storage: StorageAdapter[V]) -> None:
        if not isinstance(storage, StorageAdapter):
            raise ConfigurationError(f"{type(storage).__name__} is no storage: it has no read, write and delete")
        self.wrapped: Any = storage

    @property
    def capabilities(self) -> satchel.Capabilities:
        """What the storage can do."""
        found: satchel.Capabilities = self.wrapped.capabilities
        return found

    def read(self, key: str) -> V | None:
        """Return the value under `key`, or None if there is none, and only then."""
        found: V | None = self._call("read", key)
        return found

    def write(self, key: str, value: V) -> None:
        """Store `value` under `key`, over whatever is there."""
        self._call("write", key, value)

    def delete(self, key: str) -> None:
        """Remove `key`. Where it is absent, nothing happens."""
        self._call("delete", key)

    def read_versioned(self, key: str) -> Record[V] | None:
        """Return the value under `key` with its version, or None if there is none."""
        found: Record[V] | None = self._call("read_versioned", key)
        return found

    def write_versioned(self, key: str, value: V, expected: str | None) -> str:
        """Store `value` if `key` is at the version `expected` (None: if it does not exist); return the new version."""
        version: str = self._call("write_versioned", key, value, expected)
        return version

    def delete_versioned(self, key: str, expected: str) -> None:
        """Remove `key` if it is at the version `expected`."""
        self._call("delete_versioned", key, expected)

    def touch(self, key: str) -> bool:
        """Start the lifetime of `key` anew; tell whether the key exists."""
        there: bool = self._call("touch", key)
        return there

    def purge_expired(self) -> int:
        """Remove what has expired and return how many records that were."""
        count: int = self._call("purge_expired")
        return count

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Iterate over the keys that start with `prefix`, each once, in no particular order."""
        keys: AsyncIterator[str] = self._method("keys")(prefix)
        try:
            while (key := _LOOP.run(_next(keys))) is not None:
                yield key
        finally:
            if (close := getattr(keys, "aclose", None)) is not None:
                _LOOP.run(close())

    def read_many(self, keys: Iterable[str]) -> dict[str, V]:
        """Return the values of those `keys` that exist."""
        found: dict[str, V] = self._call("read_many", keys)
        return found

    def write_many(self, values: Mapping[str, V]) -> None:
        """Store every value under its key."""
        self._call("write_many", values)

    def delete_many(self, keys: Iterable[str]) -> None:
        """Remove every key; absent ones are no error."""
        self._call("delete_many", keys)

    def read_records(self, keys: Iterable[str]) -> dict[str, Record[V]]:
        """Return the values of those `keys` that exist, with their versions."""
        found: dict[str, Record[V]] = self._call("read_records", keys)
        return found

    def commit(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        """Make every change, by key, or none of them, and return the new versions of what was written."""
        versions: dict[str, str] = self._call("commit", changes)
        return versions

    def setup(self) -> None:
        """Connect, and create what is needed."""
        self._call("setup")

    def close(self) -> None:
        """Release everything that the storage made itself."""
        self._call("aclose")

    def __enter__(self) -> Self:
        """Call `setup()`."""
        try:
            self.setup()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Call `close()`."""
        self.close()

    def __repr__(self) -> str:
        """Name the backend, without secrets."""
        return f"<blocking {self.wrapped!r}>"

    def _method(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] | None = getattr(self.wrapped, name, None)
        if method is None:
            raise AttributeError(f"{self.wrapped!r} has no {name}()")
        return method

    def _call(self, name: str, *arguments: Any) -> Any:
        return _LOOP.run(_awaited(self._method(name), *arguments))


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
        _LOOP.run(self._session.save())


class LazySession(Session[V]):
    """One session that is read when its data is first asked for; see `satchel.LazySession`."""

    _session: AsyncLazySession[V]

    @property
    def data(self) -> V:
        """The session's data, read from the storage the first time. Assigning needs no reading."""
        return _LOOP.run(_got(self._session))

    @data.setter
    def data(self, value: V | None) -> None:
        self._session.data = value


class Sessions(Generic[V]):
    """The sessions of a bot, for blocking callers: threads take turns at a session as tasks do.

    Args:
        storage: a blocking storage.
        options: those of `satchel.Sessions`; a `key` function, a migration and what `update` applies may be async, too.
    """

    def __init__(self, storage: Storage[Any], **options: Any) -> None:
        if not isinstance(storage, Storage):
            name = type(storage).__name__
            raise ConfigurationError(f"blocking Sessions take a storage of satchel.blocking, not {name}: Storage(…)")
        self.wrapped: satchel.Sessions[V] = satchel.Sessions(storage.wrapped, **options)
        self._open: dict[str, int] = {}  # by session key, the thread that has it open

    @contextmanager
    def open(self, update: object) -> Iterator[Session[V]]:
        """Load the session of `update`; at the end of the block, save it if it changed. Nothing if the block raises.

        Raises:
            SessionAlreadyOpenError: this thread has it open.
        """
        thread = threading.get_ident()
        with _Block(lambda: self._strict(update, thread)) as session:
            held = session.key if self.wrapped.is_locked else None
            if held is not None:
                self._open[held] = thread
            try:
                yield Session(session)
            finally:
                if held is not None:
                    del self._open[held]

    @contextmanager
    def lazy(self, update: object) -> Iterator[LazySession[V]]:
        """Open the session of `update` without reading it: it is read when `session.data` is first asked for."""

        async def made() -> AbstractAsyncContextManager[AsyncLazySession[V]]:
            return self.wrapped.lazy(update)

        with _Block(made) as session:
            yield LazySession(session)

    def update(self, update: object, change: Callable[[AsyncSession[V]], T]) -> T:
        """Apply `change` to the session, again and again until no other writer came in between; see `satchel.Sessions`.

        `change` runs in the thread of the event loop, so it is to be quick, and to call nothing that blocks.
        """
        result: T = _LOOP.run(self.wrapped.update(update, change))
        return result

    def read(self, update: object) -> V | None:
        """Return the stored data of a session, or None; `initial` is not asked."""
        return _LOOP.run(self.wrapped.read(update))

    def delete(self, update: object) -> None:
        """Remove a session, whatever is in it."""
        _LOOP.run(self.wrapped.delete(update))

    def rename(self, old: object, new: object) -> bool:
        """Move a session to another key, as when a group becomes a supergroup, and tell whether there was one."""
        return _LOOP.run(self.wrapped.rename(old, new))

    def migrate(self, update: object) -> bool:
        """Store the data of a session in today's layout, and tell whether it was in an older one."""
        return _LOOP.run(self.wrapped.migrate(update))

    async def _strict(self, update: object, thread: int) -> AbstractAsyncContextManager[AsyncSession[V]]:
        session = await self.wrapped.strict(update)
        if session.key is not None and self._open.get(session.key) == thread:
            raise SessionAlreadyOpenError(f"session {show(session.key)} is open in this thread already: use that one")
        return self.wrapped.using(session)


class _Block(Generic[T]):
    """An asynchronous context manager as a blocking one: its whole block is one task, as its locks expect."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, AbstractAsyncContextManager[T]]]) -> None:
        self._make = make

    def __enter__(self) -> T:
        return _LOOP.run(self._enter())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _LOOP.run(self._exit(error))

    async def _enter(self) -> T:
        loop = asyncio.get_running_loop()
        self._entered: asyncio.Future[T] = loop.create_future()
        self._left: asyncio.Future[BaseException | None] = loop.create_future()
        self._task = loop.create_task(self._whole())
        either: list[asyncio.Future[Any]] = [self._task, self._entered]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the thread was interrupted
            self._task.cancel()
            raise
        if not self._entered.done():
            await self._task  # raises
        return self._entered.result()

    async def _whole(self) -> None:
        async with await self._make() as value:
            self._entered.set_result(value)
            error = await self._left
            if error is not None:
                raise _LeftError(error)

    async def _exit(self, error: BaseException | None) -> None:
        self._left.set_result(error)
        with suppress(_LeftError):  # the block itself raises what it raised
            await self._task


class _LeftError(Exception):
    """The block raised, so nothing is to be saved."""


async def _awaited(method: Callable[..., Any], *arguments: Any) -> Any:
    return await method(*arguments)


async def _next(keys: AsyncIterator[str]) -> str | None:
    return await anext(keys, None)


async def _got(session: AsyncLazySession[V]) -> V:
    return await session
