"""R3: what is stored shares nothing with the objects that were written or read."""

from typing import Any

from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect, expect_same, shown
from satchel_conformance.registry import clause


@clause("R3-after-write")
async def after_write(bench: Bench) -> None:
    """Changing a value after it was written changes nothing stored, at any depth."""
    value = {"a": 1, "inner": {"list": [1]}}
    await bench.storage.write("one", value)
    await bench.storage.write("two", value)
    value["a"] = 2
    value["inner"]["list"].append(2)  # type: ignore[index]
    for key in ("one", "two"):
        expect_same(await bench.storage.read(key), {"a": 1, "inner": {"list": [1]}}, "read after the object changed")


@clause("R3-after-read")
async def after_read(bench: Bench) -> None:
    """Changing a value that was read changes nothing stored, at any depth."""
    await bench.storage.write("one", {"a": 1, "inner": {"list": [1]}})
    value: Any = await bench.storage.read("one")
    value["a"] = 2
    value["inner"]["list"].append(2)
    again = await bench.storage.read("one")
    expect_same(again, {"a": 1, "inner": {"list": [1]}}, "read after an object read before changed")


@clause("R3-versioned", "versioned")
async def versioned(bench: Bench) -> None:
    """The same holds for write_versioned and read_versioned, and such a change leaves the version."""
    value = {"inner": [1]}
    await bench.storage.write_versioned("one", value, None)
    value["inner"].append(2)
    record = await bench.storage.read_versioned("one")
    expect_same(record and record.value, {"inner": [1]}, "the value of read_versioned after a change")
    assert record is not None
    record.value["inner"].append(3)
    again = await bench.storage.read_versioned("one")
    same_version = again is not None and again.version == record.version
    expect(same_version, "such a change leaves the version", shown(again and again.version))
    expect_same(again and again.value, {"inner": [1]}, "the value of read_versioned after one read before changed")


@clause("R3-batch", "batch")
async def batch(bench: Bench) -> None:
    """The same holds for write_many and read_many."""
    value = {"inner": [1]}
    await bench.storage.write_many({"one": value, "two": value})
    value["inner"].append(2)
    found = await bench.storage.read_many(["one", "two"])
    expect_same(found["one"], {"inner": [1]}, "read_many after an object that was written changed")
    found["one"]["inner"].append(3)
    expect_same(
        await bench.storage.read_many(["one"]), {"one": {"inner": [1]}}, "read_many after an object read changed"
    )
    expect_same(await bench.storage.read("two"), {"inner": [1]}, "read of another key after an object read changed")
