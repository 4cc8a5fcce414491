"""`MemoryStorage`: what is particular to it beside the conformance suite."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from satchel import ConfigurationError, MemoryStorage


async def test_over_max_size_the_least_recently_used_record_goes() -> None:
    storage = MemoryStorage(max_size=2)
    await storage.write("a", 1)
    await storage.write("b", 2)
    assert await storage.read("a") == 1
    await storage.write("c", 3)
    assert await storage.read_many("abc") == {"a": 1, "c": 3}


async def test_rewriting_a_record_makes_it_the_newest() -> None:
    storage = MemoryStorage(max_size=2)
    for key in "aba":
        await storage.write(key, key)
    await storage.write("c", 3)
    assert sorted(await storage.read_many("abc")) == ["a", "c"]


async def test_listing_does_not_count_as_use() -> None:
    storage = MemoryStorage(max_size=2)
    await storage.write("a", 1)
    await storage.write("b", 2)
    assert [key async for key in storage.keys()] == ["a", "b"]
    await storage.write("c", 3)
    assert await storage.read("a") is None


async def test_expired_records_make_room_for_new_ones() -> None:
    storage = MemoryStorage[Any](ttl=timedelta(milliseconds=1))
    for number in range(3):
        await storage.write(f"old:{number}", number)
    await asyncio.sleep(0.003)
    await storage.write("new", 1)
    assert len(storage._records) == 1


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "10"])
def test_a_size_that_is_not_a_positive_integer_is_refused(size: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_size"):
        MemoryStorage(max_size=size)


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), 60])
def test_a_lifetime_that_is_not_positive_is_refused(ttl: Any) -> None:
    with pytest.raises(ConfigurationError, match="ttl"):
        MemoryStorage(ttl=ttl)
