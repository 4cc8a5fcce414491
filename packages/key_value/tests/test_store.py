"""A `SatchelStore` does what py-key-value asks of a store, on any storage."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from key_value.aio import errors
from key_value.aio.protocols.key_value import AsyncEnumerateKeysProtocol, AsyncKeyValueProtocol
from key_value.aio.wrappers.encryption import FernetEncryptionWrapper

from satchel import ConfigurationError, MemoryStorage, Storage, blocking, open_storage
from satchel_key_value import SatchelStore
from satchel_sqlite import SQLiteStorage

PROGRAM = Path(__file__).with_name("consumer.py")


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        found: str = request.getfixturevalue("redis_url")
        return found
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bot.db"


@pytest.fixture
async def storage(url: str) -> AsyncIterator[Storage[Any]]:
    async with open_storage(url, namespace=uuid4().hex) as opened:
        yield opened


@pytest.fixture
def store(storage: Storage[Any]) -> SatchelStore:
    return SatchelStore(storage)


class ThreeMethods:
    """The least that a storage can be."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def read(self, key: str) -> Any:
        return self.values.get(key)

    async def write(self, key: str, value: Any) -> None:
        self.values[key] = value

    async def delete(self, key: str) -> None:
        self.values.pop(key, None)


async def test_what_was_put_is_got_until_it_is_deleted(store: SatchelStore) -> None:
    assert await store.get("pizza") is None
    await store.put("pizza", {"size": 1, "with": ["basil", None, {"more": 1.5}]})
    assert await store.get("pizza") == {"size": 1, "with": ["basil", None, {"more": 1.5}]}
    assert await store.ttl("pizza") == ({"size": 1, "with": ["basil", None, {"more": 1.5}]}, None)
    assert await store.delete("pizza") is True
    assert await store.delete("pizza") is False
    assert await store.ttl("pizza") == (None, None)


async def test_collections_and_keys_never_meet(store: SatchelStore) -> None:
    places = [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("a", ""), ("default_collection", "x"), ("A", "B:c")]
    for number, (collection, key) in enumerate(places):
        await store.put(key, {"n": number}, collection=collection)
    for number, (collection, key) in enumerate(places):
        assert await store.get(key, collection=collection) == {"n": number}
    assert await store.get("x") == {"n": 4}
    assert sorted(await store.collections()) == ["A", "a", "a%3Ab", "a:b", "default_collection"]
    assert sorted(await store.keys("a")) == ["", "b:c"]


async def test_many_are_put_got_and_deleted_at_once(store: SatchelStore) -> None:
    keys = [f"k{number}" for number in range(250)]
    await store.put_many(keys, [{"n": number} for number in range(250)], collection="many")
    assert await store.get_many(["k7", "nobody", "k7", "k0"], collection="many") == [{"n": 7}, None, {"n": 7}, {"n": 0}]
    assert sorted(await store.keys("many")) == sorted(keys)
    assert len(await store.keys("many", limit=3)) == 3
    assert await store.delete_many(["k1", "k2", "k2", "nobody"], collection="many") == 2
    assert await store.destroy_collection("many") is True
    assert await store.destroy_collection("many") is False
    assert await store.keys("many") == []


async def test_an_entry_ends_when_it_was_told_to_and_is_culled(store: SatchelStore, storage: Storage[Any]) -> None:
    await store.put_many(["short", "shorter"], [{"n": 1}, {"n": 2}], ttl=0.05)
    await store.put("long", {"n": 3}, ttl=100)
    value, left = await store.ttl("long")
    assert value == {"n": 3}
    assert left is not None
    assert 90 < left <= 100
    await asyncio.sleep(0.06)
    assert await store.get_many(["short", "shorter", "long"]) == [None, None, {"n": 3}]
    assert await store.keys() == ["long"]
    assert await store.delete("short") is False
    assert await storage.read("kv:default_collection:shorter") is not None
    await store.cull()
    assert await storage.read("kv:default_collection:shorter") is None
    assert await store.get("long") == {"n": 3}


async def test_the_lifetime_of_the_storage_is_told_as_that_of_the_entries() -> None:
    store = SatchelStore(MemoryStorage(ttl=timedelta(seconds=50)))
    await store.put("a", {})
    await store.put("b", {}, ttl=10)
    await store.put("c", {}, ttl=1000)
    left = [left for _, left in await store.ttl_many(["a", "b", "c"])]
    assert [left and round(left) for left in left] == [50, 10, 50]


@pytest.mark.parametrize("ttl", [0, -1, True, float("nan"), float("inf"), "soon"])
async def test_what_is_no_lifetime_is_refused_and_nothing_stored(ttl: Any) -> None:
    store = SatchelStore(MemoryStorage())
    with pytest.raises(errors.InvalidTTLError):
        await store.put("key", {}, ttl=ttl)
    assert await store.get("key") is None


async def test_only_entries_are_destroyed_not_what_else_is_in_the_storage(
    store: SatchelStore, storage: Storage[Any]
) -> None:
    await storage.write("chat:42", {"pizza": 1})
    await store.put("key", {})
    assert await store.destroy() is True
    assert await store.get("key") is None
    assert await storage.read("chat:42") == {"pizza": 1}


async def test_of_many_that_delete_an_entry_at_once_one_is_told_that_it_did(store: SatchelStore) -> None:
    await store.put("code", {"for": "one"})
    assert sorted(await asyncio.gather(*(store.delete("code") for _ in range(20)))) == [False] * 19 + [True]


@pytest.mark.parametrize("url", ["sqlite", "redis"], indirect=True)
async def test_of_several_processes_that_delete_entries_one_each_is_told_that_it_did(url: str) -> None:
    namespace = uuid4().hex
    async with open_storage(url, namespace=namespace) as storage:
        await SatchelStore(storage).put_many([f"code{n}" for n in range(50)], [{}] * 50)
        program = [sys.executable, str(PROGRAM), url, namespace, "50"]
        running = [
            subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        consumed = [process.communicate()[0].split() for process in running]
        assert sorted(code for codes in consumed for code in codes) == sorted(f"code{n}" for n in range(50))
        assert await SatchelStore(storage).keys() == []


async def test_three_methods_are_enough_and_what_cannot_be_done_is_not_there() -> None:
    store = SatchelStore(ThreeMethods())
    await store.put_many(["a", "b"], [{"n": 1}, {"n": 2}])
    assert await store.get_many(["b", "nobody", "a"]) == [{"n": 2}, None, {"n": 1}]
    assert await store.delete("a") is True
    assert await store.delete("a") is False
    assert isinstance(store, AsyncKeyValueProtocol)
    assert not isinstance(store, AsyncEnumerateKeysProtocol)
    assert isinstance(SatchelStore(MemoryStorage()), AsyncEnumerateKeysProtocol)


async def test_errors_are_those_of_py_key_value_and_outages_are_no_missing_keys(tmp_path: Path) -> None:
    storage = MemoryStorage[Any]()
    store = SatchelStore(storage)
    with pytest.raises(errors.SerializationError, match=r"\$\.value\.when"):
        await store.put("key", {"when": timedelta(1)})
    with pytest.raises(errors.InvalidKeyError):
        await store.get("k" * 600)
    await storage.write("kv:default_collection:key", ["no", "entry"])
    with pytest.raises(errors.DeserializationError):
        await store.get("key")
    with pytest.raises(errors.StoreSetupError):
        await SatchelStore(SQLiteStorage(tmp_path / "missing" / "bot.db")).get("key")
    with pytest.raises(errors.StoreConnectionError):
        await SatchelStore(open_storage("redis://127.0.0.1:1")).get("key")
    await storage.aclose()
    with pytest.raises(errors.KeyValueStoreError):
        await store.delete("key")


async def test_what_does_not_fit_says_both_sizes() -> None:
    class Small(MemoryStorage[Any]):
        capabilities = replace(MemoryStorage.capabilities, max_value_bytes=50)

    with pytest.raises(errors.ValueTooLargeError, match="max_size: 50"):
        await SatchelStore(Small()).put("key", {"pad": "x" * 50})


async def test_the_wrappers_of_py_key_value_go_around_it(store: SatchelStore, storage: Storage[Any]) -> None:
    sealed = FernetEncryptionWrapper(store, source_material="a secret", salt="salt")
    await sealed.put("key", {"token": "xoxb-1"}, ttl=100)
    assert await sealed.get("key") == {"token": "xoxb-1"}
    assert "xoxb" not in str(await storage.read("kv:default_collection:key"))


def test_a_blocking_storage_is_refused() -> None:
    wrong: Any = blocking.Storage(MemoryStorage())
    with pytest.raises(ConfigurationError, match="is for blocking callers"):
        SatchelStore(wrong)
