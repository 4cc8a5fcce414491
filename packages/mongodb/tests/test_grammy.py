"""Sessions of grammY's in MongoDB: values that are no JSON, documents with one key, collections that are not there.

What a real bot of grammY's leaves is read in tests/test_moving_from_grammy.py, as in the other storages that it has.
"""

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId, Regex
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from satchel import ConfigurationError, CorruptValueError, open_storage
from satchel_mongodb.grammy import GrammyMongoDBStorage


@pytest.fixture
async def theirs(raw: AsyncMongoClient[Any]) -> AsyncIterator[AsyncCollection[Any]]:
    """A collection as somebody gives it to the adapter of grammY."""
    collection = raw["test"][f"grammy_{secrets.token_hex(6)}"]
    yield collection
    await collection.drop()


async def put(theirs: AsyncCollection[Any], key: Any, value: Any) -> None:
    await theirs.insert_one({"key": key, "value": value})


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (Int64(2**53), "9007199254740992"),
        (5.0, "5"),
        (-0.0, "0"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (0.1, "0.1"),
        (DatetimeMS(-1), '"1969-12-31T23:59:59.999Z"'),
        (DatetimeMS(253402300799999), '"9999-12-31T23:59:59.999Z"'),
    ],
)
async def test_numbers_and_dates_are_read_as_javascript_writes_them(
    mongodb_url: str, theirs: AsyncCollection[Any], stored: Any, read: str
) -> None:
    await put(theirs, "42", {"x": [stored]})

    async with GrammyMongoDBStorage(mongodb_url, collection=theirs.name) as storage:
        assert json.dumps(await storage.read("telegram:42")) == f'{{"x": [{read}]}}'


@pytest.mark.parametrize(
    ("stored", "path"),
    [
        ({"a": {"b c": [0, ObjectId()]}}, r'\$.a\["b c"\]\[1\] is ObjectId'),
        ({"a": Binary(b"secret")}, r"\$.a is bytes"),
        ({"a": Decimal128("1")}, r"\$.a is Decimal128"),
        ({"a": Regex("secret")}, r"\$.a is Regex"),
        ({"a": float("nan")}, r"\$.a is not a finite number"),
        ({"a": DatetimeMS(253402300800000)}, r"\$.a is a date that has no four digits for its year"),
        (None, "is not a session: null"),
    ],
)
async def test_what_json_cannot_hold_raises_and_says_whose_it_is_and_where(
    mongodb_url: str, theirs: AsyncCollection[Any], stored: Any, path: str
) -> None:
    await put(theirs, "41", {})
    await put(theirs, "42", stored)
    await put(theirs, "43", {"__d": {}, "e": 1})

    async with GrammyMongoDBStorage(mongodb_url, collection=theirs.name) as storage:
        for keys in (["telegram:42"], ["telegram:41", "telegram:42"]):
            with pytest.raises(CorruptValueError, match=f"'telegram:42' .*{path}") as caught:
                await storage.read_many(keys)
            assert "secret" not in str(caught.value)
        assert sorted([key async for key in storage.keys()]) == ["telegram:41", "telegram:42"]


async def test_of_two_documents_with_one_key_the_first_counts(mongodb_url: str, theirs: AsyncCollection[Any]) -> None:
    await put(theirs, "42", {"first": True})
    await put(theirs, "42", {"first": False})

    async with GrammyMongoDBStorage(mongodb_url, collection=theirs.name) as storage:
        assert [key async for key in storage.keys()] == ["telegram:42"]
        assert await storage.read("telegram:42") == {"first": True}


async def test_more_sessions_than_one_page_are_listed_once_each(mongodb_url: str, theirs: AsyncCollection[Any]) -> None:
    await theirs.insert_many([{"key": f"{part}{n}", "value": n} for part in ("", "one-") for n in range(1200)])

    async with GrammyMongoDBStorage(mongodb_url, collection=theirs.name, prefix="one-") as storage:
        keys = [key async for key in storage.keys()]
        assert sorted(keys) == sorted(f"telegram:{n}" for n in range(1200))
        assert len(await storage.read_many(keys)) == 1200


async def test_documents_without_a_key_are_told_after_all_others(
    mongodb_url: str, theirs: AsyncCollection[Any]
) -> None:
    await theirs.insert_many([{"value": 1}, {"key": 7, "value": 1}, {"key": "42", "value": 1}])

    listed = []
    async with GrammyMongoDBStorage(mongodb_url, collection=theirs.name) as storage:
        with pytest.raises(CorruptValueError, match="has documents without a key, 2 of them"):
            async for key in storage.keys():
                listed.append(key)  # noqa: PERF401 - the end raises
    assert listed == ["telegram:42"]


async def test_a_collection_that_is_not_there_is_an_error_and_is_not_made(
    mongodb_url: str, raw: AsyncMongoClient[Any]
) -> None:
    name = f"grammy_{secrets.token_hex(6)}"
    with pytest.raises(ConfigurationError, match=f"/test.{name} does not exist"):
        async with open_storage(f"grammy+{mongodb_url}&collection={name}"):
            pass
    assert name not in await raw["test"].list_collection_names()


async def test_no_index_is_made(mongodb_url: str, theirs: AsyncCollection[Any]) -> None:
    await put(theirs, "42", {})
    async with GrammyMongoDBStorage(mongodb_url, collection=theirs.name) as storage:
        assert await storage.read("telegram:42") == {}
    assert list(await theirs.index_information()) == ["_id_"]


async def test_the_rights_that_the_schema_names_are_enough(mongodb_auth_url: str) -> None:
    password, name = secrets.token_hex(8), f"grammy_{secrets.token_hex(6)}"
    async with AsyncMongoClient[Any](mongodb_auth_url) as root:
        database = root[name]
        await put(database["sessions"], "42", {"pizza": 1})
        start, end = f'db.getSiblingDB("{name}").runCommand(', ")\n"
        schema = GrammyMongoDBStorage(f"mongodb://localhost/{name}").schema()
        await database.command(json.loads(schema.removeprefix(start).removesuffix(end)))
        await database.command("createUser", "reader", pwd=password, roles=["satchel"])
        try:
            parts = urlsplit(mongodb_auth_url)
            url = f"mongodb://reader:{password}@{parts.hostname}:{parts.port}/{name}"
            async with GrammyMongoDBStorage(url) as storage:
                assert [key async for key in storage.keys()] == ["telegram:42"]
                assert await storage.read("telegram:42") == {"pizza": 1}
        finally:
            await database.command("dropAllUsersFromDatabase")
            await database.command("dropAllRolesFromDatabase")
            await root.drop_database(name)
