"""Sessions: what a bot remembers between two messages, loaded before a handler and saved after it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar, overload

from satchel.adapter import milliseconds
from satchel.backing import Backing, OnConflict
from satchel.blocks import Block
from satchel.codecs import Codec
from satchel.errors import ConfigurationError, ConflictError, NoSessionError
from satchel.keys import check_key, per_chat, show
from satchel.lifetimes import Lifetimes, Migration
from satchel.locks import KeyedLock, Lock, Unlocked
from satchel.session import LazySession, Session
from satchel.settling import settled
from satchel.storage import StorageAdapter, V

__all__ = ["KeyFunction", "LazySession", "OnConflict", "Session", "Sessions"]

T = TypeVar("T")
KeyFunction = Callable[[Any], str | Awaitable[str | None] | None]
"""Finds the session key of an update, at once or awaited; None means that it has no session."""

_LONGEST_WAIT: Final = 0.1  # seconds between two attempts of `Sessions.update`


class Sessions(Generic[V]):
    """The sessions of a bot, in a storage.

        sessions = Sessions(storage, initial=lambda: {"pizza": 0}, key=per_chat)

        async with sessions.open(update) as session:
            session.data["pizza"] += 1

    Wherever an update is asked for, a session key will do.

    Args:
        storage: any storage; a versioned one keeps updates of several processes from overwriting each other.
        initial: makes the data of a session that is not stored yet.
        key: finds an update's session key, at once or awaited; None means that the update has no session.
        prefix: is put before every key, for several kinds of sessions with equal keys in one storage.
        on_conflict: what happens when the record changed between loading and saving: "merge" combines the changes and
            raises `ConflictError` if they meet in one top-level field, "raise" always raises it, "overwrite" lets the
            last writer win.
        lock: True lets one task at a time into a session; a `LeaseLock` one of all processes; False everybody.
        timeout: how long `open` waits for its turn, and `update` keeps trying.
        codec: how data becomes JSON and back, as `typed(MySession)`; by default it is JSON, or what the storage's own
            codec takes.
        migrations: by version, an integer from 1: takes data of the version before, and returns it in this one's
            layout. Data that was stored without a version goes through all of them; data of a version greater than all
            raises `SessionVersionError`. Data is stored anew when it changes next.
        version: today's, if it is greater than the last migration's.
        write_back: store migrated data at the end of its first block, even if nothing else changes.
        backfill: add the top-level fields of `initial` that stored data lacks.
        idle_timeout: ends a session, and starts the next, when it was not opened for so long. That it was is noted no
            more than ten times in this time, so a session may end a tenth early.
        absolute_timeout: ends a session so long after its first write.
        activity: keeps when a session was last used, as `session.last_activity`, to this precision: every write notes
            it, and a block that changes nothing writes only if what is noted is older than this.
        sliding: a block that changes nothing starts the lifetime that the storage's `ttl` gives anew, as one does that
            writes; that costs a round trip.

    Raises:
        ConfigurationError: an option is not right.
    """

    def __init__(
        self,
        storage: StorageAdapter[V],
        *,
        initial: Callable[[], V] | None = None,
        key: KeyFunction = per_chat,
        prefix: str = "",
        on_conflict: OnConflict = "merge",
        lock: Lock | bool = True,
        timeout: timedelta = timedelta(seconds=30),
        codec: Codec[V] | None = None,
        migrations: Mapping[int, Migration] | None = None,
        version: int | None = None,
        write_back: bool = False,
        backfill: bool = False,
        idle_timeout: timedelta | None = None,
        absolute_timeout: timedelta | None = None,
        activity: timedelta | None = None,
        sliding: bool = False,
    ) -> None:
        if on_conflict not in ("merge", "raise", "overwrite"):
            raise ConfigurationError(f'on_conflict is {on_conflict!r}; it is one of "merge", "raise", "overwrite"')
        if not callable(key):
            raise ConfigurationError(f"key is a function that finds the key of an update, not {type(key).__name__}")
        if not isinstance(lock, bool) and not hasattr(lock, "hold"):
            raise ConfigurationError(f"lock is True, False or a lock, not {type(lock).__name__}: LeaseLock(storage)")
        self._seconds = milliseconds("timeout", timeout) / 1000
        self.lock: Lock = (KeyedLock(timeout=timeout) if lock else Unlocked()) if isinstance(lock, bool) else lock
        lifetimes = Lifetimes(
            migrations=migrations,
            version=version,
            idle_timeout=idle_timeout,
            absolute_timeout=absolute_timeout,
            activity=activity,
        )
        self._backing = Backing(
            asynchronous(storage), codec, initial, lifetimes, backfill=backfill, write_back=write_back, sliding=sliding
        )
        self._on_conflict: OnConflict = on_conflict
        self._key = key
        if prefix:
            check_key(prefix)
        self.prefix = prefix

    def open(self, update: object) -> AbstractAsyncContextManager[Session[V]]:
        """Load the session of `update`; at the end of the block, save it if it changed. Nothing if the block raises.

        Raises:
            InvalidKeyError: the key cannot be one.
            StorageError: the session could not be loaded, or not saved (`ConflictError`: see `on_conflict`).
            LockTimeoutError: another task kept the session for longer than `timeout`.
            SessionAlreadyOpenError: this task has it open.
        """
        return Block(lambda: self.strict(update), self.lock)

    @asynccontextmanager
    async def lazy(self, update: object) -> AsyncIterator[LazySession[V]]:
        """Open the session of `update` without reading it: `data = await session` does, when it is asked for.

        A block that does not touch the session costs nothing; one that only assigns to it costs one write.
        Raises what `open` raises.
        """
        session = await self.unread(update)
        try:
            yield session
            await session.commit()
        finally:
            await session.aclose()

    @overload
    async def update(self, update: object, change: Callable[[Session[V]], Awaitable[T]]) -> T: ...
    @overload
    async def update(self, update: object, change: Callable[[Session[V]], T]) -> T: ...

    async def update(self, update: object, change: Callable[[Session[V]], Any]) -> Any:
        """Apply `change` to the session, again and again until no other writer came in between.

            def bake(session):
                session.data["pizza"] += 1

            await sessions.update("chat:42", bake)

        `change` does what the block of `open` would do, at once or awaited; it may be called several times, each time
        with the session as it is by then.

        Returns:
            what `change` returned when its changes were saved.

        Raises:
            ConflictError: other writers were faster for the whole of `timeout`.
            NoSessionError: the update has no session.
        """
        key = await self._need_key(update)
        deadline = time.monotonic() + self._seconds
        wait = 0.001
        async with self.lock.hold(key) as hold:
            while True:
                session = Session(self._backing, key, "raise", self._seconds)
                session.take(hold)
                await session.load()
                try:
                    result = await settled(change(session))
                    await session.commit()
                except ConflictError:
                    if time.monotonic() >= deadline:
                        raise
                else:
                    return result
                finally:
                    session.close()
                await asyncio.sleep(random.uniform(0, wait))
                wait = min(wait * 2, _LONGEST_WAIT)

    async def read(self, update: object) -> V | None:
        """Return the stored data of a session in today's layout, or None; `initial` is not asked."""
        entry = await self._backing.load(await self._need_key(update))
        return None if entry is None else entry.value

    async def delete(self, update: object) -> None:
        """Remove a session, whatever is in it."""
        key = await self._need_key(update)
        async with self.lock.hold(key):
            await self._backing.storage.delete(key)

    async def migrate(self, update: object) -> bool:
        """Store the data of a session in today's layout, and tell whether it was in an older one.

        Raises:
            SessionVersionError: its data is of a version that this program does not know yet.
        """
        key = await self._need_key(update)
        async with self.lock.hold(key):
            while True:
                entry = await self._backing.load(key)
                if entry is None or entry.value is None or entry.envelope.version == self._backing.version:
                    return False
                with suppress(ConflictError):  # somebody wrote it meanwhile: look again
                    stored, _ = self._backing.sealed(entry.value, entry.envelope)
                    await self._backing.write_raw(key, stored, entry.version)
                    return True

    async def rename(self, old: object, new: object) -> bool:
        """Move a session to another key, as when a group becomes a supergroup, and tell whether there was one.

        It is written to `new` before it is removed from `old`, so that nothing is lost in between. An interrupted
        rename is finished by doing it again.

        Raises:
            ConflictError: `new` holds other data already.
        """
        source, target = await self._need_key(old), await self._need_key(new)
        async with AsyncExitStack() as stack:
            for key in sorted({source, target}):
                await stack.enter_async_context(self.lock.hold(key))
            if source == target:
                return await self._backing.load(source) is not None
            return await self._move(source, target)

    async def _move(self, source: str, target: str) -> bool:
        backing, deadline = self._backing, time.monotonic() + self._seconds
        copied: bytes | None = None
        while True:
            there, here = await backing.load_raw(source), await backing.load_raw(target)
            if there is None:
                return copied is not None
            encoded = backing.encode_raw(there.value)
            if here is not None and backing.encode_raw(here.value) not in (encoded, copied):
                raise ConflictError(f"session {show(target)} exists already")
            try:
                await backing.write_raw(target, there.value, None if here is None else here.version)
                copied = encoded
                await backing.write_raw(source, None, there.version)
            except ConflictError:  # one of the two changed meanwhile: look again
                if time.monotonic() >= deadline:
                    raise
            else:
                return True

    async def _find_key(self, update: object) -> str | None:
        key = update if isinstance(update, str) else await settled(self._key(update))
        return None if key is None else check_key(self.prefix + check_key(key))

    @property
    def is_locked(self) -> bool:
        """Whether one session is open once at a time."""
        return not isinstance(self.lock, Unlocked)

    # What groups and the blocking facade call.

    def using(self, session: Session[V]) -> AbstractAsyncContextManager[Session[V]]:
        """Lock and load a session for the length of a block, and save it at its end."""
        return Block(session, self.lock)

    async def strict(self, update: object) -> Session[V]:
        """Make the session of an update; it is to be locked and loaded yet."""
        return Session(self._backing, await self._find_key(update), self._on_conflict, self._seconds)

    async def unread(self, update: object) -> LazySession[V]:
        """Make the lazy session of an update."""
        key = await self._find_key(update)
        return LazySession(self._backing, key, self._on_conflict, self._seconds, self.lock)

    async def _need_key(self, update: object) -> str:
        key = await self._find_key(update)
        if key is None:
            raise NoSessionError(f"this {type(update).__name__} has no session: its key is None")
        return key


def asynchronous(storage: StorageAdapter[V]) -> StorageAdapter[V]:
    """Return the storage that somebody takes who awaits it.

    Raises:
        ConfigurationError: it is one of `satchel.blocking`.
    """
    # Its methods are called the same, so no protocol tells it apart; and to import it only for isinstance() takes long.
    if any(kind.__module__ == "satchel.blocking.storage" for kind in type(storage).__mro__):
        raise ConfigurationError(f"{storage!r} is for blocking callers; here goes one of satchel.open_storage()")
    return storage
