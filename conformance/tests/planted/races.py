"""Storages in which one call undoes what another has done while it looked."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Correct, Plain, World, is_over
from satchel import ANY, Expected, Payload, StorageError

Changes = Mapping[str, tuple[Payload | None, str | None]]

_LOCK = "lock"


class Locks(Plain):
    """Has a lock for changes at a version, and none for plain ones."""

    def lock(self) -> asyncio.Lock:
        lock: asyncio.Lock = self.world.notes.setdefault(_LOCK, asyncio.Lock())
        return lock

    async def at(self, name: str, expected: Expected) -> bool:
        there = self.is_at(name, expected)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return there


@planted("R7-plain-write-stays")
class WritesExcludeEachOther(Locks):
    """Versioned writes wait for each other, and compare and write in two steps, in which a plain one is lost."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is ANY:
            return await super().put(name, payload)
        async with self.lock():
            return await super().put(name, payload) if await self.at(name, expected) else None

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        if expected is ANY:
            return await super().drop(name)
        async with self.lock():
            return await super().drop(name, expected)


@planted("R7-plain-write-stays")
class DeletesExcludeEachOther(Locks):
    """A conditional delete compares, and deletes whatever is there a moment later."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is ANY:
            return await super().put(name, payload)
        async with self.lock():
            return await super().put(name, payload, expected)

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        if expected is ANY:
            return await super().drop(name)
        async with self.lock():
            return await self.at(name, expected) and await super().drop(name)


@planted("R7-plain-write-stays")
class CommitsExcludeVersioned(Locks):
    """Commits and versioned writes wait for each other, and a plain one is lost in a commit."""

    capabilities = Correct.capabilities

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is ANY:
            return await super().put(name, payload)
        async with self.lock():
            return await super().put(name, payload, expected)

    async def put_records(self, changes: Changes) -> dict[str, str] | None:
        async with self.lock():
            if not all([await self.at(name, expected) for name, (_, expected) in changes.items()]):
                return None
            now = {
                name: (payload, None if (row := self.alive(name)) is None else self.version_of(row))
                for name, (payload, _) in changes.items()
            }
            return await super().put_records(now)


@planted("R6-touch-undoes-nothing")
class TouchReadsThenWrites(Correct):
    """touch reads a record, and writes it again a moment later."""

    async def renew(self, name: str) -> bool:
        payload = self.alive(name)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if payload is None:
            return False
        self.rows[name] = (payload, self.end())
        return True


@planted("R6-removal-spares-new")
class PurgesWhatWasOver(Correct):
    """purge_expired looks for what has ended, and removes that a moment later, whatever it is then."""

    async def purge(self) -> int:
        dead = [name for name, row in self.rows.items() if is_over(row)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return sum(self.rows.pop(name, None) is not None for name in dead)


@planted("R6-removal-spares-new")
class PurgesWhatWasOverAtOnce(Correct):
    """purge_expired looks for what has ended, and removes that when others have had one turn, whatever it is then."""

    async def purge(self) -> int:
        dead = [name for name, row in self.rows.items() if is_over(row)]
        await asyncio.sleep(0)
        return sum(self.rows.pop(name, None) is not None for name in dead)


@planted("R6-removal-spares-new")
class ReadRemovesWhatWasOver(Correct):
    """A read that finds what has ended removes it a moment later, whatever it is then."""

    async def get(self, name: str) -> Payload | None:
        row = self.rows.get(name)
        if row is None or not is_over(row):
            return await super().get(name)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.rows.pop(name, None)
        return None


class LocksInTurn(Correct):
    """Can lock records in turn, in the order that they are given in, and gives up when that takes too long."""

    @asynccontextmanager
    async def locked(self, names: Iterable[str]) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for name in dict.fromkeys(names):
                lock: asyncio.Lock = self.world.notes.setdefault(f"lock of {name}", asyncio.Lock())
                try:
                    async with asyncio.timeout(0.05):
                        await stack.enter_async_context(lock)
                except TimeoutError:
                    raise StorageError("deadlock") from None
                await asyncio.sleep(0)
            yield


@planted("R9-opposite-batches")
class LocksInOrder(LocksInTurn):
    """A batch locks each record in turn, in the order that it was given, and gives up when that takes too long."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        async with self.locked(payloads):
            await super().put_many(payloads)


@planted("R9-opposite-batches")
class DeletesLockInOrder(LocksInTurn):
    """delete_many locks each record in turn, in the order that it was given, and gives up when that takes too long."""

    async def drop_many(self, names: Sequence[str]) -> None:
        async with self.locked(names):
            await super().drop_many(names)


@planted("R9-cancelled-alone")
class CountsCancelledAsUsed(Correct):
    """Of a connection that only one call has used, and that was cancelled, it is held that it is used for ever."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(world, **options)
        self.under_way = self.most = 0
        self.used = False

    async def get(self, name: str) -> Payload | None:
        if self.used:
            raise StorageError("no connection is free")
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await super().get(name)
        except asyncio.CancelledError:
            self.used = self.most == 1
            raise
        finally:
            self.under_way -= 1
            self.most = self.most if self.under_way else 0


@planted("R9-cancelled-batch")
class CancelledBatchIsHalf(Correct):
    """Of a batch that is cancelled the first half is written."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        try:
            await super().put_many(payloads)
        except asyncio.CancelledError:
            await super().put_many(dict(list(payloads.items())[: len(payloads) // 2]))
            raise


@planted("R9-cancelled-batch")
class CancelledBatchIsTorn(Correct):
    """What a batch that is cancelled was about to write is torn."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        try:
            await super().put_many(payloads)
        except asyncio.CancelledError:
            for name in payloads:
                self.rows[name] = (b"[]", self.end())
            raise


@planted("R9-cancelled-versioned")
class CancelledComesLater(Correct):
    """A versioned write that is cancelled is made all the same a moment later, at whatever version."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        try:
            return await super().put(name, payload, expected)
        except asyncio.CancelledError:
            if expected is not ANY:
                loop = asyncio.get_running_loop()
                loop.call_later(0.001, self.rows.__setitem__, name, (payload, self.end()))
            raise


@planted("R9-cancelled-versioned")
class CancelledVersionedIsTorn(Correct):
    """What a versioned write that is cancelled was about to write is torn."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        try:
            return await super().put(name, payload, expected)
        except asyncio.CancelledError:
            if expected is not ANY:
                self.rows[name] = (b"[]", self.end())
            raise
