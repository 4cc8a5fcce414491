"""Storages whose records end too early, too late, or not for everybody."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from math import ceil
from typing import Any

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Alone, Correct, Plain, World, is_over
from satchel import ANY, Expected, Payload


class KeepsEnd(Correct):
    """Leaves the end of a record as it was."""

    def keep_end(self, name: str, before: float | None) -> None:
        if before is not None and name in self.rows:
            self.rows[name] = (self.rows[name][0], before)

    def end_of(self, name: str) -> float | None:
        row = self.rows.get(name)
        return row[1] if row is not None and not is_over(row) else None


class AloneKeepsEnd(KeepsEnd, Alone):
    """Leaves ends as they were, of records that it has to itself."""


@planted("R6-never-early", shared=False)
class Early(Alone):
    """A record ends 20 ms early."""

    def end(self) -> float | None:
        end = super().end()
        return None if end is None else end - 0.02


@planted("R6-ends-in-time", others=True)
class WholeSeconds(Correct):
    """A lifetime is rounded up to whole seconds."""

    def end(self) -> float | None:
        return None if self.ttl_ms is None else time.monotonic() + ceil(self.ttl_ms / 1000)


@planted("R6-never-early", others=True)
class CutsSeconds(Correct):
    """A lifetime is cut to whole seconds: 1.9 s become 1 s, and 0.2 s none."""

    def end(self) -> float | None:
        return None if self.ttl_ms is None else time.monotonic() + self.ttl_ms // 1000


@planted("R6-whole-days", others=True)
class SecondsOfTimedelta(Correct):
    """A lifetime is timedelta.seconds, which is 0 for whole days."""

    def end(self) -> float | None:
        if self.ttl is None:
            return None
        return time.monotonic() + self.ttl.seconds + self.ttl.microseconds / 1e6


@planted("R6-whole-days")
class TouchesForSeconds(Correct):
    """A touch is for timedelta.seconds, which is 0 for whole days."""

    async def renew(self, name: str) -> bool:
        there = await super().renew(name)
        if there and self.ttl is not None and self.ttl.days:
            self.rows[name] = (self.rows[name][0], time.monotonic() + self.ttl.seconds)
        return there


@planted("R6-ends-in-time")
class EndedHasRecord(Correct):
    """read_versioned gives what has ended."""

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        row = self.rows.get(name)
        return None if row is None else (row[0], self.version_of(row[0]))


@planted("R6-write-restarts", shared=False)
class UpdateKeepsEnd(AloneKeepsEnd):
    """A write of another value over a record leaves its end as it was."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        before = self.end_of(name) if self.alive(name) != payload else None
        version = await super().put(name, payload, expected)
        if expected is ANY:
            self.keep_end(name, before)
        return version


class KnowsWriter(Correct):
    """Notes which storage was the last to write a record by itself."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        self.world.notes[name] = self
        return await super().put(name, payload, expected)


@planted("R6-model")
class TouchesItsOwn(KnowsWriter):
    """touch does not renew what another storage with the same lifetime wrote last."""

    async def renew(self, name: str) -> bool:
        last = self.world.notes.get(name, self)
        renews = last is self or last.ttl != self.ttl
        return await super().renew(name) if renews else self.alive(name) is not None


@planted("R6-last-touch-decides")
class TouchKeepsLifetime(KnowsWriter):
    """touch starts the lifetime anew that the record was written with."""

    async def renew(self, name: str) -> bool:
        there = await super().renew(name)
        if there and name in self.world.notes:
            self.rows[name] = (self.rows[name][0], self.world.notes[name].end())
        return there


@planted("R6-write-restarts", "R6-same-write-restarts", "R6-last-write-decides", "R6-model")
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
    """A versioned write over a record, with a lifetime of seconds, leaves its end as it was."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        before = self.end_of(name)
        version = await super().put(name, payload, expected)
        if isinstance(expected, str) and self.ttl is not None and self.ttl < timedelta(minutes=1):
            self.keep_end(name, before)
        return version


@planted("R6-batch-write-restarts")
class BatchHasNoEnd(Correct):
    """What write_many writes never ends."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        self.rows.update({name: (payload, None) for name, payload in payloads.items()})


@planted("R6-same-write-restarts", shared=False)
class SkipsSameWrite(Alone):
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


@planted("R6-touch-restarts", shared=False)
class TouchDoesNothing(Alone):
    """touch only tells."""

    async def renew(self, name: str) -> bool:
        return self.alive(name) is not None


@planted("R6-touch-tells")
class TouchIsOne(Correct):
    """touch gives 1 for a record with a lifetime, as EXPIRE does."""

    async def renew(self, name: str) -> Any:
        there = await super().renew(name)
        return 1 if there and self.ttl is not None else there


@planted("R6-touch-tells", others=True)
class TouchIsTrue(Correct):
    """touch gives True for what is not there."""

    async def renew(self, name: str) -> bool:
        await super().renew(name)
        return True


@planted("R6-touch-tells", others=True)
class TouchCreates(Correct):
    """touch creates an empty record where there is none."""

    async def renew(self, name: str) -> bool:
        if await super().renew(name):
            return True
        self.rows[name] = (b"{}", self.end())
        return False


@planted("R6-touch-expired", shared=False)
class TouchWakes(Alone):
    """touch wakes what has ended."""

    async def renew(self, name: str) -> bool:
        if name not in self.rows:
            return False
        self.rows[name] = (self.rows[name][0], self.end())
        return True


@planted("R6-touch-without-ttl")
class TouchNeedsTtl(Correct):
    """touch is False for a record that has no lifetime and is to have none, as PERSIST is 0."""

    async def renew(self, name: str) -> bool:
        has_none = self.ttl is None and name in self.rows and self.rows[name][1] is None
        return await super().renew(name) and not has_none


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


@planted("R6-listing-agrees", shared=False)
class ListsEndedAlone(Alone):
    """keys() gives what has ended, in a storage that has its records to itself."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        yield [name for name in self.rows if name.startswith(prefix)]


@planted("R6-listing-agrees", "R6-model")
class ListsEnded(Correct):
    """keys() gives what has ended."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        yield [name for name in self.rows if name.startswith(prefix)]


@planted("R6-batch-read-agrees")
class BatchReadsEnded(Plain):
    """read_many gives what has ended."""

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        return {name: self.rows[name][0] for name in names if name in self.rows}


class EndedIsAt(Correct):
    """Finds what has ended at its version."""

    def was_at(self, name: str, expected: Expected) -> bool:
        row = self.rows.get(name)
        return row is not None and is_over(row) and self.version_of(row[0]) == expected


@planted("R6-expired-version-conflicts")
class EndedIsReplaced(EndedIsAt):
    """What has ended can be replaced at its version."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return await super().put(name, payload, ANY if self.was_at(name, expected) else expected)


@planted("R6-delete-expired")
class EndedIsDeleted(EndedIsAt):
    """What has ended can be deleted at its version."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        return await super().drop(name, ANY if self.was_at(name, expected) else expected)


@planted("R6-expired-version-conflicts", "R6-delete-expired")
class EndedHasVersion(Plain):
    """What has ended can be written at its version."""

    def is_at(self, name: str, expected: Expected) -> bool:
        if isinstance(expected, str) and name in self.rows:
            return self.version_of(self.rows[name][0]) == expected
        return super().is_at(name, expected)


@planted("R6-create-over-expired")
class EndedExists(Plain):
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


@planted("R6-no-ttl-is-for-ever")
class PurgesWithoutTtl(Correct):
    """Without a ttl, purge_expired removes everything."""

    async def purge(self) -> int:
        if self.ttl is None:
            self.rows.clear()
        return await super().purge()


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


@planted("R6-never-early", shared=False)
class EndsEarlyWithVersion(Alone):
    """With its version, a record is gone 30 ms before its end."""

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        row = self.rows.get(name)
        if row is not None and row[1] is not None and row[1] - time.monotonic() < 0.03:
            return None
        return await super().get_versioned(name)


@planted("R6-last-write-decides")
class CommitKeepsEnd(KeepsEnd):
    """A commit without a lifetime leaves the one that a record has."""

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        before = {name: self.end_of(name) for name in changes}
        versions = await super().put_records(changes)
        for name in versions or ():
            if self.ttl is None:
                self.keep_end(name, before[name])
        return versions
