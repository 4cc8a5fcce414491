"""Deadlines of calls, with one timer for all of them: to set and cancel one for each takes a tenth of a fast call."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlines:
    """Gives each call so many seconds, on whatever event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._here = _Here()

    async def bound(self, call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Await what `call` returns.

        Raises:
            TimeoutError: it took too long, and was cancelled.
        """
        loop = asyncio.get_running_loop()
        watch = self._here.watch
        if watch is None or watch.loop is not loop:
            watch = self._here.watch = _Watch(loop, self._seconds)
        async with asyncio.timeout(None) as limit:
            watch.begin(limit)
            try:
                return await call(*arguments)
            finally:
                watch.end(limit)


class _Watch:
    """Looks after the calls of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.loop = loop
        self._seconds = seconds
        self._limits: dict[asyncio.Timeout, float] = {}  # when each call ends at the latest, the first one first
        self._is_set = False

    def begin(self, limit: asyncio.Timeout) -> None:
        """Take note of a call."""
        self._limits[limit] = self.loop.time() + self._seconds
        if not self._is_set:
            self._is_set = True
            self.loop.call_later(self._seconds, self._look)

    def end(self, limit: asyncio.Timeout) -> None:
        """Forget a call; the timer stays, for the next."""
        self._limits.pop(limit, None)

    def _look(self) -> None:
        """End what is late, and look again when the next call would be."""
        now = self.loop.time()
        for limit, when in list(self._limits.items()):
            if when > now:
                self.loop.call_at(when, self._look)
                return
            del self._limits[limit]
            limit.reschedule(now)
        self._is_set = False


class _Here(threading.local):
    """The watch of the event loop that this thread runs."""

    watch: _Watch | None = None
