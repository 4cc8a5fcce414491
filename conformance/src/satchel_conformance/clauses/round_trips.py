"""R8: how often a call goes to the server, counted by a proxy on a warm connection.

That is once, unless the storage has an attribute `round_trips` that says otherwise of a method.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect
from satchel_conformance.registry import clause


async def _trips(bench: Bench, method: str, *calls: Callable[[Any], Awaitable[Any]]) -> None:
    """See that the last call, of `method`, needs no more round trips than declared; all are made once to warm up."""
    proxy, storage = await bench.behind_proxy()
    declared = getattr(storage, "round_trips", {}).get(method, 1)
    for call in calls:
        await call(storage)
    for call in calls[:-1]:
        await call(storage)
    with proxy.counting() as count:
        await calls[-1](storage)
    expect(count.connections == 0, f"{method} opens no new connection", f"{count.connections} were opened")
    expected = "one round trip" if declared == 1 else f"at most {declared} round trips, as declared,"
    expect(count.round_trips <= declared, f"{method} takes {expected}", f"it took {count.round_trips}")


@clause("R8-read", "network")
async def read(bench: Bench) -> None:
    """A read is one round trip, or as many as declared, whether the record is there or not."""
    await _trips(bench, "read", lambda storage: storage.write("key", 1), lambda storage: storage.read("key"))
    await _trips(bench, "read", lambda storage: storage.read("absent"))


@clause("R8-write", "network")
async def write(bench: Bench) -> None:
    """A write is one round trip, or as many as declared, of a new record and over an old one."""
    await _trips(bench, "write", lambda storage: storage.write("key", 1))
    await _trips(bench, "write", lambda storage: storage.delete("key"), lambda storage: storage.write("key", 1))


@clause("R8-delete", "network")
async def delete(bench: Bench) -> None:
    """A delete is one round trip, or as many as declared."""
    await _trips(bench, "delete", lambda storage: storage.write("key", 1), lambda storage: storage.delete("key"))


@clause("R8-versioned", "network", "versioned")
async def versioned(bench: Bench) -> None:
    """A versioned read is one round trip, as are creating, replacing and deleting; or as many as declared."""
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

    await _trips(bench, "write_versioned", clear, create)
    await _trips(bench, "write_versioned", clear, create, replace)
    await _trips(bench, "read_versioned", clear, create, lambda storage: storage.read_versioned("key"))
    if bench.capabilities.conditional_delete:
        await _trips(bench, "delete_versioned", clear, create, drop)


@clause("R8-touch", "network", "expiring")
async def touch(bench: Bench) -> None:
    """A touch is one round trip, or as many as declared."""
    await _trips(bench, "touch", lambda storage: storage.write("key", 1), lambda storage: storage.touch("key"))


@clause("R8-batch", "network", "batch")
async def batch(bench: Bench) -> None:
    """A batch of ten is one round trip, or as many as declared: reading, writing, deleting."""
    keys = [f"key:{number}" for number in range(10)]
    await _trips(bench, "write_many", lambda storage: storage.write_many(dict.fromkeys(keys, 1)))
    await _trips(bench, "read_many", lambda storage: storage.read_many(keys))
    await _trips(bench, "delete_many", lambda storage: storage.delete_many(keys))
