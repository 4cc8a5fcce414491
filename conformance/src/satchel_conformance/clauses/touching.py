"""R6: touch starts a lifetime anew, and does nothing else."""

from datetime import timedelta
from typing import Final

from satchel_conformance.bench import Bench, Everything
from satchel_conformance.checks import expect_same
from satchel_conformance.registry import clause
from satchel_conformance.timing import Life, expect_restart, short_ttl

_ATTEMPTS: Final = 5


@clause("R6-touch-restarts", "expiring")
async def touch_restarts(bench: Bench) -> None:
    """touch starts the lifetime anew."""
    storage = await bench.another(ttl=short_ttl(bench))
    await expect_restart(bench, storage, lambda: storage.touch("key"), "touch")


@clause("R6-touch-tells", "expiring")
async def touch_tells(bench: Bench) -> None:
    """touch gives True for a record that is there and False for one that is not, creating nothing."""
    storage = await bench.another(ttl=timedelta(hours=1))
    await storage.write("key", {"a": 1})
    expect_same(await storage.touch("key"), True, "touch of a record")
    expect_same(await storage.read("key"), {"a": 1}, "read after touch")
    expect_same(await storage.touch("nobody"), False, "touch of an absent key")
    expect_same(await storage.read("nobody"), None, "read after touch of an absent key")


@clause("R6-touch-keeps", "expiring")
async def touch_keeps(bench: Bench) -> None:
    """touch changes neither the value nor its order of keys, and lets the version be used."""
    storage = await bench.another(ttl=timedelta(hours=1))
    await storage.write("key", {"z": 1, "a": [None]})
    await storage.touch("key")
    expect_same(await storage.read("key"), {"z": 1, "a": [None]}, "read after touch")
    if bench.capabilities.versioned:
        record = await storage.read_versioned("key")
        await storage.write_versioned("key", 2, record and record.version)
        expect_same(await storage.read("key"), 2, "read after a write at the version read after touch")


@clause("R6-touch-expired", "expiring")
async def touch_expired(bench: Bench) -> None:
    """touch does not wake what has ended."""
    storage = await bench.another(ttl=short_ttl(bench))
    await storage.write("key", 1)
    await Life(bench).over()
    expect_same(await storage.touch("key"), False, "touch of an expired record")
    expect_same(await storage.read("key"), None, "read after touch of an expired record")


@clause("R6-touch-without-ttl", "expiring")
async def touch_without_ttl(bench: Bench) -> None:
    """Without a ttl, touch tells whether the record is there, and the record stays."""
    await bench.storage.write("key", 1)
    expect_same(await bench.storage.touch("key"), True, "touch of a record without a lifetime")
    expect_same(await bench.storage.read("key"), 1, "read after touch")
    expect_same(await bench.storage.touch("nobody"), False, "touch of an absent key")


@clause("R6-last-touch-decides", "expiring", "shared")
async def last_touch_decides(bench: Bench) -> None:
    """A touch gives a record the lifetime of the storage that touches it: a shorter or longer one, or for ever."""
    short, long = await bench.another(ttl=short_ttl(bench)), await bench.another(ttl=timedelta(hours=1))

    async def touched(key: str, first: Everything, then: Everything) -> bool:
        for _ in range(_ATTEMPTS):  # on a busy machine the record may have ended before it is touched
            life = Life(bench)
            await first.write(key, 1)
            await then.touch(key)
            if life.lasts:
                return True
        return False

    storages = {"for ever": (short, bench.storage, 1), "longer": (short, long, 1), "shorter": (long, short, None)}
    in_time = [key for key, (first, then, _) in storages.items() if await touched(key, first, then)]
    bench.need(bool(in_time), "each touch came after the shortest lifetime was over")
    await Life(bench).over()
    for key in in_time:
        found = await bench.storage.read(key)
        expect_same(found, storages[key][2], f"read of a record that touch was to let live {key}")
