"""Several records changed in one bulk write, each at its version, each by itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from satchel import Change, ConfigurationError, ConflictError, SessionGroup, Sessions, StorageUnavailableError
from satchel.scopes import Address, Scopes
from satchel_conformance.proxy import Cut, Proxy, address_in
from satchel_mongodb import MongoDBStorage

KEYS = {"both": "all", "chat": "chat:42", "user": "user:7"}


@pytest.fixture
async def proxy(mongodb_url: str) -> AsyncIterator[Proxy]:
    with Proxy(*address_in(mongodb_url)) as proxy:
        yield proxy


@pytest.fixture
async def storage(mongodb_url: str, namespace: str, proxy: Proxy) -> AsyncIterator[MongoDBStorage[Any]]:
    async with MongoDBStorage[Any](proxy.url(mongodb_url), namespace=namespace) as storage:
        await storage.read("chat:1")
        yield storage


def group_of(storage: MongoDBStorage[Any], **options: Any) -> SessionGroup:
    return SessionGroup(**{name: Sessions(storage, initial=lambda: {"n": 0}, **options) for name in KEYS})


async def test_a_group_of_three_costs_one_round_trip_to_load_and_one_to_save(
    storage: MongoDBStorage[Any], proxy: Proxy
) -> None:
    for number in (1, 2):
        with proxy.counting() as count:
            async with group_of(storage).open(KEYS) as parts:
                loading = count.round_trips
                for name in KEYS:
                    parts[name].data["n"] += 1
        assert (loading, count.round_trips) == (1, 2)
        assert await storage.read_many(KEYS.values()) == {key: {"n": number} for key in KEYS.values()}


async def test_containers_too_are_loaded_and_saved_together(storage: MongoDBStorage[Any], proxy: Proxy) -> None:
    with proxy.counting() as count:
        async with Scopes(storage, channel="telegram").open(Address("telegram", 7, 42)) as scope:
            for data in (scope.user_data, scope.conversation_data, scope.private_conversation_data):
                data["n"] = 1
    assert count.round_trips == 2


async def test_a_part_in_conflict_is_merged_and_the_others_are_saved(storage: MongoDBStorage[Any]) -> None:
    async with group_of(storage, lock=False).open(KEYS) as parts:
        for name in KEYS:
            parts[name].data["n"] = 1
        await storage.write("chat:42", {"n": 0, "theirs": 1})
    saved = {"all": {"n": 1}, "user:7": {"n": 1}, "chat:42": {"n": 1, "theirs": 1}}
    assert await storage.read_many(KEYS.values()) == saved


async def test_a_part_in_conflict_that_is_not_merged_raises_and_the_others_are_saved(
    storage: MongoDBStorage[Any],
) -> None:
    with pytest.raises(ConflictError, match="session 'chat:42' was changed by somebody else"):
        async with group_of(storage, on_conflict="raise", lock=False).open(KEYS) as parts:
            for name in KEYS:
                parts[name].data["n"] = 1
            await storage.write("chat:42", {"n": 9})
    assert await storage.read_many(KEYS.values()) == {"all": {"n": 1}, "user:7": {"n": 1}, "chat:42": {"n": 9}}


async def test_groups_of_many_processes_lose_no_update(mongodb_url: str, namespace: str) -> None:
    storages = [MongoDBStorage[Any](mongodb_url, namespace=namespace) for _ in range(4)]

    async def work(storage: MongoDBStorage[Any], number: int) -> None:
        for turn in range(4):
            async with group_of(storage, lock=False).open(KEYS) as parts:
                await asyncio.sleep(0)
                for name in KEYS:
                    parts[name].data[f"{number} in turn {turn}"] = True

    await asyncio.gather(*(work(storage, number) for number, storage in enumerate(storages)))
    found = await storages[0].read_many(KEYS.values())
    assert [len(data) for data in found.values()] == [1 + 4 * 4] * 3
    for storage in storages:
        await storage.aclose()


@pytest.mark.parametrize("retries", [True, False])
async def test_changes_whose_answer_is_lost_are_not_taken_for_conflicts(
    mongodb_url: str, namespace: str, proxy: Proxy, retries: bool
) -> None:
    async with (
        AsyncMongoClient[Any](proxy.url(mongodb_url), retryWrites=retries) as client,
        MongoDBStorage[Any](client, namespace=namespace) as storage,
    ):
        there = await storage.write_versioned("there", 1, None)
        changes = {"there": Change(2, there), "new": Change(2, None), "conflict": Change(2, "another")}
        proxy.arm(Cut(before="answer"), times=1)
        try:
            assert set(await storage.write_records(changes)) == {"there", "new"}
            assert retries
        except StorageUnavailableError:
            assert not retries
        assert await storage.read_many(changes) == {"there": 2, "new": 2}


async def test_records_of_others_and_ended_ones_are_at_their_versions(
    storage: MongoDBStorage[Any], namespace: str, records: AsyncCollection[Any], raw: AsyncMongoClient[Any]
) -> None:
    now = (await raw.admin.command("hello"))["localTime"]
    # One without a version, and two that have ended, which the server removes about once a minute.
    await records.insert_many(
        [
            {"_id": f"{namespace}:plain", "payload": "1"},
            {"_id": f"{namespace}:ended", "payload": "1", "version": "v", "expires_at": now},
            {"_id": f"{namespace}:over", "payload": "1", "version": "v", "expires_at": now},
        ]
    )
    found = await storage.read_records(["plain", "ended", "over"])
    assert set(found) == {"plain"}
    version = found["plain"].version
    wrong = {"plain": Change(9, "v"), "ended": Change(9, "v"), "over": Change(None, "v"), "no": Change(9, version)}
    assert await storage.write_records(wrong) == {}
    right = {"plain": Change(2, version), "ended": Change(2, None), "over": Change(None, None)}
    assert set(await storage.write_records(right)) == set(right)
    assert await storage.read_many([*wrong]) == {"plain": 2, "ended": 2}


async def test_what_the_server_refuses_raises_also_beside_a_conflict(
    mongodb_url: str, namespace: str, raw: AsyncMongoClient[Any]
) -> None:
    collection = namespace.replace("-", "_")
    validator = {"payload": {"$ne": "13"}}
    await raw["satchel"].create_collection(collection, validator=validator)
    try:
        async with MongoDBStorage[Any](mongodb_url, collection=collection) as storage:
            changes = {"conflict": Change(1, "v"), "refused": Change(13, None), "fine": Change(1, None)}
            with pytest.raises(ConfigurationError, match="has a validator that refuses sessions"):
                await storage.write_records(changes)
            assert await storage.read_many(changes) == {"fine": 1}
    finally:
        await raw["satchel"].drop_collection(collection)
