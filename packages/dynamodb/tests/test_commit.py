"""Commits of several items: all or none in one request, again while others are at the items, within the limits."""

import asyncio
import json
import multiprocessing
import random
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from satchel import (
    Change,
    ConflictError,
    SessionGroup,
    Sessions,
    StorageError,
    StorageUnavailableError,
    Transactional,
    ValueTooLargeError,
    open_storage,
)
from satchel_conformance.front import Front
from satchel_conformance.proxy import Proxy, address_in
from satchel_dynamodb import DynamoDBStorage

from .conftest import item_in

ACCOUNTS = [f"account:{number}" for number in range(5)]
EACH = 20


@pytest.fixture
async def storage(url: str, namespace: str) -> AsyncIterator[DynamoDBStorage[Any]]:
    async with DynamoDBStorage[Any].from_url(url, namespace=namespace) as opened:
        yield opened


async def test_three_parts_are_loaded_in_one_round_trip_and_saved_in_another(dynamodb_url: str, namespace: str) -> None:
    with Proxy(*address_in(dynamodb_url)) as proxy:
        async with open_storage(proxy.url(dynamodb_url), namespace=namespace, max_connections=1) as storage:
            parts = {name: Sessions(storage, initial=lambda: {"n": 0}) for name in ("user", "chat", "both")}
            group = SessionGroup(**parts)
            keys = {name: f"{name}:1" for name in parts}
            for number in range(3):
                with proxy.counting() as loaded:
                    opened = group.open(keys)
                    sessions = await opened.__aenter__()
                for name in parts:
                    sessions[name].data["n"] += 1
                with proxy.counting() as saved:
                    await opened.__aexit__(None, None, None)
                if number:  # by then it is connected
                    assert (loaded.round_trips, saved.round_trips) == (1, 1)
            assert [await storage.read(key) for key in keys.values()] == [{"n": 3}] * 3


@pytest.mark.parametrize("wrong", [
    Change(2, "f" * 64), Change(2, "no digest \ud800"), Change(2, None), Change(None, "f" * 64), Change(None, None),
])  # fmt: skip
async def test_a_conflict_names_the_key_and_nothing_is_left_of_the_rest(
    storage: DynamoDBStorage[Any], wrong: Change[Any]
) -> None:
    version = await storage.write_versioned("b", 1, None)
    gone = await storage.write_versioned("gone", 1, None)
    await storage.write("wrong:\n1", 1)
    changes = {"a": Change(2, None), "b": Change(2, version), "gone": Change(None, gone), "wrong:\n1": wrong}
    with pytest.raises(ConflictError, match=r"^'wrong:\\n1' is not at the expected version in dynamodb:///sessions"):
        await storage.commit(changes)
    assert await storage.read_many(changes) == {"b": 1, "gone": 1, "wrong:\n1": 1}


async def test_what_is_too_much_for_one_request_is_refused_before_it_is_sent(
    storage: DynamoDBStorage[Any], front: Front
) -> None:
    many = {f"chat:{number}": Change(number, None) for number in range(101)}
    large = {f"chat:{number}": Change("x" * 390_000, None) for number in range(11)}
    await storage.setup()
    before = front.requests
    for changes, line in ((many, "a commit has 101 records; .* takes 100"), (large, "a commit has 42.* takes 4194304")):
        with pytest.raises(ValueTooLargeError, match=line) as caught:
            await storage.commit(changes)
        assert caught.value.size > caught.value.limit
    assert front.requests == before
    for changes in (many, large):
        changes.popitem()
        versions = await storage.commit(changes)
        found = await storage.read_records(changes)
        assert {key: record.version for key, record in found.items()} == versions
        await storage.delete_many(changes)


def cancelled(*codes: str) -> bytes:
    reasons = [{"Code": code} for code in codes]
    return json.dumps({"__type": "x#TransactionCanceledException", "CancellationReasons": reasons}).encode()


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
async def test_what_others_are_at_is_changed_after_them(storage: DynamoDBStorage[Any], front: Front, code: str) -> None:
    await storage.setup()
    before = front.requests
    front.answer(400, cancelled("None", code), times=3)
    await storage.commit({"a": Change(1, None), "b": Change(1, None)})
    assert front.requests == before + 4
    assert await storage.read_many(["a", "b"]) == {"a": 1, "b": 1}


async def test_what_others_are_at_for_long_raises_in_time(front: Front, url: str, namespace: str) -> None:
    async with DynamoDBStorage[Any].from_url(url, namespace=namespace, timeout=timedelta(seconds=1)) as storage:
        await storage.setup()
        front.answer(400, cancelled("TransactionConflict", "None"), times=1000)
        with pytest.raises(StorageUnavailableError, match="is busy: others are at the same items|did not answer"):
            await storage.commit({"a": Change(1, None), "b": Change(1, None)})
        front.heal()
        assert await storage.read_many(["a", "b"]) == {}


@pytest.mark.parametrize("codes", [("None", "ValidationError"), ("ItemCollectionSizeLimitExceeded", "None"), ()])
async def test_what_will_not_pass_is_no_conflict_and_not_sent_again(
    storage: DynamoDBStorage[Any], front: Front, codes: tuple[str, ...]
) -> None:
    await storage.setup()
    before = front.requests
    front.answer(400, cancelled(*codes))
    with pytest.raises(StorageError, match="TransactionCanceledException") as caught:
        await storage.commit({"a": Change(1, None), "b": Change(1, None)})
    assert not isinstance(caught.value, ConflictError | StorageUnavailableError)
    assert front.requests == before + 1


async def test_a_demand_for_absence_writes_nothing(storage: DynamoDBStorage[Any], raw: Any, namespace: str) -> None:
    await storage.commit({"a": Change(1, None), "nobody": Change(None, None)})
    assert item_in(raw, f"{namespace}:a")
    assert item_in(raw, f"{namespace}:nobody") == {}


async def test_with_objects_in_s3_there_are_no_commits_and_a_group_is_saved_part_by_part(
    dynamodb_url: str, moto_url: str, namespace: str
) -> None:
    moto = moto_url.partition("endpoint_url=")[2].partition("&")[0]
    offload = quote(f"s3://{namespace}/large?endpoint_url={moto}", safe="")
    storage: Any
    async with open_storage(f"{dynamodb_url}&offload={offload}", namespace=namespace) as storage:
        assert not isinstance(storage, Transactional)
        assert not storage.capabilities.transactional
        group = SessionGroup(user=Sessions(storage, initial=dict), chat=Sessions(storage, initial=dict))
        async with group.open({"user": "user:1", "chat": "chat:1"}) as parts:
            parts.user.data["n"] = parts.chat.data["n"] = 1
        assert await storage.read_many(["user:1", "chat:1"]) == {"user:1": {"n": 1}, "chat:1": {"n": 1}}


async def transfer(storage: Any, times: int) -> None:
    """Move between two or three accounts at a time: what is empty is deleted, so that items come and go."""
    for _ in range(times):
        while True:
            keys = random.sample(ACCOUNTS, random.randint(2, 3))
            found = await storage.read_records(keys)
            values = {key: found[key].value if key in found else 0 for key in keys}
            giver, taker = random.sample(keys, 2)
            amount = random.randint(0, values[giver])
            values[giver] -= amount
            values[taker] += amount
            changes = {
                key: Change(value or None, found[key].version if key in found else None)
                for key, value in values.items()
            }
            try:
                await storage.commit(changes)
            except ConflictError:
                continue
            break


async def add(storage: Any, times: int) -> None:
    """Pay in to single accounts, while transactions are at them."""
    for _ in range(times):
        while True:
            key = random.choice(ACCOUNTS)
            record = await storage.read_versioned(key)
            value, version = (record.value, record.version) if record else (0, None)
            try:
                await storage.write_versioned(key, value + 1, version)
            except ConflictError:
                continue
            break


def in_a_process(url: str, namespace: str, times: int) -> None:
    async def work() -> None:
        async with open_storage(url, namespace=namespace) as storage:
            await asyncio.gather(transfer(storage, times), transfer(storage, times), add(storage, times))

    asyncio.run(work())


async def test_between_few_items_and_several_processes_nothing_is_lost_or_made(
    dynamodb_url: str, namespace: str
) -> None:
    async with open_storage(dynamodb_url, namespace=namespace) as storage:
        assert isinstance(storage, DynamoDBStorage)
        await storage.commit({key: Change(EACH, None) for key in ACCOUNTS})
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as processes:
            working = [loop.run_in_executor(processes, in_a_process, dynamodb_url, namespace, 15) for _ in range(3)]
            await asyncio.gather(*working)
        assert sum((await storage.read_many(ACCOUNTS)).values()) == EACH * len(ACCOUNTS) + 3 * 15
