"""R7: a version stands for one value, and a write over another version than the expected one does nothing."""

from satchel import ConflictError, Record
from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect, expect_error, expect_same, shown
from satchel_conformance.registry import clause
from satchel_conformance.timing import Life, short_ttl


async def _version(bench: Bench, key: str = "key") -> str:
    record = await bench.storage.read_versioned(key)
    expect(record is not None, "read_versioned gives a record", "None")
    assert record is not None
    return record.version


async def _conflicts(bench: Bench, expected: str | None, value: object, what: str) -> None:
    """See that a versioned write at `expected` conflicts and leaves `value`."""
    with expect_error(ConflictError, f"write_versioned {what}"):
        await bench.storage.write_versioned("key", "lost", expected)
    expect_same(await bench.storage.read("key"), value, f"read after a conflict: write_versioned {what}")


@clause("R7-record", "versioned")
async def record(bench: Bench) -> None:
    """read_versioned gives a Record of the value and its version, whoever wrote it."""
    await bench.storage.write_versioned("key", {"a": 1}, None)
    record = await bench.storage.read_versioned("key")
    expect(type(record) is Record, "read_versioned gives a Record", type(record).__name__)
    expect_same(record and record.value, {"a": 1}, "the value of read_versioned after write_versioned")
    expect_same(await bench.storage.read("key"), {"a": 1}, "read after write_versioned")
    await bench.storage.write("key", {"a": 2})
    record = await bench.storage.read_versioned("key")
    expect_same(record and record.value, {"a": 2}, "the value of read_versioned after write")


@clause("R7-opaque", "versioned")
async def opaque(bench: Bench) -> None:
    """A version is a string, not empty, and the same as long as nothing is written."""
    written = await bench.storage.write_versioned("key", 1, None)
    read = [await _version(bench), await _version(bench)]
    expect(all(type(v) is str and v for v in [written, *read]), "versions are strings", shown([written, *read]))
    expect({written, *read} == {written}, "reading does not change the version", shown([written, *read]))


@clause("R7-create-only", "versioned")
async def create_only(bench: Bench) -> None:
    """expected=None creates what does not exist, and conflicts with what does, however it was written."""
    await bench.storage.write_versioned("key", "first", None)
    await _conflicts(bench, None, "first", "with expected=None over a versioned write")
    await bench.storage.write("key", "second")
    await _conflicts(bench, None, "second", "with expected=None over a write")


@clause("R7-replaces-at-version", "versioned")
async def replaces(bench: Bench) -> None:
    """A write at the current version succeeds, and the version that it gives is good for the next."""
    version = await bench.storage.write_versioned("key", 0, None)
    for number in range(1, 6):
        version = await bench.storage.write_versioned("key", number, version)
        expect_same(await bench.storage.read("key"), number, "read after a write at the current version")
    await bench.storage.write("key", "other")
    await bench.storage.write_versioned("key", "last", await _version(bench))
    expect_same(await bench.storage.read("key"), "last", "read after a write at the version that was read")


@clause("R7-mismatch-conflicts", "versioned")
async def mismatch(bench: Bench) -> None:
    """A version that the record never had conflicts, whatever it looks like."""
    version = await bench.storage.write_versioned("key", "kept", None)
    for wrong in (
        "0",
        "1",
        "nonsense",
        "",
        version + "0",
        version[:-1],
        version + " ",
        version.swapcase(),
        "*",
        "é\0",
        "x" * 300,
    ):
        if wrong != version:
            await _conflicts(bench, wrong, "kept", f"at the version {shown(wrong)}, which it never had,")


@clause("R7-absent-conflicts", "versioned")
async def absent(bench: Bench) -> None:
    """A write at a version conflicts where there is no record, and creates none."""
    version = await bench.storage.write_versioned("key", 1, None)
    with expect_error(ConflictError, "write_versioned at a version of an absent key"):
        await bench.storage.write_versioned("absent", "lost", version)
    expect_same(await bench.storage.read("absent"), None, "read after a conflict on an absent key")
    await bench.storage.delete("key")
    await _conflicts(bench, version, None, "at the version from before the delete")


@clause("R7-create-after-delete", "versioned")
async def create_after_delete(bench: Bench) -> None:
    """A deleted key can be created again."""
    await bench.storage.write_versioned("key", 1, None)
    await bench.storage.delete("key")
    await bench.storage.write_versioned("key", 2, None)
    expect_same(await bench.storage.read("key"), 2, "read after creating it again")


@clause("R7-stale-after-versioned-write", "versioned")
async def stale_versioned(bench: Bench) -> None:
    """A versioned write makes all versions from before stale."""
    first = await bench.storage.write_versioned("key", 1, None)
    second = await bench.storage.write_versioned("key", 2, first)
    await _conflicts(bench, first, 2, "at the version before")
    await bench.storage.write_versioned("key", 3, second)
    await _conflicts(bench, first, 3, "at the version before the last")


@clause("R7-stale-after-write", "versioned")
async def stale_unconditional(bench: Bench) -> None:
    """An unconditional write makes the version before it stale."""
    version = await bench.storage.write_versioned("key", 1, None)
    await bench.storage.write("key", 2)
    await _conflicts(bench, version, 2, "at the version before an unconditional write")


@clause("R7-stale-after-batch", "versioned", "batch")
async def stale_batch(bench: Bench) -> None:
    """write_many makes the version before it stale."""
    version = await bench.storage.write_versioned("key", 1, None)
    await bench.storage.write_many({"key": 2, "other": 2})
    await _conflicts(bench, version, 2, "at the version before write_many")


@clause("R7-stale-after-expiry", "versioned", "expiring")
async def stale_expired(bench: Bench) -> None:
    """A record that has ended, and was written again with another value, is not at its old version."""
    storage = await bench.another(ttl=short_ttl(bench))
    version = await storage.write_versioned("key", "old", None)
    await Life(bench).over()
    await storage.write("key", "new")
    with expect_error(ConflictError, "write_versioned at the version from before the record ended"):
        await storage.write_versioned("key", "lost", version)


@clause("R7-stale-after-recreation", "versioned")
async def stale_recreated(bench: Bench) -> None:
    """A record that was deleted and written again with another value is not at its old version."""
    version = await bench.storage.write_versioned("key", "old", None)
    await bench.storage.delete("key")
    await bench.storage.write("key", "new")
    await _conflicts(bench, version, "new", "at the version from before delete and write")
    await bench.storage.delete("key")
    await bench.storage.write_versioned("key", "newer", None)
    await _conflicts(bench, version, "newer", "at the version from before delete and creation")


@clause("R7-one-value-per-version", "versioned")
async def one_value(bench: Bench) -> None:
    """No version stands for two values in the life of a key, whatever is written, deleted and written again."""
    seen: dict[str, object] = {}
    values = ["a", "b", "a", {"a": 1, "b": 2}, {"b": 2, "a": 1}, 1, 1.0, True, "1", [1], 0.0, -0.0, "aa", "b", {}]
    long = "x" * min(100_000, (bench.capabilities.max_value_bytes or 100_000) // 2)
    values += [long, long + "a", "a" + long, long + "b"]  # a digest of their start, or of their end, would be the same
    for round_, value in enumerate(values * 2):
        if round_ % 5 == 4:
            await bench.storage.delete("key")
        if round_ % 2:
            await bench.storage.write("key", value)
            version = await _version(bench)
        else:
            record = await bench.storage.read_versioned("key")
            version = await bench.storage.write_versioned("key", value, record.version if record else None)
        known = seen.setdefault(version, value)
        expect(
            repr(known) == repr(value),
            "each version stands for one value",
            f"one stands for {shown(known)} and {shown(value)}",
        )


@clause("R7-deletes-at-version", "conditional_delete")
async def deletes(bench: Bench) -> None:
    """delete_versioned removes a record at the current version, and gives None."""
    version = await bench.storage.write_versioned("key", 1, None)
    await bench.storage.delete_versioned("key", version)
    expect_same(await bench.storage.read("key"), None, "read after delete_versioned")


@clause("R7-delete-conflicts", "conditional_delete")
async def delete_conflicts(bench: Bench) -> None:
    """delete_versioned conflicts at a stale version, which leaves the record, and where there is none."""
    storage = bench.storage
    with expect_error(ConflictError, "delete_versioned of an absent key"):
        await storage.delete_versioned("key", "1")
    first = await storage.write_versioned("key", "first", None)
    second = await storage.write_versioned("key", "second", first)
    await storage.write("key", "last")
    for stale in (first, second, "nonsense", "*", ""):
        with expect_error(ConflictError, f"delete_versioned at the version {shown(stale)}, which is not the record's,"):
            await storage.delete_versioned("key", stale)
        expect_same(await storage.read("key"), "last", "read after delete_versioned conflicted")
