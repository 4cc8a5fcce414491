"""What is particular to S3: layout, keys, conditions that a server ignores, clients, rights, wrongs in one line."""

import asyncio
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.utils import parse_timestamp

from satchel import (
    Codec,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    Sessions,
    StorageError,
    StorageUnavailableError,
    Versioned,
    open_storage,
)
from satchel.aws.client import moment
from satchel.keys import escape
from satchel_conformance import Status, validate
from satchel_conformance.front import Front, Request
from satchel_conformance.worker import run_workers
from satchel_s3 import S3Storage
from satchel_s3.keys import Keys

from .conftest import client_at, endpoint_of


class Binary(Codec[bytes]):
    """Stores bytes as they are, as compression and encryption do."""

    is_text = False

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, payload: bytes) -> bytes:
        return payload


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget which conditions servers heed: one before may have had the port of a test's own."""
    monkeypatch.setattr("satchel_s3.objects._HEEDED", {})


def keys_in(raw: Any, prefix: str) -> list[str]:
    return [item["Key"] for item in raw.list_objects_v2(Bucket="sessions", Prefix=prefix).get("Contents", [])]


async def test_at_rest_a_session_is_an_object_of_readable_json(url: str, namespace: str, raw: Any) -> None:
    async with S3Storage[Any].from_url(url, namespace=namespace) as storage:
        await storage.write("telegram:42", {"name": "Zoë", "pizza": 1})
    found = raw.get_object(Bucket="sessions", Key=f"{namespace}:telegram:42")
    assert found["Body"].read() == '{"name":"Zoë","pizza":1}'.encode()
    assert found["ContentType"] == "application/json"
    assert found["Metadata"] == {}


async def test_with_a_ttl_a_second_line_says_when_it_ends(url: str, namespace: str, raw: Any) -> None:
    start = time.time() * 1000
    async with S3Storage[Any].from_url(url, namespace=namespace, ttl=timedelta(milliseconds=90_123.4)) as storage:
        await storage.write("chat:1", {"pizza": 1})
        found = raw.get_object(Bucket="sessions", Key=f"{namespace}:chat:1")
        first, second = found["Body"].read().split(b"\n")
        assert first == b'{"pizza":1}'
        assert start + 90_124 <= int(second) <= time.time() * 1000 + 90_126
        assert found["Metadata"] == {"expires-at": second.decode()}
        assert await storage.read("chat:1") == {"pizza": 1}


async def test_what_an_earlier_release_laid_down_is_read(url: str, namespace: str, raw: Any) -> None:
    async with S3Storage[Any].from_url(url, namespace=namespace) as storage:
        raw.put_object(Bucket="sessions", Key=f"{namespace}:chat:1", Body=b'{"pizza": 1}')
        end = str(int(time.time() * 1000) + 60_000)
        body, metadata = b'{"pizza": 2}\n' + end.encode(), {"expires-at": end}
        raw.put_object(Bucket="sessions", Key=f"{namespace}:chat:2", Body=body, Metadata=metadata)
        assert await storage.read("chat:1") == {"pizza": 1}
        assert await storage.read("chat:2") == {"pizza": 2}


async def test_an_edit_by_hand_counts_as_a_new_version(url: str, namespace: str, raw: Any) -> None:
    async with S3Storage[Any].from_url(url, namespace=namespace) as storage:
        version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
        raw.put_object(Bucket="sessions", Key=f"{namespace}:chat:1", Body=b'{"pizza": 2}')
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", {"pizza": 9}, version)
        assert await storage.read("chat:1") == {"pizza": 2}


@pytest.mark.parametrize("payload", [bytes(range(256)), b"", b"\n", b"1\n2"])
async def test_what_is_no_text_comes_back_with_and_without_an_end(url: str, namespace: str, payload: bytes) -> None:
    for ttl in (None, timedelta(hours=1)):
        async with S3Storage[bytes].from_url(url, namespace=namespace, codec=Binary(), ttl=ttl) as storage:
            await storage.write("chat:1", payload)
            assert await storage.read("chat:1") == payload


@pytest.mark.parametrize("metadata", [{}, {"expires-at": "1"}, {"expires-at": "soon"}])
async def test_what_is_damaged_raises_and_stays(url: str, namespace: str, raw: Any, metadata: dict[str, str]) -> None:
    async with S3Storage[Any].from_url(url, namespace=namespace) as storage:
        raw.put_object(Bucket="sessions", Key=f"{namespace}:chat:1", Body=b'{"pizza"', Metadata=metadata)
        for call in (storage.read("chat:1"), storage.read_versioned("chat:1")):
            with pytest.raises(CorruptValueError, match="s3://sessions/"):
                await call
        assert raw.get_object(Bucket="sessions", Key=f"{namespace}:chat:1")["Body"].read() == b'{"pizza"'


async def test_damaged_objects_are_named_and_keep_nobody_from_the_others(url: str, namespace: str, raw: Any) -> None:
    async with S3Storage[Any].from_url(url, namespace=namespace, ttl=timedelta(hours=1)) as storage:
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(4)))
        for key in ("chat:a", "chat:b", "user:a", "not/ours"):
            raw.put_object(Bucket="sessions", Key=f"{namespace}:{key}", Body=b"1", Metadata={"expires-at": "soon"})
        with pytest.raises(CorruptValueError, match=f"'{namespace}:chat:a', whose end is no number"):
            await storage.read("chat:a")
        keys = aiter(storage.keys("chat:"))
        assert {await anext(keys) for _ in range(4)} == {f"chat:{number}" for number in range(4)}
        with pytest.raises(CorruptValueError, match=f"whose end is no number: '{namespace}:chat:a' and 1 more$"):
            await anext(keys)
        assert [key async for key in storage.keys("chat:1")] == ["chat:1"]


async def test_a_purge_passes_over_damaged_objects(moto_url: str, namespace: str) -> None:
    raw = client_at(endpoint_of(moto_url))
    async with S3Storage[Any].from_url(moto_url, namespace=namespace, ttl=timedelta(milliseconds=1)) as storage:
        for key, end in (("a", "soon"), ("b", "1"), ("c", "1")):
            raw.put_object(Bucket="sessions", Key=f"{namespace}:{key}", Body=b"1", Metadata={"expires-at": end})
        assert await storage.purge_expired() == 2
        assert keys_in(raw, f"{namespace}:") == [f"{namespace}:a"]
    raw.close()


@pytest.mark.parametrize("shards", [1, 16])
@pytest.mark.parametrize("is_cut", [False, True])
async def test_a_purge_goes_on_where_the_one_before_ran_out_of_time(
    front: Front,
    front_url: str,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    shards: int,
    is_cut: bool,
) -> None:
    """Be it that half of the timeout is over after a step, or all of it within one."""
    loop, passed = asyncio.get_running_loop(), 0
    time_of_loop = loop.time
    monkeypatch.setattr(loop, "time", lambda: time_of_loop() + passed)
    url = front_url.replace("?", f"/{namespace}?")
    options: dict[str, Any] = {"namespace": namespace, "shards": shards, "timeout": timedelta(minutes=1)}
    keys = Keys(f"{namespace}/", shards)
    names = sorted((f"chat:{number}" for number in range(100)), key=lambda name: keys.key(f"{namespace}:{name}"))

    def heads() -> int:
        return sum(request.method == "HEAD" for request in front.seen)

    def pass_time(_: Request) -> None:
        nonlocal passed
        if not is_cut:
            passed = 31
        elif heads() > 64:
            passed = 61

    async with (
        S3Storage[Any].from_url(url, ttl=timedelta(milliseconds=1), **options) as short,
        S3Storage[Any].from_url(url, ttl=timedelta(hours=1), **options) as storage,
    ):
        await asyncio.gather(*(storage.write(name, 1) for name in names[:-1]), short.write(names[-1], 1))
        front.seen.clear()
        for _ in range(200):
            front.answer_by(pass_time)
        if is_cut:
            with pytest.raises(StorageUnavailableError, match="did not answer within 60 s"):
                await storage.purge_expired()
        else:
            assert await storage.purge_expired() == 0
            assert caplog.text.count("too large for one purge_expired()") == 1
        front.heal()
        front.seen.clear()
        assert await storage.purge_expired() == 1
        assert heads() < 100
        front.seen.clear()
        assert await storage.purge_expired() == 0
        assert heads() >= 99


async def test_a_touch_leaves_the_version_good_and_what_was_written_meanwhile(url: str, namespace: str) -> None:
    async with S3Storage[Any].from_url(url, namespace=namespace, ttl=timedelta(hours=1)) as storage:
        version = await storage.write_versioned("chat:1", 1, None)
        await asyncio.sleep(0.002)
        assert await storage.touch("chat:1")
        version = await storage.write_versioned("chat:1", 2, version)
        for number in range(5):
            written, _ = await asyncio.gather(
                storage.write_versioned("chat:1", number + 10, version), storage.touch("chat:1")
            )
            assert await storage.read("chat:1") == number + 10
            version = written


async def test_of_many_who_create_over_what_has_ended_one_wins(url: str, namespace: str) -> None:
    """Although they all write what was there before, too."""
    short = S3Storage[Any].from_url(url, namespace=namespace, ttl=timedelta(milliseconds=50))
    storages = [S3Storage[Any].from_url(url, namespace=namespace, ttl=timedelta(hours=1)) for _ in range(4)]
    for attempt in range(3):
        await short.write(f"chat:{attempt}", {"n": 0})
        await asyncio.sleep(0.06)
        calls = [storage.write_versioned(f"chat:{attempt}", {"n": 0}, None) for storage in storages * 2]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(result, str) for result in results) == 1
        assert sum(isinstance(result, ConflictError) for result in results) == 7
    for storage in [short, *storages]:
        await storage.aclose()


async def test_what_has_ended_is_removed_where_deletes_can_be_conditional(moto_url: str, namespace: str) -> None:
    raw = client_at(endpoint_of(moto_url))
    async with (
        S3Storage[Any].from_url(moto_url, namespace=namespace, ttl=timedelta(milliseconds=50)) as short,
        S3Storage[Any].from_url(moto_url, namespace=namespace, ttl=timedelta(hours=1)) as long,
    ):
        for number in range(5):
            await short.write(f"chat:{number}", number)
        await asyncio.sleep(0.06)
        await long.write("chat:4", 4)
        assert await short.purge_expired() == 4
        assert await short.purge_expired() == 0
        assert keys_in(raw, f"{namespace}:") == [f"{namespace}:chat:4"]
    raw.close()


NAMES = [
    "a", "a/b", "a//b", "..", ".", "a/../b", "a b", "a+b", "a%2Fb", "a%252Fb", "é", "e\u0301", "\U0001f600", "\ufffe",
    "\u2028", "a#b", "a&b", "a\\b", "~", "a:b", "a::b", "A", "\x80", "a'b", "x" * 1900, "é" * 600, "é" * 601,
]  # fmt: skip


@pytest.mark.parametrize("shards", [1, 16, 256, 4096])
@pytest.mark.parametrize("prefix", ["", "bots/", "p" * 256])
def test_keys_are_injective_short_plain_and_tell_their_names(prefix: str, shards: int) -> None:
    keys = Keys(prefix, shards)
    made = {keys.key(escape(name)): escape(name) for name in NAMES}
    assert len(made) == len(NAMES)
    for key, name in made.items():
        assert len(key) <= 1024
        assert key.isascii()
        assert key.startswith(prefix)
        assert "/" not in key[len(prefix) + (0 if shards == 1 else len(f"{shards - 1:x}") + 1) :]
        assert keys.name(key) in (name, None)
        for start in (name, name[: len(name) // 2]):
            assert any(key.startswith(each) for each in keys.starts(start))
    assert sum(keys.name(key) is None for key in made) == 3
    assert len(keys.starts("a")) == shards


@pytest.mark.parametrize("shards", [16, 256])
async def test_sessions_are_spread_over_prefixes_and_listed_from_all(
    url: str, namespace: str, raw: Any, shards: int
) -> None:
    keys = sorted([f"chat:{number}" for number in range(40)] + ["é" * 250, "\0" * 500])
    options: dict[str, Any] = {"namespace": namespace, "shards": shards}
    async with S3Storage[Any].from_url(url.replace("?", f"/{namespace}?"), **options) as storage:
        await asyncio.gather(*(storage.write(key, key) for key in keys))
        assert sorted([key async for key in storage.keys()]) == keys
        assert [key async for key in storage.keys("é" * 200)] == ["é" * 250]
        assert [await storage.read(key) for key in keys] == keys
        found = {key.split("/")[1] for key in keys_in(raw, f"{namespace}/")}
        assert len(found) > 10
        assert all(len(shard) == len(f"{shards - 1:x}") for shard in found)
        await asyncio.gather(*(storage.delete(key) for key in keys))
        assert [key async for key in storage.keys()] == []


async def test_listing_takes_every_page_and_passes_over_what_is_not_ours(moto_url: str, namespace: str) -> None:
    raw = client_at(endpoint_of(moto_url))
    # All writes are under way at once, and the server answers one after the other.
    async with S3Storage[Any].from_url(moto_url, namespace=namespace, timeout=timedelta(minutes=2)) as storage:
        keys = sorted(f"chat:{number}" for number in range(1010))
        await asyncio.gather(*(storage.write(key, 1) for key in keys))
        for other in ("a/b", "a b", "a#" + "0" * 64):
            raw.put_object(Bucket="sessions", Key=f"{namespace}:{other}", Body=b"1")
        assert sorted([key async for key in storage.keys()]) == keys
    raw.close()


async def test_a_server_that_ignores_the_conditions_of_writes_has_no_versions(
    moto_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Front(endpoint_of(moto_url), drop=("if-match", "if-none-match")) as front:
        url = moto_url.replace(endpoint_of(moto_url), front.url)
        async with S3Storage[Any].from_url(url, namespace=namespace, ttl=timedelta(hours=1)) as storage:
            assert storage.capabilities == replace(S3Storage.capabilities, versioned=False, conditional_delete=False)
            assert S3Storage.capabilities.versioned
            assert not isinstance(cast("object", storage), Versioned)
            assert isinstance(storage, S3Storage)
            assert "the last wins" in caplog.text
            await storage.write("chat:1", 1)
            assert await storage.read("chat:1") == 1
            assert await storage.touch("chat:1")
            assert await storage.purge_expired() == 0
            sessions = Sessions[Any](storage, initial=lambda: {"n": 0})
            async with sessions.open("chat:2") as session:
                session.data["n"] += 1
            assert await storage.read("chat:2") == {"n": 1}
        unopened = S3Storage[Any].from_url(url, namespace=namespace)
        with pytest.raises(ConfigurationError, match="does not heed the conditions of writes"):
            await unopened.write_versioned("chat:1", 2, None)
        await unopened.aclose()


async def test_a_server_that_ignores_the_conditions_of_deletes_says_so(
    ceph_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with S3Storage[Any].from_url(ceph_url, namespace=namespace) as storage:
        assert storage.capabilities == replace(S3Storage.capabilities, conditional_delete=False)
        assert isinstance(storage, Versioned)
        assert caplog.text.count("ignores the condition of a delete") == 1
        version = await storage.write_versioned("chat:1", 1, None)
        with pytest.raises(ConfigurationError, match="does not heed the conditions of deletes"):
            await storage.delete_versioned("chat:1", version)
        assert await storage.read("chat:1") == 1


async def test_the_suite_goes_by_what_the_server_was_found_to_heed(ceph_url: str) -> None:
    report = await validate(ceph_url, clauses=["R0-capabilities-agree", "R0-conditional-delete-undeclared"])
    assert report.ok, report.summary()
    assert report.counts[Status.PASSED] == 2


async def test_trying_out_the_conditions_leaves_nothing(url: str, namespace: str, raw: Any) -> None:
    async with S3Storage[Any].from_url(url.replace("?", f"/{namespace}?")):
        pass
    assert keys_in(raw, namespace) == []


async def test_the_conditions_of_a_bucket_are_tried_once_in_a_process(
    moto_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Front(endpoint_of(moto_url), drop=("if-match", "if-none-match")) as front:
        url = moto_url.replace(endpoint_of(moto_url), front.url)
        for tried in (True, False):
            before = front.requests
            async with S3Storage[Any].from_url(url, namespace=namespace) as storage:
                assert not storage.capabilities.versioned
            assert (front.requests - before > 1) == tried
        assert caplog.text.count("the last wins") == 2


async def test_a_bucket_that_was_removed_is_created_again(url: str, namespace: str, raw: Any) -> None:
    own = url.replace("s3://sessions", f"s3://{namespace}")
    for _ in range(2):
        async with S3Storage[Any].from_url(own) as storage:
            await storage.write("chat:1", 1)
            await storage.delete("chat:1")
        raw.delete_bucket(Bucket=namespace)


@pytest.fixture(
    params=["client", "resource", "bucket", "legacy", "standard", "adaptive", "one connection", "unsigned payload"]
)
def client(request: pytest.FixtureRequest, endpoint: str) -> Iterator[Any]:
    kind: str = request.param
    path: Any = {"addressing_style": "path"}
    configs = {
        "legacy": Config(s3=path, retries={"mode": "legacy", "max_attempts": 5}),
        "standard": Config(s3=path, retries={"mode": "standard", "max_attempts": 5}),
        "adaptive": Config(s3=path, retries={"mode": "adaptive", "max_attempts": 5}),
        "one connection": Config(s3=path, max_pool_connections=1),
        "unsigned payload": Config(s3={"addressing_style": "path", "payload_signing_enabled": False}),
    }
    where: Any = {"endpoint_url": endpoint, "region_name": "us-east-1", "config": configs.get(kind, Config(s3=path))}
    if kind in ("resource", "bucket"):
        resource = boto3.Session().resource("s3", **where)
        inner = resource.meta.client
        yield resource if kind == "resource" else resource.Bucket("sessions")
    else:
        yield (inner := boto3.Session().client("s3", **where))
    inner.list_buckets()  # it is open still
    inner.close()


async def test_a_client_works_with_any_options_and_stays_open(client: Any, namespace: str) -> None:
    async with S3Storage[Any]("sessions", client=client, namespace=namespace, ttl=timedelta(minutes=1)) as storage:
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
        await storage.delete("chat:2")
        await storage.delete("chat:ü")


def test_what_is_no_client_for_s3_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not builtins.str"):
        S3Storage("sessions", client="http://localhost:8000")
    other = boto3.Session().client("dynamodb", region_name="eu-west-1")
    with pytest.raises(ConfigurationError, match="not of dynamodb"):
        S3Storage("sessions", client=other)
    other.close()


SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
INTERNAL = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


async def test_what_was_too_much_is_asked_for_again_and_again(front: Front, front_url: str, namespace: str) -> None:
    async with S3Storage[Any].from_url(front_url, namespace=namespace) as storage:
        front.answer(503, SLOW_DOWN, times=3)
        version = await storage.write_versioned("chat:1", 1, None)
        front.answer(503, SLOW_DOWN, times=3)
        await storage.write_versioned("chat:1", 2, version)
        front.answer(503, SLOW_DOWN, times=3)
        assert await storage.read("chat:1") == 2


@pytest.mark.parametrize("mode", ["own", "legacy", "standard", "adaptive"])
async def test_a_change_that_may_have_been_made_is_not_made_twice(
    front: Front, front_url: str, namespace: str, mode: Any
) -> None:
    """Not even by a client that is configured to do so, and would then report a conflict with itself."""
    client = None
    if mode != "own":
        config = Config(s3={"addressing_style": "path"}, retries={"mode": mode, "max_attempts": 5})
        client = boto3.Session().client("s3", config=config, endpoint_url=front.url, region_name="us-east-1")
    own: Any = {} if client else {"endpoint_url": front.url, "region": "us-east-1"}
    async with S3Storage[Any]("sessions", client=client, namespace=namespace, **own) as storage:
        before = front.requests
        front.answer(500, INTERNAL, times=2)
        with pytest.raises(StorageUnavailableError, match="has trouble: InternalError"):
            await storage.write_versioned("chat:2", 1, None)
        assert front.requests == before + 1
        front.heal()
        front.answer(503, SLOW_DOWN, times=2)  # that was certainly not made
        await storage.write_versioned("chat:2", 1, None)
    if client is not None:
        front.answer(500, INTERNAL)
        client.list_buckets()  # used by others, it is as it was
        client.close()


@pytest.fixture
def bucket(raw: Any) -> Iterator[str]:
    """The name of a bucket that is not there yet."""
    name = f"test-{secrets.token_hex(6)}"
    yield name
    if name in [bucket.get("Name") for bucket in raw.list_buckets()["Buckets"]]:
        for item in raw.list_objects_v2(Bucket=name).get("Contents", []):
            raw.delete_object(Bucket=name, Key=item["Key"])
        raw.delete_bucket(Bucket=name)


def test_many_processes_may_create_the_bucket_at_once(url: str, bucket: str, namespace: str) -> None:
    assert run_workers(url.replace("sessions", bucket), namespace, "write", processes=5) == 0


async def test_without_create_a_missing_bucket_is_named_and_not_created(url: str, bucket: str, raw: Any) -> None:
    url = url.replace("sessions", bucket)
    with pytest.raises(ConfigurationError, match=f"{bucket}.* a bucket that does not exist, and create=False"):
        async with open_storage(f"{url}&create=false"):
            pass
    assert bucket not in [each.get("Name") for each in raw.list_buckets()["Buckets"]]
    async with S3Storage[Any].from_url(url) as storage:
        raw.delete_bucket(Bucket=bucket)
        for call in (storage.read("chat:1"), storage.write("chat:1", 1), anext(aiter(storage.keys()))):
            with pytest.raises(ConfigurationError, match="a bucket that does not exist"):
                await call


async def test_only_what_the_policy_names_is_asked_for(front: Front, front_url: str, namespace: str) -> None:
    """HEAD needs the right to GET, and LIST that to list the bucket."""
    async with S3Storage[Any].from_url(front_url, namespace=namespace, ttl=timedelta(hours=1)) as storage:
        version = await storage.write_versioned("chat:1", 1, None)
        version = await storage.write_versioned("chat:1", 2, version)
        await storage.write("chat:2", 2)
        assert await storage.touch("chat:1")
        assert await storage.read("nobody") is None
        assert sorted([key async for key in storage.keys()]) == ["chat:1", "chat:2"]
        await storage.delete_versioned("chat:2", (await storage.read_versioned("chat:2") or ("", ""))[1])
        assert await storage.purge_expired() == 0
        await storage.delete("chat:1")
        policy = json.loads(storage.schema())["Policy"]["Statement"]
    rights = {"PUT": "s3:PutObject", "GET": "s3:GetObject", "HEAD": "s3:GetObject", "DELETE": "s3:DeleteObject"}
    asked = {"s3:ListBucket" if "list-type" in request.path else rights[request.method] for request in front.seen}
    assert asked == {action for statement in policy for action in statement["Action"]}


@pytest.mark.parametrize("shards", [1, 16, 4096])
@pytest.mark.parametrize("root", ["", "bots/*/"])
async def test_the_policy_allows_what_is_asked_for_and_no_sessions_of_others(
    front: Front, front_url: str, namespace: str, shards: int, root: str
) -> None:
    async with S3Storage[Any](
        "sessions", root, endpoint_url=front.url, region="us-east-1", namespace=namespace, shards=shards
    ) as storage:
        await storage.write("chat:1", 1)
        await storage.write("é" * 250, 1)
        await storage.delete("chat:1")
        await storage.delete("é" * 250)
        objects, bucket = json.loads(storage.schema())["Policy"]["Statement"]
    assert bucket == {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": "arn:aws:s3:::sessions"}

    def is_allowed(path: str) -> bool:
        return any(re.fullmatch(regex_of(each), f"arn:aws:s3:::{path}") for each in objects["Resource"])

    asked = {unquote(urlsplit(request.path).path).removeprefix("/") for request in front.seen}
    assert any("/.satchel-" in path for path in asked)
    assert [path for path in asked if not is_allowed(path)] == []
    for other in ("chat", f"{namespace}2", "é"):
        keys = Keys(root, shards)
        assert not is_allowed(f"sessions/{keys.key(f'{other}:chat:1')}")
    assert not is_allowed("sessions/report.pdf")
    assert not is_allowed(f"sessions/bots/pizza/{namespace}:chat:1")


def regex_of(pattern: str) -> str:
    """Return what a policy's pattern means: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html."""
    parts = re.split(r"(\$\{\*\}|\*|\?)", pattern)
    meaning = {"${*}": r"\*", "*": ".*", "?": "."}
    return "".join(meaning.get(part, re.escape(part)) for part in parts)


@pytest.mark.parametrize("shards", [1, 16, 256])
async def test_the_rules_are_for_the_sessions_of_one_namespace_only(
    url: str, bucket: str, raw: Any, shards: int
) -> None:
    own = url.replace("sessions", bucket)
    raw.create_bucket(Bucket=bucket)
    raw.put_object(Bucket=bucket, Key="report.pdf", Body=b"")
    owners, rules = {"report.pdf": ""}, {}
    for name in ("pizza", "pizza2", "pizz", "pizza:a", "é" * 64):
        async with S3Storage[Any].from_url(own, namespace=name, shards=shards, ttl=timedelta(days=30)) as storage:
            await asyncio.gather(*(storage.write(key, 1) for key in ("a", "b", "pizza:a", "é" * 250)))
            owners = dict.fromkeys(all_keys_in(raw, bucket), name) | owners
            configuration = json.loads(storage.schema())["LifecycleConfiguration"]
            raw.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=configuration)
            rules[name] = [rule["Filter"]["Prefix"] for rule in configuration["Rules"]]
    for name, starts in rules.items():
        assert len(starts) == shards
        removed = {key for key in owners if any(key.startswith(start) for start in starts)}
        assert removed == {key for key, owner in owners.items() if owner == name}
        assert len(removed) == 4


def all_keys_in(raw: Any, bucket: str) -> list[str]:
    return [item["Key"] for item in raw.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_the_rule_that_removes_what_has_ended_never_comes_early() -> None:
    for ttl, days in ((timedelta(seconds=1), 2), (timedelta(days=30), 31), (timedelta(days=30, seconds=1), 32)):
        found = json.loads(S3Storage[Any]("sessions", "bots/", ttl=ttl).schema())
        (rule,) = found["LifecycleConfiguration"]["Rules"]
        assert rule["Expiration"] == {"Days": days}
        assert rule["Filter"] == {"Prefix": "bots/satchel:"}
    assert json.loads(S3Storage[Any]("sessions").schema()).keys() == {"Policy"}


def test_more_rules_than_a_bucket_takes_are_not_made_up() -> None:
    with pytest.raises(ConfigurationError, match="has 4096 shards, and a bucket takes 1000 lifecycle rules"):
        S3Storage[Any]("sessions", shards=4096, ttl=timedelta(days=30)).schema()
    assert json.loads(S3Storage[Any]("sessions", shards=4096).schema()).keys() == {"Policy"}


DENIED = b"<Error><Code>AccessDenied</Code><Message>no identity-based policy allows it</Message></Error>"


async def test_a_denied_read_is_never_missing(front: Front, front_url: str, namespace: str) -> None:
    async with S3Storage[Any].from_url(front_url, namespace=namespace, ttl=timedelta(hours=1)) as storage:
        await storage.write("a", 1)
        for call in (storage.read("a"), storage.read_versioned("a"), storage.touch("a"), anext(aiter(storage.keys()))):
            front.answer(403, DENIED)
            with pytest.raises(ConfigurationError, match="forbids its user a call: .*no identity-based policy"):
                await call
        front.answer_by(lambda _: None)  # LIST
        front.answer(403, b"")  # HEAD has no body
        with pytest.raises(ConfigurationError, match="forbids its user a call: HeadObject"):
            await anext(aiter(storage.keys()))


async def test_what_another_kind_of_server_says_is_never_missing_nor_written(front: Front, front_url: str) -> None:
    async with S3Storage[Any].from_url(front_url) as storage:
        for status in (200, 404):
            for call in (storage.read("a"), storage.read_versioned("a"), storage.touch("a"), storage.write("a", 1)):
                front.answer(status, b"<html>We are back soon</html>")
                with pytest.raises(StorageError, match="s3://sessions/"):
                    await call


async def test_a_user_that_the_server_does_not_know_is_said(ceph_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    for name in ("satchel", "nobody"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", os.environ["AWS_ACCESS_KEY_ID"] if name == "satchel" else name)
        with pytest.raises(ConfigurationError, match="does not take the AWS credentials given") as caught:
            await open_storage(ceph_url).read("chat:1")
        assert "hunter2" not in str(caught.value)
        assert isinstance(caught.value.__cause__, ClientError)


async def test_credentials_are_those_of_the_file_as_it_is(
    ceph_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What keeps credentials for a while writes them anew, and a bot goes on."""
    file, secret = tmp_path / "credentials", os.environ["AWS_SECRET_ACCESS_KEY"]
    text = f"[default]\naws_access_key_id = {os.environ['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = "
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    file.write_text(f"{text}old\n")
    with pytest.raises(ConfigurationError, match="does not take the AWS credentials given"):
        await open_storage(ceph_url, namespace=namespace).read("chat:1")
    file.write_text(f"{text}{secret}\n")
    async with open_storage(ceph_url, namespace=namespace) as storage:
        assert await storage.read("chat:1") is None


async def test_a_bucket_of_somebody_else_is_said(front: Front, front_url: str) -> None:
    missing = b"<Error><Code>NoSuchBucket</Code></Error>"
    front.answer(404, missing)
    front.answer(409, b"<Error><Code>BucketAlreadyExists</Code></Error>")
    with pytest.raises(ConfigurationError, match="in a bucket of somebody else's"):
        await open_storage(front_url).read("chat:1")


async def test_another_region_is_said(front: Front, front_url: str) -> None:
    front.answer(400, b"<Error><Code>IllegalLocationConstraintException</Code></Error>", times=20)
    with pytest.raises(ConfigurationError, match="is in another region"):
        await open_storage(front_url).read("chat:1")


@pytest.mark.parametrize(("url", "line"), [
    ("s3://", "is s3://bucket/prefix"),
    ("s3://bucket:80/prefix", "is s3://bucket/prefix"),
    ("s3://user:hunter2@bucket", "is s3://bucket/prefix"),
    ("s3://user:1/hunter2@bucket", "in a password or a name, write"),
    ("s3://bucket/a#b", "write '#' as %23"),
    ("s3://bucket?region=a&region=b", "has option region more than once"),
    ("s3://a", "bucket is 'a'"),
    ("s3://a_%2f", "bucket is"),
    ("s3://bucket/a b", "prefix is 'a b/'"),
    (f"s3://bucket/{'a' * 300}", "prefix is"),
    ("s3://bucket?shards=3", "shards is 3"),
    ("s3://bucket?shards=some", "shards is not an integer"),
    ("s3://bucket?region=EU west", "region is 'EU west'"),
    ("s3://bucket?endpoint_url=localhost:8000", "endpoint_url is one such as"),
    ("s3://bucket?endpoint_url=http://bot:hunter2@localhost", "no user and password"),
    ("s3://bucket?max_connections=0", "has to be a positive integer"),
    ("s3://bucket?acl=public", "no option acl"),
    ("s3://bucket?ttl=0s", "has to be positive"),
])  # fmt: skip
def test_a_wrong_url_is_refused_before_anything_is_connected(url: str, line: str) -> None:
    with pytest.raises(ConfigurationError, match=line) as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_storage_says_where_it_is(moto_url: str) -> None:
    for url in ("s3://bucket/", "s3://bucket/a/b/?region=eu-west-1", "s3://bucket/p:q@r/"):
        assert repr(open_storage(url)) == f"<S3Storage {url}>"
    assert repr(S3Storage[Any]("arn:aws:s3:eu-west-1:1:accesspoint/x")).endswith(
        "s3://arn:aws:s3:eu-west-1:1:accesspoint/x/>"
    )


async def test_a_secret_in_the_address_that_a_client_has_is_not_said(free_tcp_port: int) -> None:
    address = f"127.0.0.1:{free_tcp_port}"
    client = client_at(f"http://user:s3cret@{address}/at/@home")
    storage = S3Storage[Any]("sessions", client=client)
    assert repr(storage) == f"<S3Storage s3://sessions/?endpoint_url=http://{address}/at/@home>"
    with pytest.raises(StorageUnavailableError, match="cannot be reached") as caught:
        await storage.read("chat:1")
    assert "s3cret" not in str(caught.value)
    await storage.aclose()
    client.close()


async def test_credentials_that_are_nowhere_are_asked_for_in_one_line(
    moto_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigurationError, match="needs AWS credentials, and none were found"):
        await open_storage(moto_url).read("chat:1")


async def test_a_port_where_nobody_listens_is_said_at_once(free_tcp_port: int, moto_url: str) -> None:
    url = f"s3://sessions?endpoint_url=http://127.0.0.1:{free_tcp_port}"
    async with asyncio.timeout(5):
        with pytest.raises(StorageUnavailableError, match="cannot be reached: Connection refused"):
            await open_storage(url).read("chat:1")


@pytest.mark.parametrize(
    "timestamp",
    [
        "Sun, 22 Nov 2026 19:25:49 GMT",  # of a GET
        "2026-11-22T19:25:49.193Z",  # of a LIST
        "2026-11-22T19:25:49",
        "2026-11-22",
        "2026-11-22T19:25:49+01:00",
        "Sun, 22 Nov 2026 7:25:49 PM GMT",
        "1795375549.193",
        1795375549,
    ],
)
def test_a_timestamp_is_what_botocore_takes_it_for(timestamp: Any) -> None:
    assert moment(timestamp) == parse_timestamp(timestamp)


def test_what_is_no_timestamp_is_an_error_of_botocores() -> None:
    with pytest.raises(ValueError, match="Invalid timestamp"):
        moment("soon")


async def test_a_client_is_used_again_once_its_storage_is_closed(
    monkeypatch: pytest.MonkeyPatch, moto_url: str
) -> None:
    made: list[Any] = []
    make = boto3.Session.client

    def noted(session: boto3.Session, *arguments: Any, **options: Any) -> Any:
        made.append(make(session, *arguments, **options))
        return made[-1]

    monkeypatch.setattr(boto3.Session, "client", noted)
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", secrets.token_hex(4))  # unlike any that other tests have left

    async def used(**options: Any) -> S3Storage[Any]:
        storage = S3Storage[Any].from_url(moto_url, namespace="again", **options)
        await storage.write("chat:1", 1)
        return storage

    first = await used()
    second = await used()
    assert len(made) == 2
    await first.aclose()
    third = await used()
    assert len(made) == 2
    await second.aclose()
    await (await used(timeout=timedelta(seconds=3))).aclose()
    assert len(made) == 3
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    await (await used()).aclose()
    assert len(made) == 4
    assert await third.read("chat:1") == 1
    await third.aclose()
    handlers = [client.meta.events._emitter._handlers.prefix_search("before-call.s3") for client in made]
    assert not [one for some in handlers for one in some if getattr(one, "__module__", "").startswith("satchel")]


async def test_a_client_that_is_still_used_is_not_used_again(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", secrets.token_hex(4))
    storage = S3Storage[Any].from_url(moto_url, namespace="used")
    await storage.setup()
    begun, go_on = threading.Event(), threading.Event()

    def work(client: Any) -> Any:
        begun.set()
        go_on.wait()
        return client

    waiting = asyncio.ensure_future(storage._objects._aws.run(work))
    await asyncio.to_thread(begun.wait)
    await storage.aclose()
    another = S3Storage[Any].from_url(moto_url, namespace="used")
    async with another:
        client = await another._objects._aws.run(lambda client: client)
        go_on.set()
        assert await waiting is not client


async def test_a_client_is_used_again_though_a_call_was_cancelled_before_it_began(
    moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", secrets.token_hex(4))
    storage = S3Storage[Any].from_url(f"{moto_url}&max_connections=1", namespace="used")
    await storage.setup()
    go_on = threading.Event()
    aws = storage._objects._aws
    waiting = asyncio.ensure_future(aws.run(lambda client: go_on.wait() and client))
    in_turn = asyncio.ensure_future(aws.run(lambda client: client))
    await asyncio.sleep(0)
    in_turn.cancel()
    await asyncio.gather(in_turn, return_exceptions=True)
    go_on.set()
    client = await waiting
    await storage.aclose()
    async with S3Storage[Any].from_url(f"{moto_url}&max_connections=1", namespace="used") as another:
        assert await another._objects._aws.run(lambda client: client) is client
