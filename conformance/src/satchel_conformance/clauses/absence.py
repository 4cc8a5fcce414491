"""R1: absence is None, and only absence is."""

from collections.abc import Awaitable, Callable
from typing import Any

from satchel import Change, CorruptValueError
from satchel.codecs import JSONCodec
from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect, expect_error, expect_same
from satchel_conformance.registry import clause


@clause("R1-absent-is-none")
async def absent(bench: Bench) -> None:
    """A key that was never written reads as None."""
    expect_same(await bench.storage.read("nobody"), None, "read of a key that was never written")


@clause("R1-absent-version-is-none", "versioned")
async def absent_version(bench: Bench) -> None:
    """A key that was never written has no record and no version: read_versioned gives None."""
    await bench.storage.write("somebody", 1)
    expect_same(await bench.storage.read_versioned("nobody"), None, "read_versioned of a key that was never written")


@clause("R1-deleted-is-none")
async def deleted(bench: Bench) -> None:
    """A deleted key reads as None, and its neighbours stay."""
    await bench.storage.write("gone", 1)
    await bench.storage.write("gone:too", 2)
    await bench.storage.delete("gone")
    expect_same(await bench.storage.read("gone"), None, "read after delete")
    expect_same(await bench.storage.read("gone:too"), 2, "read of another key after delete")


@clause("R1-delete-absent")
async def delete_absent(bench: Bench) -> None:
    """Deleting a key that is not there, or no longer, is no error."""
    await bench.storage.delete("nobody")
    await bench.storage.write("somebody", 1)
    await bench.storage.delete("somebody")
    await bench.storage.delete("somebody")
    expect_same(await bench.storage.read("somebody"), None, "read after deleting twice")


@clause("R1-falsy-is-present")
async def falsy(bench: Bench) -> None:
    """Empty and falsy values are there, not absent: {}, [], "", 0, 0.0 and False are read, and listed."""
    values: tuple[Any, ...] = ({}, [], "", 0, 0.0, False)
    for value in values:
        await bench.storage.write("falsy", value)
        expect_same(await bench.storage.read("falsy"), value, f"read after writing {value!r}")
        if bench.capabilities.listing:
            expect_same([key async for key in bench.storage.keys()], ["falsy"], f"keys() after writing {value!r}")


@clause("R1-falsy-has-version", "versioned")
async def falsy_version(bench: Bench) -> None:
    """Empty and falsy values have a record with a version."""
    values: tuple[Any, ...] = ({}, [], "", 0, 0.0, False)
    for value in values:
        await bench.storage.write("falsy", value)
        record = await bench.storage.read_versioned("falsy")
        expect(record is not None, f"read_versioned gives a record after writing {value!r}", "None")
        assert record is not None
        expect_same(record.value, value, f"read_versioned after writing {value!r}")


@clause("R1-falsy-in-commit", "transactional", "versioned")
async def falsy_commit(bench: Bench) -> None:
    """Empty and falsy values are written by a commit, over what is there too, and read by read_records."""
    await _falsy_records(bench, bench.storage.commit, "commit")


@clause("R1-falsy-in-each", "versioned_batch")
async def falsy_each(bench: Bench) -> None:
    """Empty and falsy values are written by write_records, over what is there too, and read by read_records."""
    await _falsy_records(bench, bench.storage.write_records, "write_records")


async def _falsy_records(bench: Bench, write: Callable[[dict[str, Change[Any]]], Awaitable[object]], how: str) -> None:
    """See that falsy values are there, as new records and as those that replace others."""
    values: dict[str, Any] = {f"falsy:{index}": value for index, value in enumerate(({}, [], "", 0, 0.0, False))}
    versions: dict[str, str | None] = dict.fromkeys(values)
    for times in ("a", "another"):
        await write({key: Change(value, versions[key]) for key, value in values.items()})
        found = await bench.storage.read_records(values)
        read = {key: found[key].value for key in values if key in found}
        expect_same(read, values, f"read_records after {times} {how} of falsy values")
        versions = {key: record.version for key, record in found.items()}


class _Garbling(JSONCodec):
    """Stores the beginning of a JSON text."""

    def encode(self, value: object) -> bytes:
        return super().encode(value)[:-1]


@clause("R1-corrupt-raises")
async def corrupt(bench: Bench) -> None:
    """Bytes that are not a value raise CorruptValueError, each time, and are left as they are; a write heals them."""
    storage = await bench.another(codec=_Garbling())
    await storage.write("broken", {"a": 1})
    for _ in range(2):
        with expect_error(CorruptValueError, "read of half a JSON text"):
            await storage.read("broken")
    if bench.shared:
        await bench.storage.write("broken", {"a": 2})
        expect_same(await bench.storage.read("broken"), {"a": 2}, "read after writing over corrupt bytes")


@clause("R1-corrupt-raises-everywhere")
async def corrupt_everywhere(bench: Bench) -> None:
    """Corrupt bytes raise from read_versioned, read_many and read_records too, where these are declared."""
    storage = await bench.another(codec=_Garbling())
    await storage.write("broken", {"a": 1})
    if bench.capabilities.versioned:
        with expect_error(CorruptValueError, "read_versioned of half a JSON text"):
            await storage.read_versioned("broken")
    if bench.capabilities.batch:
        with expect_error(CorruptValueError, "read_many of half a JSON text"):
            await storage.read_many(["nobody", "broken"])
    if bench.capabilities.transactional or bench.capabilities.versioned_batch:
        with expect_error(CorruptValueError, "read_records of half a JSON text"):
            await storage.read_records(["nobody", "broken"])
