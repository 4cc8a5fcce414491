"""Locks by key: updates of one session run one after the other, those of different sessions side by side."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

from satchel.adapter import milliseconds
from satchel.errors import LockTimeoutError, SessionAlreadyOpenError
from satchel.keys import show


class Hold(Protocol):
    """A lock that is held."""

    def ensure(self) -> None:
        """Return if the lock is held still.

        Raises:
            LeaseLostError: it is not; somebody else may hold it by now.
        """


class Lock(Protocol):
    """What `Sessions(lock=…)` takes."""

    def hold(self, key: str) -> AbstractAsyncContextManager[Hold]:
        """Hold the lock of `key` for the length of a block.

        Raises:
            LockTimeoutError: others kept it for too long.
            SessionAlreadyOpenError: this very task holds it.
        """
        ...


class KeyedLock:
    """Lets one task of this process at a time work on a key. First come, first served; an idle key costs nothing.

    Args:
        timeout: how long to wait for other tasks before `LockTimeoutError`.
    """

    def __init__(self, *, timeout: timedelta = timedelta(seconds=30)) -> None:
        self._seconds = milliseconds("timeout", timeout) / 1000
        self._waiting: dict[str, _Place] = {}

    def hold(self, key: str) -> AbstractAsyncContextManager[Hold]:
        """Hold the lock of `key` for the length of a block."""
        return _Turn(self, key)

    async def enter(self, key: str) -> "_Place":
        """Wait for the lock of `key`, and take it."""
        task = asyncio.current_task()
        place = self._waiting.get(key)
        if place is None:
            place = self._waiting[key] = _Place()
        elif place.owner is task:
            raise SessionAlreadyOpenError(f"session {show(key)} is open in this task already: use that one")
        place.users += 1
        try:
            await self._enter(place, key)
        except BaseException:
            self._forget(place, key)
            raise
        place.owner = task
        return place

    def leave(self, place: "_Place", key: str) -> None:
        """Let the next one in."""
        place.owner = None
        place.lock.release()
        self._forget(place, key)

    def _forget(self, place: "_Place", key: str) -> None:
        place.users -= 1
        if not place.users:
            del self._waiting[key]

    async def _enter(self, place: "_Place", key: str) -> None:
        if place.users == 1:
            await place.lock.acquire()  # nobody else is here, so this does not wait
            return
        try:
            async with asyncio.timeout(self._seconds):
                await place.lock.acquire()
        except TimeoutError:
            raise LockTimeoutError(
                f"session {show(key)} was in use for {self._seconds:g} s: by a slow handler, or by one that waits "
                "inside its session for a task that opens the same session"
            ) from None


class Unlocked:
    """No lock at all: `Sessions(lock=False)`."""

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[Hold]:
        """Let everybody in."""
        yield _Place()


class _Turn(AbstractAsyncContextManager[Hold]):
    """One use of a lock: a class, as a generator would take several times as long, and this is in every turn."""

    def __init__(self, lock: KeyedLock, key: str) -> None:
        self._lock, self._key = lock, key

    async def __aenter__(self) -> Hold:
        self._place = await self._lock.enter(self._key)
        return self._place

    async def __aexit__(self, *_: object) -> None:
        self._lock.leave(self._place, self._key)


class _Place:
    """One key's queue; as a `Hold`, it is never lost."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.owner: asyncio.Task[Any] | None = None
        self.users = 0

    def ensure(self) -> None:
        pass
