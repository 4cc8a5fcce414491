"""R7: several records, changed at their versions, each by itself."""

import asyncio
import time
from datetime import timedelta
from typing import Any

from satchel import Change, InvalidKeyError, Record, StorageError, UnsupportedValueError
from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect, expect_error, expect_same, shown
from satchel_conformance.clauses.concurrency import latest
from satchel_conformance.registry import clause


@clause("R7-each-read", "versioned_batch")
async def read(bench: Bench) -> None:
    """read_records gives the records that exist, each at the version that read_versioned gives, also if asked twice."""
    for key in ("a", "b"):
        await bench.storage.write(key, {"key": key})
    found = await bench.storage.read_records(key for key in ("a", "nobody", "b", "a"))
    single = {key: await bench.storage.read_versioned(key) for key in ("a", "b")}
    expect_same(dict(sorted(found.items())), single, "read_records, beside what read_versioned gives,")
    expect(all(isinstance(record, Record) for record in found.values()), "read_records gives Records", shown(found))
    expect_same(await bench.storage.read_records([]), {}, "read_records of nothing")


@clause("R7-each-changes", "versioned_batch")
async def changes(bench: Bench) -> None:
    """write_records creates, replaces and deletes at versions, gives the new ones, and touches no other key."""
    old = await bench.storage.write_versioned("old", "before", None)
    gone = await bench.storage.write_versioned("gone", 1, None)
    await bench.storage.write("other", "stays")
    versions = await bench.storage.write_records(
        {"new": Change({"n": 1}, None), "old": Change("after", old), "gone": Change(None, gone)}
    )
    expect_same(sorted(versions), ["gone", "new", "old"], "the keys of what write_records gives")
    expect_same(versions["gone"], "", "what write_records gives for what it deleted")
    for key, value in {"new": {"n": 1}, "old": "after"}.items():
        record = await bench.storage.read_versioned(key)
        expect_same(record, Record(value, versions[key]), f"read_versioned of {key!r} after write_records")
    expect_same(await bench.storage.read("gone"), None, "read of what write_records deleted")
    expect_same(await bench.storage.read("other"), "stays", "read of a key that was not in write_records")


@clause("R7-each-empty", "versioned_batch")
async def empty(bench: Bench) -> None:
    """write_records of nothing is no error and does nothing."""
    await bench.storage.write("kept", 1)
    expect_same(await bench.storage.write_records({}), {}, "write_records of nothing")
    expect_same(await bench.storage.read("kept"), 1, "read after write_records of nothing")


@clause("R7-each-conflict", "versioned_batch")
async def conflict(bench: Bench) -> None:
    """A write at another version than the record's is left out of the answer and not done; the others are done."""
    version = await bench.storage.write_versioned("there", 1, None)
    wrong: dict[str, Change[Any]] = {
        "a": Change(2, "x" * len(version)),
        "b": Change(2, version),
        "c": Change(2, ""),
        "there": Change(2, "x" * len(version)),
    }
    for key, change in wrong.items():
        first, last = f"first {key}", f"last {key}"
        versions = await bench.storage.write_records({first: Change(2, None), key: change, last: Change(2, None)})
        expect_same(sorted(versions), [first, last], f"what write_records gives, {key!r} being in conflict,")
        found = await bench.storage.read_records([first, last, *wrong])
        done = {first: Record(2, versions[first]), last: Record(2, versions[last]), "there": Record(1, version)}
        expect_same(dict(sorted(found.items())), done, f"read_records after {key!r} was in conflict")


@clause("R7-each-create-conflict", "versioned_batch")
async def create_conflict(bench: Bench) -> None:
    """A creation of what exists, the same value even, is left out of the answer and not done; the others are done."""
    version = await bench.storage.write_versioned("there", 1, None)
    same = await bench.storage.write_versioned("same", 1, None)
    versions = await bench.storage.write_records(
        {"a": Change(2, None), "there": Change(2, None), "same": Change(1, None), "b": Change(2, None)}
    )
    expect_same(sorted(versions), ["a", "b"], "what write_records gives, two of four being there,")
    found = await bench.storage.read_records(["there", "same"])
    expect_same(found, {"there": Record(1, version), "same": Record(1, same)}, "read_records of what was there")


@clause("R7-each-delete-conflict", "versioned_batch")
async def delete_conflict(bench: Bench) -> None:
    """A delete of what is absent, or at another version, is left out of the answer and not done; others are done."""
    version = await bench.storage.write_versioned("there", 1, None)
    gone = await bench.storage.write_versioned("gone", 1, None)
    versions = await bench.storage.write_records(
        {
            "there": Change(None, "x" * len(version)),
            "nobody": Change(None, version),
            "gone": Change(None, gone),
            "new": Change(2, None),
        }
    )
    expect_same(sorted(versions), ["gone", "new"], "what write_records gives, two deletes of three being in conflict,")
    expect_same(await bench.storage.read_versioned("there"), Record(1, version), "read_versioned after the conflict")


@clause("R7-each-absent", "versioned_batch")
async def absent(bench: Bench) -> None:
    """A demand that a record be absent changes nothing, and is told to be met or not."""
    version = await bench.storage.write_versioned("there", 1, None)
    versions = await bench.storage.write_records(
        {"nobody": Change(None, None), "there": Change(None, None), "new": Change(2, None)}
    )
    expect_same(sorted(versions), ["new", "nobody"], "what write_records gives, one of three being there,")
    expect_same(versions["nobody"], "", "what write_records gives for what is absent")
    expect_same(await bench.storage.read_versioned("there"), Record(1, version), "read_versioned of what is there")


@clause("R7-each-refuses", "versioned_batch")
async def refuses(bench: Bench) -> None:
    """One key or value that is refused keeps all of write_records from being sent."""
    refused: list[tuple[type[StorageError], dict[str, Change[Any]]]] = [
        (UnsupportedValueError, {"a": Change(1, None), "b": Change({1}, None)}),
        (InvalidKeyError, {"a": Change(1, None), "": Change(1, None)}),
        (InvalidKeyError, {"a": Change(1, None), "": Change(None, "version")}),
    ]
    for error, changed in refused:
        with expect_error(error, "write_records with a key or a value that cannot be one"):
            await bench.storage.write_records(changed)
        expect_same(await bench.storage.read("a"), None, "read of the other key")


@clause("R7-each-large", "versioned_batch")
async def large(bench: Bench) -> None:
    """write_records and read_records take 300 records, some of them in conflict."""
    keys = [f"key:{number}" for number in range(300)]
    taken = keys[::50]
    for key in taken:
        await bench.storage.write(key, "taken")
    versions = await bench.storage.write_records({key: Change(key, None) for key in keys})
    expect_same(sorted(versions), sorted(set(keys) - set(taken)), "the keys of what write_records gives")
    found = await bench.storage.read_records(keys)
    wrong = [key for key in keys if key not in found or found[key].value != ("taken" if key in taken else key)]
    expect_same(wrong, [], "the keys that do not hold what was written there first")


@clause("R7-each-concurrent", "versioned_batch", "shared")
async def concurrent(bench: Bench) -> None:
    """Concurrent write_records of the same records lose no update: each that is said to be done counts, and once."""
    storages = [bench.storage, *[await bench.another() for _ in range(3)]]
    keys, each = ("x", "y", "z"), 6

    async def work(number: int) -> None:
        left = dict.fromkeys(keys, each)
        while left:
            found = await storages[number].read_records(left)
            changed = {}
            for key in left:
                record = found.get(key)
                sum_ = record.value[0] if record else 0
                changed[key] = Change([sum_ + 1, number], record.version if record else None)
            versions = await storages[number].write_records(changed)
            left = {key: times - (key in versions) for key, times in left.items() if times > (key in versions)}

    await asyncio.gather(*map(work, range(len(storages))))
    for key in keys:
        total = (await latest(bench.storage, key))[0]
        expect_same(total, each * len(storages), f"the sum of all increments of {key!r}")


@clause("R6-each-expires", "versioned_batch", "expiring")
async def expires(bench: Bench) -> None:
    """What write_records writes has the lifetime that any write gives, and an expired record is absent to it."""
    resolution = bench.capabilities.ttl_resolution or timedelta(0)
    bench.need(resolution <= timedelta(milliseconds=100), "lifetimes are too coarse to wait for")
    ttl = max(timedelta(milliseconds=60), resolution * 3)
    storage = await bench.another(ttl=ttl)
    versions = await storage.write_records({key: Change(1, None) for key in ("a", "b", "c")})
    await asyncio.sleep((ttl + resolution * 2).total_seconds() + 0.01)
    expect_same(await storage.read_records(["a", "b", "c"]), {}, "read_records of what has expired")
    start = time.monotonic()
    again = await storage.write_records(
        {"a": Change(2, versions["a"]), "b": Change(None, versions["b"]), "c": Change(2, None)}
    )
    expect_same(sorted(again), ["c"], "what write_records gives, two of three being expired,")
    found = await storage.read("c")
    if time.monotonic() - start < ttl.total_seconds():
        expect_same(found, 2, "read of what was created over an expired record")


@clause("R8-each", "network", "versioned_batch")
async def round_trips(bench: Bench) -> None:
    """Reading ten records is one round trip, and so is writing them, also with a conflict; or as many as declared."""
    proxy, storage = await bench.behind_proxy()
    declared = getattr(storage, "round_trips", {})
    keys = [f"key:{number}" for number in range(10)]
    for warming in (True, False):
        with proxy.counting() as count:
            found = await storage.read_records(keys)
        trips = {"read_records": count.round_trips}
        versions = {key: record.version for key, record in found.items()} | {keys[0]: "another"}
        with proxy.counting() as count:
            await storage.write_records({key: Change(str(warming), versions.get(key)) for key in keys})
        trips["write_records"] = count.round_trips
    for method, number in trips.items():
        expect(number <= declared.get(method, 1), f"{method} takes {declared.get(method, 1)}", f"it took {number}")
