"""R7: several records, changed at their versions: all of them or none."""

import asyncio
import time
from datetime import timedelta
from typing import Any

from satchel import Change, ConflictError, InvalidKeyError, Record, StorageError, UnsupportedValueError
from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect, expect_error, expect_same, shown
from satchel_conformance.clauses.concurrency import latest
from satchel_conformance.registry import clause


@clause("R7-records-read", "transactional", "versioned")
async def read(bench: Bench) -> None:
    """read_records gives the records that exist, each at the version that read_versioned gives."""
    for key in ("a", "b"):
        await bench.storage.write(key, {"key": key})
    found = await bench.storage.read_records(["a", "nobody", "b", "a"])
    single = {key: await bench.storage.read_versioned(key) for key in ("a", "b")}
    expect_same(dict(sorted(found.items())), single, "read_records, beside what read_versioned gives,")
    expect(all(isinstance(record, Record) for record in found.values()), "read_records gives Records", shown(found))
    expect_same(await bench.storage.read_records([]), {}, "read_records of nothing")


@clause("R7-commit-changes", "transactional", "versioned")
async def changes(bench: Bench) -> None:
    """A commit creates, replaces and deletes at versions, gives the new ones, and touches no other key."""
    old = await bench.storage.write_versioned("old", "before", None)
    gone = await bench.storage.write_versioned("gone", 1, None)
    await bench.storage.write("other", "stays")
    versions = await bench.storage.commit(
        {"new": Change({"n": 1}, None), "old": Change("after", old), "gone": Change(None, gone)}
    )
    expect_same(sorted(versions), ["new", "old"], "the keys of the versions that commit gives")
    for key, value in {"new": {"n": 1}, "old": "after"}.items():
        record = await bench.storage.read_versioned(key)
        expect_same(record, Record(value, versions[key]), f"read_versioned of {key!r} after the commit")
    expect_same(await bench.storage.read("gone"), None, "read of what the commit deleted")
    expect_same(await bench.storage.read("other"), "stays", "read of a key that was not in the commit")
    expect_same(await bench.storage.commit({}), {}, "a commit of nothing")


@clause("R7-commit-all-or-none", "transactional", "versioned")
async def all_or_none(bench: Bench) -> None:
    """A commit with one record that is not at its version raises ConflictError and changes nothing, whichever it is."""
    version = await bench.storage.write_versioned("there", 1, None)
    wrong: dict[str, Change[Any]] = {
        "a": Change(2, "x" * len(version)),
        "there": Change(2, None),
        "b": Change(None, version),
        "c": Change(2, ""),
    }
    right: dict[str, Change[Any]] = {"first": Change(2, None), "last": Change(2, None)}
    for key, change in wrong.items():
        for order in ({**right, key: change}, {key: change, **right}):
            with expect_error(ConflictError, f"a commit with {key!r} at a version that it is not at"):
                await bench.storage.commit(order)
            found = await bench.storage.read_records(["first", "last", *wrong])
            expect_same(found, {"there": Record(1, version)}, "read_records after a conflict")


@clause("R7-commit-absent", "transactional", "versioned")
async def absent(bench: Bench) -> None:
    """A commit may demand that a record is absent without writing it."""
    await bench.storage.commit({"a": Change(1, None), "nobody": Change(None, None)})
    expect_same(await bench.storage.read("a"), 1, "read after a commit whose other record was absent")
    with expect_error(ConflictError, "a commit that demands the absence of a record that is there"):
        await bench.storage.commit({"b": Change(1, None), "a": Change(None, None)})
    expect_same(await bench.storage.read("b"), None, "read after the conflict")


@clause("R7-commit-refuses", "transactional")
async def refuses(bench: Bench) -> None:
    """One key or value that is refused keeps the whole commit from being sent."""
    refused: list[tuple[type[StorageError], dict[str, Change[Any]]]] = [
        (UnsupportedValueError, {"a": Change(1, None), "b": Change({1}, None)}),
        (InvalidKeyError, {"a": Change(1, None), "": Change(1, None)}),
    ]
    for error, changed in refused:
        with expect_error(error, "a commit with a key or a value that cannot be one"):
            await bench.storage.commit(changed)
        expect_same(await bench.storage.read("a"), None, "read of the commit's other key")


@clause("R7-commit-concurrent", "transactional", "versioned", "shared")
async def concurrent(bench: Bench) -> None:
    """Concurrent commits to the same two records count in both or in none, and none is lost."""
    storages = [bench.storage, *[await bench.another() for _ in range(3)]]
    each = 8

    async def work(storage: Any) -> None:
        done = 0
        while done < each:
            found = await storage.read_records(["x", "y"])
            value = {key: found[key].value if key in found else 0 for key in ("x", "y")}
            changed = {key: Change(value[key] + 1, found[key].version if key in found else None) for key in ("x", "y")}
            try:
                await storage.commit(changed)
            except ConflictError:
                continue
            # A read of several is no snapshot everywhere, but what was read in part does not pass a commit.
            expect_same(value["x"], value["y"], "the first record that a commit went on, beside the second,")
            done += 1

    await asyncio.gather(*map(work, storages))
    for key in ("x", "y"):
        expect_same(await latest(bench.storage, key), each * len(storages), f"the sum of all increments of {key!r}")


@clause("R6-commit-expires", "transactional", "versioned", "expiring")
async def expires(bench: Bench) -> None:
    """What a commit writes has the lifetime that any write gives, and an expired record is absent to a commit."""
    resolution = bench.capabilities.ttl_resolution or timedelta(0)
    bench.need(resolution <= timedelta(milliseconds=100), "lifetimes are too coarse to wait for")
    ttl = max(timedelta(milliseconds=60), resolution * 3)
    storage = await bench.another(ttl=ttl)
    versions = await storage.commit({"a": Change(1, None), "b": Change(1, None)})
    await asyncio.sleep((ttl + resolution * 2).total_seconds() + 0.01)
    expect_same(await storage.read_records(["a", "b"]), {}, "read_records of what has expired")
    with expect_error(ConflictError, "a commit at the version of an expired record"):
        await storage.commit({"a": Change(2, versions["a"]), "b": Change(2, None)})
    start = time.monotonic()
    await storage.commit({"a": Change(2, None), "b": Change(2, None)})
    found = await storage.read("a")
    if time.monotonic() - start < ttl.total_seconds():
        expect_same(found, 2, "read of what was created over an expired record")


@clause("R8-commit", "network", "transactional", "versioned")
async def round_trips(bench: Bench) -> None:
    """Reading ten records with their versions is one round trip, and so is a commit of ten; or as many as declared."""
    proxy, storage = await bench.behind_proxy()
    declared = getattr(storage, "round_trips", {})
    keys = [f"key:{number}" for number in range(10)]
    for warming in (True, False):
        with proxy.counting() as count:
            found = await storage.read_records(keys)
        trips = {"read_records": count.round_trips}
        with proxy.counting() as count:
            await storage.commit({key: Change(str(warming), found[key].version if found else None) for key in keys})
        trips["commit"] = count.round_trips
    for method, number in trips.items():
        expect(number <= declared.get(method, 1), f"{method} takes {declared.get(method, 1)}", f"it took {number}")
