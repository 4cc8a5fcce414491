"""A `KeyValueStorage` and the stores that it may find."""

import asyncio
import json
from typing import Any

import pytest
from key_value.aio import errors
from key_value.aio.stores.memory import MemoryStore
from key_value.aio.stores.redis import RedisStore
from key_value.aio.wrappers.encryption import FernetEncryptionWrapper
from key_value.aio.wrappers.read_only import ReadOnlyWrapper
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from satchel import (
    JSON,
    ConfigurationError,
    CorruptValueError,
    Listing,
    ReadOnlyError,
    Sessions,
    StorageUnavailableError,
    Versioned,
)
from satchel.encryption import generate_key
from satchel_key_value import KeyValueStorage, SatchelStore


async def test_at_rest_a_session_is_an_entry_with_its_json() -> None:
    store = MemoryStore()
    await KeyValueStorage[Any](store, collection="bots").write("chat:42", {"name": "Zoë", "pizza": 1})
    entry = await store.get("satchel:chat:42", collection="bots")
    assert entry == {"payload": '{"name":"Zoë","pizza":1}'}


async def test_sessions_are_kept_in_it_one_after_the_other() -> None:
    sessions = Sessions(KeyValueStorage[Any](MemoryStore()), initial=lambda: {"n": 0})

    async def bake() -> None:
        async with sessions.open("chat:42") as session:
            await asyncio.sleep(0)
            session.data["n"] += 1

    await asyncio.gather(*(bake() for _ in range(20)))
    assert await sessions.read("chat:42") == {"n": 20}


async def test_a_touch_never_brings_back_what_was_written_over() -> None:
    class Slow(MemoryStore):
        async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
            found: dict[str, Any] | None = await super().get(key, collection=collection)
            await asyncio.sleep(0.001)
            return found

    storage = KeyValueStorage[Any](Slow())
    await storage.write("chat:42", 0)
    for number in range(1, 6):
        await asyncio.gather(storage.touch("chat:42"), storage.write("chat:42", number))
        assert await storage.read("chat:42") == number


async def test_versions_and_listing_are_not_promised() -> None:
    storage = KeyValueStorage[Any](MemoryStore())
    assert not isinstance(storage, Versioned)
    assert not isinstance(storage, Listing)


async def test_binary_payloads_are_kept_as_base64() -> None:
    store = MemoryStore()
    storage = KeyValueStorage(store, codec=JSON.compressed().encrypted(generate_key()))
    await storage.write("chat:42", {"pizza": 1})
    assert await storage.read("chat:42") == {"pizza": 1}
    entry = await store.get("satchel:chat:42")
    assert entry is not None
    assert list(entry) == ["base64"]


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
async def test_a_store_that_answers_none_to_everything_is_refused(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:  # without decode_responses=True
        with pytest.raises(ConfigurationError, match="look at its client's options"):
            await KeyValueStorage[Any](RedisStore(client=client)).read("chat:42")


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
async def test_an_outage_raises_and_says_that_trying_again_may_help() -> None:
    async with Redis.from_url("redis://127.0.0.1:1", decode_responses=True) as client:
        storage = KeyValueStorage[Any](RedisStore(client=client), unavailable=[RedisConnectionError])
        with pytest.raises(StorageUnavailableError, match="RedisStore cannot be reached") as caught:
            await storage.read("chat:42")
    assert isinstance(caught.value.__cause__, RedisConnectionError)


async def test_what_a_store_refuses_is_said_in_our_words() -> None:
    with pytest.raises(ReadOnlyError):
        await KeyValueStorage[Any](ReadOnlyWrapper(MemoryStore(), raise_on_write=True)).write("chat:42", 1)
    store = MemoryStore()
    first = KeyValueStorage[Any](FernetEncryptionWrapper(store, source_material="one", salt="a"))
    other = KeyValueStorage[Any](FernetEncryptionWrapper(store, source_material="two", salt="a"))
    await first.write("chat:42", {"pizza": 1})
    with pytest.raises(CorruptValueError) as caught:
        await other.read("chat:42")
    assert isinstance(caught.value.__cause__, errors.DecryptionError)


async def test_what_is_no_session_raises_and_stays() -> None:
    store = MemoryStore()
    await store.put("satchel:chat:42", {"theirs": 1})
    with pytest.raises(CorruptValueError, match="not one of Satchel's"):
        await KeyValueStorage[Any](store).read("chat:42")
    assert await store.get("satchel:chat:42") == {"theirs": 1}


def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="dict is no store of py-key-value"):
        KeyValueStorage({})  # type: ignore[arg-type]


async def test_there_and_back_again_it_is_the_same() -> None:
    storage = KeyValueStorage[Any](SatchelStore(KeyValueStorage[Any](MemoryStore())))
    value = {"b": 1e16, "a": -0.0, "\0": 2**70}
    await storage.write("chat:42", value)
    assert json.dumps(await storage.read("chat:42")) == json.dumps(value)
