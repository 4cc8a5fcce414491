"""R5: a value over the limit is refused with both sizes, and the old one stays."""

from typing import Any

from satchel import Change, ValueTooLargeError
from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect, expect_error, expect_same
from satchel_conformance.registry import clause


def _text(size: int) -> str:
    """Return a string that is `size` bytes of JSON."""
    return "x" * (size - 2)


def _limit(bench: Bench) -> int:
    return bench.capabilities.max_value_bytes or 0


@clause("R5-limit-fits", "limit")
async def fits(bench: Bench) -> None:
    """A value of exactly the declared size is stored, under the longest key, too."""
    value = _text(_limit(bench))
    for key in ("large", "k" * bench.longest_key):
        await bench.storage.write(key, value)
        expect_same(await bench.storage.read(key) == value, True, "comparing what was read with what was written")
        await bench.storage.delete(key)


@clause("R5-over-limit", "limit")
async def over(bench: Bench) -> None:
    """A value of one byte more raises ValueTooLargeError with its size and the limit, and the old value stays."""
    limit = _limit(bench)
    await bench.storage.write("large", "old")
    with expect_error(ValueTooLargeError, f"write of {limit + 1} bytes") as caught:
        await bench.storage.write("large", _text(limit + 1))
    sizes = (getattr(caught.error, "size", None), getattr(caught.error, "limit", None))
    expect(sizes == (limit + 1, limit), f"the error has size {limit + 1} and limit {limit}", f"it has {sizes}")
    with expect_error(ValueTooLargeError, f"write of {limit // 2} characters that take two bytes each, and quotes,"):
        await bench.storage.write("large", "é" * (limit // 2))
    expect_same(await bench.storage.read("large"), "old", "read after a value was too large")


@clause("R5-over-limit-versioned", "limit", "versioned")
async def over_versioned(bench: Bench) -> None:
    """The same holds for write_versioned, and the version stays."""
    version = await bench.storage.write_versioned("large", "old", None)
    with expect_error(ValueTooLargeError, "write_versioned of a byte more than the limit"):
        await bench.storage.write_versioned("large", _text(_limit(bench) + 1), version)
    await bench.storage.write_versioned("large", "new", version)
    expect_same(await bench.storage.read("large"), "new", "read after writing at the version from before")


@clause("R5-over-limit-batch", "limit", "batch")
async def over_batch(bench: Bench) -> None:
    """write_many with one value too large writes none."""
    with expect_error(ValueTooLargeError, "write_many of a byte more than the limit"):
        await bench.storage.write_many({"small": 1, "large": _text(_limit(bench) + 1), "last": 1})
    expect_same(await bench.storage.read_many(["small", "last"]), {}, "read_many after write_many was refused")


@clause("R5-over-limit-commit", "limit", "transactional")
async def over_commit(bench: Bench) -> None:
    """A commit with one value too large changes nothing."""
    with expect_error(ValueTooLargeError, "a commit of a byte more than the limit"):
        await bench.storage.commit(_changes(bench))
    expect_same(await bench.storage.read_records(_changes(bench)), {}, "read_records after the commit was refused")


@clause("R5-over-limit-each", "limit", "versioned_batch")
async def over_each(bench: Bench) -> None:
    """write_records with one value too large changes nothing."""
    with expect_error(ValueTooLargeError, "write_records of a byte more than the limit"):
        await bench.storage.write_records(_changes(bench))
    expect_same(await bench.storage.read_records(_changes(bench)), {}, "read_records after write_records was refused")


def _changes(bench: Bench) -> dict[str, Change[Any]]:
    return {"a": Change(1, None), "large": Change(_text(_limit(bench) + 1), None), "z": Change(1, None)}
