"""Lifetimes in clauses: as short as the storage can tell apart, and measured so that a busy machine does not matter."""

import asyncio
import time
from datetime import timedelta
from typing import Final

from satchel_conformance.bench import Bench

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
