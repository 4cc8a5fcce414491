"""Storages whose versions let updates be lost."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, cast

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Correct, World
from satchel import ANY, Expected, Payload, Record


class Counts(Correct):
    """Versions are numbers that only grow, kept beside the record, also when it is deleted."""

    def number(self, name: str) -> int:
        found: int = self.world.notes.get(name, 0)
        return found

    def count(self, name: str) -> str:
        self.world.notes[name] = self.number(name) + 1
        return str(self.number(name))

    def is_at(self, name: str, expected: Expected) -> bool:
        version = None if self.alive(name) is None else str(self.number(name))
        return expected is ANY or version == expected

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        payload = await self.get(name)
        return None if payload is None else (payload, str(self.number(name)))

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return self.count(name) if await super().put(name, payload, expected) else None

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        await super().put_many(payloads)
        for name in payloads:
            self.count(name)


@planted("R7-stale-after-write", "R7-model")
class WriteKeepsVersion(Counts):
    """An unconditional write does not change the version."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        version = await super().put(name, payload, expected)
        if expected is ANY and self.number(name) > 1:
            self.world.notes[name] -= 1
        return version


@planted("R7-stale-after-batch")
class BatchKeepsVersion(Counts):
    """write_many does not change the version."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        await Correct.put_many(self, payloads)


@planted("R7-stale-after-recreation", "R7-one-value-per-version")
class DeleteResetsVersion(Counts):
    """Versions start from 1 again after a delete."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        there = await super().drop(name, expected)
        if there:
            self.world.notes.pop(name, None)
        return there


@planted("R7-stale-after-versioned-write", "R7-one-value-per-version")
class CountsInTens(Counts):
    """Ten writes share a version, as those of one moment do with timestamps."""

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        payload = await self.get(name)
        return None if payload is None else (payload, str(self.number(name) // 10))

    def is_at(self, name: str, expected: Expected) -> bool:
        version = None if self.alive(name) is None else str(self.number(name) // 10)
        return expected is ANY or version == expected

    def count(self, name: str) -> str:
        return str(int(super().count(name)) // 10)


@planted("R7-one-value-per-version")
class VersionIsSize(Correct):
    """The version is the size of the value."""

    def version_of(self, payload: Payload) -> str:
        return str(len(payload))


@planted("R7-one-value-per-version")
class VersionIgnoresOrder(Correct):
    """The version is a digest that does not see the order of keys."""

    def version_of(self, payload: Payload) -> str:
        return super().version_of(bytes(sorted(payload)))


@planted("R7-create-only")
class CreateOverwrites(Correct):
    """expected=None is taken for no expectation."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return await super().put(name, payload, ANY if expected is None else expected)


@planted("R7-create-after-delete")
class DeletedStays(Correct):
    """A key that was deleted cannot be created again."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        self.world.notes[name] = "deleted"
        return await super().drop(name, expected)

    def is_at(self, name: str, expected: Expected) -> bool:
        return super().is_at(name, expected) and not (expected is None and name in self.world.notes)


@planted("R7-absent-conflicts")
class CreatesAtVersion(Correct):
    """A write at any version creates what is not there."""

    def is_at(self, name: str, expected: Expected) -> bool:
        return super().is_at(name, expected) or (isinstance(expected, str) and self.alive(name) is None)


@planted("R7-mismatch-conflicts")
class StarMatches(Correct):
    """The version * stands for any, as with If-Match."""

    def is_at(self, name: str, expected: Expected) -> bool:
        return super().is_at(name, ANY if expected == "*" else expected)


@planted("R7-mismatch-conflicts")
class EmptyMatches(Correct):
    """An empty version is taken for no expectation."""

    def is_at(self, name: str, expected: Expected) -> bool:
        return super().is_at(name, expected or ANY) if expected is not None else super().is_at(name, None)


@planted("R7-mismatch-conflicts", "R7-stale-after-write", "R7-stale-after-versioned-write", "R7-one-winner")
class LastWriteWins(Correct):
    """A version is never compared."""

    def is_at(self, name: str, expected: Expected) -> bool:
        return expected is ANY or (expected is None) == (self.alive(name) is None)


@planted("R7-mismatch-conflicts")
class SilentConflict(Correct):
    """A conflict raises nothing, and nothing is written."""

    async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
        version = await self._call(self.put, self._name(key), self._encode(key, value), expected)
        return version or ""


@planted("R7-replaces-at-version")
class GivesOldVersion(Correct):
    """write_versioned gives the version from before."""

    async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
        version = await super().write_versioned(key, value, expected)
        return version if expected is None else expected


@planted("R7-opaque")
class VersionIsNumber(Correct):
    """Versions are numbers."""

    async def read_versioned(self, key: str) -> Any:
        record = await super().read_versioned(key)
        return record and Record(record.value, cast("str", int(record.version, 16)))

    async def write_versioned(self, key: str, value: Any, expected: Any) -> Any:
        expected = f"{expected:064x}" if isinstance(expected, int) else expected
        return int(await super().write_versioned(key, value, expected), 16)


@planted("R7-record")
class PlainTuple(Correct):
    """read_versioned gives a plain tuple."""

    async def read_versioned(self, key: str) -> Any:
        record = await super().read_versioned(key)
        return record and (record.value, record.version)


@planted("R7-deletes-at-version")
class DeleteVersionedDoesNothing(Correct):
    """delete_versioned compares, and removes nothing."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        return self.is_at(name, expected) if isinstance(expected, str) else await super().drop(name, expected)


@planted("R7-delete-conflicts")
class DeletesAnyVersion(Correct):
    """delete_versioned removes whatever is there."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        return await super().drop(name, ANY if expected is not None and self.alive(name) is not None else expected)


@planted("R7-delete-conflicts")
class DeletesAbsent(Correct):
    """delete_versioned of what is not there raises nothing."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        return await super().drop(name, expected) or self.alive(name) is None


class Races(Correct):
    """Compares, lets others in, and writes."""

    async def compare(self, name: str, expected: Expected) -> bool:
        there = self.is_at(name, expected)
        await asyncio.sleep(0)
        return there


@planted("R7-one-winner", "R7-no-lost-increments")
class RacingUpdate(Races):
    """A versioned write over a record compares first, and then writes."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if isinstance(expected, str):
            return await super().put(name, payload) if await self.compare(name, expected) else None
        return await super().put(name, payload, expected)


@planted("R7-one-creator")
class RacingCreation(Races):
    """A creation looks first, and then writes."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is None:
            return await super().put(name, payload) if await self.compare(name, expected) else None
        return await super().put(name, payload, expected)


@planted("R7-one-deleter")
class RacingDelete(Races):
    """A conditional delete compares first, and then removes."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        if isinstance(expected, str):
            return await self.compare(name, expected) and await super().drop(name)
        return await super().drop(name, expected)


@planted("R7-one-winner-across-storages")
class LocksItself(RacingUpdate):
    """Versioned writes are locked against each other, but only in the same storage."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(world, **options)
        self.lock = asyncio.Lock()

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        async with self.lock:
            return await super().put(name, payload, expected)


@planted("R7-version-fits-value")
class ReadsTwice(Correct):
    """read_versioned reads the value first, and then the version."""

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        payload = await self.get(name)
        now = await self.get(name)
        return None if payload is None or now is None else (payload, self.version_of(now))


@planted("R0-listing-versioned")
class ListsVersions(Correct):
    """Versions are kept in records beside, which are listed."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(prefix):
            yield [*page, *(name + ":version" for name in page)] if not prefix.endswith(":key") else page


@planted("R9-first-writes")
class RowsPerWriter(Correct):
    """Concurrent first writes insert a row each, as without a unique key."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        first = expected is ANY and name not in self.rows
        version = await super().put(name, payload, expected)
        if first:
            self.world.notes[name] = self.world.notes.get(name, 0) + 1
        return version

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(prefix):
            yield [name for name in page for _ in range(self.world.notes.get(name, 1))]


@planted("R9-never-torn")
class DeletesFirst(Correct):
    """A write removes the old record, and then inserts the new one."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is not ANY:
            return await super().put(name, payload, expected)
        self.rows.pop(name, None)
        return await super().put(name, payload)


@planted("R9-never-torn")
class WritesInParts(Correct):
    """A large value is written in parts."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is ANY and len(payload) > 100_000:
            self.rows[name] = (payload[:100_000], self.end())
        return await super().put(name, payload, expected)


@planted("R9-own-answers")
class MixesAnswers(Correct):
    """Answers are left for whoever asks next."""

    async def get(self, name: str) -> Payload | None:
        self.world.notes["answer"] = await super().get(name)
        await asyncio.sleep(0)
        answer: Payload | None = self.world.notes["answer"]
        return answer


@planted("R9-cancelled")
class CancelledMixesAnswers(Correct):
    """A read that is cancelled leaves its answer to the next."""

    async def get(self, name: str) -> Payload | None:
        late: list[Payload | None] = self.world.notes.setdefault("late", [])
        if late:
            return late.pop()
        try:
            return await super().get(name)
        except asyncio.CancelledError:
            late.append(self.alive(name))
            raise


@planted("R9-cancelled")
class CancelledTears(Correct):
    """A write that is cancelled leaves half a value."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        try:
            return await super().put(name, payload, expected)
        except asyncio.CancelledError:
            self.rows[name] = (payload[: len(payload) // 2], self.end())
            raise


@planted("R0-batch-atomic")
class BatchInSteps(Correct):
    """write_many lets others see a part of the batch."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        for name, payload in payloads.items():
            await self.put(name, payload)

    async def drop_many(self, names: Sequence[str]) -> None:
        for name in names:
            await self.drop(name)
