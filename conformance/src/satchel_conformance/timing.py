"""Lifetimes in clauses: as short as the storage can tell apart, and measured so that a busy machine does not matter."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from satchel_conformance.bench import Bench, Everything
from satchel_conformance.checks import expect, expect_same

_ATTEMPTS: Final = 5  # a busy machine may be late to look, but not every time
SHORTEST: Final = timedelta(milliseconds=200)
_SLACK: Final = 0.02  # seconds by which the clocks of machine and server may be apart


def short_ttl(bench: Bench) -> timedelta:
    """Return a lifetime to wait for: at least twice the resolution that the storage declares."""
    return max(SHORTEST, 2 * _resolution(bench))


def _resolution(bench: Bench) -> timedelta:
    return bench.capabilities.ttl_resolution or timedelta(milliseconds=1)


class Life:
    """A lifetime of `short_ttl` that begins when this is made.

    Make it before a write to know until when the record has to be there, and after a write to know when it has to be
    gone.

    Attributes:
        seconds: its length.
    """

    def __init__(self, bench: Bench) -> None:
        resolution = _resolution(bench)
        self.seconds = short_ttl(bench).total_seconds()
        self._end = self.seconds + resolution.total_seconds() + _SLACK
        self._start = time.monotonic()

    @property
    def age(self) -> float:
        """The seconds since it began."""
        return time.monotonic() - self._start

    @property
    def lasts(self) -> bool:
        """Whether it is not over. On a busy machine it may be, before what was to be seen of it is seen."""
        return self.age < self.seconds

    async def part(self, fraction: float) -> None:
        """Wait until that much of it is over."""
        await asyncio.sleep(max(0.0, self.seconds * fraction - self.age))

    async def over(self) -> None:
        """Wait until what began with it has to be gone."""
        await asyncio.sleep(max(0.0, self._end - self.age))


async def expect_restart(bench: Bench, storage: Everything, act: Callable[[], Awaitable[object]], what: str) -> None:
    """See that after `act`, in the middle of a lifetime, the record lives for a whole one, and then ends."""
    after = Life(bench)
    for _ in range(_ATTEMPTS):
        first = Life(bench)
        await storage.write("key", 1)
        await Life(bench).part(0.6)
        before = Life(bench)
        await act()
        in_time = first.lasts  # else there may have been nothing to touch
        after = Life(bench)
        await after.part(0.7)
        found = await storage.read("key")
        if in_time and before.lasts:
            expect(found is not None, f"the record is there for a lifetime since {what}", "it was gone")
            break
    await after.over()
    expect_same(await storage.read("key"), None, f"read a whole lifetime after {what}")
