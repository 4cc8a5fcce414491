"""R8: how often a call goes to the server, counted by a proxy on a warm connection."""

from collections.abc import Awaitable, Callable
from typing import Any

from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect
from satchel_conformance.registry import clause


async def _one_trip(bench: Bench, *calls: Callable[[Any], Awaitable[Any]]) -> None:
    """See that the last call is one round trip, after all of them were made once to warm up."""
    proxy, storage = await bench.behind_proxy()
    for call in calls:
        await call(storage)
    for call in calls[:-1]:
        await call(storage)
    with proxy.counting() as count:
        await calls[-1](storage)
    expect(count.connections == 0, "no new connection", f"{count.connections} were opened")
    expect(count.round_trips == 1, "one round trip", f"{count.round_trips}")


@clause("R8-read", "network")
async def read(bench: Bench) -> None:
    """A read is one round trip, whether the record is there or not."""
    await _one_trip(bench, lambda storage: storage.write("key", 1), lambda storage: storage.read("key"))
    await _one_trip(bench, lambda storage: storage.read("absent"))


@clause("R8-write", "network")
async def write(bench: Bench) -> None:
    """A write is one round trip, of a new record and over an old one."""
    await _one_trip(bench, lambda storage: storage.write("key", 1))
    await _one_trip(bench, lambda storage: storage.delete("key"), lambda storage: storage.write("key", 1))


@clause("R8-delete", "network")
async def delete(bench: Bench) -> None:
    """A delete is one round trip."""
    await _one_trip(bench, lambda storage: storage.write("key", 1), lambda storage: storage.delete("key"))


@clause("R8-versioned", "network", "versioned")
async def versioned(bench: Bench) -> None:
    """A versioned read is one round trip, and so are creating, replacing and deleting at a version."""
    versions: dict[str, str] = {}

    async def replace(storage: Any) -> None:
        versions["key"] = await storage.write_versioned("key", {"from": versions["key"]}, versions["key"])

    async def create(storage: Any) -> None:
        versions["key"] = await storage.write_versioned("key", 1, None)

    async def drop(storage: Any) -> None:
        await storage.delete_versioned("key", versions["key"])

    def clear(storage: Any) -> Awaitable[None]:
        deleted: Awaitable[None] = storage.delete("key")
        return deleted

    await _one_trip(bench, clear, create)
    await _one_trip(bench, clear, create, replace)
    await _one_trip(bench, clear, create, lambda storage: storage.read_versioned("key"))
    if bench.capabilities.conditional_delete:
        await _one_trip(bench, clear, create, drop)


@clause("R8-touch", "network", "expiring")
async def touch(bench: Bench) -> None:
    """A touch is one round trip."""
    await _one_trip(bench, lambda storage: storage.write("key", 1), lambda storage: storage.touch("key"))


@clause("R8-batch", "network", "batch")
async def batch(bench: Bench) -> None:
    """A batch of ten is one round trip: reading, writing, deleting."""
    keys = [f"key:{number}" for number in range(10)]
    await _one_trip(bench, lambda storage: storage.write_many(dict.fromkeys(keys, 1)))
    await _one_trip(bench, lambda storage: storage.read_many(keys))
    await _one_trip(bench, lambda storage: storage.delete_many(keys))
