"""R2: any JSON value but None comes back exactly as it was written."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from satchel import JSON, Capabilities, Change, CorruptValueError
from satchel.codecs import JSONCodec
from satchel_conformance.bench import Bench, Everything
from satchel_conformance.checks import expect_same
from satchel_conformance.registry import clause


async def _returns(bench: Bench, *values: Any, order: bool = False) -> None:
    """Write each value bare, and all of them inside of an object and an array, and read them by every way there is.

    The order of keys counts where `order` says so.
    """

    def expect(happened: Any, written: Any, what: str) -> None:
        happened, written = (happened, written) if order else (_sorted(happened), _sorted(written))
        expect_same(happened, written, f"{what} of what was written")

    inside = {f"{index:02}": value for index, value in enumerate(values)}
    for written in (*values, inside, [*values, *values]):
        await bench.storage.write("value", written)
        expect(await bench.storage.read("value"), written, "read")
    if bench.capabilities.versioned:
        record = await bench.storage.read_versioned("value")
        await bench.storage.write_versioned("value", inside, record and record.version)
        record = await bench.storage.read_versioned("value")
        expect(record and record.value, inside, "read_versioned")
    if bench.capabilities.batch:
        await bench.storage.write_many({"value": inside})
        expect((await bench.storage.read_many(["value"])).get("value"), inside, "read_many")


def _sorted(value: Any) -> Any:
    """Return a value with the keys of all objects in order."""
    if isinstance(value, dict):
        return {name: _sorted(child) for name, child in sorted(value.items())}
    return [_sorted(child) for child in value] if isinstance(value, list) else value


@clause("R2-kinds")
async def kinds(bench: Bench) -> None:
    """Objects, arrays, strings, numbers and booleans are values, alone and inside of others."""
    await _returns(bench, {"a": [1, {"b": "c"}]}, [1, "two", 3.5, True], "text", 42, 1.5, True, False)


@clause("R2-number-kinds")
async def number_kinds(bench: Bench) -> None:
    """1, 1.0, True and "1" stay what they are."""
    await _returns(bench, 1, 1.0, True, "1", 0, 0.0, False, "0", 1e16, 10**16)


@clause("R2-integers")
async def integers(bench: Bench) -> None:
    """Integers of any size come back exactly: beyond 2**53, 2**63 and 2**64, and of hundreds of digits."""
    edges = [2**31, 2**32, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 2**64 + 1, 10**30, 10**400 + 7]
    await _returns(bench, *edges, *(-edge for edge in edges), -1)


@clause("R2-floats")
async def floats(bench: Bench) -> None:
    """Every finite float comes back to the last bit, from the smallest to the largest."""
    info = sys.float_info
    await _returns(
        bench, 0.1, 1 / 3, 1e100, 5e-324, info.min, info.max, -info.max, 1 + info.epsilon, 123456789.123456789
    )


@clause("R2-negative-zero")
async def negative_zero(bench: Bench) -> None:
    """-0.0 keeps its sign."""
    await _returns(bench, -0.0)


@clause("R2-unicode")
async def unicode(bench: Bench) -> None:
    """Strings hold all of Unicode, unnormalised: astral characters, combining marks, separators, non-characters."""
    await _returns(
        bench,
        "Grüße",
        "e\u0301 \u00e9",
        "\U0001f9d1\u200d\U0001f680",
        "\U0010ffff",
        "\ufeff\ufffe\uffff",
        "\u2028\u2029",
    )
    await _returns(
        bench, "\u05d0\u202e\u0628", "A\u030a\u00c5\u212b", " \t two  spaces ", "\ud7ff\ue000", "\x7f\x80\x9f"
    )


@clause("R2-control-characters")
async def control_characters(bench: Bench) -> None:
    """Strings hold control characters, quotes and backslashes, and line ends as they are."""
    await _returns(bench, "".join(map(chr, range(1, 32))), "a\r\nb\rc\n", '"\\/', "\\u0041", "\\", "'';--")


@clause("R2-nul")
async def nul(bench: Bench) -> None:
    """NUL is a character like any other, in strings and in the keys of objects."""
    await _returns(bench, "\0", "a\0b", "end\0", {"\0": 1, "a\0b": "\0"})


@clause("R2-object-keys")
async def object_keys(bench: Bench) -> None:
    """Any string is a key of an object: empty, dotted, with a dollar sign, and such as look alike elsewhere."""
    names = ["", " ", "a.b", "$set", "$oid", "_id", "__proto__", "constructor", "key", "version", "ttl", "0", "-1"]
    await _returns(
        bench, dict.fromkeys(names, 1), {"e\u0301": 1, "\u00e9": 2}, {"A": 1, "a": 2}, {"\U0001f600": {"": {"": 1}}}
    )


@clause("R2-key-order")
async def key_order(bench: Bench) -> None:
    """The keys of objects keep their order."""
    objects = {"z": 1, "a": 2, "m": 3, "B": 4, "10": 5, "9": 6, "aa": 7}, {"y": {"b": 1, "a": 2}, "x": 0}
    await _returns(bench, *objects, order=True)


@clause("R2-inner-null")
async def inner_null(bench: Bench) -> None:
    """None inside of a value is JSON null, and is kept."""
    await _returns(bench, [None], {"a": None}, {"a": [None, {"b": None}], "c": 0})


@clause("R2-empty-inside")
async def empty_inside(bench: Bench) -> None:
    """Empty objects, arrays and strings inside of a value are kept."""
    await _returns(bench, {"a": {}, "b": [], "c": ""}, [[], {}, ""], {"a": {"b": []}})


@clause("R2-nesting")
async def nesting(bench: Bench) -> None:
    """Objects and arrays nest at least 100 levels deep."""
    objects: Any = 1
    arrays: Any = 1
    mixed: Any = 1
    for level in range(100):
        objects, arrays, mixed = {"a": objects}, [arrays], {"a": mixed} if level % 2 else [mixed]
    for value in (objects, arrays, mixed):
        await bench.storage.write("deep", value)
        expect_same(await bench.storage.read("deep"), value, "read of 100 levels")
        if bench.capabilities.versioned:
            record = await bench.storage.read_versioned("deep")
            expect_same(record and record.value, value, "read_versioned of 100 levels")


@clause("R2-large")
async def large(bench: Bench) -> None:
    """Values of megabytes come back whole, if that is under the declared limit."""
    size = min(bench.capabilities.max_value_bytes or 4_000_000, 4_000_000) * 3 // 4
    for value in ("x" * size, "é" * (size // 2), [{"n": n, "t": "y" * 50} for n in range(size // 80)]):
        await bench.storage.write("large", value)
        expect_same(
            await bench.storage.read("large") == value, True, f"comparing what was read with {size} bytes written"
        )


@clause("R2-replaces-whole")
async def replaces(bench: Bench) -> None:
    """A write replaces the value: nothing of the old one is merged into the new."""
    await bench.storage.write("value", {"a": 1, "b": {"c": 1}, "long": "x" * 1000})
    for value in ({"b": {"d": 2}}, [1], 7, "short"):
        await bench.storage.write("value", value)
        expect_same(await bench.storage.read("value"), value, "read after writing over another value")


class _Wrapping(JSONCodec):
    """Stores what would be another value to JSON, and knows no other."""

    def encode(self, value: object) -> bytes:
        return super().encode({"wrapped": value})

    def decode(self, payload: bytes) -> Any:
        match super().decode(payload):
            case {"wrapped": value}:
                return value
        raise CorruptValueError("not wrapped")


@clause("R2-codec-everywhere", "shared", "read_your_writes")
async def codec_everywhere(bench: Bench) -> None:
    """A codec that is passed in encodes what any call writes, and decodes what any reads: encrypted stays encrypted."""
    storage, reader, has = await bench.another(codec=_Wrapping()), await bench.another(codec=JSON), bench.capabilities
    writes = _writes(storage, has)
    for how, write in writes.items():
        await write(how)
        stored = await reader.read(how)
        expect_same(stored, {"wrapped": [how]}, f"what JSON alone reads of what {how} wrote with a codec")
        expect_same(await storage.read(how), [how], f"read of what {how} wrote")
    if has.versioned:
        record = await storage.read_versioned("write")
        expect_same(record and record.value, ["write"], "read_versioned")
    if has.batch:
        expect_same(await storage.read_many(writes), {how: [how] for how in writes}, "read_many")
    if has.versioned_batch or has.transactional:
        found = await storage.read_records(writes)
        expect_same({how: found[how].value for how in writes}, {how: [how] for how in writes}, "read_records")


def _writes(storage: Everything, has: Capabilities) -> dict[str, Callable[[str], Awaitable[object]]]:
    """Return all calls that write, each of which makes a new record of a key, whose value has it."""
    writes: dict[str, Callable[[str], Awaitable[object]]] = {"write": lambda key: storage.write(key, [key])}
    if has.versioned:
        writes["write_versioned"] = lambda key: storage.write_versioned(key, [key], None)
    if has.batch:
        writes["write_many"] = lambda key: storage.write_many({key: [key]})
    if has.versioned_batch:
        writes["write_records"] = lambda key: storage.write_records({key: Change([key], None)})
    if has.transactional:
        writes["commit"] = lambda key: storage.commit({key: Change([key], None)})
    return writes
