"""R4: any string of up to 512 bytes is a key, and no two are the same record."""

from collections.abc import Awaitable, Callable
from unicodedata import normalize

from satchel import Change, InvalidKeyError
from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect, expect_error, expect_same, shown
from satchel_conformance.registry import clause


async def _distinct(bench: Bench, *keys: str) -> None:
    """See that each key has a record of its own: to write, to read and to delete. Listing has clauses of its own.

    Once all are written, reading one half and then the other, without the first, tells any two that share a record.
    """
    storage = bench.storage
    every = tuple(enumerate(keys))
    first, second = every[::2], every[1::2]  # what looks alike stands side by side
    for written, gone, left in ((every, (), first), ((), first, second), (first, second, first)):
        for index, key in written:
            await storage.write(key, index)
        for _, key in gone:
            await storage.delete(key)
        done = f"writing all of {shown(keys)}" + f" and deleting {shown([key for _, key in gone])}" * bool(gone)
        for index, key in left:
            expect_same(await storage.read(key), index, f"read of {shown(key)}, after {done},")


@clause("R4-injective-case")
async def case(bench: Bench) -> None:
    """Keys that differ only in case are different records, in any script."""
    await _distinct(bench, "chat", "Chat", "CHAT", "straße", "STRASSE", "İ", "i", "ſ", "s", "K", "\u212a")


@clause("R4-injective-normalization")
async def normalization(bench: Bench) -> None:
    """Keys that differ only in Unicode normalisation are different records."""
    await _distinct(
        bench,
        normalize("NFC", "café"),
        normalize("NFD", "café"),
        "ﬁ",
        "fi",
        "Å",
        "\u212b",
        "a\u0323\u0307",
        "a\u0307\u0323",
    )


@clause("R4-injective-separators")
async def separators(bench: Bench) -> None:
    """Separators are characters like others: doubled, leading or trailing they make another key."""
    await _distinct(
        bench,
        "a:b",
        "a::b",
        ":a:b",
        "a:b:",
        "a",
        "a:",
        ":",
        "::",
        "a|b",
        "a_b",
        "a-b",
        "a.b",
        "a#b",
        "a b",
        "a,b",
        "ab",
    )


@clause("R4-injective-slashes")
async def slashes(bench: Bench) -> None:
    """Slashes and dots are no path: nothing is resolved, and a key may be the start of another."""
    await _distinct(
        bench,
        "a",
        "a/b",
        "a//b",
        "/a/b",
        "a/b/",
        "/",
        "a\\b",
        "..",
        ".",
        "a/../b",
        "a/./b",
        "b",
        "../../etc/passwd",
        "C:\\x",
    )


@clause("R4-injective-trailing")
async def trailing(bench: Bench) -> None:
    """Trailing and leading spaces, dots and line ends count."""
    await _distinct(
        bench, "a", "a ", " a", "a.", ".a", "a..", "a\n", "a\r\n", "a\t", "a\u00a0", "a\u200b", "\ufeffa", " ", "  "
    )


@clause("R4-injective-nul")
async def nul(bench: Bench) -> None:
    """NUL and other control characters are characters of a key; nothing ends at them."""
    await _distinct(bench, "a\0b", "a\0c", "a", "a\0", "\0", "\0\0", "\x01", "\x7f", "a\x1bb", "a\rb", "a\nb", "ab")


@clause("R4-injective-escapes")
async def escapes(bench: Bench) -> None:
    """Keys that look like an escaped form of another are different records."""
    await _distinct(
        bench,
        "a:b",
        "a%3Ab",
        "a%3ab",
        "a%253Ab",
        "a%",
        "a%25",
        "a%00b",
        "a\\x00b",
        "a\\0b",
        "a+b",
        "a b",
        "a%20b",
        "a&amp;b",
        "a&b",
        "=61",
        "a=3Ab",
    )


@clause("R4-injective-numbers")
async def numbers(bench: Bench) -> None:
    """Keys that are equal as numbers are different records."""
    await _distinct(bench, "1", "01", "1.0", "+1", "1e0", "-0", "0", "0x1", "١", "true", "null", "None")


@clause("R4-injective-wildcards")
async def wildcards(bench: Bench) -> None:
    """Wildcards, quotes, braces and statements are characters: a key is never spliced into a pattern or a query."""
    await _distinct(
        bench, "a*", "a?", "a[bc]", "ab", "a%", "a_", "a'", 'a"', "a`", "a;b", "{a}b", "{a}c", "{}", "$a", "$where",
        "a' OR '1'='1", "a'); DROP TABLE satchel_sessions; --", "__name__", "con", "nul", "eq.1", "a,b)", "a\\*",
    )  # fmt: skip


@clause("R4-longest")
async def longest(bench: Bench) -> None:
    """A key may have 512 bytes, of one to four each, and its last character counts."""
    size = bench.longest_key
    two, three, four = "é" * (size // 2 - 1), "€" * (size // 3 - 1), "\U0001f600" * (size // 4 - 1)
    await _distinct(
        bench,
        "k" * size,
        "k" * (size - 1) + "l",
        "k" * (size - 1),
        two,
        two + "é",
        three,
        three + "€",
        four,
        four + "\U0001f600",
    )


@clause("R4-longest-unprintable")
async def longest_unprintable(bench: Bench) -> None:
    """A key of 512 bytes may be made of characters that have to be escaped, every one."""
    size = bench.longest_key
    await _distinct(
        bench, "\0" * size, "\0" * (size - 1) + "\1", "%" * size, "/" * size, "." * size, ":" * size, "\\" * size
    )


def _ways(bench: Bench, key: object) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return every call that takes a key."""
    storage, capabilities = bench.storage, bench.capabilities
    good: str = key  # type: ignore[assignment]
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "read": lambda: storage.read(good),
        "write": lambda: storage.write(good, 1),
        "delete": lambda: storage.delete(good),
    }
    if capabilities.versioned:
        ways |= {
            "read_versioned": lambda: storage.read_versioned(good),
            "write_versioned": lambda: storage.write_versioned(good, 1, None),
        }
    if capabilities.conditional_delete:
        ways["delete_versioned"] = lambda: storage.delete_versioned(good, "1")
    if capabilities.expiring:
        ways["touch"] = lambda: storage.touch(good)
    if capabilities.batch:
        ways |= {
            "read_many": lambda: storage.read_many(["kept", good]),
            "write_many": lambda: storage.write_many({"kept": "new", good: 1}),
            "delete_many": lambda: storage.delete_many(["kept", good]),
        }
    if capabilities.transactional or capabilities.versioned_batch:
        ways["read_records"] = lambda: storage.read_records(["kept", good])
    if capabilities.transactional:
        ways["commit"] = lambda: storage.commit({"new": Change(1, None), good: Change(1, None)})
    if capabilities.versioned_batch:
        ways["write_records"] = lambda: storage.write_records({"new": Change(1, None), good: Change(1, None)})
    return ways


async def _refuses(bench: Bench, key: object, what: str) -> None:
    """See that every call refuses a key, and that nothing has happened."""
    await bench.storage.write("kept", "old")
    for name, call in _ways(bench, key).items():
        with expect_error(InvalidKeyError, f"{name} with {what}"):
            await call()
    expect_same(await bench.storage.read("kept"), "old", f"read of the other key in a batch with {what}")


@clause("R4-refuses-empty")
async def empty(bench: Bench) -> None:
    """The empty string is no key."""
    await _refuses(bench, "", "an empty key")


@clause("R4-refuses-too-long")
async def too_long(bench: Bench) -> None:
    """A key of one byte more than the limit is refused, counted in UTF-8 bytes and not cut."""
    size = bench.longest_key
    await _refuses(bench, "k" * (size + 1), f"a key of {size + 1} bytes")
    await _refuses(bench, "é" * (size // 2) + "kk", f"a key of {size // 2 + 2} characters and over {size} bytes")


@clause("R4-refuses-lone-surrogates")
async def surrogates(bench: Bench) -> None:
    """A key with a lone surrogate is no text, and refused."""
    await _refuses(bench, "a\ud800", "a lone surrogate")


@clause("R4-refuses-other-types")
async def other_types(bench: Bench) -> None:
    """Only strings are keys: numbers, None, bytes and tuples are refused, not turned into strings."""
    for key in (1, None, b"key", ("a", "b"), 1.5, True):
        await _refuses(bench, key, f"the key {key!r}")


@clause("R4-batch-key-spelling", "batch")
async def batch_spelling(bench: Bench) -> None:
    """read_many gives back the keys as they were asked for, whatever they are made of."""
    keys = ["A", "a", "é", "e\u0301", "a%3Ab", "a:b", "\0", "x/../y", " ", "1"]
    values = {key: index for index, key in enumerate(keys, 1)}
    await bench.storage.write_many(values)
    found = await bench.storage.read_many(keys)
    expect(found == values, f"read_many gives all of {shown(keys)}", shown(found))
