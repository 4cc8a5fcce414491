"""A copy ends with what the source holds, loses nothing that others write meanwhile, and can be done again."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from failing import Failing
from recording import Plain, Recording
from satchel import (
    ANY,
    JSON,
    Capabilities,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    EncodedStorage,
    Expected,
    MemoryStorage,
    Payload,
    Sessions,
    StorageUnavailableError,
)
from satchel.encryption import generate_key
from satchel.upkeep import VERBATIM, Outcome, Result, Summary, Verbatim, copy
from satchel.wrappers import Mirrored
from satchel_sqlite import SQLiteStorage


async def content(storage: Any) -> dict[str, Any]:
    async with aclosing(storage.keys()) as keys:
        return {key: await storage.read(key) async for key in keys}


def many(number: int) -> dict[str, Any]:
    return {f"chat:{n}": {"n": n} for n in range(number)}


async def test_every_record_is_copied_and_the_second_time_none_is_written(tmp_path: Path) -> None:
    old, new = SQLiteStorage[Any](tmp_path / "old.db"), Recording()
    async with old:
        await old.write_many(many(1234))
        assert await copy(old, new) == Summary(done=1234)
        assert await content(new) == many(1234)
        new.visits.clear()
        assert await copy(old, new) == Summary(same=1234)
        assert "put" not in "".join(new.visits)


async def test_what_is_there_already_stays_and_is_told_to_differ() -> None:
    old, new = MemoryStorage[Any](), MemoryStorage[Any]()
    await old.write_many(many(40))
    await new.write_many({"chat:7": "written by the bot", "chat:8": {"n": 8}, "mine": 1})
    told: list[Outcome] = []
    summary = await copy(old, new, progress=told.append)
    assert summary == Summary(done=38, same=1, differing=1)
    assert not summary.is_complete
    assert [outcome.key for outcome in told if outcome.result is Result.DIFFERING] == ["chat:7"]
    assert await content(new) == {**many(40), "chat:7": "written by the bot", "mine": 1}


async def test_a_copy_may_overwrite_what_differs_and_prune_what_only_the_target_has() -> None:
    old, new = MemoryStorage[Any](), MemoryStorage[Any]()
    await old.write_many(many(40))
    await new.write_many({"chat:7": "older", "chat:99": "gone from the source", "other:1": "not in question"})
    assert await copy(old, new, prefix="chat:", overwrite=True) == Summary(done=40)
    assert await copy(old, new, prefix="chat:", prune=True) == Summary(same=40, pruned=1)
    assert await content(new) == {**many(40), "other:1": "not in question"}


async def test_keys_get_another_prefix_in_the_target() -> None:
    old, new = MemoryStorage[Any](), MemoryStorage[Any](namespace="shop")
    await old.write_many({"chat:1": 1, "chat:2": 2, "user:1": 3})
    assert await copy(old, new, prefix="chat:", to_prefix="telegram:chat:") == Summary(done=2)
    assert await content(new) == {"telegram:chat:1": 1, "telegram:chat:2": 2}
    await new.write("telegram:chat:3", 3)
    assert await copy(old, new, prefix="chat:", to_prefix="telegram:chat:", prune=True) == Summary(same=2, pruned=1)


async def test_a_key_that_becomes_none_fails_alone() -> None:
    old, new = MemoryStorage[Any](), MemoryStorage[Any]()
    await old.write_many({"x" * 512: 1, "x:": 2, "x:y": 3})
    assert await copy(old, new, prefix="x", to_prefix="longer:") == Summary(done=2, failed=1)
    assert await copy(old, new, prefix="x:", to_prefix="") == Summary(done=1, failed=1)


async def test_a_copy_into_itself_that_would_never_end_is_refused(tmp_path: Path) -> None:
    async with SQLiteStorage[Any](tmp_path / "a.db") as one, SQLiteStorage[Any](tmp_path / "a.db") as same:
        await one.write("chat:1", 1)
        with pytest.raises(ConfigurationError, match="for ever"):
            await copy(one, same, prefix="chat:", to_prefix="chat:old:")
        assert await copy(one, same, prefix="chat:", to_prefix="old:chat:") == Summary(done=1)


class Listed(Plain):
    """Four methods, none of which knows of versions or batches."""

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        async for key in self.memory.keys(prefix):
            yield key


async def test_the_source_needs_a_listing_and_nothing_else_and_the_target_versions() -> None:
    old, new = Listed(), MemoryStorage[Any]()
    await old.memory.write_many(many(50))
    assert await copy(old, new) == Summary(done=50)
    with pytest.raises(ConfigurationError, match="cannot list its keys"):
        await copy(Plain(), new)
    with pytest.raises(ConfigurationError, match="no versions"):
        await copy(new, Plain())
    plain = Listed()
    await plain.write("chat:1", "older")
    await plain.write("mine", "older")
    assert await copy(new, plain, overwrite=True, prune=True) == Summary(done=50, pruned=1)
    assert await content(plain) == many(50)


class Careful(MemoryStorage[Any]):
    """Takes small values only, and has a record that nobody can read."""

    capabilities = Capabilities(
        versioned=True, conditional_delete=True, listing=True, batch=True, transactional=True, max_value_bytes=20
    )


async def test_what_cannot_be_read_or_written_is_named_and_keeps_nobody_from_the_others() -> None:
    old, new = MemoryStorage[Any](), Careful()
    await old.write_many({**many(30), "large": "x" * 30})
    await old.put("satchel:broken", b"{")
    told: list[Outcome] = []
    assert await copy(old, new, progress=told.append) == Summary(done=30, failed=2)
    why = {outcome.key: outcome.why for outcome in told if outcome.result is Result.FAILED}
    assert why.keys() == {"large", "broken"}
    assert "'broken' in memory:// is not JSON" in why["broken"]
    assert "has 32 bytes" in why["large"]
    assert "xxx" not in why["large"]


async def test_what_is_damaged_in_the_target_is_left_to_its_owner() -> None:
    old, new = MemoryStorage[Any](), MemoryStorage[Any]()
    await old.write_many(many(3))
    await new.put("satchel:chat:1", b"{")
    assert await copy(old, new, overwrite=True) == Summary(done=2, failed=1)
    assert await new.get("satchel:chat:1") == b"{"


class Complaining(MemoryStorage[Any]):
    """Says at the end of its listing that there was something that it cannot list."""

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        async for key in super().keys(prefix):
            yield key
        raise CorruptValueError("a file tells no name")


async def test_what_a_listing_says_at_its_end_is_raised_when_the_others_are_copied() -> None:
    old, new = Complaining(), MemoryStorage[Any]()
    await old.write_many(many(33))
    with pytest.raises(CorruptValueError, match="tells no name"):
        await copy(old, new)
    assert await content(new) == many(33)


async def test_when_a_storage_goes_away_the_copy_ends_and_is_finished_by_doing_it_again() -> None:
    old, new = MemoryStorage[Any](), Failing()
    await old.write_many(many(500))
    told: list[Outcome] = []

    def leave(outcome: Outcome) -> None:
        told.append(outcome)
        new.away = len(told) >= 100

    with pytest.raises(StorageUnavailableError):
        await copy(old, new, progress=leave)
    new.away = False
    there = len(await content(new))
    assert 100 <= there < 500
    assert await copy(old, new) == Summary(done=500 - there, same=there)


async def test_a_cancelled_copy_finishes_the_records_that_it_has_begun() -> None:
    old, new = MemoryStorage[Any](), Slow()
    await old.write_many(many(500))
    told: list[Outcome] = []
    before = asyncio.all_tasks()
    copying = asyncio.ensure_future(copy(old, new, progress=told.append))
    while len(told) < 50:
        await asyncio.sleep(0)
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert asyncio.all_tasks() == before  # nothing goes on behind its back
    assert 50 <= len(told) < 500
    assert await content(new) == {outcome.key: await old.read(outcome.key) for outcome in told}
    assert (await copy(old, new)).same == len(told)


class Slow(MemoryStorage[Any]):
    """Calls that let others in, before and after they are done, each a different number of times."""

    local = False

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    async def pause(self) -> None:
        self.calls += 1
        for _ in range(self.calls * 5 % 7):
            await asyncio.sleep(0)

    async def get(self, name: str) -> Payload | None:
        await self.pause()
        return await super().get(name)

    async def get_many(self, names: Any) -> dict[str, Payload]:
        await self.pause()
        found = await super().get_many(names)
        await self.pause()
        return found

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        await self.pause()
        return await super().put(name, payload, expected)

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        await self.pause()
        done = await super().put_records(changes)
        await self.pause()
        return done


@pytest.mark.parametrize("overwrite", [False, True])
async def test_a_bot_that_writes_to_both_all_the_while_loses_no_update_and_nothing_comes_back(overwrite: bool) -> None:
    old, new = Slow(), Slow()
    await old.write_many(many(300))
    mirror = Mirrored(old, new)
    sessions = Sessions(mirror, initial=lambda: {"n": 0})
    copying = asyncio.ensure_future(copy(old, new, overwrite=overwrite))
    counts: dict[str, int] = {}
    number = 0
    while not copying.done():
        number += 1
        key = f"chat:{(number * 7) % 320}"
        if number % 5 == 0:
            await sessions.delete(key)
            counts.pop(key, None)
        else:
            async with sessions.open(key) as session:
                session.data["bot"] = session.data.get("bot", 0) + 1
                counts[key] = counts.get(key, 0) + 1
    assert number > 20
    await copying
    assert await content(new) == await content(old)
    found = await content(new)
    assert {key: found[key]["bot"] for key in counts} == counts


async def test_a_bot_that_has_moved_already_keeps_what_it_writes() -> None:
    old, new = Slow(), Slow()
    await old.write_many(many(300))
    copying = asyncio.ensure_future(copy(old, new))
    written: dict[str, Any] = {}
    while not copying.done():
        key = f"chat:{299 - len(written)}"
        try:
            await new.write_versioned(key, {"of": "the bot"}, None)
            written[key] = {"of": "the bot"}
        except ConflictError:
            break
    summary = await copying
    assert written
    assert await content(new) == {**many(300), **written}
    assert summary == Summary(done=300 - len(written), differing=len(written))


class Interfering(Slow):
    """Lets somebody do something between the creation of four or more records and the look at them."""

    meanwhile: Callable[[list[str]], Awaitable[None]] | None = None

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        done = await super().put_records(changes)
        if self.meanwhile is not None and len(changes) >= 4:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile([name.removeprefix("satchel:") for name in changes])
        return done


async def test_a_record_that_is_deleted_or_changed_while_it_is_copied_ends_as_it_is_in_the_source() -> None:
    old, new = MemoryStorage[Any](), Interfering()
    await old.write_many(many(40))
    expected = many(40)

    async def meanwhile(keys: list[str]) -> None:
        await old.delete(keys[0])
        await old.write(keys[1], "changed")
        await new.write(keys[2], "of a bot that has moved")
        await old.delete(keys[3])
        await new.write(keys[3], "of a bot that has moved")
        del expected[keys[0]]
        expected.update({keys[1]: "changed", keys[2]: "of a bot that has moved", keys[3]: "of a bot that has moved"})

    new.meanwhile = meanwhile
    assert await copy(old, new) == Summary(done=37, differing=1, gone=2)
    assert await content(new) == expected


async def test_two_copies_at_once_do_it_together(tmp_path: Path) -> None:
    paths = [tmp_path / "old.db", tmp_path / "new.db"]
    async with SQLiteStorage[Any](paths[0]) as old, SQLiteStorage[Any](paths[1]) as new:
        await old.write_many(many(1000))
        async with SQLiteStorage[Any](paths[0]) as old2, SQLiteStorage[Any](paths[1]) as new2:
            one, two = await asyncio.gather(copy(old, new), copy(old2, new2))
        assert one.is_complete
        assert two.is_complete
        assert one.done + one.same == two.done + two.same == 1000
        assert one.done + two.done >= 1000
        assert await content(new) == many(1000)


async def test_what_sessions_keep_beside_their_data_passes_unchanged() -> None:
    old, new = MemoryStorage[Any](), MemoryStorage[Any]()
    async with Sessions(old, initial=dict, version=3).open("chat:1") as session:
        session.data["pizza"] = 1
    raw: Any = await old.read("chat:1")
    assert raw["$satchel"]["version"] == 3
    await copy(old, new)
    assert await new.read("chat:1") == raw


async def test_values_pass_through_the_codecs_of_both_once() -> None:
    keys = generate_key()
    old = MemoryStorage[Any](codec=JSON.compressed(threshold=1))
    new = MemoryStorage[Any](codec=JSON.compressed().encrypted(keys))
    await old.write_many({"chat:1": "pizza" * 500, "chat:2": {"n": 1}})
    assert await copy(old, new) == Summary(done=2)
    assert await content(new) == {"chat:1": "pizza" * 500, "chat:2": {"n": 1}}
    stored = await new.get("satchel:chat:1")
    assert stored is not None
    assert stored.startswith(b"\xffsiv1")
    assert len(stored) < 200
    assert await copy(old, new) == Summary(same=2)


async def test_payloads_pass_without_their_keys_unless_their_name_changes() -> None:
    codec = JSON.compressed(threshold=1).encrypted(generate_key())
    writer, reader = MemoryStorage[Any](codec=codec), MemoryStorage[Any](codec=codec)
    await writer.write_many(many(20))
    old, new = MemoryStorage[Verbatim](codec=VERBATIM), MemoryStorage[Verbatim](codec=VERBATIM)
    for number in range(20):
        await old.put(f"satchel:chat:{number}", await writer.get(f"satchel:chat:{number}") or b"")
    assert await copy(old, new) == Summary(done=20)
    for number in range(20):
        await reader.put(f"satchel:chat:{number}", await new.get(f"satchel:chat:{number}") or b"")
    assert await content(reader) == many(20)
    told: list[Outcome] = []
    elsewhere = MemoryStorage[Verbatim](codec=VERBATIM, namespace="other")
    assert await copy(old, elsewhere, progress=told.append) == Summary(failed=20)
    assert "encrypted for another namespace or key" in told[0].why


async def test_a_record_whose_key_of_encryption_is_missing_fails_alone() -> None:
    lost, kept = generate_key(), generate_key()
    old, new = MemoryStorage[Any](codec=JSON.encrypted([lost, kept])), MemoryStorage[Any]()
    await old.write("chat:1", 1)
    old.codec = JSON.encrypted(kept)
    await old.write("chat:2", 2)
    assert await copy(old, new) == Summary(done=1, failed=1)
    assert await content(new) == {"chat:2": 2}


class Endless(EncodedStorage[Any]):
    """Makes its records when they are asked for, so that it takes no memory itself."""

    capabilities = Capabilities(listing=True, batch=True)

    def __init__(self, number: int, size: int) -> None:
        super().__init__(where="endless://")
        self.number, self.size = number, size

    async def get(self, name: str) -> Payload | None:
        return _made(name, self.size)

    async def get_many(self, names: Any) -> dict[str, Payload]:
        return {name: _made(name, self.size) for name in names}

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        for number in range(self.number):
            yield f"chat:{number}"


class Forgetful(MemoryStorage[Any]):
    """Keeps of each record only that it is there, and makes the payload anew as `Endless` does."""

    def __init__(self, number: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.there = bytearray(number)

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        for name in changes:
            self.there[_number(name)] += 1
        return dict.fromkeys(changes, "1")

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        self.there[_number(name)] += 1
        return "1"

    async def get_many(self, names: Any) -> dict[str, Payload]:
        return {name: _made(name, self.size) for name in names if self.there[_number(name)]}

    async def get(self, name: str) -> Payload | None:
        return (await self.get_many([name])).get(name)


def _number(name: str) -> int:
    return int(name.rpartition(":")[2])


def _made(name: str, size: int) -> Payload:
    return b'"%s"' % (name.encode() + b"x" * size)


@pytest.mark.parametrize(("number", "size", "most"), [(5_000, 500, 1), (80, 400_000, 16)])
async def test_the_memory_of_a_copy_does_not_grow_with_the_number_or_size_of_records(
    number: int, size: int, most: int
) -> None:
    old, new = Endless(number, size), Forgetful(number, size)
    tracemalloc.start()
    try:
        summary = await copy(old, new)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert summary == Summary(done=number)
    assert new.there == b"\1" * number
    assert peak < most * 1024 * 1024, f"{peak / 1024 / 1024:.1f} MB"
