"""Payloads that are too large for an item, in S3: written before the item, and removed after it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import boto3
import pytest

from satchel import ConfigurationError, ConflictError, CorruptValueError, StorageUnavailableError
from satchel_conformance.front import Front
from satchel_dynamodb import DynamoDBStorage

from .conftest import endpoint_of, item_in

LARGE = "x" * 500_000


@pytest.fixture
def s3(moto_url: str, namespace: str) -> Iterator[Any]:
    client = boto3.Session().client("s3", endpoint_url=endpoint_of(moto_url), region_name="us-east-1")
    client.create_bucket(Bucket=namespace)
    yield client
    client.close()


@pytest.fixture
def front_s3(moto_url: str) -> Iterator[Front]:
    with Front(endpoint_of(moto_url)) as front:
        yield front


@pytest.fixture
def url(dynamodb_url: str, front_s3: Front, s3: Any, namespace: str) -> str:
    offload = f"s3://{namespace}/large?endpoint_url={front_s3.url}"
    return f"{dynamodb_url}&offload={quote(offload, safe='')}"


@pytest.fixture
async def storage(url: str, namespace: str) -> AsyncIterator[DynamoDBStorage[Any]]:
    async with DynamoDBStorage[Any].from_url(url, namespace=namespace) as storage:
        yield storage


@pytest.fixture
def objects(s3: Any, namespace: str) -> Any:
    def listed() -> list[str]:
        return [item["Key"] for item in s3.list_objects_v2(Bucket=namespace).get("Contents", [])]

    return listed


async def test_a_large_payload_is_an_object_and_a_small_one_an_item(
    storage: DynamoDBStorage[Any], s3: Any, raw: Any, namespace: str, objects: Any
) -> None:
    assert storage.capabilities.max_value_bytes == 5 * 1024**3
    await storage.write("small", "x" * 400_000)
    assert objects() == []
    await storage.write("large", LARGE)
    item = item_in(raw, f"{namespace}:large")
    assert item.keys() == {"session_key", "version", "offloaded"}
    assert objects() == [item["offloaded"]["S"]]
    assert item["offloaded"]["S"].startswith("large/")
    assert s3.get_object(Bucket=namespace, Key=item["offloaded"]["S"])["Body"].read() == f'"{LARGE}"'.encode()
    assert await storage.read("large") == LARGE
    assert await storage.read_many(["large", "small"]) == {"large": LARGE, "small": "x" * 400_000}
    assert sorted([key async for key in storage.keys()]) == ["large", "small"]
    await storage.delete_many(["large", "small"])
    assert objects() == []


async def test_versions_hold_and_no_object_is_left_over(storage: DynamoDBStorage[Any], objects: Any) -> None:
    version = await storage.write_versioned("chat:1", LARGE, None)
    for expected in (None, "another"):
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", LARGE + "y", expected)
    assert len(objects()) == 1
    version = await storage.write_versioned("chat:1", LARGE + "z", version)
    assert len(objects()) == 1
    with pytest.raises(ConflictError):
        await storage.delete_versioned("chat:1", "another")
    assert await storage.read_versioned("chat:1") == (LARGE + "z", version)
    version = await storage.write_versioned("chat:1", "small", version)
    assert objects() == []
    await storage.write_many({"chat:1": LARGE, "chat:2": LARGE})
    assert len(objects()) == 2
    await storage.write_many({"chat:1": 1})
    await storage.delete_versioned("chat:2", storage.version_of(f'"{LARGE}"'.encode()))
    assert objects() == []
    await storage.delete("chat:1")


async def test_readers_during_replacements_find_the_old_or_the_new(storage: DynamoDBStorage[Any]) -> None:
    writing = True

    async def write() -> None:
        nonlocal writing
        for number in range(1, 15):
            await storage.write("chat:1", [number, LARGE])
        writing = False

    async def read() -> None:
        while writing:
            for found in (await storage.read("chat:1"), (await storage.read_many(["chat:1"]))["chat:1"]):
                assert found is not None
                assert found[1] == LARGE

    await storage.write("chat:1", [0, LARGE])
    await asyncio.gather(write(), read(), read(), read())
    await storage.delete("chat:1")


async def test_one_of_many_writers_wins_and_no_object_of_the_others_stays(
    storage: DynamoDBStorage[Any], objects: Any
) -> None:
    calls = [storage.write_versioned("chat:1", [number, LARGE], None) for number in range(8)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 7
    assert len(objects()) == 1
    await storage.delete("chat:1")


async def test_what_fails_half_way_leaves_the_old_value_and_at_most_an_object_too_many(
    storage: DynamoDBStorage[Any], front_s3: Front, objects: Any
) -> None:
    await storage.write("chat:1", LARGE)
    front_s3.answer(500, b"", times=1)
    with pytest.raises(StorageUnavailableError, match="s3://.*has trouble"):
        await storage.write("chat:1", LARGE + "y")
    assert await storage.read("chat:1") == LARGE
    front_s3.answer_by(lambda _: None)  # the new object is written
    front_s3.answer(500, b"", times=1)  # and the old one is not removed
    await storage.write("chat:1", LARGE + "y")
    assert await storage.read("chat:1") == LARGE + "y"
    assert len(objects()) == 2


async def test_an_object_that_somebody_else_removed_is_not_missing(
    storage: DynamoDBStorage[Any], s3: Any, namespace: str, objects: Any
) -> None:
    await storage.write("chat:1", LARGE)
    s3.delete_object(Bucket=namespace, Key=objects()[0])
    for call in (storage.read("chat:1"), storage.read_many(["chat:1"])):
        with pytest.raises(CorruptValueError, match=f"names an object that is not in s3://{namespace}/large/"):
            await call
    await storage.delete("chat:1")


async def test_a_storage_without_the_bucket_says_that_it_needs_it(
    storage: DynamoDBStorage[Any], dynamodb_url: str, namespace: str
) -> None:
    await storage.write("chat:1", LARGE)
    async with DynamoDBStorage[Any].from_url(dynamodb_url, namespace=namespace) as other:
        with pytest.raises(ConfigurationError, match="say where, with offload="):
            await other.read("chat:1")
    await storage.delete("chat:1")


async def test_a_bucket_that_is_not_there_is_named(url: str, namespace: str) -> None:
    url = url.replace(namespace, f"{namespace}-missing")
    async with DynamoDBStorage[Any].from_url(url, namespace=namespace) as storage:
        await storage.write("chat:1", 1)
        with pytest.raises(ConfigurationError, match=f"s3://{namespace}-missing/large/.* does not exist"):
            await storage.write("chat:1", LARGE)
        assert await storage.read("chat:1") == 1
        await storage.delete("chat:1")


async def test_what_has_ended_is_purged_with_its_object(url: str, raw: Any, namespace: str, objects: Any) -> None:
    async with (
        DynamoDBStorage[Any].from_url(url, namespace=namespace, ttl=timedelta(milliseconds=50)) as short,
        DynamoDBStorage[Any].from_url(url, namespace=namespace, ttl=timedelta(hours=1)) as long,
    ):
        await short.write_many({"large": LARGE, "small": 1, "kept": LARGE})
        await long.write("kept", LARGE)
        assert await long.touch("kept")
        # The table would remove the item alone.
        assert "remove_at" not in item_in(raw, f"{namespace}:large")
        assert "remove_at" not in item_in(raw, f"{namespace}:kept")
        assert "remove_at" in item_in(raw, f"{namespace}:small")
        await asyncio.sleep(0.06)
        assert await short.read("large") is None
        assert await short.purge_expired() == 1
        assert await short.purge_expired() == 0
        assert len(objects()) == 1
        assert await long.read("kept") == LARGE
        await long.delete("kept")


async def test_a_policy_covers_the_objects(url: str) -> None:
    storage = DynamoDBStorage[Any].from_url(url)
    policy = json.loads(storage.schema())["Resources"]["SatchelPolicy"]["Properties"]["PolicyDocument"]
    actions = [action for statement in policy["Statement"] for action in statement["Action"]]
    assert {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"} < set(actions)
