"""What is particular to DynamoDB: layout, the size of an item, clients, the table, and what is wrong in one line."""

import asyncio
import json
import os
import secrets
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from satchel import (
    Change,
    Codec,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    StorageError,
    StorageUnavailableError,
    ValueTooLargeError,
    open_storage,
)
from satchel_conformance.front import Answer, Front
from satchel_conformance.proxy import BlackHole, Proxy, address_in
from satchel_conformance.worker import run_workers
from satchel_dynamodb import DynamoDBStorage

from .conftest import endpoint_of, item_in


class Binary(Codec[bytes]):
    """Stores bytes as they are, as compression and encryption do."""

    is_text = False

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, payload: bytes) -> bytes:
        return payload


async def test_at_rest_a_session_is_an_item_with_readable_json(dynamodb_url: str, namespace: str, raw: Any) -> None:
    async with DynamoDBStorage[Any].from_url(dynamodb_url, namespace=namespace) as storage:
        await storage.write("telegram:42", {"name": "Zoë", "pizza": 1})
        assert item_in(raw, f"{namespace}:telegram:42") == {
            "session_key": {"S": f"{namespace}:telegram:42"},
            "payload": {"S": '{"name":"Zoë","pizza":1}'},
            "version": {"S": storage.version_of('{"name":"Zoë","pizza":1}'.encode())},
        }


async def test_what_an_earlier_release_laid_down_is_read(dynamodb_url: str, namespace: str, raw: Any) -> None:
    async with DynamoDBStorage[Any].from_url(dynamodb_url, namespace=namespace) as storage:
        end = str(int(time.time() * 1000) + 60_000)
        item = {
            "session_key": {"S": f"{namespace}:chat:1"},
            "payload": {"S": '{"pizza": 1}'},
            "version": {"S": "1"},
            "expires_at": {"N": end},
            "remove_at": {"N": end[:-3]},
        }
        raw.put_item(TableName="sessions", Item=item)
        assert await storage.read_versioned("chat:1") == ({"pizza": 1}, "1")


@pytest.mark.parametrize("payload", [bytes(range(256)), b""])
async def test_what_is_no_text_is_stored_as_bytes(dynamodb_url: str, namespace: str, raw: Any, payload: bytes) -> None:
    async with DynamoDBStorage[bytes].from_url(dynamodb_url, namespace=namespace, codec=Binary()) as storage:
        await storage.write("chat:1", payload)
        assert await storage.read("chat:1") == payload
        assert await storage.read_many(["chat:1"]) == {"chat:1": payload}
        assert item_in(raw, f"{namespace}:chat:1")["payload"] == {"B": payload}


async def test_the_table_removes_what_has_ended_and_never_before(dynamodb_url: str, namespace: str, raw: Any) -> None:
    ttl = timedelta(milliseconds=90_123.4)
    async with DynamoDBStorage[Any].from_url(dynamodb_url, namespace=namespace, ttl=ttl) as storage:
        found = raw.describe_time_to_live(TableName="sessions")["TimeToLiveDescription"]
        assert found["AttributeName"] == "remove_at"
        assert found["TimeToLiveStatus"] in ("ENABLING", "ENABLED")
        start = time.time() * 1000
        version = await storage.write_versioned("created", 1, None)
        await storage.write_versioned("created", 2, version)
        await storage.write("written", 1)
        await storage.write_many({"batched": 1})
        await DynamoDBStorage[Any].from_url(dynamodb_url, namespace=namespace).write("touched", 1)
        assert await storage.touch("touched")
    for key in ("created", "written", "batched", "touched"):
        item = item_in(raw, f"{namespace}:{key}")
        end = int(item["expires_at"]["N"])
        assert start + 90_124 <= end <= time.time() * 1000 + 90_126
        assert end < int(item["remove_at"]["N"]) * 1000 <= end + 1000


async def test_without_a_ttl_every_write_and_touch_removes_an_older_end(
    dynamodb_url: str, namespace: str, raw: Any
) -> None:
    keys = ("written", "replaced", "batched", "touched")
    async with (
        DynamoDBStorage[Any].from_url(dynamodb_url, namespace=namespace, ttl=timedelta(hours=1)) as ending,
        DynamoDBStorage[Any].from_url(dynamodb_url, namespace=namespace) as storage,
    ):
        versions = {key: await ending.write_versioned(key, 1, None) for key in keys}
        await storage.write("written", 1)
        await storage.write_versioned("replaced", 2, versions["replaced"])
        await storage.write_many({"batched": 1})
        assert await storage.touch("touched")
    for key in keys:
        assert item_in(raw, f"{namespace}:{key}").keys() == {"session_key", "payload", "version"}


async def test_the_largest_payload_fits_beside_the_longest_key_and_not_one_byte_more(
    dynamodb_url: str, raw: Any
) -> None:
    namespace = secrets.token_hex(6) + "%" * 116
    key = "\0" * 512
    async with DynamoDBStorage[Any].from_url(dynamodb_url, namespace=namespace, ttl=timedelta.max) as storage:
        largest = storage.capabilities.max_value_bytes or 0
        await storage.write(key, "x" * (largest - 2))
        assert len(await storage.read(key) or "") == largest - 2
        name = secrets.token_hex(6) + "%25" * 116 + ":" + "%00" * 512
        (item,) = raw.scan(TableName="sessions", FilterExpression="begins_with(session_key, :n)",
                           ExpressionAttributeValues={":n": {"S": namespace[:12]}})["Items"]  # fmt: skip
        assert size_of(item) <= 400 * 1024
        with pytest.raises(ValueTooLargeError):
            await storage.write(key, "x" * (largest - 1))
        # The declared limit wastes no more than the escapes that this namespace does not have.
        room = 400 * 1024 - size_of(item)
        item["payload"]["S"] += "x" * room
        raw.put_item(TableName="sessions", Item=item)
        item["payload"]["S"] += "x"
        with pytest.raises(ClientError, match="Item size has exceeded"):
            raw.put_item(TableName="sessions", Item=item)
        assert room <= 3 * len(name)
        await storage.delete(key)


def size_of(item: Any) -> int:
    """Count as the server does."""
    size = 0
    for name, typed in item.items():
        ((kind, value),) = typed.items()
        size += len(name) + (_size_of_number(value) if kind == "N" else len(value.encode()))
    return size


def _size_of_number(digits: str) -> int:
    """Count pairs of digits, from the decimal point on, but those of zeros at the end."""
    pairs = [digits[max(0, end - 2) : end] for end in range(len(digits), 0, -2)]
    while pairs and pairs[0] == "00":
        del pairs[0]
    return len(pairs) + 1


@pytest.mark.parametrize(
    "change", [{"payload": {"S": '{"pizza"'}}, {"payload": {"L": []}}, {"payload": None}, {"version": None}]
)
async def test_what_is_damaged_raises_and_stays(
    dynamodb_url: str, namespace: str, raw: Any, change: dict[str, Any]
) -> None:
    async with DynamoDBStorage[Any].from_url(dynamodb_url, namespace=namespace) as storage:
        await storage.write("chat:1", {"pizza": 1})
        item = item_in(raw, f"{namespace}:chat:1") | change
        item = {name: value for name, value in item.items() if value is not None}
        raw.put_item(TableName="sessions", Item=item)
        for read in (storage.read("chat:1"), storage.read_versioned("chat:1"), storage.read_many(["chat:1"])):
            with pytest.raises(CorruptValueError, match="dynamodb:///sessions"):
                await read
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", 1, None)
    assert item_in(raw, f"{namespace}:chat:1") == item


@pytest.fixture(
    params=[
        "client",
        "resource",
        "table",
        "inner client",
        "legacy",
        "standard",
        "adaptive",
        "one connection",
        "unchecked",
    ]
)
def client(request: pytest.FixtureRequest, endpoint: str) -> Iterator[Any]:
    kind: str = request.param
    configs = {
        "legacy": Config(retries={"mode": "legacy", "max_attempts": 5}),
        "standard": Config(retries={"mode": "standard", "max_attempts": 5}),
        "adaptive": Config(retries={"mode": "adaptive", "max_attempts": 5}),
        "one connection": Config(max_pool_connections=1),
        "unchecked": Config(parameter_validation=False, read_timeout=5, connect_timeout=5),
    }
    where: Any = {"endpoint_url": endpoint, "region_name": "eu-west-1", "config": configs.get(kind)}
    if kind in ("resource", "table", "inner client"):
        resource = boto3.Session().resource("dynamodb", **where)
        inner = resource.meta.client
        yield {"resource": resource, "table": resource.Table("sessions"), "inner client": inner}[kind]
    else:
        yield (inner := boto3.Session().client("dynamodb", **where))
    assert "sessions" in inner.list_tables()["TableNames"]  # it is open still
    inner.close()


async def test_a_client_works_with_any_options_and_stays_open(client: Any, namespace: str) -> None:
    async with DynamoDBStorage[Any](
        "sessions", client=client, namespace=namespace, ttl=timedelta(minutes=1)
    ) as storage:
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
        await storage.write_many({f"many:{number}": number for number in range(30)})
        assert len(await storage.read_many(f"many:{number}" for number in range(120))) == 30
        await storage.delete_many(f"many:{number}" for number in range(30))
        versions = await storage.commit({"chat:2": Change(3, version), "chat:3": Change(3, None)})
        with pytest.raises(ConflictError, match="'chat:2' is not"):
            await storage.commit({"chat:3": Change(4, versions["chat:3"]), "chat:2": Change(4, version)})
        assert await storage.read_records(["chat:2", "chat:3"]) == {key: (3, versions[key]) for key in versions}
        await storage.commit({key: Change(None, version) for key, version in versions.items()})
        assert await storage.read_many(["chat:ü", "chat:2"]) == {"chat:ü": value}
        await storage.delete("chat:ü")
    async with DynamoDBStorage[bytes]("sessions", client=client, namespace=namespace, codec=Binary()) as binary:
        await binary.write("chat:1", b"\xff")
        assert await binary.read("chat:1") == b"\xff"
        await binary.delete("chat:1")


def test_what_is_no_client_for_dynamodb_is_refused(raw: Any) -> None:
    with pytest.raises(ConfigurationError, match="not builtins.str"):
        DynamoDBStorage("sessions", client="http://localhost:8000")
    other = boto3.Session().client("s3", region_name="eu-west-1")
    with pytest.raises(ConfigurationError, match="not of s3"):
        DynamoDBStorage("sessions", client=other)
    other.close()
    with pytest.raises(ConfigurationError, match="region is the client's own"):
        DynamoDBStorage("sessions", client=raw, region="eu-west-1")


THROTTLED = json.dumps({"__type": "com.amazon.coral.availability#ThrottlingException", "message": "Rate exceeded"})
EXCEEDED = json.dumps({"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"})
IN_A_TRANSACTION = json.dumps({"__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException"})


@pytest.mark.parametrize("code", [THROTTLED, EXCEEDED, IN_A_TRANSACTION])
async def test_what_was_too_much_is_asked_for_again_and_again(
    front: Front, url: str, namespace: str, code: str
) -> None:
    async with DynamoDBStorage[Any].from_url(url, namespace=namespace) as storage:
        front.answer(400, code.encode(), times=3)
        version = await storage.write_versioned("chat:1", 1, None)
        front.answer(400, code.encode(), times=3)
        await storage.write_versioned("chat:1", 2, version)
        front.answer(400, code.encode(), times=3)
        assert await storage.read("chat:1") == 2


async def test_what_stays_too_much_raises_in_time(front: Front, url: str, namespace: str) -> None:
    async with DynamoDBStorage[Any].from_url(url, namespace=namespace, timeout=timedelta(seconds=1)) as storage:
        front.answer(400, THROTTLED.encode(), times=1000)
        start = time.monotonic()
        with pytest.raises(StorageUnavailableError, match="more than it gives: ThrottlingException|did not answer"):
            await storage.write("chat:1", 1)
        assert time.monotonic() - start < 2
        front.heal()
        await storage.write("chat:1", 2)


@pytest.mark.parametrize("mode", ["own", "legacy", "standard", "adaptive"])
async def test_a_change_that_may_have_been_made_is_not_made_twice(
    front: Front, url: str, namespace: str, mode: Any
) -> None:
    """Not even by a client that is configured to do so, and would then report a conflict with itself."""
    where: Any = {"endpoint_url": front.url, "region_name": "eu-west-1"}
    client = None
    if mode != "own":
        config = Config(retries={"mode": mode, "max_attempts": 5})
        client = boto3.Session().client("dynamodb", config=config, **where)
    own: Any = {} if client else {"endpoint_url": front.url, "region": "eu-west-1"}
    async with DynamoDBStorage[Any]("sessions", client=client, namespace=namespace, **own) as storage:
        await storage.write("chat:1", 1)
        before = front.requests
        front.answer(500, b'{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}', times=2)
        with pytest.raises(StorageUnavailableError, match="has trouble: InternalServerError"):
            await storage.write_versioned("chat:2", 1, None)
        assert front.requests == before + 1
        front.heal()
        front.answer(400, THROTTLED.encode(), times=2)  # that was certainly not made
        await storage.write_versioned("chat:2", 1, None)
    if client is not None:
        front.answer(500, b"{}")
        client.list_tables()  # used by others, it is as it was
        client.close()


async def test_the_rest_of_a_batch_is_asked_for_again(front: Front, url: str, namespace: str) -> None:
    async with DynamoDBStorage[Any].from_url(url, namespace=namespace) as storage:
        front.answer_by(lambda request: part_of(request.body, "UnprocessedItems"))
        await storage.write_many({f"chat:{number}": number for number in range(30)})
        front.answer_by(lambda request: part_of(request.body, "UnprocessedKeys"))
        found = await storage.read_many(f"chat:{number}" for number in range(30))
        assert found == {f"chat:{number}": number for number in range(30)}
        front.answer_by(lambda request: part_of(request.body, "UnprocessedItems"))
        await storage.delete_many(found)
        assert await storage.read_many(found) == {}


def part_of(body: bytes, name: str) -> Any:
    """Return an answer that says that nothing of a batch was done."""
    answer = {name: json.loads(body)["RequestItems"], "Responses": {"sessions": []}}
    return Answer(200, json.dumps(answer).encode(), "application/x-amz-json-1.0")


@pytest.fixture
def table(raw: Any) -> Iterator[str]:
    """The name of a table that is not there yet."""
    name = f"test-{secrets.token_hex(6)}"
    yield name
    if name in raw.list_tables()["TableNames"]:
        raw.delete_table(TableName=name)


def test_many_processes_may_create_the_table_at_once(dynamodb_url: str, table: str, namespace: str) -> None:
    url = dynamodb_url.replace("sessions", table)
    assert run_workers(url, namespace, "write", processes=10) == 0


async def test_a_table_is_created_for_payment_by_use_and_only_looked_at_when_opened(
    front: Front, url: str, table: str, raw: Any
) -> None:
    async with DynamoDBStorage[Any].from_url(url.replace("sessions", table)) as storage:
        found = raw.describe_table(TableName=table)["Table"]
        assert found["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        front.seen.clear()
        await every_call(storage)
        assert not any("Table" in action or "Live" in action for action in actions_in(front))


async def every_call(storage: DynamoDBStorage[Any]) -> None:
    await storage.setup()
    version = await storage.write_versioned("chat:1", 1, None)
    version = await storage.write_versioned("chat:1", 2, version)
    assert await storage.read("chat:1") == 2
    assert await storage.touch("chat:1")
    await storage.write_many({"chat:2": 2, "chat:3": 3})
    assert await storage.read_many(["chat:1", "chat:2"]) == {"chat:1": 2, "chat:2": 2}
    assert sorted([key async for key in storage.keys()]) == ["chat:1", "chat:2", "chat:3"]
    versions = await storage.commit({"chat:4": Change(4, None), "nobody": Change(None, None)})
    await storage.commit({"chat:1": Change(None, version), "chat:4": Change(None, versions["chat:4"])})
    await storage.delete("chat:1")
    await storage.delete_many(["chat:2", "chat:3"])
    assert await storage.purge_expired() == 0


def actions_in(front: Front) -> set[str]:
    return {request.headers["x-amz-target"].partition(".")[2] for request in front.seen}


def rights_in(front: Front) -> set[str]:
    """Return what the requests need rights to: a transaction those of its parts, and none of its own.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
    """
    parts: set[str] = set()
    for request in front.seen:
        for action in json.loads(request.body).get("TransactItems", []):
            parts |= {f"{part}Item" for part in action}
    return actions_in(front) - {"TransactWriteItems"} | parts


async def test_the_template_makes_the_table_and_the_rights_that_it_names_are_enough_and_none_is_spare(
    front: Front, url: str, table: str, raw: Any
) -> None:
    storage = DynamoDBStorage[Any].from_url(url.replace("sessions", table), create=False, ttl=timedelta(hours=1))
    resources = json.loads(storage.schema())["Resources"]
    properties = resources["SatchelTable"]["Properties"]
    expiry = properties.pop("TimeToLiveSpecification")
    raw.create_table(**properties)
    raw.update_time_to_live(TableName=table, TimeToLiveSpecification=expiry)
    async with storage:
        await every_call(storage)
    (statement,) = resources["SatchelPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert {f"dynamodb:{right}" for right in rights_in(front)} == set(statement["Action"])


async def test_without_create_a_missing_table_is_named_and_not_created(dynamodb_url: str, table: str, raw: Any) -> None:
    url = dynamodb_url.replace("sessions", table)
    with pytest.raises(ConfigurationError, match=f"{table}.* does not exist, and create=False"):
        async with open_storage(f"{url}&create=false"):
            pass
    assert table not in raw.list_tables()["TableNames"]
    async with open_storage(url) as storage:
        raw.delete_table(TableName=table)
        for call in (storage.read("chat:1"), storage.write("chat:1", 1)):
            with pytest.raises(ConfigurationError, match="does not exist"):
                await call


async def test_a_table_of_another_make_is_refused(dynamodb_url: str, table: str, raw: Any) -> None:
    raw.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    with pytest.raises(ConfigurationError, match="another key than the string session_key"):
        await open_storage(dynamodb_url.replace("sessions", table)).read("chat:1")


async def test_a_key_of_another_type_is_refused(dynamodb_url: str, table: str, raw: Any) -> None:
    raw.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "session_key", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "session_key", "AttributeType": "N"}],
    )
    with pytest.raises(ConfigurationError, match="another key than the string session_key"):
        await open_storage(dynamodb_url.replace("sessions", table)).read("chat:1")


@pytest.mark.parametrize("attribute", ["owner", "remove_at"])
async def test_a_table_with_an_index_of_somebody_else_s_is_used(
    dynamodb_url: str, table: str, raw: Any, attribute: str
) -> None:
    keys = [{"AttributeName": attribute, "KeyType": "HASH"}, {"AttributeName": "session_key", "KeyType": "RANGE"}]
    raw.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "session_key", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": "N"},
            {"AttributeName": "session_key", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[{"IndexName": "own", "KeySchema": keys, "Projection": {"ProjectionType": "KEYS_ONLY"}}],
    )
    async with open_storage(dynamodb_url.replace("sessions", table), ttl=timedelta(hours=1)) as storage:
        await storage.write("chat:1", 1)
        assert await storage.read("chat:1") == 1


async def test_a_table_that_expires_by_something_else_is_refused(dynamodb_url: str, table: str, raw: Any) -> None:
    url = dynamodb_url.replace("sessions", table)
    properties = json.loads(DynamoDBStorage[Any].from_url(url).schema())["Resources"]["SatchelTable"]["Properties"]
    del properties["TimeToLiveSpecification"]
    raw.create_table(**properties)
    raw.update_time_to_live(TableName=table, TimeToLiveSpecification={"AttributeName": "other", "Enabled": True})
    with pytest.raises(ConfigurationError, match="expires by other, not by remove_at"):
        await open_storage(url).read("chat:1")


async def test_listing_takes_every_page(dynamodb_url: str, namespace: str) -> None:
    """A page is a megabyte of the table, whatever of it is asked for."""
    keys = sorted(f"chat:{number}" for number in range(12))
    async with DynamoDBStorage[Any].from_url(dynamodb_url, namespace=namespace) as storage:
        await storage.write_many(dict.fromkeys(keys, "x" * 250_000))
        assert sorted([key async for key in storage.keys()]) == keys
        assert sorted(await storage.read_many(keys)) == keys
        await storage.delete_many(keys)


@pytest.mark.parametrize(("url", "line"), [
    ("dynamodb://sessions", "is dynamodb:///table"),
    ("dynamodb:///", "table is ''"),
    ("dynamodb:///ab", "table is 'ab'"),
    ("dynamodb:///sessions/more", "is dynamodb:///table"),
    ("dynamodb://user:hunter2@/sessions", "is dynamodb:///table"),
    ("dynamodb://user:1/hunter2@/sessions", "in a password or a name, write"),
    ("dynamodb:///sessions#2", "write '#' as %23"),
    ("dynamodb:///sessions?region=a&region=b", "has option region more than once"),
    ("dynamodb:///sessions?offload=s3://bucket/a%23b", "write '#' as %23"),
    ("dynamodb:///sess ions", "table is 'sess ions'"),
    ("dynamodb:///sessions?region=EU west", "region is 'EU west'"),
    ("dynamodb:///sessions?endpoint_url=localhost:8000", "endpoint_url is one such as"),
    ("dynamodb:///sessions?endpoint_url=http://localhost:port", "endpoint_url is one such as"),
    ("dynamodb:///sessions?endpoint_url=http://bot:hunter2@localhost", "no user and password"),
    ("dynamodb:///sessions?profile=", "profile is empty"),
    ("dynamodb:///sessions?max_connections=0", "has to be a positive integer"),
    ("dynamodb:///sessions?max_connections=many", "max_connections is not an integer"),
    ("dynamodb:///sessions?offload=bucket", "starts with its scheme"),
    ("dynamodb:///sessions?offload=file:///objects", "offload is a URL such as s3://"),
    ("dynamodb:///sessions?offload=s3://bucket%3Fttl=1h", "offload takes no ttl"),
    ("dynamodb:///sessions?read_capacity=5", "no option read_capacity"),
    ("dynamodb:///sessions?ttl=0s", "has to be positive"),
    ("dynamodb:///sessions?timeout=soon", "not a duration"),
])  # fmt: skip
def test_a_wrong_url_is_refused_before_anything_is_connected(url: str, line: str) -> None:
    with pytest.raises(ConfigurationError, match=line) as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_storage_says_where_it_is(raw: Any, endpoint: str) -> None:
    for url in (
        "dynamodb:///sessions",
        "dynamodb:///sessions?region=eu-west-1",
        f"dynamodb:///sessions?endpoint_url={endpoint}",
    ):
        assert repr(open_storage(url)) == f"<DynamoDBStorage {url}>"
    storage = DynamoDBStorage[Any]("sessions", client=raw)
    assert repr(storage) == f"<DynamoDBStorage dynamodb:///sessions?endpoint_url={endpoint}>"


def test_a_secret_in_the_address_that_a_client_has_is_not_said() -> None:
    client = boto3.Session().client(
        "dynamodb", endpoint_url="http://user:s3cret@localhost:8000", region_name="us-east-1"
    )
    storage = DynamoDBStorage[Any]("sessions", client=client)
    assert repr(storage) == "<DynamoDBStorage dynamodb:///sessions?endpoint_url=http://localhost:8000>"
    client.close()


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that says nothing."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("nowhere")
async def test_credentials_that_are_nowhere_are_asked_for_in_one_line(
    dynamodb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="needs AWS credentials, and none were found") as caught:
        await open_storage(dynamodb_url).read("chat:1")
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    with pytest.raises(ConfigurationError, match="needs AWS credentials"):
        await open_storage(dynamodb_url).read("chat:1")


@pytest.mark.usefixtures("nowhere")
async def test_a_machine_that_does_not_tell_its_credentials_is_not_waited_for(
    dynamodb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the address that AWS gives to its machines swallows what is sent to it."""
    with Proxy(*address_in(dynamodb_url)) as proxy:
        proxy.arm(BlackHole())
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{proxy.port}")
        start = time.monotonic()
        with pytest.raises(ConfigurationError, match="needs AWS credentials"):
            await open_storage(dynamodb_url).read("chat:1")
        assert time.monotonic() - start < 10


@pytest.mark.usefixtures("nowhere")
async def test_a_region_or_profile_that_is_nowhere_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with pytest.raises(ConfigurationError, match="needs a region: region=, AWS_REGION"):
        await open_storage("dynamodb:///sessions").read("chat:1")
    with pytest.raises(ConfigurationError, match="cannot use the AWS configuration: .*nobody"):
        await open_storage("dynamodb:///sessions?profile=nobody&region=eu-west-1").read("chat:1")


async def test_a_profile_and_endpoint_of_the_configuration_file_are_used(
    dynamodb_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"[profile bot]\nregion = eu-west-1\nendpoint_url = {endpoint_of(dynamodb_url)}\n"
        "aws_access_key_id = satchel\naws_secret_access_key = x\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    async with open_storage("dynamodb:///sessions?profile=bot", namespace=namespace) as storage:
        await storage.write("chat:1", 1)
        assert await storage.read("chat:1") == 1


@pytest.mark.parametrize(("code", "kind", "line"), [
    ("AccessDeniedException", ConfigurationError, "forbids its user a call: DescribeTable. not authorized"),
    ("UnrecognizedClientException", ConfigurationError, "does not take the AWS credentials given"),
    ("InvalidSignatureException", ConfigurationError, "does not take the AWS credentials given"),
    ("ExpiredTokenException", ConfigurationError, "does not take the AWS credentials given any more"),
    ("InternalServerError", StorageUnavailableError, "has trouble"),
])  # fmt: skip
async def test_what_the_server_refuses_is_said_in_one_line(
    front: Front, url: str, code: str, kind: type[Exception], line: str
) -> None:
    status = 500 if kind is StorageUnavailableError else 400
    front.answer(status, json.dumps({"__type": f"x#{code}", "message": "not authorized"}).encode())
    storage = open_storage(url)
    with pytest.raises(kind, match=line) as caught:
        await storage.read("chat:1")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ClientError)
    assert await storage.read("chat:1") is None
    await storage.aclose()


async def test_a_denied_read_is_never_missing(front: Front, url: str) -> None:
    denied = json.dumps({"__type": "x#AccessDeniedException", "Message": "no identity-based policy allows it"})
    async with DynamoDBStorage[Any].from_url(url) as storage:
        for call in (
            storage.read("a"),
            storage.read_versioned("a"),
            storage.read_many(["a"]),
            storage.read_records(["a"]),
            anext(aiter(storage.keys())),
        ):
            front.answer(400, denied.encode())
            with pytest.raises(ConfigurationError, match="forbids its user a call: .*no identity-based policy"):
                await call


@pytest.mark.usefixtures("dynamodb_url")  # which brings credentials
async def test_a_port_where_nobody_listens_is_said_at_once(free_tcp_port: int) -> None:
    url = f"dynamodb:///sessions?endpoint_url=http://127.0.0.1:{free_tcp_port}"
    async with asyncio.timeout(5):
        with pytest.raises(StorageUnavailableError, match="cannot be reached: Connection refused"):
            await open_storage(url).read("chat:1")


@pytest.mark.usefixtures("dynamodb_url")
async def test_a_host_that_is_not_there_is_said() -> None:
    with pytest.raises(StorageUnavailableError, match="cannot be reached"):
        await open_storage("dynamodb:///sessions?endpoint_url=http://nowhere.invalid").read("chat:1")


async def test_what_another_kind_of_server_says_is_never_missing_nor_written(front: Front, url: str) -> None:
    async with DynamoDBStorage[Any].from_url(url) as storage:
        for status in (200, 404):
            for call in (
                storage.read("a"),
                storage.read_versioned("a"),
                storage.read_many(["a"]),
                storage.write("a", 1),
                storage.delete("a"),
            ):
                front.answer(status, b"<html>We are back soon</html>")
                with pytest.raises(StorageError, match="dynamodb:///sessions"):
                    await call
