"""What is particular to Firestore: documents and their ids, its clock, clients, limits, what is wrong in one line."""

import asyncio
import re
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient, AsyncCollectionReference, Client, FieldFilter

from satchel import (
    Change,
    Codec,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    StorageClosedError,
    StorageUnavailableError,
    ValueTooLargeError,
    open_storage,
)
from satchel_conformance.proxy import BlackHole, Delay, Proxy, address_in
from satchel_firestore import FirestoreStorage
from satchel_firestore.documents import to_id

from .conftest import in_front

README = Path(__file__).parents[1] / "README.md"
LIMIT = FirestoreStorage.capabilities.max_value_bytes or 0


class Binary(Codec[bytes]):
    """Stores bytes as they are, as compression and encryption will."""

    is_text = False

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, payload: bytes) -> bytes:
        return payload


async def document(sessions: AsyncCollectionReference, id_: str) -> Any:
    """Unlike `get()` of a document, this leaves nothing for a loop that is closed by then."""
    query = sessions.where(filter=FieldFilter("__name__", "==", sessions.document(id_)))
    [found] = [each async for each in query.stream()]
    return found


async def fields(sessions: AsyncCollectionReference, id_: str) -> Any:
    return (await document(sessions, id_)).to_dict()


async def test_at_rest_a_session_is_a_document_of_readable_json(
    url: str, namespace: str, sessions: AsyncCollectionReference
) -> None:
    async with FirestoreStorage[Any](url, namespace=namespace) as storage:
        await storage.write("telegram:42", {"name": "Zoë", "pizza": 1})
    assert await fields(sessions, f"{namespace}:telegram:42") == {"payload": '{"name":"Zoë","pizza":1}'}


async def test_a_session_at_rest_looks_as_the_readme_shows(
    url: str, namespace: str, sessions: AsyncCollectionReference
) -> None:
    shown = README.read_text().partition("```js\n")[2].partition("```")[0]
    async with FirestoreStorage[Any](url, namespace=namespace, ttl=timedelta(days=30)) as storage:
        await storage.write("telegram:42", {"pizza": 1})
    found = await fields(sessions, f"{namespace}:telegram:42")
    assert sorted(re.findall(r"[{,] (\w+):", shown)) == sorted(found)
    assert f"payload: '{found['payload']}', ttl_ms: {found['ttl_ms']}, " in shown


async def test_bytes_that_are_no_text_are_stored_as_bytes(
    url: str, namespace: str, sessions: AsyncCollectionReference
) -> None:
    payload = bytes(range(256))
    async with FirestoreStorage[bytes](url, namespace=namespace, codec=Binary()) as storage:
        version = await storage.write_versioned("chat:1", payload, None)
        await storage.write_versioned("chat:1", payload[::-1], version)
        assert await storage.read("chat:1") == payload[::-1]
    assert await fields(sessions, f"{namespace}:chat:1") == {"payload": payload[::-1]}


async def test_a_lifetime_is_there_for_firestore_too_and_it_never_removes_a_session_early(
    url: str, namespace: str, sessions: AsyncCollectionReference
) -> None:
    ttl = timedelta(milliseconds=90_123.4)
    async with FirestoreStorage[Any](url, namespace=namespace, ttl=ttl) as storage:
        version = await storage.write_versioned("created", 1, None)
        await storage.write_versioned("created", 2, version)
        await storage.write("written", 1)
        await storage.write_many({"batched": 1})
        await sessions.document(f"{namespace}:touched").set({"payload": "1"})
        assert await storage.touch("touched")
    for key in ("created", "written", "batched", "touched"):
        snapshot = await document(sessions, f"{namespace}:{key}")
        found = snapshot.to_dict()
        assert found.keys() == {"payload", "ttl_ms", "expires_at"}
        assert found["ttl_ms"] == 90_124
        assert snapshot.update_time + ttl < found["expires_at"] < snapshot.update_time + ttl + timedelta(seconds=20)


async def test_without_a_ttl_every_write_and_touch_removes_an_older_end(
    url: str, namespace: str, sessions: AsyncCollectionReference
) -> None:
    async with FirestoreStorage[Any](url, namespace=namespace) as storage:
        older = {"payload": "1", "ttl_ms": 60_000, "expires_at": datetime.now(UTC)}
        for key in ("written", "replaced", "batched", "touched"):
            await sessions.document(f"{namespace}:{key}").set(older)
        await storage.write("written", 1)
        record = await storage.read_versioned("replaced")
        assert record is not None
        await storage.write_versioned("replaced", 1, record.version)
        await storage.write_many({"batched": 1})
        assert await storage.touch("touched")
        assert not await storage.touch("missing")
    for key in ("written", "replaced", "batched", "touched"):
        assert await fields(sessions, f"{namespace}:{key}") == {"payload": "1"}


@pytest.mark.parametrize("hours", [-48, 48])
async def test_a_bot_whose_clock_is_wrong_keeps_to_the_lifetimes_by_the_clock_of_firestore(
    url: str, namespace: str, sessions: AsyncCollectionReference, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    # Only ours: gRPC itself reads the clock for its deadlines.
    wrong = SimpleNamespace(time=lambda: time.time() + hours * 3600, monotonic=time.monotonic)
    monkeypatch.setattr("satchel_firestore.storage.time", wrong)
    async with (
        FirestoreStorage[Any](url, namespace=namespace, ttl=timedelta(hours=1)) as storage,
        FirestoreStorage[Any](url, namespace=namespace, ttl=timedelta(milliseconds=50)) as short,
    ):
        version = await storage.write_versioned("chat:1", 1, None)
        version = await storage.write_versioned("chat:1", 2, version)
        assert await storage.read_versioned("chat:1") == (2, version)
        stale = await short.write_versioned("chat:2", 1, None)
        await asyncio.sleep(0.1)
        assert await storage.read("chat:2") is None
        with pytest.raises(ConflictError):
            await short.write_versioned("chat:2", 2, stale)
        assert [key async for key in storage.keys()] == ["chat:1"]
    end = (await fields(sessions, f"{namespace}:chat:1"))["expires_at"]
    assert abs(end.timestamp() - time.time() - 3600) < 60


async def test_the_longest_ttl_there_is_is_taken(url: str, namespace: str) -> None:
    async with FirestoreStorage[Any](url, namespace=namespace, ttl=timedelta.max) as storage:
        version = await storage.write_versioned("chat:1", 1, None)
        await storage.write_versioned("chat:1", 2, version)
        assert await storage.touch("chat:1")
        assert await storage.read("chat:1") == 2


async def test_an_edit_by_hand_counts_as_a_new_version_and_so_does_a_touch(
    url: str, namespace: str, sessions: AsyncCollectionReference
) -> None:
    async with FirestoreStorage[Any](url, namespace=namespace, ttl=timedelta(hours=1)) as storage:
        version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
        await sessions.document(f"{namespace}:chat:1").update({"payload": '{"pizza": 2}'})
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", {"pizza": 9}, version)
        with pytest.raises(ConflictError):
            await storage.delete_versioned("chat:1", version)
        record = await storage.read_versioned("chat:1")
        assert record is not None
        assert record.value == {"pizza": 2}
        await storage.touch("chat:1")
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", {"pizza": 9}, record.version)


@pytest.mark.parametrize("method", ["read", "read_versioned", "read_many"])
@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({}, "without a payload"),
        ({"payload": 5}, "without a payload"),
        ({"payload": None}, "without a payload"),
        ({"payload": '{"pizza"'}, "not JSON"),
        ({"payload": b'{"pizza"\xff'}, "not JSON"),
    ],
)
async def test_a_damaged_document_raises_and_stays(
    url: str, namespace: str, sessions: AsyncCollectionReference, method: str, found: dict[str, Any], line: str
) -> None:
    await sessions.document(f"{namespace}:chat:1").set(found)
    async with FirestoreStorage[Any](url, namespace=namespace) as storage:
        with pytest.raises(CorruptValueError, match=line):
            await getattr(storage, method)(["chat:1"] if method == "read_many" else "chat:1")
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", 1, None)
    assert await fields(sessions, f"{namespace}:chat:1") == found


LONG = "ü/" * 170  # 510 bytes, and 850 as an id


async def test_a_name_too_long_for_an_id_is_kept_whole_in_the_document(
    url: str, namespace: str, sessions: AsyncCollectionReference
) -> None:
    namespace = namespace + "\x01" * 100
    keys = ["\x01" * 510 + last for last in ("a", "b", "ü")] + ["/" * 512, LONG + "a", LONG + "b", "short"]
    async with FirestoreStorage[Any](url, namespace=namespace) as storage:
        for number, key in enumerate(keys):
            version = await storage.write_versioned(key, -1, None)
            await storage.write_versioned(key, number, version)
        assert await storage.read_many(keys) == {key: number for number, key in enumerate(keys)}
        assert sorted([key async for key in storage.keys()]) == sorted(keys)
        for prefix in ("\x01" * 509, "\x01" * 510, "\x01" * 510 + "a", LONG, LONG + "a", "/" * 511):
            expected = sorted(key for key in keys if key.startswith(prefix))
            assert sorted([key async for key in storage.keys(prefix)]) == expected
        await storage.delete_many(keys[::2])
        assert sorted([key async for key in storage.keys()]) == sorted(keys[1::2])
        found = await fields(sessions, to_id(f"{namespace}:{keys[1]}".replace("\x01", "%01")))
        assert found == {"payload": "1", "name": f"{namespace}:{keys[1]}".replace("\x01", "%01")}


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("satchel:telegram:42", "satchel:telegram:42"),
        ("satchel:a/b/../c", "satchel:a%2Fb%2F..%2Fc"),
        ("satchel:%252F%0A", "satchel:%252F%0A"),
        ("__bot:key__", "%5F_bot:key__"),
        ("_bot:key__", "_bot:key__"),
        ("ü:é", "ü:é"),
    ],
)
def test_an_id_is_the_name_as_far_as_firestore_lets_it_be(name: str, id_: str) -> None:
    assert to_id(name) == id_


async def test_a_namespace_that_firestore_would_reserve_works(url: str, namespace: str) -> None:
    async with FirestoreStorage[Any](url, namespace=f"__{namespace}") as storage:
        await storage.write("key__", 1)
        assert await storage.read("key__") == 1
        assert [key async for key in storage.keys("k")] == ["key__"]


async def test_listing_takes_every_key_of_the_namespace_and_no_other(
    url: str, namespace: str, sessions: AsyncCollectionReference
) -> None:
    keys = [f"chat:{number}" for number in range(1500)]
    special = ["a.", "a/", "a0", "a./", "\U0010ffff", "\ud7ff", "\ue000", "__a__", "%2F", "~"]
    async with (
        FirestoreStorage[Any](url, namespace=namespace) as storage,
        FirestoreStorage[Any](url, namespace=namespace, ttl=timedelta(milliseconds=1)) as short,
        FirestoreStorage[Any](url, namespace=namespace + ";") as other,
    ):
        await storage.write_many(dict.fromkeys([*keys, *special], 1))
        await short.write_many(dict.fromkeys([f"chat:{number}:gone" for number in range(0, 1500, 2)], 1))
        await other.write("chat:other", 1)
        await sessions.document(f"{namespace}:parent").collection("child").document("1").set({"payload": "1"})
        await asyncio.sleep(0.005)
        assert sorted([key async for key in storage.keys()]) == sorted([*keys, *special])
        assert sorted([key async for key in storage.keys("chat:14")]) == sorted(k for k in keys if k[:7] == "chat:14")
        for prefix in [*special, "a", "_"]:
            expected = sorted(key for key in special if key.startswith(prefix))
            assert sorted([key async for key in storage.keys(prefix)]) == expected


async def test_the_largest_session_fits_under_the_longest_name(url: str) -> None:
    longest = {"namespace": "\x01" * 128, "ttl": timedelta(days=30)}
    async with FirestoreStorage[Any](url + "&timeout=30s", **cast("Any", longest)) as storage:
        value = "x" * (LIMIT - 2)
        version = await storage.write_versioned("\x01" * 512, value, None)
        await storage.write_versioned("\x01" * 512, value[::-1], version)
        assert await storage.read("\x01" * 512) == value
        await storage.delete("\x01" * 512)


def test_the_largest_session_fits_by_the_rules_of_firestore() -> None:
    # https://cloud.google.com/firestore/docs/storage-size: names in the path, fields with their names, 32 bytes more.
    name = 6 * 1024  # https://cloud.google.com/firestore/quotas: "Maximum size for a document name"
    fields = {"payload": LIMIT + 1, "name": (128 + 512) * 3 + 2, "ttl_ms": 8, "expires_at": 8}
    assert name + sum(len(field) + 1 + size for field, size in fields.items()) + 32 <= 1024 * 1024


async def test_a_batch_too_large_for_one_request_is_refused_and_nothing_of_it_is_written(
    url: str, namespace: str
) -> None:
    values: dict[str, Any] = {f"chat:{number}": "x" * 1_000_000 for number in range(11)}
    names = [f"{'x' * 500}{number}" for number in range(6000)]
    async with FirestoreStorage[Any](url, namespace=namespace) as storage:
        with pytest.raises(ValueTooLargeError, match="a batch of 11") as caught:
            await storage.write_many(values)
        assert caught.value.size > caught.value.limit == 10 * 1024 * 1024
        assert await storage.read_many(values) == {}
        for call in (storage.read_many, storage.delete_many):
            with pytest.raises(ValueTooLargeError, match="a batch of 6000"):
                await call(names)


@pytest.fixture(
    params=[
        {"project": "satchel-test"},
        {"project": "another", "database": "bots", "credentials": AnonymousCredentials()},  # type: ignore[no-untyped-call]
    ],
    ids=["plain", "with options"],
)
async def client(
    emulator: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[AsyncClient]:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulator)
    client = AsyncClient(**request.param)
    yield client
    await client._firestore_api.transport.close()


@pytest.mark.parametrize("collection", [None, "bots/pizza/sessions"])
async def test_a_client_works_and_stays_open(client: AsyncClient, namespace: str, collection: str | None) -> None:
    options: dict[str, Any] = {"namespace": namespace, "collection": collection, "ttl": timedelta(minutes=1)}
    async with FirestoreStorage[Any](client, **options) as storage:
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
        await asyncio.gather(*(storage.read("chat:2") for _ in range(200)))
        await storage.delete_many(["chat:2"])
        assert await storage.read_many(["chat:ü", "chat:2"]) == {"chat:ü": value}
    found = (
        client.collection(collection or "satchel_sessions")
        .where(filter=FieldFilter("payload", "==", "no such"))
        .stream()
    )
    assert [document async for document in found] == []


async def test_databases_projects_and_collections_are_apart(url: str, collection: str, namespace: str) -> None:
    query = url.partition("?")[2]
    places = [
        f"firestore://satchel-test/{collection}?{query}",
        f"firestore://satchel-test/{collection}-2?{query}",
        f"firestore://satchel-test/bots/pizza/{collection}?{query}",
        f"firestore://satchel-test/{collection}?database=bots&{query}",
        f"firestore://satchel-other/{collection}?{query}",
    ]
    for number, place in enumerate(places):
        async with open_storage(place, namespace=namespace) as storage:
            assert await storage.read("chat:1") is None
            await storage.write("chat:1", number)


async def test_two_storages_share_a_client(raw: AsyncClient, namespace: str) -> None:
    async with FirestoreStorage[Any](raw, namespace=namespace) as first:
        async with FirestoreStorage[Any](raw, namespace=namespace) as second:
            await second.write("chat:1", 1)
        with pytest.raises(StorageClosedError):
            await second.read("chat:1")
        assert await first.read("chat:1") == 1


def test_what_is_no_asynchronous_client_is_refused() -> None:
    client = Client(project="satchel-test", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    with pytest.raises(ConfigurationError, match=r"not google\.cloud\.firestore_v1\.client\.Client"):
        FirestoreStorage(cast("Any", client))
    with pytest.raises(ConfigurationError, match="not builtins.NoneType"):
        FirestoreStorage(None)  # type: ignore[arg-type]


async def test_a_storage_belongs_to_the_loop_that_opened_it(url: str, namespace: str) -> None:
    async with FirestoreStorage[Any](url, namespace=namespace) as storage:
        await storage.write("chat:1", 1)

        def elsewhere() -> None:
            with pytest.raises(ConfigurationError, match="another event loop"):
                asyncio.run(storage.read("chat:1"))

        await asyncio.to_thread(elsewhere)
        assert await storage.read("chat:1") == 1


async def test_many_calls_share_one_connection_and_closing_leaves_none_and_no_task(
    url: str, collection: str, namespace: str
) -> None:
    tasks = asyncio.all_tasks()
    async with in_front(url) as front:
        behind = f"firestore://satchel-test/{collection}?emulator={front.address}"
        before = asyncio.all_tasks()
        async with FirestoreStorage[Any](behind, namespace=namespace) as storage:
            await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(256)))
            assert front.connections == 1
        await front.all_have_left()
        assert asyncio.all_tasks() <= before
    assert asyncio.all_tasks() == tasks


async def test_closing_waits_for_the_calls_that_are_under_way(url: str, namespace: str) -> None:
    with Proxy(*address_in(url)) as proxy:
        storage = FirestoreStorage[Any](proxy.url(url), namespace=namespace)
        await storage.write("chat:1", 1)
        delayed = proxy.arm(Delay(), times=1)
        reading = asyncio.create_task(storage.read("chat:1"))
        await asyncio.wrap_future(delayed)
        closing = asyncio.create_task(storage.aclose())
        await asyncio.sleep(0)
        assert not reading.done()
        proxy.heal()
        await closing
        assert reading.done()
        assert await reading == 1


async def test_closing_ends_the_calls_that_get_no_answer_at_their_deadline(url: str, namespace: str) -> None:
    with Proxy(*address_in(url)) as proxy:
        storage = FirestoreStorage[Any](proxy.url(url), namespace=namespace, timeout=timedelta(seconds=1))
        async with asyncio.timeout(20):
            while True:
                with suppress(StorageUnavailableError):  # a busy machine may be slow, too
                    await storage.setup()
                    break
        silent = proxy.arm(BlackHole())
        reading = asyncio.create_task(storage.read("chat:1"))
        await asyncio.wrap_future(silent)
        await storage.aclose()
        with pytest.raises(StorageClosedError):
            await reading


async def test_a_connection_that_fell_silent_is_replaced_and_closed(url: str, namespace: str) -> None:
    with Proxy(*address_in(url)) as proxy:
        behind = proxy.url(url)
        async with FirestoreStorage[Any](behind, namespace=namespace, timeout=timedelta(seconds=1)) as storage:
            await storage.write("chat:1", 1)
            silent = proxy.arm(BlackHole(), times=1)
            with pytest.raises(StorageUnavailableError, match="did not answer"):
                await storage.read("chat:1")
            assert silent.done()
            proxy.heal()
            with proxy.counting() as count:
                async with asyncio.timeout(20):
                    while True:
                        with suppress(StorageUnavailableError):  # a busy machine may be slow, too
                            assert await storage.read("chat:1") == 1
                            break
            assert count.connections > 0


async def test_a_call_is_one_request_but_where_a_document_has_to_be_read_first(url: str, namespace: str) -> None:
    with Proxy(*address_in(url)) as proxy:
        versions = {}
        async with (
            FirestoreStorage[Any](proxy.url(url), namespace=namespace, ttl=timedelta(minutes=1)) as storage,
            FirestoreStorage[Any](url, namespace=namespace, ttl=timedelta(milliseconds=1)) as short,
        ):

            async def write(value: int, expected: str | None) -> None:
                versions["chat:1"] = await storage.write_versioned("chat:1", value, expected)

            async def conflict(call: Awaitable[Any]) -> None:
                with pytest.raises(ConflictError):
                    await call

            calls: list[tuple[int, Callable[[], Awaitable[Any]]]] = [
                (1, lambda: write(1, None)),
                (1, lambda: write(2, versions["chat:1"])),
                (1, lambda: conflict(storage.write_versioned("chat:1", 3, "2026-01-02T03:04:05.678901+00:00"))),
                (0, lambda: conflict(storage.write_versioned("chat:1", 3, "no version"))),
                (2, lambda: conflict(storage.write_versioned("chat:1", 3, None))),
                (1, lambda: storage.read_versioned("chat:1")),
                (2, lambda: storage.touch("chat:1")),
                (1, lambda: storage.touch("missing")),
                (1, lambda: storage.write_many({"chat:1": 1, "chat:2": 2})),
                (1, lambda: storage.read_many(["chat:1", "chat:2", "missing"])),
                (1, lambda: storage.delete_many(["chat:1", "chat:2"])),
                (1, lambda: storage.delete("chat:1")),
                (3, lambda: storage.write_versioned("ended", 2, None)),
                (1, lambda: storage.read_records(["ended", "missing"])),
                (3, lambda: storage.commit({"also ended": Change(2, None), "chat:3": Change(3, None)})),
                (1, lambda: conflict(storage.commit({"ended": Change(3, "2026-01-02T03:04:05.678901+00:00")}))),
            ]
            await short.write_many({"ended": 1, "also ended": 1})
            await asyncio.sleep(0.005)
            for number, call in calls:
                with proxy.counting() as count:
                    await call()
                assert (count.round_trips, count.connections) == (number, 0)


async def test_an_emulator_that_the_environment_names_is_used(
    emulator: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulator)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "satchel-named")
    async with open_storage("firestore:///sessions", namespace=namespace) as storage:
        await storage.write("chat:1", 1)
        assert repr(storage) == "<FirestoreStorage firestore://satchel-named/sessions>"
    async with open_storage("firestore://satchel-named/sessions", namespace=namespace) as storage:
        assert await storage.read("chat:1") == 1


@pytest.mark.parametrize(("url", "line"), [
    ("http://localhost", "starts with firestore://"),
    ("firestore:project/sessions", "starts with its scheme"),
    ("firestore://user:secret@project/sessions", "firestore://project/collection"),
    ("firestore://project:80/sessions", "firestore://project/collection"),
    ("firestore://project:port/sessions", "Port"),
    ("firestore://a,b/sessions", "firestore://project/collection"),
    ("firestore://pro_ject!/sessions", "no id of a project"),
    ("firestore://project/bots/pizza", "path of a document"),
    ("firestore://project/bots//sessions", "no path of a collection"),
    ("firestore://project/__bots__", "no path of a collection"),
    ("firestore://project/..", "no path of a collection"),
    ("firestore://project/%0A", "no path of a collection"),
    ("firestore://project/" + "x" * 5000, "no path of a collection"),
    ("firestore://project/sessions?database=Bots!", "database is not the id"),
    ("firestore://project/sessions?emulator=localhost", "emulator is not a host:port"),
    ("firestore://project/sessions?emulator=http://localhost:80", "emulator is not a host:port"),
    ("firestore://project/sessions?endpoint=", "endpoint is not a host:port"),
    ("firestore://project/sessions?emulator=a:1&endpoint=b:1", "not both"),
    ("firestore://bot:1/secret@project/sessions", "in a password or a name, write"),
    ("firestore://project/sessions#2", "write '#' as %23"),
    ("firestore://project/sessions?database=a&database=b", "has option database more than once"),
    ("firestore://project/sessions?max_connections=5", "no option max_connections"),
    ("firestore://project/sessions?ttl=0s", "has to be positive"),
    ("firestore://project/sessions?timeout=soon", "not a duration"),
    ("", "starts with its scheme"),
])  # fmt: skip
def test_a_wrong_url_is_refused_before_anything_is_connected(url: str, line: str) -> None:
    with pytest.raises(ConfigurationError, match=line) as caught:
        FirestoreStorage(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_collection_that_is_none_is_refused() -> None:
    client = AsyncClient(project="satchel-test", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    for wrong in ("bots/pizza", "/sessions", 5):
        with pytest.raises(ConfigurationError, match="collection"):
            FirestoreStorage(client, collection=cast("Any", wrong))


def test_a_url_says_what_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    for url, where in {
        "firestore://project": "firestore://project/satchel_sessions",
        "firestore://project/": "firestore://project/satchel_sessions",
        "firestore://project/sessions": "firestore://project/sessions",
        "firestore://project/bots/pizza/sessions?database=bots": "firestore://project/bots/pizza/sessions?database=bots",
        "firestore://project/sessions?database=(default)&emulator=[::1]:8080": "firestore://project/sessions",
        "firestore:///sessions": "firestore:///sessions",
    }.items():
        assert repr(open_storage(url)) == f"<FirestoreStorage {where}>"
    assert repr(open_storage("firestore://p/sessions", collection="bots")) == "<FirestoreStorage firestore://p/bots>"


def test_the_schema_is_what_a_shell_understands() -> None:
    for url, expected in {
        "firestore://project/bots/pizza/sessions?database=bots": "--collection-group=sessions --database=bots",
        "firestore://project/it's $(mine)": """--collection-group='it'"'"'s $(mine)' --database='(default)'""",
    }.items():
        schema = open_storage(url).schema()  # type: ignore[attr-defined]
        assert schema.count(f"{expected} --project=project\n") == 4
        program = f"gcloud() {{ printf '%s\\n' \"$#\"; }}\n{schema}"
        done = subprocess.run(["sh", "-eu", "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["6", "9", "9", "9", "9"]
        assert "roles/datastore.user" in schema


async def test_a_port_where_nobody_listens_is_said_at_once(free_tcp_port: int) -> None:
    storage = FirestoreStorage[Any](f"firestore://project/sessions?emulator=127.0.0.1:{free_tcp_port}")
    async with asyncio.timeout(5):
        with pytest.raises(StorageUnavailableError, match="cannot be reached: .*refused"):
            await storage.read("chat:1")
    await storage.aclose()


async def test_a_host_that_is_not_there_is_said() -> None:
    with pytest.raises(StorageUnavailableError, match="cannot be reached: .*[^]]$"):
        async with FirestoreStorage[Any]("firestore://project/sessions?emulator=nowhere.invalid:80"):
            pass


async def test_a_server_of_another_kind_is_said() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        storage = FirestoreStorage[Any](f"firestore://project/sessions?emulator=127.0.0.1:{port}")
        with pytest.raises(ConfigurationError, match="does not speak the protocol of Firestore"):
            await storage.read("chat:1")
        await storage.aclose()
