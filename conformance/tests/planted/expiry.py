"""Storages whose records end too early, too late, or not for everybody."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from math import ceil
from typing import Any

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Correct, World, is_over
from satchel import ANY, Expected, Payload


class KeepsEnd(Correct):
    """Leaves the end of a record as it was."""

    def keep_end(self, name: str, before: float | None) -> None:
        if before is not None and name in self.rows:
            self.rows[name] = (self.rows[name][0], before)

    def end_of(self, name: str) -> float | None:
        row = self.rows.get(name)
        return row[1] if row is not None and not is_over(row) else None


@planted("R6-never-early")
class Early(Correct):
    """A record ends 5 ms early."""

    def end(self) -> float | None:
        end = super().end()
        return None if end is None else end - 0.005


@planted("R6-ends-in-time")
class WholeSeconds(Correct):
    """A lifetime is rounded up to whole seconds."""

    def end(self) -> float | None:
        return None if self.ttl_ms is None else time.monotonic() + ceil(self.ttl_ms / 1000)


@planted("R6-never-early")
class CutsSeconds(Correct):
    """A lifetime is cut to whole seconds: 1.9 s become 1 s, and 0.2 s none."""

    def end(self) -> float | None:
        return None if self.ttl_ms is None else time.monotonic() + self.ttl_ms // 1000


@planted("R6-whole-days")
class SecondsOfTimedelta(Correct):
    """A lifetime is timedelta.seconds, which is 0 for whole days."""

    def end(self) -> float | None:
        if self.ttl is None:
            return None
        return time.monotonic() + self.ttl.seconds + self.ttl.microseconds / 1e6


@planted("R6-write-restarts", "R6-last-write-decides")
class WriteKeepsEnd(KeepsEnd):
    """A write over a record leaves its end as it was."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        before = self.end_of(name)
        version = await super().put(name, payload, expected)
        if expected is ANY:
            self.keep_end(name, before)
        return version


@planted("R6-versioned-write-restarts")
class VersionedWriteKeepsEnd(KeepsEnd):
    """A versioned write over a record leaves its end as it was."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        before = self.end_of(name)
        version = await super().put(name, payload, expected)
        if isinstance(expected, str):
            self.keep_end(name, before)
        return version


@planted("R6-batch-write-restarts")
class BatchHasNoEnd(Correct):
    """What write_many writes never ends."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        self.rows.update({name: (payload, None) for name, payload in payloads.items()})


@planted("R6-same-write-restarts")
class SkipsSameWrite(Correct):
    """A write of the same value is left out."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is ANY and self.alive(name) == payload:
            return self.version_of(payload)
        return await super().put(name, payload, expected)


@planted("R6-last-write-decides")
class NoTtlKeepsEnd(KeepsEnd):
    """A write without a lifetime leaves the one that the record has."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        before = self.end_of(name)
        version = await super().put(name, payload, expected)
        if self.ttl is None:
            self.keep_end(name, before)
        return version


@planted("R6-touch-restarts")
class TouchDoesNothing(Correct):
    """touch only tells."""

    async def renew(self, name: str) -> bool:
        return self.alive(name) is not None


@planted("R6-touch-tells")
class TouchIsTrue(Correct):
    """touch gives True for what is not there."""

    async def renew(self, name: str) -> bool:
        await super().renew(name)
        return True


@planted("R6-touch-tells")
class TouchCreates(Correct):
    """touch creates an empty record where there is none."""

    async def renew(self, name: str) -> bool:
        if await super().renew(name):
            return True
        self.rows[name] = (b"{}", self.end())
        return False


@planted("R6-touch-expired")
class TouchWakes(Correct):
    """touch wakes what has ended."""

    async def renew(self, name: str) -> bool:
        if name not in self.rows:
            return False
        self.rows[name] = (self.rows[name][0], self.end())
        return True


@planted("R6-touch-without-ttl")
class TouchNeedsTtl(Correct):
    """touch is False where nothing has a lifetime, as EXPIRE would be."""

    async def renew(self, name: str) -> bool:
        return self.ttl is not None and await super().renew(name)


@planted("R6-touch-keeps")
class TouchRewrites(Correct):
    """touch reads and writes, and loses the order of keys."""

    async def renew(self, name: str) -> bool:
        payload = self.alive(name)
        if payload is None:
            return False
        value = self.codec.decode(payload)
        if isinstance(value, dict):
            payload = self.codec.encode(dict(sorted(value.items())))
        self.rows[name] = (payload, self.end())
        return True


@planted("R6-records-separately")
class OneEnd(Correct):
    """All records end together, after the last write."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        version = await super().put(name, payload, expected)
        if self.ttl is not None:
            for other, row in list(self.rows.items()):
                if not is_over(row) and row[1] is not None and row[1] - time.monotonic() < 10:
                    self.rows[other] = (row[0], self.end())
        return version


@planted("R6-listing-agrees", "R6-model")
class ListsEnded(Correct):
    """keys() gives what has ended."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        yield [name for name in self.rows if name.startswith(prefix)]


@planted("R6-batch-read-agrees")
class BatchReadsEnded(Correct):
    """read_many gives what has ended."""

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        return {name: self.rows[name][0] for name in names if name in self.rows}


@planted("R6-expired-version-conflicts", "R6-delete-expired")
class EndedHasVersion(Correct):
    """What has ended can be written at its version."""

    def is_at(self, name: str, expected: Expected) -> bool:
        if isinstance(expected, str) and name in self.rows:
            return self.version_of(self.rows[name][0]) == expected
        return super().is_at(name, expected)


@planted("R6-create-over-expired")
class EndedExists(Correct):
    """What has ended is in the way of its creation."""

    def is_at(self, name: str, expected: Expected) -> bool:
        return super().is_at(name, expected) and (expected is not None or name not in self.rows)


@planted("R6-purge")
class PurgesAll(Correct):
    """purge_expired removes everything with a lifetime."""

    async def purge(self) -> int:
        dead = [name for name, row in self.rows.items() if row[1] is not None]
        for name in dead:
            del self.rows[name]
        return len(dead)


@planted("R6-purge")
class PurgesNothing(Correct):
    """purge_expired counts, and removes nothing."""

    async def purge(self) -> int:
        return sum(is_over(row) for row in self.rows.values())


@planted("R6-no-ttl-is-for-ever", "R6-purge")
class DefaultTtl(Correct):
    """Without a ttl, records end after 0.1 s."""

    def end(self) -> float | None:
        return time.monotonic() + 0.1 if self.ttl is None else super().end()


@planted("R6-long-lifetime")
class OverflowsIn2106(Correct):
    """An end after 2106 does not fit into 32 bits."""

    def end(self) -> float | None:
        if self.ttl is not None and time.time() + self.ttl.total_seconds() > 2**32:
            raise OverflowError("int too large")
        return super().end()


@planted("R6-refuses-lifetimes")
class TakesSeconds(Correct):
    """A ttl may be a number of seconds, or nothing at all."""

    def __init__(self, world: World, *, ttl: Any = None, **options: Any) -> None:
        with suppress(TypeError):
            ttl = timedelta(seconds=ttl)
        super().__init__(world, ttl=ttl or None, **options)
