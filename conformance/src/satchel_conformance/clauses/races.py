"""R6, R7 and R9: what a call that looks first, and then acts, undoes of what another has done in between."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from satchel import Change, ConflictError, StorageError
from satchel_conformance.bench import Bench, Everything
from satchel_conformance.checks import expect, expect_same, outcome, shown
from satchel_conformance.clauses.concurrency import latest, pause
from satchel_conformance.registry import clause
from satchel_conformance.timing import Life, short_ttl

_AT_ONCE: Final = 4  # keys on which the same is tried at the same time
_ATTEMPTS: Final = 5  # a busy machine may take longer than a lifetime, but not every time

Acts = dict[str, Callable[[Everything, str, str], Awaitable[Any]]]
"""What is done to a key at a version, by its name."""


async def _other(bench: Bench) -> Everything:
    return await bench.another() if bench.shared else bench.storage


def _at_version(bench: Bench) -> Acts:
    acts: Acts = {"write_versioned": lambda storage, key, version: storage.write_versioned(key, "late", version)}
    if bench.capabilities.conditional_delete:
        acts["delete_versioned"] = lambda storage, key, version: storage.delete_versioned(key, version)
    if bench.capabilities.transactional:
        acts["commit"] = lambda storage, key, version: storage.commit({key: Change("late", version)})
    if bench.capabilities.versioned_batch:
        acts["write_records"] = lambda storage, key, version: storage.write_records({key: Change("late", version)})
    return acts


@clause("R7-plain-write-stays", "versioned")
async def plain_write_stays(bench: Bench) -> None:
    """A plain write or delete that meets a change at a version stays: the change came before it, or conflicts."""
    other = await _other(bench)

    async def act(name: str, key: str, version: str) -> None:
        await outcome(_at_version(bench)[name](bench.storage, key, version), ConflictError)

    async def change(key: str, value: object) -> None:
        await pause()
        await (other.delete(key) if value is None else other.write(key, value))

    for attempt in range(bench.profile.times(6)):
        for name in _at_version(bench):
            # A delete that meets a delete shows nothing.
            plain = {
                f"{name}:{attempt}:{number}": number if number % 2 or name == "delete_versioned" else None
                for number in range(_AT_ONCE)
            }
            versions = [await bench.storage.write_versioned(key, "old", None) for key in plain]
            late = [act(name, key, version) for key, version in zip(plain, versions, strict=True)]
            await asyncio.gather(*late, *(change(key, value) for key, value in plain.items()))
            for key, value in plain.items():
                what = "delete" if value is None else "write"
                found = bench.storage.read(key) if bench.capabilities.read_your_writes else latest(bench.storage, key)
                expect_same(await found, value, f"read after a plain {what} met {name} at an older version")


@clause("R6-touch-undoes-nothing", "expiring")
async def touch_undoes_nothing(bench: Bench) -> None:
    """touch, at the same time as a write or a delete, brings back neither the old value nor the record."""
    storage = await bench.another(ttl=timedelta(hours=1))

    async def meet(key: str, value: object) -> None:
        await storage.write(key, "old")
        change = storage.delete(key) if value is None else storage.write(key, value)
        await asyncio.gather(storage.touch(key), change, storage.touch(key))
        what = "delete" if value is None else "write"
        expect_same(await storage.read(key), value, f"read after a {what} at the same time as touch")

    for attempt in range(bench.profile.times(3)):
        await asyncio.gather(
            *(meet(f"{attempt}:{number}", number if number % 2 else None) for number in range(_AT_ONCE))
        )


@clause("R6-removal-spares-new", "expiring")
async def removal_spares_new(bench: Bench) -> None:
    """What removes ended records, be it purge_expired, touch or a read, spares one that is written at that moment."""
    ending = await bench.another(ttl=short_ttl(bench))
    writing = bench.storage if bench.shared else ending
    for attempt in range(_ATTEMPTS):
        keys = [f"{attempt}:{number}" for number in range(_AT_ONCE)]
        for key in keys:
            await ending.write(key, "ended")
        await Life(bench).over()
        fresh = Life(bench)
        # What is written is touched by the storage that wrote it: that does not shorten its lifetime.
        calls: list[Awaitable[Any]] = [ending.purge_expired()]  # first, where what it finds is from before the writes
        calls += [call(key) for key in keys for call in (ending.read, writing.touch)]
        calls += [*(writing.write(key, "new") for key in keys), ending.purge_expired()]
        await asyncio.gather(*calls)
        values = [await writing.read(key) for key in keys]
        if bench.shared or fresh.lasts:
            expect_same(values, ["new"] * len(keys), "read after writes that met the removal of ended records")
            return


@clause("R9-opposite-batches", "batch")
async def opposite_batches(bench: Bench) -> None:
    """Batches of the same keys in opposite orders wait for each other for ever nowhere: all are done."""
    storages, keys = (bench.storage, await _other(bench)), [f"key:{number}" for number in range(8)]
    for attempt in range(bench.profile.times(6)):
        batches = [{key: [attempt, number] for key in keys[:: 1 - 2 * (number % 2)]} for number in range(4)]
        await asyncio.gather(*(storages[number % 2].write_many(batch) for number, batch in enumerate(batches)))
        found = await bench.storage.read_many(keys)
        known = all(found.get(key) in [batch[key] for batch in batches] for key in keys)
        expect(known, "each record is as one of the batches wrote it", shown(found))
        if bench.capabilities.atomic_batch:
            same = all(value == found[keys[0]] for value in found.values())
            expect(same, "all records are of one batch, as batches are atomic", shown(found))
        await asyncio.gather(*(storages[number % 2].delete_many(batch) for number, batch in enumerate(batches)))


@clause("R9-cancelled-alone")
async def cancelled_alone(bench: Bench) -> None:
    """A lone call that is cancelled, at whatever moment, leaves no trace: the next call need not wait, and is right."""
    await bench.storage.write("key", "value")
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "read": lambda: bench.storage.read("key"),
        "write": lambda: bench.storage.write("other", 1),
    }
    moments = bench.profile.times(36)
    for name, call in calls.items():
        start = time.monotonic()
        await call()
        usual = time.monotonic() - start
        for moment in range(moments):
            task = asyncio.ensure_future(call())
            await asyncio.sleep(usual * moment / moments)
            task.cancel()
            await asyncio.wait([task])
            value = await outcome(bench.storage.read("key"), StorageError)
            expect_same(value, "value", f"read, after a {name} was cancelled,")


@clause("R9-cancelled-batch", "batch")
async def cancelled_batch(bench: Bench) -> None:
    """A batch that is cancelled leaves each record old or new; where batches are atomic, all of them alike."""
    keys = [f"key:{number}" for number in range(10)]
    for old, delay in enumerate(_delays(bench)):
        await bench.storage.write_many(dict.fromkeys(keys, old))
        task = asyncio.create_task(bench.storage.write_many(dict.fromkeys(keys, old + 1)))
        await delay()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        found: dict[str, Any] = {}
        alike = False
        for _ in range(_ATTEMPTS if bench.capabilities.atomic_batch else 1):
            await asyncio.sleep(0.01)  # it may still be on its way
            found = await bench.storage.read_many(keys)
            known = all(found.get(key) in (old, old + 1) for key in keys)
            expect(known, "each record is old or new after a batch that was cancelled", shown(found))
            alike = len(set(found.values())) == 1
            if alike:
                break
        if bench.capabilities.atomic_batch:
            expect(alike, "all records are old, or all new, after an atomic batch that was cancelled", shown(found))


@clause("R9-cancelled-versioned", "versioned")
async def cancelled_versioned(bench: Bench) -> None:
    """A versioned write that is cancelled leaves old or new, and never undoes a write that came after it."""
    value = 0
    version: str | None = await bench.storage.write_versioned("key", value, None)
    for delay in _delays(bench):
        task = asyncio.create_task(bench.storage.write_versioned("key", value + 1, version))
        await delay()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        last = None
        for _ in range(_ATTEMPTS):
            record = await bench.storage.read_versioned("key")
            known = record is not None and record.value in (value, value + 1)
            expect(known, "the record is old or new after a versioned write that was cancelled", shown(record))
            assert record is not None
            same = (record.value == value) == (record.version == version)
            expect(same, "the old value has the old version, and the new one another", shown(record))
            with suppress(ConflictError):  # if it was still on its way
                last = await bench.storage.write_versioned("key", value + 2, record.version)
                break
        expect(last is not None, "a write at the version that was just read", f"{_ATTEMPTS} conflicts")
        await asyncio.sleep(0.005)  # as it may be even now
        value, version = value + 2, last
        expect_same(await bench.storage.read("key"), value, "read of a write at a version, after one was cancelled,")


def _delays(bench: Bench) -> Iterator[Callable[[], Awaitable[None]]]:
    """Give moments for cancelling, from at once to when a write may be done."""

    def turns(count: int) -> Callable[[], Awaitable[None]]:
        async def wait() -> None:
            for _ in range(count):
                await asyncio.sleep(0)

        return wait

    yield from map(turns, range(1, 4))
    for _ in range(bench.profile.times(6)):
        yield lambda: asyncio.sleep(random.uniform(0, 0.004))
