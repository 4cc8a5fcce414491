"""Strict JSON: what goes in comes out exactly, and what would not is refused by its path."""

import sys
from collections import OrderedDict
from datetime import UTC, date, datetime
from enum import IntEnum
from typing import Any

import pytest

from satchel import JSON, CorruptValueError, MemoryStorage, UnsupportedValueError


class Colour(IntEnum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [
        False, 0, "", [], {}, {"": {}}, [[]], True, 1, 1.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2,
        2**53 + 1, 2**64, -(10**400), "\0", "\x1f\x7f\u2028", "🍕", "e\u0301é",
        {"b": 1, "a": 2}, {"é": 1, "e\u0301": 2, "\0": 3}, [None, True, 1, 1.0, "1"],
    ],
)  # fmt: skip
def test_json_values_come_back_exactly_as_they_were(value: Any) -> None:
    back = JSON.decode(JSON.encode(value))
    assert repr(back) == repr(value)  # tells 1 from 1.0 and True, 0.0 from -0.0, and the order of keys


def test_a_hundred_levels_and_more_come_back() -> None:
    value: Any = "deep"
    for _ in range(100):
        value = [{"in": value}]
    assert JSON.decode(JSON.encode(value)) == value


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (None, "$", "is None"),
        (float("nan"), "$", "not a finite number"),
        ({"a": {"b": [1, float("-inf")]}}, "$.a.b[1]", "not a finite number"),
        ({"user": {"joined": date(2026, 1, 1)}}, "$.user.joined", "is a date"),
        ({"user": {"tags": {"x"}}}, "$.user.tags", "is a set"),
        ({"a b": {"c": (1, 2)}}, '$["a b"].c', "is a tuple"),
        ({"a": {(1, 2): 3}}, "$.a", "a key that is a tuple"),
        ({"a": {1: 2}}, "$.a", "a key that is an int"),
        ({"a": {None: 2}}, "$.a", "a key that is a NoneType"),
        ({"a": ["ok", "\ud800"]}, "$.a[1]", "lone surrogate"),
        ({"a": {"\udfff": 1}}, "$.a", "a key with a lone surrogate"),
        ({"a": b"bytes"}, "$.a", "is a bytes"),
        ({"a": Colour.RED}, "$.a", "is a Colour"),
        (OrderedDict(a=1), "$", "is an OrderedDict"),
        ({"a": 10 ** sys.get_int_max_str_digits()}, "$.a", "too many digits"),
        ({"a": object()}, "$.a", "is an object"),
    ],
)
async def test_what_is_not_json_is_refused_by_its_path_and_the_old_value_stays(
    value: Any, path: str, reason: str
) -> None:
    storage = MemoryStorage()
    await storage.write("chat:1", "old")
    with pytest.raises(UnsupportedValueError, match=reason) as caught:
        await storage.write("chat:1", value)
    assert caught.value.path == path
    assert str(caught.value).startswith(path)
    assert await storage.read("chat:1") == "old"


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UnsupportedValueError, match="nested deeper than 200 levels"):
        JSON.encode(value)


def test_a_message_never_shows_the_value() -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        JSON.encode({"card": {"number": {"4111111111111111"}}})
    assert "4111" not in str(caught.value)


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"null", b"NaN", b"[Infinity]", b"\xff", b'{"a": 1', b'{"secret": 1}x', b"[" * 100_000]
)
def test_what_is_not_strict_json_is_corrupt_and_never_missing(payload: bytes) -> None:
    with pytest.raises(CorruptValueError) as caught:
        JSON.decode(payload)
    assert "secret" not in str(caught.value)


def test_text_at_rest_is_readable_json() -> None:
    assert JSON.encode({"name": "Zoë", "n": 1, "at": None}) == '{"name":"Zoë","n":1,"at":null}'.encode()


def test_dates_belong_to_the_typed_codec() -> None:
    with pytest.raises(UnsupportedValueError, match="use typed"):
        JSON.encode({"at": datetime.now(UTC)})
