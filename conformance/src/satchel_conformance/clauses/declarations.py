"""R0: a storage is what it declares, no more and no less."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Final

from satchel import (
    Batch,
    Capabilities,
    ConfigurationError,
    ConflictError,
    Expiring,
    Listing,
    StorageAdapter,
    StorageError,
    Transactional,
    Versioned,
    VersionedBatch,
)
from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect, expect_error, expect_same, outcome
from satchel_conformance.registry import clause

_PROTOCOLS: Final = {
    "versioned": Versioned,
    "expiring": Expiring,
    "listing": Listing,
    "batch": Batch,
    "transactional": Transactional,
    "versioned_batch": VersionedBatch,
}


async def _called(call: Awaitable[object]) -> object:
    """Return what a call gives, although by its type it gives nothing."""
    return await call


@clause("R0-protocol")
async def protocol(bench: Bench) -> None:
    """A storage has read, write and delete."""
    expect(isinstance(bench.storage, StorageAdapter), "the storage is a StorageAdapter", "it lacks one of its methods")
    written: object = await _called(bench.storage.write("key", {"a": 1}))
    expect_same(written, None, "write")
    expect_same(await bench.storage.read("key"), {"a": 1}, "read")
    deleted: object = await _called(bench.storage.delete("key"))
    expect_same(deleted, None, "delete")


@clause("R0-capabilities-agree")
async def agree(bench: Bench) -> None:
    """The storage's own capabilities are those that were declared to this suite."""
    own = getattr(bench.storage, "capabilities", bench.capabilities)
    expect(isinstance(own, Capabilities), "storage.capabilities is a Capabilities record", type(own).__name__)
    expect(own == bench.capabilities, f"the storage declares {bench.capabilities}", f"it declares {own}")


@clause("R0-capabilities-sensible")
async def sensible(bench: Bench) -> None:
    """Declarations fit together: a resolution where things expire, versions where deletes are conditional."""
    c = bench.capabilities
    expect(
        c.expiring == (c.ttl_resolution is not None), "ttl_resolution is declared if and only if expiring is", f"{c}"
    )
    expect(
        c.ttl_resolution is None or c.ttl_resolution > timedelta(0), "ttl_resolution is positive", f"{c.ttl_resolution}"
    )
    expect(c.versioned or not c.conditional_delete, "conditional_delete is declared only with versioned", f"{c}")
    expect(c.versioned or not c.transactional, "transactional is declared only with versioned", f"{c}")
    expect(
        c.conditional_delete or not c.versioned_batch,
        "versioned_batch is declared only with versioned and conditional_delete",
        f"{c}",
    )
    expect(c.batch or not c.atomic_batch, "atomic_batch is declared only with batch", f"{c}")
    expect(c.max_value_bytes is None or c.max_value_bytes > 0, "max_value_bytes is positive", f"{c.max_value_bytes}")


@clause("R0-protocols-declared")
async def protocols(bench: Bench) -> None:
    """The optional protocols that a storage has, by isinstance, are those that it declares."""
    for name, kind in _PROTOCOLS.items():
        declared, there = getattr(bench.capabilities, name), isinstance(bench.storage, kind)
        says = f"{name} is {'declared' if declared else 'not declared'}"
        expect(declared == there, f"isinstance(storage, {kind.__name__}) is {declared}: {says}", f"it is {there}")


@clause("R0-conditional-delete-undeclared", "versioned", "no conditional_delete")
async def conditional_delete_undeclared(bench: Bench) -> None:
    """Without conditional_delete, delete_versioned does not work: it is declared, or it raises and removes nothing."""
    version = await bench.storage.write_versioned("key", 1, None)
    if not callable(getattr(bench.storage, "delete_versioned", None)):
        return
    result = await outcome(bench.storage.delete_versioned("key", version), StorageError, NotImplementedError)
    expect(isinstance(result, Exception), "delete_versioned raises, as it is not declared", "it raised nothing")
    expect(
        not isinstance(result, ConflictError), "delete_versioned at the current version is no conflict", "ConflictError"
    )
    expect_same(await bench.storage.read("key"), 1, "read after delete_versioned raised")


@clause("R0-ttl-undeclared", "no expiring")
async def ttl_undeclared(bench: Bench) -> None:
    """Without expiring, a ttl is refused when the storage is made: not ignored, and not enforced undeclared."""
    with expect_error((ConfigurationError, TypeError), "making a storage that does not declare expiring with a ttl"):
        await bench.make(ttl=timedelta(minutes=1))


@clause("R0-read-your-writes", "read_your_writes", "shared")
async def read_your_writes(bench: Bench) -> None:
    """What one storage wrote or deleted, another over the same backend sees at once."""
    other = await bench.another()
    for number in range(bench.profile.times(24)):
        writer, reader = (bench.storage, other) if number % 2 else (other, bench.storage)
        await writer.write("key", number)
        expect_same(await reader.read("key"), number, "read by another storage, right after the write,")
        await writer.delete("key")
        expect_same(await reader.read("key"), None, "read by another storage, right after the delete,")


@clause("R0-private", "private")
async def private(bench: Bench) -> None:
    """Where storages are declared to keep their records to themselves, another does not see them."""
    other = await bench.another()
    await bench.storage.write("key", 1)
    await other.write("other", 1)
    expect_same(await other.read("key"), None, "read by another storage, declared not to share,")
