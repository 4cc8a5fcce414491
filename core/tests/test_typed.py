"""The typed codec: dataclasses, TypedDicts, Structs and dates, as plain JSON at rest."""

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypedDict

import msgspec
import pytest

from satchel import ConfigurationError, CorruptValueError, MemoryStorage, Sessions, UnsupportedValueError, typed


@dataclass
class Order:
    pizza: str
    at: datetime
    extras: set[str] = field(default_factory=set)


@dataclass
class Basket:
    orders: list[Order] = field(default_factory=list)
    since: date | None = None
    patience: timedelta = timedelta(minutes=5)
    total: float = 0.0


class Profile(TypedDict):
    name: str
    born: date


class Point(msgspec.Struct):
    x: int
    y: int = 0


AT = datetime(2026, 11, 21, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Basket, Basket([Order("margherita", AT, {"olives", "basil", "capers"})], date(2026, 1, 1))),
        (Basket, Basket(total=3)),
        (Profile, {"name": "Zoë", "born": date(1990, 2, 28)}),
        (Point, Point(2**70, -1)),
        (datetime, AT),
        (dict[str, Point], {"b": Point(1), "a": Point(2)}),
        (list[datetime], [AT]),
    ],
)
def test_typed_values_come_back_equal_and_of_their_type(kind: Any, value: Any) -> None:
    codec = typed(kind)
    back = codec.decode(codec.encode(value))
    assert back == value
    assert type(back) is type(value)


def test_at_rest_it_is_plain_json() -> None:
    payload = typed(Basket).encode(Basket([Order("funghi", AT)]))
    assert json.loads(payload)["orders"][0]["at"] == "2026-11-21T12:30:15.123456Z"


def test_the_order_of_keys_is_kept() -> None:
    assert list(typed(dict[str, int]).decode(typed(dict[str, int]).encode({"b": 1, "a": 2}))) == ["b", "a"]


@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [
        (Point, {"x": "4111"}, "$.x"),
        (Basket, Basket([Order(4111, AT)]), "$.orders[0].pizza"),  # type: ignore[arg-type]
        (Basket, Basket(total=float("nan")), "$.total"),
        (Basket, Basket([Order("\ud800", AT)]), "$"),
        (Basket, None, "$"),
        (Profile, {"name": "Zoë", "born": date(1990, 2, 28), "extra": 1}, "$"),
        (Point, object(), "$"),
    ],
)
async def test_a_value_that_is_not_of_the_type_is_refused_and_the_old_one_stays(
    kind: Any, value: Any, path: str
) -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        typed(kind).encode(value)
    assert caught.value.path.startswith(path)
    assert "4111" not in str(caught.value)


async def test_a_stored_value_of_another_type_is_corrupt_and_never_missing() -> None:
    plain = MemoryStorage()
    await plain.write("chat:1", {"x": "not a number"})
    storage = MemoryStorage(codec=typed(Point))
    storage._records = plain._records
    with pytest.raises(CorruptValueError, match=r"chat:1.* not Point: \$\.x") as caught:
        await storage.read("chat:1")
    assert "not a number" not in str(caught.value)


def test_a_type_that_cannot_be_held_is_refused_at_once() -> None:
    class Opaque:
        def __init__(self, handle: int) -> None: ...

    with pytest.raises(ConfigurationError, match="Opaque"):
        typed(Opaque)


async def test_sessions_hold_typed_data_and_merge_it() -> None:
    storage = MemoryStorage(codec=typed(Basket))
    one = Sessions(storage, initial=Basket, lock=False)
    async with one.open("chat:1") as first, one.open("chat:1") as second:
        first.data.orders.append(Order("margherita", AT))
        second.data.since = AT.date()
    assert await one.read("chat:1") == Basket([Order("margherita", AT)], AT.date())
