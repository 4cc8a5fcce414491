"""R2: what is not JSON is refused, with its path, before anything is sent."""

from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum
from math import inf, nan
from typing import Any
from uuid import UUID

from satchel import UnsupportedValueError
from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect, expect_error, expect_same
from satchel_conformance.registry import clause


async def _refuses(bench: Bench, bad: Any, path: str, what: str) -> None:
    """See that every way of writing refuses a value and names the path of what is bad, and that the old value stays."""
    storage = bench.storage
    await storage.write("kept", "old")
    with expect_error(UnsupportedValueError, f"write of {what}") as caught:
        await storage.write("kept", bad)
    named = getattr(caught.error, "path", None)
    expect(named == path, f"the error for {what} has the path {path}", f"its path is {named}")
    expect(path in str(caught.error), f"the message for {what} names {path}", str(caught.error))
    if bench.capabilities.versioned:
        record = await storage.read_versioned("kept")
        expect_same(record and record.value, "old", f"read_versioned after {what} was refused")
        with expect_error(UnsupportedValueError, f"write_versioned of {what}"):
            await storage.write_versioned("kept", bad, record and record.version)
    expect_same(await storage.read("kept"), "old", f"read after {what} was refused")


@clause("R2-refuses-none")
async def none(bench: Bench) -> None:
    """None means absent, so it cannot be written; deleting is for that."""
    await _refuses(bench, None, "$", "None")


@clause("R2-refuses-nan")
async def not_finite(bench: Bench) -> None:
    """NaN and infinities are refused, wherever they are."""
    await _refuses(bench, nan, "$", "NaN")
    await _refuses(bench, {"user": {"score": inf}}, "$.user.score", "an infinity inside")
    await _refuses(bench, [1, -inf], "$[1]", "a negative infinity in an array")


@clause("R2-refuses-lone-surrogates")
async def surrogates(bench: Bench) -> None:
    """Lone surrogates are refused, in strings and in the keys of objects."""
    await _refuses(bench, "\ud800", "$", "a lone surrogate")
    await _refuses(bench, {"name": ["fine", "a\udfffb"]}, "$.name[1]", "a lone surrogate inside")
    await _refuses(bench, {"user": {"\ud83d": 1}}, "$.user", "a key with a lone surrogate")


@clause("R2-refuses-other-keys")
async def other_keys(bench: Bench) -> None:
    """Keys of objects that are not strings are refused, not turned into strings."""
    for key in (1, 1.5, True, None, (1, 2), b"bytes"):
        await _refuses(bench, {"user": {key: 1}}, "$.user", f"the key {key!r}")


@clause("R2-refuses-collections")
async def collections(bench: Bench) -> None:
    """Sets, tuples and bytes are refused: they would come back as something else."""
    values: tuple[Any, ...] = ({1, 2}, frozenset(), (1, 2), (), b"bytes", bytearray(b"x"), range(3))
    for value in values:
        await _refuses(bench, {"user": {"tags": value}}, "$.user.tags", f"{value!r} inside")


@clause("R2-refuses-dates")
async def dates(bench: Bench) -> None:
    """Dates are refused by the strict codec, not turned into text."""
    for value in (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), date(2026, 1, 2)):
        await _refuses(bench, {"user": {"joined": value}}, "$.user.joined", f"{value!r} inside")


class _Size(IntEnum):
    SMALL = 1


class _Text(str):
    __slots__ = ()


@clause("R2-refuses-objects")
async def objects(bench: Bench) -> None:
    """Other objects are refused, also such as look like JSON: enums, Decimals, and subclasses of str and dict."""
    for value in (object(), Decimal("1.5"), UUID(int=1), _Size.SMALL, _Text("text"), OrderedDict(a=1), 1j, print):
        await _refuses(bench, {"order": [value]}, "$.order[0]", f"a {type(value).__name__} inside")


@clause("R2-refuses-cycles")
async def cycles(bench: Bench) -> None:
    """A value that contains itself is refused, and does not exhaust the stack."""
    cycle: dict[str, Any] = {}
    cycle["again"] = cycle
    await bench.storage.write("kept", "old")
    with expect_error(UnsupportedValueError, "write of a value that contains itself"):
        await bench.storage.write("kept", cycle)
    expect_same(await bench.storage.read("kept"), "old", "read after a cycle was refused")


@clause("R2-names-odd-paths")
async def odd_paths(bench: Bench) -> None:
    """The path quotes what is no identifier, so that it can be told where the trouble is."""
    await _refuses(bench, {"a.b": {"": {"joined": ...}}}, '$["a.b"][""].joined', "an Ellipsis below odd keys")
