"""R7 and R9: what holds when many act on one key at once."""

import asyncio
import random
from itertools import count
from typing import Any

from satchel import ConflictError
from satchel_conformance.bench import Bench, Everything
from satchel_conformance.checks import expect, expect_same, outcome, shown
from satchel_conformance.registry import clause


async def pause() -> None:
    """Let others go on, for a varying while, so that no two tasks run in lockstep."""
    for _ in range(random.randrange(4)):
        await asyncio.sleep(0)


async def _instances(bench: Bench) -> list[Everything]:
    """Return storages over the same records: several (four in a thorough run) where storages share them."""
    return [bench.storage, *[await bench.another() for _ in range(bench.profile.times(3) if bench.shared else 0)]]


def _writers(bench: Bench) -> int:
    """Return how many write at once."""
    return bench.profile.times(24)


async def _one_wins(bench: Bench, *storages: Everything) -> None:
    """See that of many writers with the same expected version exactly one wins, and that its value is what stays."""
    version: str | None = None
    writers = _writers(bench)
    for round_ in range(bench.profile.times(10)):
        values = [{"pad": "x" * 1000, "round": round_, "writer": writer} for writer in range(writers)]
        calls = [storages[i % len(storages)].write_versioned("key", value, version) for i, value in enumerate(values)]
        results = await asyncio.gather(*(outcome(call, ConflictError) for call in calls))
        winners = [
            value for value, result in zip(values, results, strict=True) if not isinstance(result, ConflictError)
        ]
        expect(len(winners) == 1, f"one of {writers} concurrent writers wins", f"{len(winners)} won")
        record = await storages[0].read_versioned("key")
        expect_same(record and record.value, winners[0], "read_versioned, after one writer won,")
        version = record.version if record else None


@clause("R7-one-winner", "versioned")
async def one_winner(bench: Bench) -> None:
    """Of concurrent writes with the same expected version, from the tasks of one storage, exactly one wins."""
    await _one_wins(bench, bench.storage)


@clause("R7-one-winner-across-storages", "versioned", "shared")
async def one_winner_across(bench: Bench) -> None:
    """Of concurrent writes with the same expected version, from different storages, exactly one wins."""
    await _one_wins(bench, *await _instances(bench))


@clause("R7-one-creator", "versioned")
async def one_creator(bench: Bench) -> None:
    """Of concurrent creations of a key exactly one wins."""
    storages, writers = await _instances(bench), _writers(bench)
    for attempt in range(bench.profile.times(10)):
        key = f"new:{attempt}"
        calls = [storages[i % len(storages)].write_versioned(key, i, None) for i in range(writers)]
        results = await asyncio.gather(*(outcome(call, ConflictError) for call in calls))
        winners = [writer for writer, result in enumerate(results) if not isinstance(result, ConflictError)]
        expect(len(winners) == 1, f"one of {writers} concurrent creators wins", f"{len(winners)} won")
        expect_same(await bench.storage.read(key), winners[0], "read after one creator won")


@clause("R7-one-deleter", "conditional_delete")
async def one_deleter(bench: Bench) -> None:
    """Of concurrent deletes and writes with the same expected version exactly one wins."""
    storages, writers = await _instances(bench), _writers(bench)
    for attempt in range(bench.profile.times(5)):
        version = await bench.storage.write_versioned("key", attempt, None)
        calls = [
            storages[i % len(storages)].delete_versioned("key", version)
            if i % 2
            else storages[i % len(storages)].write_versioned("key", [attempt, i], version)
            for i in range(writers)
        ]
        results = await asyncio.gather(*(outcome(call, ConflictError) for call in calls))
        winners = [i for i, result in enumerate(results) if not isinstance(result, ConflictError)]
        expect(len(winners) == 1, f"one of {writers} concurrent deletes and writes wins", f"{len(winners)} won")
        stays = None if winners[0] % 2 else [attempt, winners[0]]
        expect_same(await bench.storage.read("key"), stays, "read after one of them won")
        await bench.storage.delete("key")


@clause("R7-no-lost-increments", "versioned")
async def increments(bench: Bench) -> None:
    """Versioned increments of one number, from many tasks and storages, all count."""
    writers, each = bench.profile.times(12), bench.profile.times(10)

    async def add(storage: Everything) -> None:
        for _ in range(each):
            for attempt in count():
                record = await storage.read_versioned("counter")
                value, version = (record.value, record.version) if record else (0, None)
                if not isinstance(
                    await outcome(storage.write_versioned("counter", value + 1, version), ConflictError), ConflictError
                ):
                    break
                await asyncio.sleep(random.uniform(0, 0.001 * min(attempt, 10)))

    storages = await _instances(bench)
    await asyncio.gather(*(add(storages[i % len(storages)]) for i in range(writers)))
    expect_same(await latest(bench.storage, "counter"), writers * each, f"read after {writers} times {each} increments")


async def latest(storage: Everything, key: str) -> Any:
    """Return the value of a record as it is, also where a read may be old: a write at an old version would conflict."""
    while True:
        record = await storage.read_versioned(key)
        if record is None:
            return None
        rewritten = storage.write_versioned(key, record.value, record.version)
        if not isinstance(await outcome(rewritten, ConflictError), ConflictError):
            return record.value


@clause("R7-version-fits-value", "versioned")
async def version_fits(bench: Bench) -> None:
    """While others write, read_versioned never pairs a value with the version of another."""
    written: dict[str, int] = {}
    seen: list[tuple[str, int]] = []
    writing = True

    async def write() -> None:
        nonlocal writing
        version: str | None = None
        for number in range(bench.profile.times(60)):
            version = await bench.storage.write_versioned("key", number, version)
            written[version] = number
            await pause()
        writing = False

    async def read(storage: Everything) -> None:
        while writing:
            record = await storage.read_versioned("key")
            if record is not None:
                seen.append((record.version, record.value))
            await pause()

    await asyncio.gather(write(), *(read(storage) for storage in await _instances(bench)))
    wrong = [pair for pair in seen if written.get(pair[0]) != pair[1]]
    expect(not wrong, "every version that is read comes with the value that was written at it", shown(wrong[:3]))


@clause("R9-first-writes")
async def first_writes(bench: Bench) -> None:
    """Concurrent first writes of a key leave one record, that of one of the writers."""
    storages, writers = await _instances(bench), _writers(bench)
    for attempt in range(bench.profile.times(5)):
        key = f"first:{attempt}"
        await asyncio.gather(*(storages[i % len(storages)].write(key, {"writer": i}) for i in range(writers)))
        value = await bench.storage.read(key)
        expect(value in [{"writer": i} for i in range(writers)], "the value of one writer is there", shown(value))
        if bench.capabilities.listing:
            expect_same(
                [found async for found in bench.storage.keys(key)], [key], "keys() after concurrent first writes"
            )
        await bench.storage.delete(key)
        expect_same(await bench.storage.read(key), None, "read after concurrent first writes and a delete")


@clause("R9-never-torn")
async def never_torn(bench: Bench) -> None:
    """A reader during large writes sees the old value or the new one: never a part, a mixture, or nothing."""
    size = min(200_000, (bench.capabilities.max_value_bytes or 200_000) // 2)
    writing = True

    def value_of(number: int) -> dict[str, object]:
        return {"start": number, "body": chr(97 + number % 26) * (size - number), "end": number}

    async def write(storage: Everything) -> None:
        nonlocal writing
        for number in range(1, bench.profile.times(30) + 1):
            await storage.write("large", value_of(number))
            await pause()
        writing = False

    async def read(storage: Everything) -> None:
        while writing:
            value = await storage.read("large")
            expect(value is not None, "there is always a value", "None was read")
            whole = isinstance(value, dict) and value == value_of(value.get("start", 0))
            expect(whole, "every value that is read was written as it is", shown(value))
            await pause()

    storages = await _instances(bench)
    await bench.storage.write("large", value_of(0))
    readers = storages * bench.profile.times(2)
    await asyncio.gather(write(storages[-1]), *map(read, readers))


@clause("R9-own-answers")
async def own_answers(bench: Bench) -> None:
    """Many calls at once get each the answer to their own question."""
    keys = [f"key:{number}" for number in range(bench.profile.times(90))]
    await asyncio.gather(*(bench.storage.write(key, {"is": key, "pad": "x" * len(key) * 20}) for key in keys))
    asked = random.sample(keys * 2, len(keys) * 2)
    answers = await asyncio.gather(*(bench.storage.read(key) for key in asked))
    found = zip(asked, answers, strict=True)
    wrong = [(key, value) for key, value in found if not isinstance(value, dict) or value["is"] != key]
    expect(not wrong, f"each of {len(asked)} concurrent reads gives the value of its key", shown(wrong[:2]))


@clause("R9-cancelled")
async def cancelled(bench: Bench) -> None:
    """Cancelled calls leave records old or new, and the storage healthy: later calls get their own answers."""
    keys = [f"key:{number}" for number in range(bench.profile.times(20))]
    for key in keys:
        await bench.storage.write(key, [key, "old"])
    for delay in (0, 0, 0.0001, 0.0003, 0.001, 0.003):
        tasks = [asyncio.create_task(bench.storage.write(key, [key, "new"])) for key in keys]
        tasks += [asyncio.create_task(bench.storage.read(key)) for key in keys]
        await asyncio.sleep(delay)
        for task in random.sample(tasks, len(tasks) * 3 // 4):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        answers = await asyncio.gather(*(bench.storage.read(key) for key in keys))
        for key, value in zip(keys, answers, strict=True):
            expect(value in ([key, "old"], [key, "new"]), f"{key} is old or new after cancelled writes", shown(value))
    await asyncio.sleep(0.01)  # what was cancelled may still be on its way
    for key in keys:
        await bench.storage.write(key, [key, "last"])
        expect_same(await bench.storage.read(key), [key, "last"], "read of the last write after cancelled ones")
