"""R0: listing is complete, exact, and stays in its namespace."""

import asyncio
from collections.abc import Iterable
from typing import Final

from satchel_conformance.bench import Bench, Everything
from satchel_conformance.checks import expect, expect_same, shown
from satchel_conformance.registry import clause

_BATCH: Final = 100
_VALUE: Final = "there"


async def write_all(storage: Everything, keys: Iterable[str]) -> None:
    """Write every key, some at once."""
    left = iter(keys)

    async def write() -> None:
        for key in left:
            await storage.write(key, _VALUE)

    await asyncio.gather(*(write() for _ in range(16)))


async def fill(bench: Bench, keys: Iterable[str]) -> None:
    """Write very many keys: in batches, where there are any, but in smaller ones than others try."""
    left = list(keys)
    if not bench.capabilities.batch:
        await write_all(bench.storage, left)
        return
    for start in range(0, len(left), _BATCH):
        await bench.storage.write_many(dict.fromkeys(left[start : start + _BATCH], _VALUE))


async def _listed(bench: Bench, prefix: str = "") -> list[str]:
    return sorted([key async for key in bench.storage.keys(prefix)])


@clause("R0-listing-empty", "listing")
async def empty(bench: Bench) -> None:
    """An empty storage has no keys, with and without a prefix."""
    expect_same(await _listed(bench), [], "keys() of an empty storage")
    expect_same(await _listed(bench, "a"), [], 'keys("a") of an empty storage')


@clause("R0-listing-complete", "listing")
async def complete(bench: Bench) -> None:
    """keys() gives every key of very many (1200 in a thorough run), each once, over however many pages."""
    keys = sorted(f"chat:{number}:{'x' * (number % 40)}" for number in range(bench.many))
    await fill(bench, keys)
    listed = await _listed(bench)
    missing, twice = len(set(keys) - set(listed)), len(listed) - len(set(listed))
    expect(listed == keys, f"keys() gives each of {len(keys)} keys once", f"{missing} are missing, {twice} come twice")
    some = [key for key in keys if key.startswith("chat:1")]
    expect(await _listed(bench, "chat:1") == some, f"keys with a prefix gives each of {len(some)} once", "it does not")


@clause("R0-listing-current", "listing")
async def current(bench: Bench) -> None:
    """What was deleted is not listed, and what was written twice, or again, is listed once."""
    for key in ("kept", "gone", "twice", "again"):
        await bench.storage.write(key, 1)
    await bench.storage.delete("gone")
    await bench.storage.write("twice", 2)
    await bench.storage.delete("again")
    await bench.storage.write("again", 2)
    expect_same(await _listed(bench), ["again", "kept", "twice"], "keys() after writes and deletes")


@clause("R0-listing-prefix", "listing")
async def prefix(bench: Bench) -> None:
    """A prefix is compared exactly, from the start: with case, without normalisation, up to the whole key."""
    keys = [
        "a",
        "a:1",
        "a:2",
        "a:10",
        "A:1",
        "b:a:1",
        "é:1",
        "e\u0301:1",
        "ab",
        "a\0b",
        "\U0001f600:1",
        "\U0001f601:1",
        "\uffff",
        "a\U0010ffff",
    ]
    await write_all(bench.storage, keys)
    for asked in (
        "a",
        "a:",
        "a:1",
        "a:10",
        "a:100",
        "A",
        "b",
        "é",
        "e",
        "\U0001f600",
        "\uffff",
        "a\0",
        "a\U0010ffff",
        ":",
        "z",
        "1",
    ):
        expected = sorted(key for key in keys if key.startswith(asked))
        expect_same(await _listed(bench, asked), expected, f"keys({shown(asked)})")


@clause("R0-listing-no-patterns", "listing")
async def no_patterns(bench: Bench) -> None:
    """A prefix is no pattern: the wildcards of glob, LIKE and regular expressions stand for themselves."""
    wild = [
        "a*",
        "a?",
        "a[b]",
        "a]",
        "a%",
        "a_",
        "a\\",
        "a\\*",
        "a.",
        "a^",
        "a$",
        "a(b",
        "a|b",
        "a{b}",
        "a'b",
        'a"b',
        "a%5Fb",
        "*",
        "%",
    ]
    keys = ["ab", "abc", "axb", "a5Fb", *wild, *(key + "tail" for key in wild)]
    await write_all(bench.storage, keys)
    for asked in [*wild, "a[", "a%5", "_", "?", ".", "\\"]:
        expected = sorted(key for key in keys if key.startswith(asked))
        expect_same(await _listed(bench, asked), expected, f"keys({shown(asked)})")


@clause("R0-listing-spelling", "listing")
async def spelling(bench: Bench) -> None:
    """Keys are listed exactly as they were written, whatever they are made of."""
    keys = [
        "A", "a", "é", "e\u0301", "a:b", "a%3Ab", "%", "%%", "\0", "a\0b", "\x7f", "x/../y", "..", "/", "\\", "a*", " ",
        "a ", "\n", "\r\n", "ﬁ", "İ", "\ufeffa", "\U0001f600", "'", '"', "=61", "01",
        *(char * (bench.longest_key // len(char.encode())) for char in "aé\U0001f600"),
    ]  # fmt: skip
    keys.sort()
    await write_all(bench.storage, keys)
    expect_same(await _listed(bench), keys, "keys()")


@clause("R0-listing-can-stop", "listing")
async def can_stop(bench: Bench) -> None:
    """A listing may be left in the middle, and two may go on side by side; the storage works on."""
    keys = {f"key:{number}" for number in range(min(bench.many, bench.profile.times(600)))}
    await fill(bench, keys)
    for _ in range(bench.profile.times(20)):
        async for _key in bench.storage.keys():
            break
    one, two = bench.storage.keys(), bench.storage.keys("key:")
    pairs = [(first, await anext(two)) async for first in one]
    listed = {first for first, _ in pairs}, {second for _, second in pairs}
    expect(
        listed == (keys, keys), "two listings side by side are complete", f"{len(listed[0])} and {len(listed[1])} keys"
    )
    expect_same(await bench.storage.read("key:1"), _VALUE, "read after listings were left")


@clause("R0-listing-during-writes", "listing")
async def during_writes(bench: Bench) -> None:
    """Keys that are there from the start of a listing to its end are listed once, whatever is changed meanwhile."""
    count = min(bench.many, bench.profile.times(600))
    keys = {f"stays:{number}" for number in range(count)}
    goes = [f"goes:{number}" for number in range(count // 4)]  # before the others, where keys are in order
    await fill(bench, [*keys, *goes])
    listing = True

    async def write() -> None:
        number = 0
        while listing:
            number += 1
            if goes:
                await bench.storage.delete(goes.pop())
            await bench.storage.write(f"new:{number}", number)
            await bench.storage.write(f"stays:{number % count}", number)
            await bench.storage.delete(f"new:{number}")
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    try:
        listed: list[str] = []
        async for key in bench.storage.keys():
            listed.append(key)
            if len(listed) % 10 == 0:
                await asyncio.sleep(0.001)
    finally:
        listing = False
        await writing
    stayed = sorted(key for key in listed if key.startswith("stays:"))
    expect(
        stayed == sorted(keys),
        f"each of {count} lasting keys is listed once",
        f"{len(stayed)}, {len(set(stayed))} different",
    )


@clause("R0-listing-versioned", "listing", "versioned")
async def versioned(bench: Bench) -> None:
    """What versioned writes created is listed, and only the keys of records are: nothing kept beside them."""
    version = await bench.storage.write_versioned("one", 1, None)
    await bench.storage.write_versioned("one", 2, version)
    await bench.storage.write_versioned("two", 1, None)
    await bench.storage.write("three", 1)
    await bench.storage.delete("two")
    expect_same(await _listed(bench), ["one", "three"], "keys() after versioned writes and a delete")
