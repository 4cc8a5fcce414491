"""R6: a lifetime ends when it should, never early."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import cycle
from typing import Any, Final

from satchel import Change, ConfigurationError, ConflictError, StorageError
from satchel_conformance.bench import Bench, Everything
from satchel_conformance.checks import expect, expect_error, expect_same, outcome
from satchel_conformance.registry import clause
from satchel_conformance.timing import Life, expect_restart, short_ttl

_ATTEMPTS: Final = 5  # at a server that others use, too, their records may end between two purges


@clause("R6-never-early", "expiring")
async def never_early(bench: Bench) -> None:
    """A record is there until its lifetime is over, to the millisecond, for read and for read_versioned."""
    storage = await bench.another(ttl=short_ttl(bench))
    reads: list[Callable[[str], Awaitable[object]]] = [storage.read]
    if bench.capabilities.versioned:
        reads.append(storage.read_versioned)
    life = Life(bench)
    await storage.write("key", 1)
    for read in cycle(reads):
        value = await read("key")
        age = life.age  # since before the write, and after the read: the record is younger
        if age >= life.seconds:
            return
        expect(value is not None, f"the record is there for {life.seconds} s", f"it was gone after {age:.4f} s")
        await asyncio.sleep(0.0005 if age > life.seconds - 0.03 else 0.005)


@clause("R6-ends-in-time", "expiring")
async def ends(bench: Bench) -> None:
    """A record is gone once its lifetime is over, for read and read_versioned, within the declared resolution."""
    storage = await bench.another(ttl=short_ttl(bench))
    await storage.write("key", 1)
    life = Life(bench)
    await life.over()
    expect_same(await storage.read("key"), None, f"read after a lifetime of {life.seconds} s")
    if bench.capabilities.versioned:
        expect_same(await storage.read_versioned("key"), None, "read_versioned after the lifetime")


@clause("R6-write-restarts", "expiring")
async def write_restarts(bench: Bench) -> None:
    """A write starts the lifetime anew."""
    storage = await bench.another(ttl=short_ttl(bench))
    await expect_restart(bench, storage, lambda: storage.write("key", 2), "the second write")


@clause("R6-same-write-restarts", "expiring")
async def same_write_restarts(bench: Bench) -> None:
    """A write of the same value starts the lifetime anew, too."""
    storage = await bench.another(ttl=short_ttl(bench))
    await expect_restart(bench, storage, lambda: storage.write("key", 1), "the second write")


@clause("R6-versioned-write-restarts", "expiring", "versioned")
async def versioned_write_restarts(bench: Bench) -> None:
    """A versioned write starts the lifetime anew."""
    storage = await bench.another(ttl=short_ttl(bench))

    async def act() -> None:
        record = await storage.read_versioned("key")
        # On a busy machine the record may just have ended; then it is tried again.
        await outcome(storage.write_versioned("key", 2, record and record.version), ConflictError)

    await expect_restart(bench, storage, act, "the versioned write")


@clause("R6-batch-write-restarts", "expiring", "batch")
async def batch_write_restarts(bench: Bench) -> None:
    """write_many starts the lifetime anew, and gives one to what it creates."""
    storage = await bench.another(ttl=short_ttl(bench))
    await expect_restart(bench, storage, lambda: storage.write_many({"key": 2, "new": 2}), "write_many")
    expect_same(await storage.read("new"), None, "read of what write_many created, a whole lifetime after it,")


@clause("R6-records-separately", "expiring")
async def separately(bench: Bench) -> None:
    """Each record has its own lifetime: a later write of one does not prolong another."""
    storage = await bench.another(ttl=short_ttl(bench))
    await storage.write("first", 1)
    life = Life(bench)
    await life.part(0.6)
    later = Life(bench)
    await storage.write("second", 2)
    await life.over()
    first, second = await storage.read("first"), await storage.read("second")
    expect_same(first, None, "read of the first record after its lifetime")
    if later.lasts:
        expect_same(second, 2, "read of the second record within its lifetime")


@clause("R6-listing-agrees", "expiring", "listing")
async def listing_agrees(bench: Bench) -> None:
    """keys() leaves out what reads as None because it has ended, and lists what is written anew."""
    storage = await bench.another(ttl=short_ttl(bench))
    await storage.write("ended", 1)
    await storage.write("anew", 1)
    await Life(bench).over()
    expect_same([key async for key in storage.keys()], [], "keys() after all lifetimes")
    alive = Life(bench)
    await storage.write("anew", 2)
    listed = [key async for key in storage.keys()]
    if alive.lasts:
        expect_same(listed, ["anew"], "keys() after one record was written anew")


@clause("R6-batch-read-agrees", "expiring", "batch")
async def batch_read_agrees(bench: Bench) -> None:
    """read_many leaves out what has ended."""
    storage = await bench.another(ttl=short_ttl(bench))
    await storage.write("key", 1)
    await Life(bench).over()
    expect_same(await storage.read_many(["key", "nobody"]), {}, "read_many after the lifetime")


@clause("R6-expired-version-conflicts", "expiring", "versioned")
async def expired_version(bench: Bench) -> None:
    """The version of what has ended conflicts, and nothing is written."""
    storage = await bench.another(ttl=short_ttl(bench))
    version = await storage.write_versioned("key", "old", None)
    await Life(bench).over()
    with expect_error(ConflictError, "write_versioned at the version of an expired record"):
        await storage.write_versioned("key", "late", version)
    expect_same(await storage.read("key"), None, "read after a conflict on an expired record")


@clause("R6-create-over-expired", "expiring", "versioned")
async def create_over_expired(bench: Bench) -> None:
    """What has ended does not exist: it can be created, once."""
    storage = await bench.another(ttl=short_ttl(bench))
    await storage.write("key", "old")
    await Life(bench).over()
    fresh = Life(bench)
    await storage.write_versioned("key", "new", None)
    again = await outcome(storage.write_versioned("key", "again", None), ConflictError)
    if fresh.lasts:
        expect(isinstance(again, ConflictError), "creating it again raises ConflictError", "it was created twice")


@clause("R6-delete-expired", "expiring", "conditional_delete")
async def delete_expired(bench: Bench) -> None:
    """A conditional delete of what has ended conflicts."""
    storage = await bench.another(ttl=short_ttl(bench))
    version = await storage.write_versioned("key", "old", None)
    await Life(bench).over()
    with expect_error(ConflictError, "delete_versioned of an expired record"):
        await storage.delete_versioned("key", version)


@clause("R6-purge", "expiring")
async def purge(bench: Bench) -> None:
    """purge_expired gives a number, leaves the living, and leaves nothing to purge."""
    storage = await bench.another(ttl=short_ttl(bench))
    await bench.storage.write("for ever", 1)
    for attempt in range(1, _ATTEMPTS + 1):
        for index in range(5):
            await storage.write(f"ended:{index}", index)
        await Life(bench).over()
        fresh = Life(bench)
        await storage.write("fresh", 1)
        first = await storage.purge_expired()
        found = await storage.read("fresh")
        expect(type(first) is int and first >= 0, "purge_expired gives a number", repr(first))
        if fresh.lasts:
            expect_same(found, 1, "read of a living record after purge_expired")
        second = await storage.purge_expired()
        if second == 0 or not fresh.lasts:
            break
        expect(attempt < _ATTEMPTS, "a second purge_expired gives 0", f"{second}, {attempt} times out of {attempt}")
    expect_same(await bench.storage.read("for ever"), 1, "read of a record without a lifetime after purge_expired")


@clause("R6-no-ttl-is-for-ever", "expiring")
async def no_ttl(bench: Bench) -> None:
    """Without a ttl nothing ends, and purge_expired removes nothing."""
    await bench.storage.write("key", 1)
    await Life(bench).over()
    await bench.storage.purge_expired()
    expect_same(await bench.storage.read("key"), 1, "read of a record without a lifetime")


@clause("R6-last-write-decides", "expiring", "shared")
async def last_write_decides(bench: Bench) -> None:
    """The lifetime is that of the last write: rewritten by a storage without a ttl, or with a longer one, it stays."""
    short, long = await bench.another(ttl=short_ttl(bench)), await bench.another(ttl=timedelta(hours=1))
    writes = _writes(bench)

    async def written(name: str, key: str, first: Everything, then: Everything) -> None:
        for _ in range(_ATTEMPTS):  # on a busy machine the first record may have ended before it is rewritten
            life = Life(bench)
            await first.write(key, 1)
            result = await outcome(writes[name](then, key), ConflictError)
            if life.lasts:
                expect(not isinstance(result, ConflictError), f"{name} at the record's version is done", str(result))
                return

    for name in writes:
        await written(name, f"{name}, for ever", short, bench.storage)
        await written(name, f"{name}, longer", short, long)
    await written("write", "shorter", long, short)
    await Life(bench).over()
    for name in writes:
        for how in ("for ever", "longer"):
            found = await bench.storage.read(f"{name}, {how}")
            expect_same(found, 2, f"read of a record that {name} was to let live {how}")
    expect_same(await bench.storage.read("shorter"), None, "read after it was rewritten with a short lifetime")


def _writes(bench: Bench) -> dict[str, Callable[[Everything, str], Awaitable[object]]]:
    """Return every way to write 2 over a record."""

    async def change(storage: Everything, key: str) -> Change[Any]:
        record = await storage.read_versioned(key)
        return Change(2, record and record.version)

    async def versioned(storage: Everything, key: str) -> None:
        await storage.write_versioned(key, 2, (await change(storage, key)).expected)

    async def commit(storage: Everything, key: str) -> None:
        await storage.commit({key: await change(storage, key)})

    async def records(storage: Everything, key: str) -> None:
        await storage.write_records({key: await change(storage, key)})

    every: dict[str, tuple[bool, Callable[[Everything, str], Awaitable[object]]]] = {
        "write": (True, lambda storage, key: storage.write(key, 2)),
        "write_versioned": (bench.capabilities.versioned, versioned),
        "write_many": (bench.capabilities.batch, lambda storage, key: storage.write_many({key: 2})),
        "commit": (bench.capabilities.transactional, commit),
        "write_records": (bench.capabilities.versioned_batch, records),
    }
    return {name: write for name, (declared, write) in every.items() if declared}


@clause("R6-whole-days", "expiring")
async def whole_days(bench: Bench) -> None:
    """A lifetime of whole days is one, also after a touch: timedelta(days=14).seconds is 0, and no lifetime at all."""
    for days in (1, 14, 365):
        storage = await bench.another(ttl=timedelta(days=days))
        await storage.write("key", days)
        expect_same(await storage.read("key"), days, f"read with a lifetime of {days} days")
        await storage.touch("key")
        expect_same(await storage.read("key"), days, f"read after a touch with a lifetime of {days} days")
        if bench.capabilities.listing:
            expect_same([key async for key in storage.keys()], ["key"], f"keys() with a lifetime of {days} days")


@clause("R6-long-lifetime", "expiring")
async def long_lifetime(bench: Bench) -> None:
    """A lifetime of a thousand years works; the longest of Python works, or is refused."""
    storage = await bench.another(ttl=timedelta(days=365_000))
    await storage.write("key", 1)
    expect_same(await storage.read("key"), 1, "read with a lifetime of a thousand years")
    try:
        longest = await bench.another(ttl=timedelta.max)
        await longest.write("key", 2)
    except StorageError:
        return
    expect_same(await longest.read("key"), 2, "read with the lifetime timedelta.max")


@clause("R6-refuses-lifetimes", "expiring")
async def refuses(bench: Bench) -> None:
    """A ttl that is zero, negative or no timedelta raises ConfigurationError when the storage is made."""
    for ttl in (timedelta(0), timedelta(microseconds=-1), timedelta(days=-1), 60, 0.5, "60"):
        with expect_error(ConfigurationError, f"a storage with ttl={ttl!r}"):
            await bench.make(ttl=ttl)
