"""R0: a batch does what single calls do, wholly or not at all."""

import asyncio
from collections.abc import Mapping
from math import nan
from typing import Any

from satchel import InvalidKeyError, UnsupportedValueError, ValueTooLargeError
from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect, expect_error, expect_same, shown
from satchel_conformance.declared import LARGEST_TRIED
from satchel_conformance.registry import clause


@clause("R0-batch-read", "batch")
async def read(bench: Bench) -> None:
    """read_many gives a dict of the keys that exist, also those with falsy values, and leaves out the others."""
    values = {"a": {"n": 1}, "b": [], "c": 0, "d": False}
    for key, value in values.items():
        await bench.storage.write(key, value)
    found = await bench.storage.read_many(["a", "nobody", "b", "c", "d"])
    expect(type(found) is dict, "read_many gives a dict", type(found).__name__)
    expect_same(dict(sorted(found.items())), values, "read_many")


@clause("R0-batch-write", "batch")
async def write(bench: Bench) -> None:
    """write_many creates and replaces, each key with its own value, and touches no other key."""
    await bench.storage.write("old", "before")
    await bench.storage.write("other", "stays")
    await bench.storage.write_many({"old": "after", "new": {"n": 1}, "empty": {}})
    for key, value in {"old": "after", "new": {"n": 1}, "empty": {}, "other": "stays"}.items():
        expect_same(await bench.storage.read(key), value, f"read of {key!r} after write_many")


@clause("R0-batch-delete", "batch")
async def delete(bench: Bench) -> None:
    """delete_many removes what is there, passes over what is not, and touches no other key."""
    await bench.storage.write_many({"a": 1, "b": 1, "other": 1})
    await bench.storage.delete_many(["a", "nobody", "b"])
    expect_same(await bench.storage.read_many(["a", "b", "other"]), {"other": 1}, "read_many after delete_many")


@clause("R0-batch-empty", "batch")
async def empty(bench: Bench) -> None:
    """Empty batches are no error and do nothing."""
    await bench.storage.write("kept", 1)
    expect_same(await bench.storage.read_many([]), {}, "read_many of nothing")
    await bench.storage.write_many({})
    await bench.storage.delete_many([])
    expect_same(await bench.storage.read("kept"), 1, "read after empty batches")


@clause("R0-batch-duplicates", "batch")
async def duplicates(bench: Bench) -> None:
    """A key may come twice in read_many and delete_many."""
    await bench.storage.write_many({"a": 1, "b": 2})
    found = await bench.storage.read_many(["a", "b", "a", "nobody", "nobody"])
    expect_same(dict(sorted(found.items())), {"a": 1, "b": 2}, "read_many with keys twice")
    await bench.storage.delete_many(["a", "a"])
    expect_same(await bench.storage.read_many(["a", "b"]), {"b": 2}, "read_many after delete_many with a key twice")


@clause("R0-batch-any-iterable", "batch")
async def any_iterable(bench: Bench) -> None:
    """read_many and delete_many take any iterable, a generator too."""
    await bench.storage.write_many({"a": 1, "b": 2})
    found = await bench.storage.read_many(key for key in ("a", "b"))
    expect_same(dict(sorted(found.items())), {"a": 1, "b": 2}, "read_many of a generator")
    await bench.storage.delete_many(key for key in ("a", "b"))
    expect_same(await bench.storage.read_many({"a", "b"}), {}, "read_many after delete_many of a generator")


@clause("R0-batch-large", "batch")
async def large(bench: Bench) -> None:
    """A batch may have very many keys (1200 in a thorough run), whatever the backend takes at once."""
    values = {f"key:{number}": number for number in range(1, bench.many + 1)}
    await bench.storage.write_many(values)
    found = await bench.storage.read_many(values)
    expect(found == values, f"read_many gives all of {len(values)} records", f"{len(found)} records")
    await bench.storage.delete_many(values)
    left = await bench.storage.read_many(values)
    expect(left == {}, f"delete_many removes all of {len(values)} records", f"{len(left)} are left")


@clause("R0-batch-heavy", "batch")
async def heavy(bench: Bench) -> None:
    """A batch may have very many bytes; one that is atomic may be too large, and then it is refused, and wholly."""
    limit = bench.capabilities.max_value_bytes or LARGEST_TRIED
    size = min(bench.profile.times(450_000), limit * 3 // 4)
    values = {f"key:{number}": f"{number} ".ljust(size - 2, "x") for number in range(bench.profile.times(60))}
    what = f"of {len(values)} values of {size} bytes"
    try:
        await bench.storage.write_many(values)
    except ValueTooLargeError as error:
        expect(bench.capabilities.atomic_batch, f"write_many {what} is done, as it need not be atomic", str(error))
        expect_same(await bench.storage.read_many(values), {}, f"read_many after write_many {what} was refused")
        return
    found = await bench.storage.read_many(values)
    expect(found == values, f"read_many gives all {what}", f"{len(found)} records")
    await bench.storage.delete_many(values)


@clause("R0-batch-refuses-wholly", "batch")
async def refuses_wholly(bench: Bench) -> None:
    """One bad value or key in write_many, and none is written; one bad key in delete_many, and none is removed."""
    await bench.storage.write("a", "old")
    with expect_error(UnsupportedValueError, "write_many with a NaN"):
        await bench.storage.write_many({"a": "new", "b": 1, "bad": {"x": nan}, "c": 1})
    with expect_error(UnsupportedValueError, "write_many with None, which is no value"):
        await bench.storage.write_many({"b": 1, "a": None, "c": 1})
    with expect_error(InvalidKeyError, "write_many with an empty key"):
        await bench.storage.write_many({"a": "new", "b": 1, "": 1, "c": 1})
    with expect_error(InvalidKeyError, "delete_many with an empty key"):
        await bench.storage.delete_many(["a", ""])
    expect_same(await bench.storage.read_many(["a", "b", "c"]), {"a": "old"}, "read_many after refused batches")


@clause("R0-batch-atomic", "atomic_batch")
async def atomic(bench: Bench) -> None:
    """Where atomic_batch is declared, no reader sees a part of a batch: neither key is ever ahead of the other."""
    keys = [f"key:{number}" for number in range(20)]
    reader = await bench.another() if bench.shared else bench.storage
    writing = True

    def batch(number: int) -> Mapping[str, Any]:
        return dict.fromkeys(keys, number)

    async def write() -> None:
        nonlocal writing
        for number in range(1, bench.profile.times(40) + 1):
            await bench.storage.write_many(batch(number))
            await asyncio.sleep(0)
        writing = False

    async def read(earlier: str, later: str) -> None:
        while writing:
            first: Any = await reader.read(earlier)
            then: Any = await reader.read(later)
            expect(
                None not in (first, then) and then >= first,
                f"{later!r}, read after {earlier!r}, is as new or newer",
                f"{shown(then)} after {shown(first)}",
            )
            await asyncio.sleep(0)

    await bench.storage.write_many(batch(0))
    await asyncio.gather(write(), read(keys[0], keys[-1]), read(keys[-1], keys[0]))
