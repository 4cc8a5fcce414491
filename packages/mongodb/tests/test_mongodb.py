"""What is particular to MongoDB: layout, indexes, clients and their options, commands, what is wrong in one line."""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pymongo
import pytest
from bson import Binary, Int64, ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import WriteError
from pymongo.monitoring import CommandListener, CommandStartedEvent
from pymongo.server_api import ServerApi

from satchel import (
    Codec,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    Sessions,
    StorageClosedError,
    StorageUnavailableError,
    open_storage,
)
from satchel_mongodb import MongoDBStorage

README = Path(__file__).parents[1] / "README.md"


class Bytes(Codec[bytes]):
    """Stores bytes as they are, as compression and encryption will."""

    is_text = False

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, payload: bytes) -> bytes:
        return payload


async def test_at_rest_a_session_is_a_document_with_readable_json(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace) as storage:
        await storage.write("telegram:42", {"name": "Zoë", "pizza": 1})
    payload = '{"name":"Zoë","pizza":1}'
    assert await records.find_one({"_id": f"{namespace}:telegram:42"}) == {
        "_id": f"{namespace}:telegram:42",
        "payload": payload,
        "version": hashlib.sha256(payload.encode()).hexdigest(),
    }


async def test_what_is_no_text_is_stored_as_binary(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    payload = bytes(range(256))
    async with MongoDBStorage[bytes](mongodb_url, namespace=namespace, codec=Bytes()) as storage:
        await storage.write("chat:1", payload)
        assert await storage.read("chat:1") == payload
        version = await storage.write_versioned("chat:1", payload[::-1], storage.version_of(payload))
        assert await storage.read_many(["chat:1"]) == {"chat:1": payload[::-1]}
        found = await records.find_one({"_id": f"{namespace}:chat:1"})
        assert found is not None
        assert found["payload"] == payload[::-1]
        await storage.delete_versioned("chat:1", version)


async def test_a_session_at_rest_looks_as_the_readme_shows(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    shown = README.read_text().partition("```js\n")[2].partition("```")[0]
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace, ttl=timedelta(days=30)) as storage:
        await storage.write("telegram:42", {"pizza": 1})
    found = await records.find_one({"_id": f"{namespace}:telegram:42"})
    assert found is not None
    assert re.findall(r"[{,] (\w+):", shown) == list(found)
    assert f"payload: '{found['payload']}', version: \"{found['version'][:4]}" in shown


async def test_what_an_earlier_release_laid_down_is_read(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    version = hashlib.sha256(b'{"pizza": 1}').hexdigest()
    await records.insert_one(
        {"_id": f"{namespace}:chat:1", "payload": '{"pizza": 1}', "version": version, "expires_at": end}
    )
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace) as storage:
        assert await storage.read_versioned("chat:1") == ({"pizza": 1}, version)
        await storage.write_versioned("chat:1", {"pizza": 2}, version)


async def test_the_server_ends_a_session_to_the_millisecond(
    mongodb_url: str, namespace: str, raw: AsyncMongoClient[Any], records: AsyncCollection[Any]
) -> None:
    ttl = timedelta(milliseconds=90_123.4)
    await records.insert_one({"_id": f"{namespace}:touched", "payload": "1"})
    start = await server_time(raw)
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace, ttl=ttl) as storage:
        version = await storage.write_versioned("created", 1, None)
        await storage.write_versioned("created", 2, version)
        await storage.write("written", 1)
        await storage.write_many({"batched": 1})
        assert await storage.touch("touched")
    end = await server_time(raw)
    for key in ("created", "written", "batched", "touched"):
        found = await records.find_one({"_id": f"{namespace}:{key}"})
        assert found is not None
        assert start + ttl <= found["expires_at"] <= end + ttl + timedelta(milliseconds=2)


async def server_time(raw: AsyncMongoClient[Any]) -> datetime:
    time: datetime = (await raw.admin.command("hello"))["localTime"]
    return time


async def test_without_a_ttl_every_write_and_touch_removes_an_older_end(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    keys = ("written", "replaced", "batched", "touched")
    end = datetime.now(UTC) + timedelta(minutes=1)
    for key in keys:
        await records.insert_one({"_id": f"{namespace}:{key}", "payload": "1", "version": "v", "expires_at": end})
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace) as storage:
        await storage.write("written", 1)
        await storage.write_versioned("replaced", 2, "v")
        await storage.write_many({"batched": 1})
        assert await storage.touch("touched")
        assert not await storage.touch("missing")
    for key in keys:
        assert "expires_at" not in (await records.find_one({"_id": f"{namespace}:{key}"}) or {"expires_at": 0})


async def test_without_a_ttl_the_server_looks_at_its_clock_only_where_there_is_an_end(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    await records.database.create_collection(namespace)  # without an index by which the server removes what is over
    commands = Commands()
    async with AsyncMongoClient[Any](mongodb_url, event_listeners=[commands]) as client:
        opened = partial(MongoDBStorage[Any], client, collection=namespace, create=False)
        storage, endless, short = opened(), opened(ttl=timedelta.max), opened(ttl=timedelta(milliseconds=1))
        await storage.write("no end", 1)
        await endless.write("in a million years", 2)
        await short.write("over", 3)
        await asyncio.sleep(0.005)
        for key, value, number in [
            ("no end", 1, 1),
            ("in a million years", 2, 2),
            ("over", None, 2),
            ("none", None, 1),
        ]:
            commands.sent.clear()
            assert await storage.read(key) == value
            assert [next(iter(command)) for command in commands.sent] == ["find"] * number
            assert ("$$NOW" in str(commands.sent)) is (number == 2)
        assert await endless.read("in a million years") == 2
        assert await storage.read_versioned("over") is None


async def test_an_end_that_is_no_date_is_none(mongodb_url: str, namespace: str, records: AsyncCollection[Any]) -> None:
    for number, end in enumerate([None, "2001-01-01", 0, Int64(2**60), False]):
        await records.insert_one({"_id": f"{namespace}:{number}", "payload": "1", "expires_at": end})
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace) as storage:
        assert len([key async for key in storage.keys()]) == 5
        assert [await storage.read(str(number)) for number in range(5)] == [1] * 5
        await storage.purge_expired()  # which may find what other tests left
        assert len([key async for key in storage.keys()]) == 5


async def test_purging_removes_what_has_ended_and_counts_it(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace, collection=namespace) as storage:
        own = records.database[namespace]
        await own.insert_many([{"payload": "1", "expires_at": past} for _ in range(30)])
        await storage.write("chat:1", 1)
        assert await storage.purge_expired() == 30
        assert await own.count_documents({}) == 1
        await own.drop()


async def test_an_edit_by_hand_without_a_version_counts_as_a_new_one(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace) as storage:
        version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
        edit = {"$set": {"payload": '{"pizza": 2}'}, "$unset": {"version": 1}}
        await records.update_one({"_id": f"{namespace}:chat:1"}, edit)
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", {"pizza": 9}, version)
        with pytest.raises(ConflictError):
            await storage.delete_versioned("chat:1", version)
        record = await storage.read_versioned("chat:1")
        assert record is not None
        assert record.value == {"pizza": 2}
        await storage.write_versioned("chat:1", {"pizza": 3}, record.version)
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", {"pizza": 4}, record.version)


async def test_a_text_that_looks_like_an_expression_is_a_text(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    async with (
        MongoDBStorage[Any](mongodb_url, namespace=f"${namespace}") as storage,
        MongoDBStorage[bytes](mongodb_url, namespace=f"${namespace}", codec=Dollars()) as dollars,
    ):
        for key in ("$_id", "$$ROOT", "{$ne: 1}", "a.b", "$gt"):
            value = {"$ne": "$payload", "a.b": ["$$NOW", {"$literal": 1}]}
            version = await storage.write_versioned(key, value, None)
            await storage.write_versioned(key, value, version)
            await storage.write_many({key: value})
            assert await storage.read(key) == value
        await dollars.write("chat:1", b"$_id")
        assert await dollars.read("chat:1") == b"$_id"
        with pytest.raises(ConflictError):
            await storage.write_versioned("$gt", 1, "$version")
    assert await records.count_documents({"_id": f"${namespace}:$gt"}) == 1


class Dollars(Bytes):
    """A text whose first letter is a dollar, as JSON's never is."""

    is_text = True


@pytest.mark.parametrize(
    "field", [{"payload": 1}, {"payload": None}, {"payload": ["x"]}, {"other": "an application's"}]
)
async def test_a_document_of_another_kind_is_never_missing_and_not_replaced_by_creating(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any], field: dict[str, Any]
) -> None:
    document = {"_id": f"{namespace}:chat:1", **field}
    await records.insert_one(document)
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace) as storage:
        for call in (storage.read, storage.read_versioned, lambda key: storage.read_many(["chat:0", key])):
            with pytest.raises(CorruptValueError, match="neither text nor binary") as caught:
                await call("chat:1")
            assert "application" not in str(caught.value)
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", 1, None)
    assert await records.find_one({"_id": f"{namespace}:chat:1"}) == document


async def test_a_damaged_payload_raises_and_stays(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    await records.insert_one({"_id": f"{namespace}:chat:1", "payload": '{"pizza"'})
    not_utf8 = RawBSONDocument(_bson(f"{namespace}:chat:2", b'"\xff"'))
    await records.insert_one(not_utf8)
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace) as storage:
        with pytest.raises(CorruptValueError, match="'chat:1' in mongodb://"):
            await storage.read("chat:1")
        with pytest.raises(CorruptValueError, match="not BSON"):
            await storage.read("chat:2")
        assert sorted([key async for key in storage.keys()]) == ["chat:1", "chat:2"]
        await storage.write("chat:2", 2)
        assert await storage.read("chat:2") == 2


def _bson(name: str, payload: bytes) -> bytes:
    """Return a document whose payload is a string of any bytes."""
    inner = b"".join(
        b"\x02" + key + b"\0" + (len(text) + 1).to_bytes(4, "little") + text + b"\0"
        for key, text in ((b"_id", name.encode()), (b"payload", payload))
    )
    return (len(inner) + 5).to_bytes(4, "little") + inner + b"\0"


async def test_the_largest_value_fits_under_the_longest_name_and_not_a_byte_more(
    mongodb_url: str, raw: AsyncMongoClient[Any]
) -> None:
    limit = MongoDBStorage.capabilities.max_value_bytes
    assert limit is not None
    options: dict[str, Any] = {"namespace": "%" * 128, "ttl": timedelta(hours=1), "collection": "largest"}
    key, records = "\n" * 512, raw["satchel"]["largest"]
    for codec in (Bytes(), Dollars()):
        async with MongoDBStorage[bytes](mongodb_url, codec=codec, **options) as storage:
            version = await storage.write_versioned(key, b"$" * limit, None)
            version = await storage.write_versioned(key, b"#" * limit, version)
            await storage.write(key, b"." * limit)
            await storage.write_many({key: b"," * limit})
            assert await storage.touch(key)
            assert await storage.read_many([key]) == {key: b"," * limit}
            found = await records.find_one({})
            assert found is not None
            with pytest.raises(WriteError, match="16793600|too large|larger than"):
                longer = [{"$set": {"payload": {"$concat": ["$payload", {"$literal": "x"}]}}}]
                await records.update_one({"_id": found["_id"]}, longer if codec.is_text else {"$set": {"more": 1}})
            await storage.delete(key)
    await records.drop()


async def test_listing_takes_every_key_of_the_namespace_and_no_other(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    special = [
        "^",
        ".*",
        "[a]",
        "\\",
        "é",
        "e\u0301",
        "É",
        "\n",
        "\U0010ffff",
        "\U0010ffff\U0010ffff",
        "\ud7ff",
        "\ue000",
    ]
    keys = special + [f"chat:{number}" for number in range(1500)]
    async with (
        MongoDBStorage[Any](mongodb_url, namespace=namespace) as storage,
        MongoDBStorage[Any](mongodb_url, namespace=namespace + "é") as longer,
        MongoDBStorage[Any](mongodb_url, namespace=namespace[:-1]) as shorter,
    ):
        await storage.write_many(dict.fromkeys(keys, 1))
        await longer.write("chat:other", 1)
        await shorter.write("chat:other", 1)
        await records.insert_many([{"_id": ObjectId(), "payload": "1"}, {"_id": Binary(namespace.encode() + b":x")}])
        assert sorted([key async for key in storage.keys()]) == sorted(keys)
        assert sorted([key async for key in storage.keys("chat:14")]) == sorted(k for k in keys if k[:7] == "chat:14")
        for key in special:
            found = [found async for found in storage.keys(key)]
            assert sorted(found) == sorted(each for each in keys if each.startswith(key))


async def test_a_batch_of_any_size_is_complete(mongodb_url: str, namespace: str) -> None:
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace) as storage:
        many = {f"chat:{number}": number for number in range(6000)}
        await storage.write_many(many)
        assert await storage.read_many([*many, "missing"]) == many
        await storage.delete_many(many)
        assert await storage.read_many(many) == {}
        large = {f"chat:{number}": chr(97 + number) * 4_000_000 for number in range(6)}  # more than one answer holds
        await storage.write_many(large)
        assert await storage.read_many(large) == large
        await storage.delete_many(large)


async def test_first_writes_at_once_neither_fail_nor_make_two(mongodb_url: str, namespace: str) -> None:
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace) as storage:
        for key in (f"chat:{number}" for number in range(10)):
            await asyncio.gather(
                *(storage.write(key, number) for number in range(20)),
                *(storage.write_many({key: number, "other": number}) for number in range(10)),
            )
        for key in (f"new:{number}" for number in range(10)):
            creating = (storage.write_versioned(key, number, None) for number in range(30))
            results = await asyncio.gather(*creating, return_exceptions=True)
            assert sum(isinstance(result, str) for result in results) == 1
            assert sum(isinstance(result, ConflictError) for result in results) == 29


async def test_setup_makes_the_collection_and_its_index_also_from_many_places(
    mongodb_url: str, namespace: str, raw: AsyncMongoClient[Any]
) -> None:
    url = mongodb_url.replace("/?", f"/{namespace}?collection=my.sessions&")
    storages = [MongoDBStorage[Any](url) for _ in range(10)]
    await asyncio.gather(*(storage.setup() for storage in storages))
    await asyncio.gather(*(storage.aclose() for storage in storages))
    index = (await raw[namespace]["my.sessions"].index_information())["expires_at_1"]
    assert index == {"v": 2, "key": [("expires_at", 1)], "expireAfterSeconds": 0}
    await raw.drop_database(namespace)


async def test_without_create_nothing_is_created_and_what_is_missing_is_named(
    mongodb_url: str, namespace: str, raw: AsyncMongoClient[Any], caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"database": namespace, "create": False}
    with pytest.raises(ConfigurationError, match=f"{namespace}.satchel_sessions does not exist, and create=False"):
        async with MongoDBStorage[Any](mongodb_url, **options):
            pass
    assert await raw[namespace].list_collection_names() == []
    await raw[namespace].create_collection("satchel_sessions")
    with caplog.at_level(logging.WARNING, "satchel"):
        async with MongoDBStorage[Any](mongodb_url, ttl=timedelta(milliseconds=1), **options) as storage:
            await storage.write("chat:1", 1)
            await asyncio.sleep(0.005)
            assert await storage.read("chat:1") is None
            assert await storage.purge_expired() == 1
    (warning,) = caplog.messages
    assert "has no TTL index on expires_at" in warning
    assert list(await raw[namespace]["satchel_sessions"].index_information()) == ["_id_"]
    await raw.drop_database(namespace)


async def test_an_index_that_removes_nothing_is_refused_and_one_that_is_late_is_not(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    own = records.database[namespace]
    await own.create_index("expires_at")
    with pytest.raises(ConfigurationError, match="has an index on expires_at that removes nothing: drop it"):
        async with MongoDBStorage[Any](mongodb_url, collection=namespace):
            pass
    await own.drop_indexes()
    await own.create_index("expires_at", expireAfterSeconds=3600, name="mine")
    async with MongoDBStorage[Any](mongodb_url, collection=namespace) as storage:
        await storage.write("chat:1", 1)
    await own.drop()


async def test_an_index_that_removes_only_some_of_what_has_ended_is_not_the_one(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    own = records.database[namespace]
    partial_index: dict[str, Any] = {"expireAfterSeconds": 0, "partialFilterExpression": {"pizza": 1}}
    await own.create_index("expires_at", name="some", **partial_index)
    async with MongoDBStorage[Any](mongodb_url, collection=namespace, create=False):
        pass
    (warning,) = caplog.messages
    assert "has no TTL index on expires_at" in warning
    async with MongoDBStorage[Any](mongodb_url, collection=namespace):
        pass
    assert "partialFilterExpression" not in (await own.index_information())["expires_at_1"]
    await own.drop_indexes()
    await own.create_index("expires_at", **partial_index)
    with pytest.raises(ConfigurationError, match="has another index of the name expires_at_1: drop it"):
        async with MongoDBStorage[Any](mongodb_url, collection=namespace):
            pass
    await own.drop()


async def test_a_collection_that_takes_different_keys_for_the_same_is_refused(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    await records.database.create_collection(namespace, collation={"locale": "en", "strength": 2})
    with pytest.raises(ConfigurationError, match="has a collation, to which different keys are the same"):
        async with MongoDBStorage[Any](mongodb_url, collection=namespace):
            pass
    await records.database.drop_collection(namespace)


async def test_a_collection_that_cannot_hold_sessions_is_refused(
    mongodb_url: str, namespace: str, records: AsyncCollection[Any]
) -> None:
    database = records.database
    await database.command("create", namespace, viewOn="satchel_sessions", pipeline=[])
    with pytest.raises(ConfigurationError, match="is a view"):
        async with MongoDBStorage[Any](mongodb_url, collection=namespace):
            pass
    await database.drop_collection(namespace)
    await database.create_collection(namespace, capped=True, size=4096)
    with pytest.raises(ConfigurationError, match="takes no TTL index"):
        async with MongoDBStorage[Any](mongodb_url, collection=namespace):
            pass
    await database.drop_collection(namespace)
    await database.create_collection(namespace, validator={"chat": {"$type": "int"}})
    async with MongoDBStorage[Any](mongodb_url, collection=namespace) as storage:
        for write in (storage.write("chat:1", 1), storage.write_many({"chat:1": 1, "chat:2": 2})):
            with pytest.raises(ConfigurationError, match="has a validator that refuses sessions"):
                await write
    await database.drop_collection(namespace)


@pytest.fixture(
    params=[
        {},
        {"w": 0},
        {"w": 1, "journal": False},
        {"readPreference": "secondary"},
        {"readPreference": "nearest", "maxStalenessSeconds": 90},
        {"readConcernLevel": "majority"},
        {"readConcernLevel": "available"},
        {"retryWrites": False, "retryReads": False},
        {"document_class": RawBSONDocument},
        {"tz_aware": True, "unicode_decode_error_handler": "ignore", "uuidRepresentation": "javaLegacy"},
        {"datetime_conversion": DatetimeConversion.DATETIME_MS},
        {"maxPoolSize": 1},
        {"maxPoolSize": 2, "minPoolSize": 2, "maxIdleTimeMS": 1},
        {"compressors": "zlib"},
        {"server_api": ServerApi("1", strict=True, deprecation_errors=True)},
        {"timeoutMS": 20_000},
        {"appname": "bot", "serverMonitoringMode": "poll", "heartbeatFrequencyMS": 500},
    ],
    ids=" ".join,
)
async def client(mongodb_url: str, request: pytest.FixtureRequest) -> AsyncIterator[AsyncMongoClient[Any]]:
    async with AsyncMongoClient[Any](mongodb_url, **request.param) as client:
        yield client


async def test_a_client_works_with_any_options_and_stays_open(client: AsyncMongoClient[Any], namespace: str) -> None:
    async with MongoDBStorage[Any](client, namespace=namespace, ttl=timedelta(minutes=1)) as storage:
        value = {"name": "Zoë", "emoji": "🍕", "nul": "\0"}
        await storage.write("chat:ü", value)
        assert await storage.read("chat:ü") == value
        version = await storage.write_versioned("chat:2", 1, None)
        version = await storage.write_versioned("chat:2", 2, version)
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:2", 3, None)
        assert await storage.read_versioned("chat:2") == (2, version)
        assert await storage.touch("chat:2")
        assert sorted([key async for key in storage.keys()]) == ["chat:2", "chat:ü"]
        await asyncio.gather(*(storage.read("chat:2") for _ in range(20)))
        await storage.delete_versioned("chat:2", version)
        assert await storage.read_many(["chat:ü", "chat:2"]) == {"chat:ü": value}
        await storage.write_many({"chat:3": 3})
        await storage.delete_many(["chat:ü", "chat:3"])
        assert [key async for key in storage.keys()] == []
    assert (await client.get_database("admin", CodecOptions()).command("ping"))["ok"]


async def test_a_client_says_the_database_unless_an_argument_does(
    mongodb_url: str, namespace: str, raw: AsyncMongoClient[Any]
) -> None:
    async with AsyncMongoClient[Any](mongodb_url.replace("/?", f"/{namespace}?")) as client:
        async with MongoDBStorage[Any](client) as storage:
            await storage.write("chat:1", 1)
            assert storage.where.endswith(f"/{namespace}.satchel_sessions")
        other = MongoDBStorage[Any](client, database="other", collection="bots")
        assert other.where.endswith("/other.bots")
    assert await raw[namespace]["satchel_sessions"].count_documents({}) == 1
    await raw.drop_database(namespace)


async def test_two_storages_share_a_client(raw: AsyncMongoClient[Any], namespace: str) -> None:
    async with MongoDBStorage[Any](raw, namespace=namespace) as first:
        async with MongoDBStorage[Any](raw, namespace=namespace) as second:
            await second.write("chat:1", 1)
        with pytest.raises(StorageClosedError):
            await second.read("chat:1")
        assert await first.read("chat:1") == 1


async def test_what_is_no_asynchronous_client_is_refused(mongodb_url: str) -> None:
    with (
        pymongo.MongoClient[Any](mongodb_url) as client,
        pytest.raises(ConfigurationError, match=r"not pymongo\.synchronous"),
    ):
        MongoDBStorage(cast("Any", client))
    with pytest.raises(ConfigurationError, match=r"not builtins\.NoneType"):
        MongoDBStorage(None)  # type: ignore[arg-type]


async def test_a_client_that_is_closed_is_said(mongodb_url: str) -> None:
    async with AsyncMongoClient[Any](mongodb_url) as client:
        await client.admin.command("ping")
    storage = MongoDBStorage[Any](client)
    with pytest.raises(ConfigurationError, match="its client is closed"):
        await storage.read("chat:1")


async def test_a_storage_and_a_client_belong_to_the_loop_that_opened_them(
    mongodb_url: str, namespace: str, raw: AsyncMongoClient[Any]
) -> None:
    await raw.admin.command("ping")
    async with MongoDBStorage[Any](mongodb_url, namespace=namespace) as storage:
        await storage.write("chat:1", 1)

        def elsewhere() -> None:
            with pytest.raises(ConfigurationError, match="another event loop"):
                asyncio.run(storage.read("chat:1"))
            with pytest.raises(ConfigurationError, match="belongs to another event loop"):
                asyncio.run(MongoDBStorage[Any](raw).read("chat:1"))

        await asyncio.to_thread(elsewhere)
        assert await storage.read("chat:1") == 1


def test_a_storage_is_made_where_no_loop_runs(mongodb_url: str, namespace: str) -> None:
    storage = MongoDBStorage[Any](mongodb_url, namespace=namespace)

    async def use() -> None:
        async with storage:
            await storage.write("chat:1", 1)

    asyncio.run(use())


class Commands(CommandListener):
    """Collects what a client sends."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.sent.append(dict(event.command))

    def succeeded(self, event: object) -> None:
        pass

    def failed(self, event: object) -> None:
        pass


def stages(plan: Mapping[str, Any]) -> Iterator[str]:
    yield plan["stage"]
    if "inputStage" in plan:
        yield from stages(plan["inputStage"])


async def test_a_call_is_one_command_that_finds_its_documents_by_the_index(
    mongodb_url: str, namespace: str, raw: AsyncMongoClient[Any]
) -> None:
    commands = Commands()
    async with (
        AsyncMongoClient[Any](mongodb_url, event_listeners=[commands]) as client,
        MongoDBStorage[Any](client, namespace=namespace, ttl=timedelta(minutes=1)) as storage,
    ):
        await storage.write_many({f"chat:{number}": number for number in range(20)})
        one, two = storage.version_of(b"1"), storage.version_of(b"2")
        calls: list[tuple[str, set[str], Callable[[], Awaitable[Any]]]] = [
            ("find", {"IDHACK"}, lambda: storage.read("chat:1")),
            ("find", {"IDHACK"}, lambda: storage.read_versioned("chat:1")),
            ("update", {"IDHACK"}, lambda: storage.write("chat:1", 1)),
            ("update", {"IXSCAN"}, lambda: storage.write_versioned("chat:1", 2, one)),
            ("update", {"IXSCAN"}, lambda: storage.touch("chat:1")),
            ("delete", {"IXSCAN"}, lambda: storage.delete_versioned("chat:1", two)),
            ("update", {"IDHACK"}, lambda: storage.write_versioned("chat:1", 1, None)),
            ("delete", {"IDHACK"}, lambda: storage.delete("chat:1")),
            ("update", {"IDHACK"}, lambda: storage.write_many({"chat:1": 1, "chat:2": 2})),
            ("find", {"IXSCAN"}, lambda: storage.read_many(["chat:1", "chat:2"])),
            ("delete", {"IDHACK"}, lambda: storage.delete_many(["chat:1", "chat:2"])),
            ("delete", {"IXSCAN"}, storage.purge_expired),
        ]
        for command, by, call in calls:
            commands.sent.clear()
            await call()
            (sent,) = commands.sent
            assert next(iter(sent)) == command
            assert command == "find" or sent["writeConcern"] == {"w": "majority", "j": True}
            plain = {
                name: value for name, value in sent.items() if name[0] != "$" and name not in ("lsid", "txnNumber")
            }
            for kind in ("updates", "deletes"):
                if kind in plain:
                    plain[kind] = plain[kind][:1]  # the server explains one at a time
            explained = await raw["satchel"].command("explain", plain, verbosity="queryPlanner")
            plan = explained["queryPlanner"]["winningPlan"]
            assert by <= set(stages(plan.get("queryPlan", plan)))
            assert explained["queryPlanner"]["rejectedPlans"] == []


@pytest.mark.parametrize(("url", "line"), [
    ("http://localhost", r"starts with mongodb:// or mongodb\+srv://, not with http"),
    ("mongodb+tcp://localhost", "starts with"),
    ("mongodb://localhost:port", "Port"),
    ("mongodb://localhost:99999", "Port"),
    ("mongodb://", "names a host"),
    ("mongodb:///satchel", "names a host"),
    ("mongodb+srv://a.example.com,b.example.com", "one, and only one, hostname"),
    ("mongodb+srv://a.example.com:27017", "must not include a port"),
    ("mongodb://a,b/?directConnection=true", "multiple hosts"),
    ("mongodb://localhost/bots.chats", r"its query, as in mongodb://localhost/bots\?collection=chats"),
    ("mongodb://localhost/bots%2Echats?collection=chats", r"\?collection=chats"),
    ("mongodb://localhost/?maxPoolSise=3", "Unknown option: maxpoolsise"),
    ("mongodb://localhost/?maxPoolSize=few", "maxpoolsize must be an integer"),
    ("mongodb://localhost/?w=1", "w=majority"),
    ("mongodb://localhost/?w=0", "w=majority"),
    ("mongodb://localhost/?journal=false", "w=majority"),
    ("mongodb://localhost/?wTimeoutMS=5", "w=majority"),
    ("mongodb://localhost/?readPreference=secondaryPreferred", "from the primary"),
    ("mongodb://localhost/?readConcernLevel=majority", "read concern local"),
    ("mongodb://localhost/?ttl=0s", "has to be positive"),
    ("mongodb://localhost/?timeout=soon", "not a duration"),
    ("mongodb://localhost/?timeout=0s", "has to be positive"),
    ("mongodb://localhost/?create=perhaps", "true or false"),
    ("mongodb://localhost/?collection=", "cannot be empty"),
    ("mongodb://localhost/?collection=a$b", r"a\$b"),
    ("mongodb://localhost/?tls=true&tlsCAFile=/missing/ca.pem", "cannot be read: No such file"),
    ("mongodb://localhost/my%20db", "database name"),
    ("mongodb://bot:hunter2@localhost:hunter2", "malformed"),
    ("mongodb://bot:hunter2%@localhost", "malformed"),
    ("mongodb://bot:1#hunter2@localhost/db", "in a password or a name, write"),
    ("mongodb://bot:1/hunter2@localhost/db", "in a password or a name, write"),
    ("mongodb://bot:1?hunter2@localhost/db", "in a password or a name, write"),
    ("mongodb://bot:1?hunter2=3@localhost/db", "in a password or a name, write"),
    ("mongodb://localhost/db#hunter2", "write '#' as %23"),
    ("mongodb://localhost/?w=1&w=majority", "has option w more than once"),
    ("", "starts with its scheme"),
])  # fmt: skip
def test_a_wrong_url_is_refused_before_anything_is_connected(url: str, line: str) -> None:
    with pytest.raises(ConfigurationError, match=line) as caught:
        MongoDBStorage(url)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"database": "my db"}, {"database": ""}, {"collection": ""}, {"collection": "a\0b"}, {"database": 3}]
)
async def test_wrong_names_are_refused_before_anything_is_connected(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        MongoDBStorage("mongodb://localhost", **options)
    with pytest.raises(ConfigurationError):
        MongoDBStorage(AsyncMongoClient(), **options)


def test_a_url_says_what_it_opens() -> None:
    for url, where in {
        "mongodb://localhost": "mongodb://localhost:27017/satchel.satchel_sessions",
        "mongodb://bot:secret@[::1]/bots": "mongodb://[::1]:27017/bots.satchel_sessions",
        "mongodb://bot:secret@b:2,a:1/?replicaSet=rs0&w=majority": "mongodb://a:1,b:2/satchel.satchel_sessions",
        "mongodb+srv://bot:secret@c.example.com/x?collection=y&retryWrites=true&w=majority&appName=bot&ttl=30d": (
            "mongodb+srv://c.example.com/x.y"
        ),
        "mongodb://%2Ftmp%2Fmongodb-27017.sock": "mongodb://%2Ftmp%2Fmongodb-27017.sock/satchel.satchel_sessions",
    }.items():
        storage = open_storage(url)
        assert repr(storage) == f"<MongoDBStorage {where}>"


async def test_names_that_the_server_does_not_take_are_said(mongodb_url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a name that the server takes"):
        async with MongoDBStorage[Any](mongodb_url, database="x" * 70):
            pass


async def test_a_port_where_nobody_listens_is_said_in_time(free_tcp_port: int) -> None:
    storage = MongoDBStorage[Any](f"mongodb://127.0.0.1:{free_tcp_port}", timeout=timedelta(seconds=1))
    async with asyncio.timeout(5):
        with pytest.raises(StorageUnavailableError, match="cannot be reached: .*Errno 111"):
            await storage.read("chat:1")
        await storage.aclose()


async def test_a_host_that_is_not_there_is_said() -> None:
    with pytest.raises(StorageUnavailableError, match="cannot be reached"):
        async with MongoDBStorage[Any]("mongodb://nowhere.invalid", timeout=timedelta(seconds=1)):
            pass


async def test_a_name_of_which_the_dns_has_no_servers_is_said() -> None:
    with pytest.raises(StorageUnavailableError, match="nowhere.invalid/satchel.satchel_sessions ") as caught:
        async with MongoDBStorage[Any]("mongodb+srv://bot:hunter2@nowhere.invalid", timeout=timedelta(seconds=2)):
            pass
    assert "hunter2" not in str(caught.value)


async def test_a_server_of_another_kind_is_said() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        storage = MongoDBStorage[Any](f"mongodb://127.0.0.1:{port}", timeout=timedelta(seconds=1))
        with pytest.raises(ConfigurationError, match="does not speak the protocol of MongoDB"):
            await storage.read("chat:1")
        await storage.aclose()


async def test_a_replica_set_of_another_name_is_said(mongodb_url: str) -> None:
    for url in (f"{mongodb_url}&replicaSet=rs9", mongodb_url.replace("directConnection=true", "replicaSet=rs9")):
        with pytest.raises(ConfigurationError, match="is no replica set of the name given"):
            async with MongoDBStorage[Any](url, timeout=timedelta(seconds=1)):
                pass


async def connections(raw: AsyncMongoClient[Any], name: str) -> int:
    """Count the connections of a client that the server knows, those that watch it included."""
    known = await raw.admin.aggregate([{"$currentOp": {"allUsers": True, "idleConnections": True}}])
    return sum([operation.get("appName") == name async for operation in known])


async def test_closing_leaves_no_connection_and_no_task(
    mongodb_url: str, namespace: str, raw: AsyncMongoClient[Any]
) -> None:
    await raw.admin.command("ping")
    tasks = asyncio.all_tasks()
    async with MongoDBStorage[Any](f"{mongodb_url}&appName={namespace}", namespace=namespace) as storage:
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(20)))
        assert await connections(raw, namespace) > 0
    assert {task for task in asyncio.all_tasks() - tasks if not task.done()} == set()
    async with asyncio.timeout(5):
        while await connections(raw, namespace):  # the server notices in its own time
            pass


async def test_calls_that_are_cancelled_at_any_moment_lose_no_connection(
    mongodb_url: str, namespace: str, raw: AsyncMongoClient[Any]
) -> None:
    keys = [f"chat:{number}" for number in range(30)]
    url = f"{mongodb_url}&appName={namespace}&maxPoolSize=6"
    async with MongoDBStorage[Any](url, namespace=namespace) as storage:
        await storage.write_many({key: key for key in keys})

        async def use(key: str) -> None:
            for _ in range(4):
                assert await storage.read(key) == key
                assert await storage.read_many([key, "missing"]) == {key: key}
                record = await storage.read_versioned(key)
                assert record is not None
                await storage.write_versioned(key, key, record.version)
                await storage.write(key, key)

        async def give_up(key: str, after: int) -> None:
            task = asyncio.ensure_future(use(key))
            for _ in range(after % 70):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()  # while it is cleaning up
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None

        for turn in range(8):
            await asyncio.gather(
                *(give_up(key, 17 * turn + 5 * number) for number, key in enumerate(keys)),
                *(use(key) for key in keys[:3]),
            )
        assert await asyncio.gather(*(storage.read(key) for key in keys)) == keys
        assert 0 < await connections(raw, namespace) <= 6 + 2  # two watch the server
        await asyncio.gather(*(use(key) for key in keys))


async def test_a_session_survives_its_trip(mongodb_url: str, namespace: str) -> None:
    async with open_storage(f"{mongodb_url}&namespace={namespace}&ttl=1h") as storage:
        sessions = Sessions(storage, initial=lambda: {"pizza": 0})
        for _ in range(3):
            async with sessions.open("chat:1") as session:
                session.data["pizza"] += 1
        assert await sessions.read("chat:1") == {"pizza": 3}
