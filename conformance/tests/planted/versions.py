"""Storages whose versions let updates be lost."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, cast

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Alone, Correct, Plain, World, is_over
from satchel import ANY, Expected, Payload, Record


class Counts(Plain):
    """Versions are numbers that only grow, kept beside the record, also when it is deleted."""

    def number(self, name: str) -> int:
        found: int = self.world.notes.get(name, 0)
        return found

    def count(self, name: str) -> str:
        self.world.notes[name] = self.number(name) + 1
        return self.version(name)

    def version(self, name: str) -> str:
        return f"v{self.number(name)}"

    def is_at(self, name: str, expected: Expected) -> bool:
        version = None if self.alive(name) is None else self.version(name)
        return expected is ANY or version == expected

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        payload = await self.get(name)
        return None if payload is None else (payload, self.version(name))

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return self.count(name) if await super().put(name, payload, expected) else None

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        await super().put_many(payloads)
        for name in payloads:
            self.count(name)


class AloneCounts(Counts, Alone):
    """Counts, and has its records to itself."""


@planted("R7-stale-after-write", "R7-model", others=True)
class WriteKeepsVersion(Counts):
    """An unconditional write does not change the version."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        version = await super().put(name, payload, expected)
        if expected is ANY and self.number(name) > 1:
            self.world.notes[name] -= 1
        return version


@planted("R7-stale-after-write", shared=False)
class IntegersInPlace(AloneCounts):
    """An integer over an integer is changed in place, which does not change the version."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        before = self.alive(name) or b""
        version = await super().put(name, payload, expected)
        if expected is ANY and before.isdigit() and payload.isdigit():
            self.world.notes[name] -= 1
        return version


@planted("R7-stale-after-batch", shared=False)
class BatchKeepsVersion(AloneCounts):
    """write_many does not change the version."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        await Correct.put_many(self, payloads)


@planted("R7-stale-after-recreation", shared=False)
class ResetsFirstVersion(AloneCounts):
    """Versions start anew when a record was deleted that had never changed."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        there = await super().drop(name, expected)
        if there and self.number(name) == 1:
            del self.world.notes[name]
        return there


@planted("R7-stale-after-versioned-write", shared=False)
class FirstVersionIsGood(AloneCounts):
    """A write at the version that a record was created at succeeds, two updates later."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        created = f"{name} was created at"
        if self.alive(name) is None:
            self.world.notes[created] = self.number(name) + 1
        first = self.world.notes.get(created)  # none of what a batch has created
        is_first = first is not None and expected == f"v{first}" and self.number(name) > first + 1
        return await super().put(name, payload, ANY if is_first else expected)


@planted("R7-model")
class DeletedBatchResetsVersion(Counts):
    """Versions start from 1 again after delete_many."""

    async def drop_many(self, names: Sequence[str]) -> None:
        await super().drop_many(names)
        for name in names:
            self.world.notes.pop(name, None)


@planted("R7-stale-after-recreation", "R7-one-value-per-version", others=True)
class DeleteResetsVersion(Counts):
    """Versions start from 1 again after a delete."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        there = await super().drop(name, expected)
        if there:
            self.world.notes.pop(name, None)
        return there


@planted("R7-stale-after-versioned-write", "R7-one-value-per-version", others=True)
class CountsInTens(Counts):
    """Ten writes share a version, as those of one moment do with timestamps."""

    def version(self, name: str) -> str:
        return f"v{self.number(name) // 10}"


@planted("R7-one-value-per-version", others=True)
class VersionIsSize(Correct):
    """The version is the size of the value."""

    def version_of(self, payload: Payload) -> str:
        return str(len(payload))


@planted("R7-one-value-per-version")
class VersionIgnoresOrder(Correct):
    """The version is a digest that does not see the order of keys."""

    def version_of(self, payload: Payload) -> str:
        with suppress(ValueError):
            payload = json.dumps(json.loads(payload), sort_keys=True).encode()
        return super().version_of(payload)


@planted("R7-one-value-per-version")
class VersionIsOfStart(Correct):
    """The version is a digest of the first KiB."""

    def version_of(self, payload: Payload) -> str:
        return super().version_of(payload[:1024])


@planted("R7-one-value-per-version")
class VersionIsOfEnd(Correct):
    """The version is a digest of the last KiB."""

    def version_of(self, payload: Payload) -> str:
        return super().version_of(payload[-1024:])


@planted("R7-create-only", others=True)
class CreateOverwrites(Correct):
    """expected=None is taken for no expectation."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return await super().put(name, payload, ANY if expected is None else expected)


@planted("R7-create-only", shared=False)
class PlainIsNotThere(Alone):
    """What a plain write wrote does not exist for a creation."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        plain = expected is None and self.world.notes.get(name, False)
        version = await super().put(name, payload, ANY if plain else expected)
        if version is not None:
            self.world.notes[name] = expected is ANY
        return version


@planted("R7-create-after-delete", shared=False)
class UnchangedStays(Alone):
    """A record that was created, and deleted before it ever changed, cannot be created again."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is None and self.world.notes.get(name) == "deleted":
            return None
        version = await super().put(name, payload, expected)
        if version is not None:
            self.world.notes[name] = "created" if expected is None else "changed"
        return version

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        if expected is ANY and self.world.notes.get(name) == "created":
            self.world.notes[name] = "deleted"
        return await super().drop(name, expected)


@planted("R7-create-after-delete", others=True)
class DeletedStays(Correct):
    """A key that was deleted cannot be created again."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        self.world.notes[name] = "deleted"
        return await super().drop(name, expected)

    def is_at(self, name: str, expected: Expected) -> bool:
        return super().is_at(name, expected) and not (expected is None and name in self.world.notes)


@planted("R7-absent-conflicts", others=True)
class CreatesAtVersion(Correct):
    """A write at any version creates what is not there."""

    def is_at(self, name: str, expected: Expected) -> bool:
        return super().is_at(name, expected) or (isinstance(expected, str) and self.alive(name) is None)


@planted("R7-absent-conflicts", shared=False)
class CreatesAtAnyVersion(Alone):
    """A write at a version creates what was never there."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        never = isinstance(expected, str) and name not in self.world.ever
        return await super().put(name, payload, ANY if never else expected)


@planted("R7-mismatch-conflicts")
class StarMatches(Correct):
    """The version * stands for any, as with If-Match."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return await super().put(name, payload, ANY if expected == "*" else expected)


@planted("R7-mismatch-conflicts")
class EmptyMatches(Correct):
    """An empty version is taken for no expectation."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return await super().put(name, payload, ANY if expected == "" else expected)


@planted(
    "R7-mismatch-conflicts", "R7-stale-after-write", "R7-stale-after-versioned-write", "R7-one-winner", others=True
)
class LastWriteWins(Correct):
    """A version is never compared."""

    def is_at(self, name: str, expected: Expected) -> bool:
        return expected is ANY or (expected is None) == (self.alive(name) is None)


@planted("R7-mismatch-conflicts", others=True)
class SilentConflict(Correct):
    """A conflict raises nothing, and nothing is written."""

    async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
        version = await self._call(self.put, self._name(key), self._encode(self._name(key), key, value), expected)
        return version or ""


@planted("R7-replaces-at-version", others=True)
class GivesOldVersion(Correct):
    """write_versioned gives the version from before."""

    async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
        version = await super().write_versioned(key, value, expected)
        return version if expected is None else expected


@planted("R7-replaces-at-version", shared=False)
class ShowsFourthLate(Alone):
    """Every fourth versioned replacement is not seen by plain reads until the next write."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        before = self.alive(name)
        version = await super().put(name, payload, expected)
        if version is not None:
            count, _ = self.world.notes.get(name, (0, None))
            count = count + 1 if isinstance(expected, str) else 0
            self.world.notes[name] = (count, before if count and count % 4 == 0 else None)
        return version

    async def get(self, name: str) -> Payload | None:
        now = await super().get(name)
        _, before = self.world.notes.get(name, (0, None))
        return now if now is None or before is None else before

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        now = await super().get(name)
        payload = self.alive(name)
        return None if now is None or payload is None else (payload, self.version_of(payload))


class DriverText(str):
    """A driver's own kind of text."""

    __slots__ = ()


@planted("R7-opaque")
class VersionIsDriverText(Correct):
    """A version is a text of the driver's own kind."""

    def version_of(self, payload: Payload) -> str:
        return DriverText(super().version_of(payload))


@planted("R7-opaque", others=True)
class VersionIsNumber(Correct):
    """Versions are numbers."""

    async def read_versioned(self, key: str) -> Any:
        record = await super().read_versioned(key)
        return record and Record(record.value, cast("str", int(record.version, 16)))

    async def write_versioned(self, key: str, value: Any, expected: Any) -> Any:
        expected = f"{expected:064x}" if isinstance(expected, int) else expected
        return int(await super().write_versioned(key, value, expected), 16)


class Row(NamedTuple):
    """A driver's own kind of record."""

    value: Any
    version: str


@planted("R7-record")
class GivesOwnRow(Plain):
    """read_versioned gives a row of the driver's own kind."""

    async def read_versioned(self, key: str) -> Any:
        record = await super().read_versioned(key)
        return record and Row(record.value, record.version)


@planted("R7-record", others=True)
class PlainTuple(Correct):
    """read_versioned gives a plain tuple."""

    async def read_versioned(self, key: str) -> Any:
        record = await super().read_versioned(key)
        return record and (record.value, record.version)


@planted("R7-deletes-at-version", shared=False)
class DeleteVersionedDoesNothing(Alone):
    """delete_versioned compares, and removes nothing."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        await asyncio.sleep(0)
        return self.is_at(name, expected) if isinstance(expected, str) else await super().drop(name, expected)


@planted("R7-delete-conflicts")
class DeletesNever(Correct):
    """delete_versioned of what was never there raises nothing."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        return await super().drop(name, expected) or name not in self.world.ever


@planted("R7-delete-conflicts", others=True)
class DeletesAnyVersion(Correct):
    """delete_versioned removes whatever is there."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        return await super().drop(name, ANY if expected is not None and self.alive(name) is not None else expected)


@planted("R7-delete-conflicts", others=True)
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

    async def put_racing(self, name: str, payload: Payload, expected: Expected) -> str | None:
        return await super().put(name, payload) if await self.compare(name, expected) else None


@planted("R7-one-winner", "R7-no-lost-increments", others=True)
class RacingUpdate(Races):
    """A versioned write over a record compares first, and then writes."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if isinstance(expected, str):
            return await super().put(name, payload) if await self.compare(name, expected) else None
        return await super().put(name, payload, expected)


class RacesLarge(Races):
    """A versioned write of a large value over a record compares first, and then writes."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if isinstance(expected, str) and len(payload) > 500:
            return await self.put_racing(name, payload, expected)
        return await super().put(name, payload, expected)


@planted("R7-one-winner", shared=False)
class RacingLargeUpdate(RacesLarge, Alone):
    """A versioned write of a large value compares first, and then writes."""


@planted("R7-one-winner-across-storages")
class LocksLargeItself(RacesLarge):
    """Versioned writes of large values are locked against each other, but only in the same storage."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(world, **options)
        self.lock = asyncio.Lock()

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        async with self.lock:
            return await super().put(name, payload, expected)


@planted("R7-one-creator")
class RacingLaterCreation(Races):
    """A creation beside other records looks first, and then writes."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is None and len(self.rows) > 2:
            return await self.put_racing(name, payload, expected)
        return await super().put(name, payload, expected)


@planted("R7-lease-excludes")
class RacingLargeCreation(Races):
    """A creation of more than 40 bytes looks first, and then writes."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is None and 40 < len(payload) < 500:
            return await self.put_racing(name, payload, expected)
        return await super().put(name, payload, expected)


@planted("R7-no-lost-increments", shared=False)
class SameIsNoConflict(Alone):
    """A conflict with the very value that is to be written is none."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        version = await super().put(name, payload, expected)
        return self.version_of(payload) if version is None and self.alive(name) == payload else version


@planted("R7-one-creator", others=True)
class RacingCreation(Races):
    """A creation looks first, and then writes."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is None:
            return await super().put(name, payload) if await self.compare(name, expected) else None
        return await super().put(name, payload, expected)


@planted("R7-one-deleter")
class RacingDelete(Races):
    """A conditional delete compares first, and then removes, also what a versioned write has put there since."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        version = await super().put(name, payload, expected)
        if version is not None:
            self.world.notes[f"{name} is plain"] = expected is ANY
        return version

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        if not isinstance(expected, str):
            return await super().drop(name, expected)
        there = await self.compare(name, expected)
        if there and (self.is_at(name, expected) or not self.world.notes.get(f"{name} is plain")):
            self.rows.pop(name, None)
            return True
        return False


@planted("R7-one-winner-across-storages", others=True)
class LocksItself(RacingUpdate):
    """Versioned writes are locked against each other, but only in the same storage."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(world, **options)
        self.lock = asyncio.Lock()

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        async with self.lock:
            return await super().put(name, payload, expected)


@planted("R7-version-fits-value")
class ReadsVersionFirst(Correct):
    """read_versioned reads the version first, and then the value."""

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        payload = await self.get(name)
        now = await self.get(name)
        return None if payload is None or now is None else (now, self.version_of(payload))


@planted("R7-version-fits-value", "R7-no-lost-increments")
class ReadsTwice(Correct):
    """read_versioned reads the value first, and then the version."""

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        payload = await self.get(name)
        now = await self.get(name)
        return None if payload is None or now is None else (payload, self.version_of(now))


@planted("R0-listing-versioned", others=True)
class ListsVersions(Correct):
    """Versions are kept in records beside, which are listed."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(prefix):
            yield [*page, *(name + ":version" for name in page)]


@planted("R9-first-writes")
class RowsPerWriter(Correct):
    """Concurrent first writes insert a row each, as without a unique key."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        first = expected is ANY and name not in self.rows
        version = await super().put(name, payload, expected)
        if first:
            self.world.notes[name] = self.world.notes.get(name, 0) + 1
        return version

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        self.world.notes.pop(name, None)
        return await super().drop(name, expected)

    async def drop_many(self, names: Sequence[str]) -> None:
        for name in names:
            await self.drop(name)

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(prefix):
            yield [name for name in page for _ in range(self.world.notes.get(name, 1))]


@planted("R9-never-torn", "R9-cancelled")
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
class MixesAnswersUnderLoad(Correct):
    """Of more than fifty reads at once, answers are left for whoever asks next."""

    async def get(self, name: str) -> Payload | None:
        self.world.notes["reads"] = self.world.notes.get("reads", 0) + 1
        try:
            self.world.notes["answer"] = found = await super().get(name)
            await asyncio.sleep(0)
            return self.world.notes["answer"] if self.world.notes["reads"] > 50 else found
        finally:
            self.world.notes["reads"] -= 1


@planted("R9-own-answers", "R9-cancelled", "R14-first-use-concurrent", "R6-touch-undoes-nothing")
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
    """A plain write that is cancelled leaves half a value."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        try:
            return await super().put(name, payload, expected)
        except asyncio.CancelledError:
            if expected is ANY:
                self.rows[name] = (payload[: len(payload) // 2], self.end())
            raise


@planted("R0-batch-atomic")
class BatchInSteps(Correct):
    """write_many lets others see a part of the batch, which nothing stops once it has begun."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        work = asyncio.ensure_future(self.put_in_turn(payloads))
        self.world.notes.setdefault("batches", set()).add(work)
        await asyncio.shield(work)

    async def put_in_turn(self, payloads: Mapping[str, Payload]) -> None:
        lock: asyncio.Lock = self.world.notes.setdefault("lock", asyncio.Lock())
        async with lock:
            for name, payload in payloads.items():
                await self.put(name, payload)


@planted("R7-stale-after-expiry")
class ExpiryResetsVersion(Counts):
    """Versions start from 1 again after a record has ended, as they are kept in it."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        row = self.rows.get(name)
        if row is not None and is_over(row):
            self.world.notes[name] = 0
        return await super().put(name, payload, expected)
