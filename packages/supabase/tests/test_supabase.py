"""What is particular to Supabase: layout, clients, what an administrator runs, and what is wrong in one line."""

import asyncio
import subprocess
import sys
from base64 import b64encode
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import pytest
import supabase
from supabase import AsyncClient, AsyncClientOptions

from satchel import (
    Codec,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    StorageClosedError,
    StorageError,
    StorageUnavailableError,
    UnsupportedValueError,
    open_storage,
)
from satchel_conformance.proxy import Proxy, address_in
from satchel_conformance.servers.supabase import administer, api_key
from satchel_supabase import SupabaseStorage

from .conftest import client_of

TABLE = "satchel_sessions"


class Binary(Codec[bytes]):
    """Stores bytes as they are, as compression and encryption will."""

    is_text = False

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, payload: bytes) -> bytes:
        return payload


class Text(Codec[str]):
    """Stores text that is no JSON."""

    def encode(self, value: str) -> bytes:
        return value.encode()

    def decode(self, payload: bytes) -> str:
        return payload.decode()


async def row(raw: AsyncClient, key: str) -> Any:
    found = await raw.table(TABLE).select("payload, expires_at").eq("key", key).execute()
    assert len(found.data) == 1
    return found.data[0]


async def test_at_rest_a_session_is_a_row_of_readable_json(url: str, namespace: str, raw: AsyncClient) -> None:
    async with SupabaseStorage[Any](url, namespace=namespace) as storage:
        await storage.write("telegram:42", {"name": "Zoë", "pizza": 1})
    assert await row(raw, f"{namespace}:telegram:42") == {"payload": '{"name":"Zoë","pizza":1}', "expires_at": None}
    found = f"SELECT payload::json ->> 'name' FROM {TABLE} WHERE key = '{namespace}:telegram:42'"
    administer(url, f"DO $$ BEGIN ASSERT ({found}) = 'Zoë'; END $$")


async def test_what_an_earlier_release_laid_down_is_read(url: str, namespace: str, raw: AsyncClient) -> None:
    written = {"key": f"{namespace}:chat:1", "payload": '{"pizza": 1}', "expires_at": "2999-01-01T00:00:00Z"}
    await raw.table(TABLE).insert(written).execute()
    async with SupabaseStorage[Any](url, namespace=namespace) as storage:
        assert await storage.read("chat:1") == {"pizza": 1}


async def test_an_edit_by_hand_counts_as_a_new_version(url: str, namespace: str, raw: AsyncClient) -> None:
    async with SupabaseStorage[Any](url, namespace=namespace) as storage:
        version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
        await raw.table(TABLE).update({"payload": '{"pizza": 2}'}).eq("key", f"{namespace}:chat:1").execute()
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", {"pizza": 9}, version)
        with pytest.raises(ConflictError):
            await storage.delete_versioned("chat:1", version)
        assert await storage.read("chat:1") == {"pizza": 2}


async def test_bytes_that_are_no_text_are_kept_as_base64(url: str, namespace: str, raw: AsyncClient) -> None:
    payload = bytes(range(256))
    async with SupabaseStorage[bytes](url, namespace=namespace, codec=Binary()) as storage:
        await storage.write("chat:1", payload)
        assert (await row(raw, f"{namespace}:chat:1"))["payload"] == b64encode(payload).decode()
        assert await storage.read("chat:1") == payload
        version = await storage.write_versioned("chat:1", payload[::-1], storage.version_of(payload))
        assert await storage.read_many(["chat:1"]) == {"chat:1": payload[::-1]}
        await storage.delete_versioned("chat:1", version)


async def test_a_damaged_payload_raises_and_stays(url: str, namespace: str, raw: AsyncClient) -> None:
    await raw.table(TABLE).insert({"key": f"{namespace}:chat:1", "payload": '{"pizza'}).execute()
    async with SupabaseStorage[Any](url, namespace=namespace) as storage:
        with pytest.raises(CorruptValueError, match="'chat:1' in supabase"):
            await storage.read("chat:1")
    async with SupabaseStorage[bytes](url, namespace=namespace, codec=Binary()) as binary:
        with pytest.raises(CorruptValueError, match="chat:1' in supabase.* is not Base64"):
            await binary.read("chat:1")
    assert (await row(raw, f"{namespace}:chat:1"))["payload"] == '{"pizza'


async def test_text_with_a_nul_is_refused_and_the_old_text_stays(url: str, namespace: str) -> None:
    async with SupabaseStorage[str](url, namespace=namespace, codec=Text()) as storage:
        await storage.write("chat:1", "old")
        with pytest.raises(UnsupportedValueError, match="NUL"):
            await storage.write("chat:1", "a\0b")
        assert await storage.read("chat:1") == "old"


async def test_expired_rows_are_removed_by_later_writes_and_by_purging(
    url: str, namespace: str, raw: AsyncClient
) -> None:
    async def left() -> int:
        found = await raw.table(TABLE).select("key").like("key", f"{namespace}:ended:%").execute()
        return len(found.data)

    ended = [f"{namespace}:ended:{number}" for number in range(6)]
    rows = [{"key": key, "payload": "1", "expires_at": "1999-01-01T00:00:00Z"} for key in ended]
    async with SupabaseStorage[Any](url, namespace=namespace, ttl=timedelta(hours=1)) as storage:
        await raw.table(TABLE).insert(rows).execute()
        await storage.write("chat:1", 1)
        version = await storage.write_versioned("chat:2", 1, None)
        await storage.write_versioned("chat:2", 2, version)  # each removes two
        assert await left() == 0
        await raw.table(TABLE).insert(rows).execute()
        await storage.purge_expired()
        assert await left() == 0
        assert sorted([key async for key in storage.keys()]) == ["chat:1", "chat:2"]


async def test_the_longest_ttl_there_is_is_taken(url: str, namespace: str) -> None:
    async with SupabaseStorage[Any](url, namespace=namespace, ttl=timedelta.max) as storage:
        await storage.write("chat:1", 1)
        assert await storage.touch("chat:1")
        assert await storage.read("chat:1") == 1


async def test_without_a_ttl_a_touch_removes_an_older_end(url: str, namespace: str, raw: AsyncClient) -> None:
    async with SupabaseStorage[Any](url, namespace=namespace, ttl=timedelta(hours=1)) as storage:
        await storage.write("chat:1", 1)
    async with SupabaseStorage[Any](url, namespace=namespace) as storage:
        assert await storage.touch("chat:1")
    assert (await row(raw, f"{namespace}:chat:1"))["expires_at"] is None


async def test_keys_are_no_filters(url: str, namespace: str) -> None:
    keys = [
        "eq.1",
        "in.(a,b)",
        'a"b',
        "a,b",
        "(a)",
        "a:b",
        "*",
        "like.*",
        "a\\",
        "%",
        "a=b&key=eq.1",
        "?select=*",
        "null",
    ]
    async with SupabaseStorage[Any](url, namespace=namespace) as storage:
        await storage.write_many({key: key for key in keys})
        assert await storage.read_many(keys) == {key: key for key in keys}
        assert sorted([key async for key in storage.keys()]) == sorted(keys)
        for key in keys:
            assert await storage.read(key) == key
            await storage.delete(key)
            assert await storage.read(key) is None
        assert [key async for key in storage.keys()] == []


@pytest.mark.parametrize("version", ["", "wrong", "\0", "\ud800", "0" * 64, "é", "null", "a" * 10_000])
async def test_what_is_no_version_conflicts(url: str, namespace: str, version: str) -> None:
    async with SupabaseStorage[Any](url, namespace=namespace) as storage:
        await storage.write("chat:1", 1)
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", 2, version)
        with pytest.raises(ConflictError):
            await storage.delete_versioned("chat:1", version)
        assert await storage.read("chat:1") == 1


@pytest.mark.parametrize("options", [
    {},
    {"schema": "public", "auto_refresh_token": False, "persist_session": False},
    {"headers": {"X-Bot": "pizza"}},
    {"postgrest_client_timeout": 1},
], ids=str)  # fmt: skip
async def test_a_client_works_with_any_options_and_stays_open(
    url: str, namespace: str, options: dict[str, Any]
) -> None:
    async with (
        client_of(url, **options) as client,
        SupabaseStorage[Any](client, namespace=namespace, ttl=timedelta(minutes=1)) as storage,
    ):
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
        await storage.delete_many(["chat:ü"])
        assert await storage.read("chat:ü") is None
        await storage.aclose()
        assert (await client.table(TABLE).select("key").limit(1).execute()).data is not None


@pytest.mark.filterwarnings("ignore:The '(timeout|verify)' parameter is deprecated:DeprecationWarning")
async def test_a_client_that_makes_its_own_connections_works(url: str, namespace: str) -> None:
    parts = urlsplit(url)
    client = await supabase.acreate_client(f"http://{parts.hostname}:{parts.port}", parts.password or "")
    try:
        async with SupabaseStorage[Any](client, namespace=namespace) as storage:
            await storage.write("chat:1", 1)
            assert await storage.read("chat:1") == 1
            assert storage.where == f"supabase+http://{parts.hostname}:{parts.port}/{TABLE}"
    finally:
        await client.postgrest.aclose()
        with suppress(AttributeError):
            await client.auth.close()


async def test_two_storages_share_a_client(raw: AsyncClient, namespace: str) -> None:
    async with SupabaseStorage[Any](raw, namespace=namespace) as first:
        async with SupabaseStorage[Any](raw, namespace=namespace) as second:
            await second.write("chat:1", 1)
        with pytest.raises(StorageClosedError):
            await second.read("chat:1")
        assert await first.read("chat:1") == 1


async def test_what_is_no_asynchronous_client_is_refused(url: str) -> None:
    with httpx.Client() as http:
        wanted = supabase.ClientOptions(httpx_client=http)
        client = supabase.create_client("http://localhost", "a.b.c", wanted)
        with pytest.raises(ConfigurationError, match="not supabase._sync.client"):
            SupabaseStorage(cast("Any", client))
    with pytest.raises(ConfigurationError, match="not builtins.NoneType"):
        SupabaseStorage(None)  # type: ignore[arg-type]


async def test_what_a_client_has_itself_is_not_taken_beside_it(raw: AsyncClient) -> None:
    with pytest.raises(ConfigurationError, match="schema and http2 cannot be given with a client"):
        SupabaseStorage(raw, schema="public", http2=True)
    with pytest.raises(ConfigurationError, match="table is 'a b'"):
        SupabaseStorage(raw, table="a b")
    wanted = AsyncClientOptions(schema='a"b', httpx_client=raw.options.httpx_client)
    with pytest.raises(ConfigurationError, match="the schema of the client is"):
        SupabaseStorage(AsyncClient("http://localhost", "a.b.c", wanted))


async def test_a_client_that_was_closed_is_said(url: str) -> None:
    async with client_of(url) as client:
        storage = SupabaseStorage[Any](client)
        await storage.read("chat:1")
    with pytest.raises(ConfigurationError, match="client that was closed"):
        await storage.read("chat:1")


async def test_a_storage_belongs_to_the_loop_that_opened_it(url: str, namespace: str) -> None:
    async with SupabaseStorage[Any](url, namespace=namespace) as storage:
        await storage.write("chat:1", 1)

        def elsewhere() -> None:
            with pytest.raises(ConfigurationError, match="another event loop"):
                asyncio.run(storage.read("chat:1"))

        await asyncio.to_thread(elsewhere)
        assert await storage.read("chat:1") == 1


async def test_many_calls_wait_for_the_connections_that_there_are(url: str, namespace: str) -> None:
    with Proxy(*address_in(url)) as proxy, proxy.counting() as count:
        async with open_storage(proxy.url(url) + "?max_connections=4", namespace=namespace) as storage:
            await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(100)))
            assert await asyncio.gather(*(storage.read(f"chat:{number}") for number in range(100))) == list(range(100))
        assert 1 < count.connections <= 4


async def test_closing_leaves_no_task(url: str, namespace: str) -> None:
    tasks = asyncio.all_tasks()
    async with SupabaseStorage[Any](url, namespace=namespace) as storage:
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(20)))
    assert asyncio.all_tasks() == tasks


PROGRAM = """
import asyncio, sys, time
import satchel_supabase
for module in ("supabase", "postgrest", "httpx"):
    assert module not in sys.modules, module

async def main():
    async with satchel_supabase.SupabaseStorage(sys.argv[1], namespace=sys.argv[2]):
        assert "postgrest" in sys.modules and "supabase" not in sys.modules

async def watched():
    longest, begun, opened = 0.0, time.monotonic(), asyncio.ensure_future(main())
    while not opened.done():
        start = time.monotonic()
        await asyncio.sleep(0.001)
        longest = max(longest, time.monotonic() - start)
    await opened
    print(longest, time.monotonic() - begun)

asyncio.run(watched())
"""


def test_the_driver_is_imported_on_first_use_and_stalls_no_loop(url: str, namespace: str) -> None:
    program = [sys.executable, "-c", PROGRAM, url, namespace]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    longest, whole = map(float, done.stdout.split())
    assert longest < whole / 2, "a loop that is stalled by the import is so nearly all of the time"


async def test_the_schema_may_be_run_again(url: str, namespace: str) -> None:
    async with SupabaseStorage[Any](url, namespace=namespace) as storage:
        await storage.write("chat:1", 1)
        administer(url, storage.schema())
        assert await storage.read("chat:1") == 1


async def test_a_table_may_have_another_name_and_be_in_another_schema(
    url: str, namespace: str, raw: AsyncClient
) -> None:
    other = f"{url.rpartition('/')[0]}/Chat_Bot_{namespace[-6:]}?schema=graphql_public"
    storage = SupabaseStorage[Any](other, namespace=namespace)
    with pytest.raises(ConfigurationError, match="is not set up for this release: run what `satchel schema` prints"):
        await storage.setup()
    administer(url, storage.schema())
    async with asyncio.timeout(30):
        while True:  # PostgREST looks at the schema anew in its own time
            with suppress(ConfigurationError):
                await storage.setup()
                break
    version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
    await storage.write_versioned("chat:1", {"pizza": 2}, version)
    assert [key async for key in storage.keys()] == ["chat:1"]
    assert await storage.purge_expired() == 0
    await storage.aclose()
    async with SupabaseStorage[Any](url, namespace=namespace) as usual:
        assert await usual.read("chat:1") is None
    options = AsyncClientOptions(schema="graphql_public", httpx_client=raw.options.httpx_client)
    client = AsyncClient(str(raw.supabase_url), raw.supabase_key, options)
    async with SupabaseStorage[Any](client, table=urlsplit(other).path[1:], namespace=namespace) as given:
        assert await given.read("chat:1") == {"pizza": 2}
        assert given.schema() == storage.schema()


async def test_what_is_missing_is_said_with_and_without_create(url: str) -> None:
    for create in (True, False):
        for question, line in {
            "/nowhere": "is not set up",
            f"/{TABLE}?schema=nowhere": "does not expose the schema",
        }.items():
            storage = SupabaseStorage[Any](url.rpartition("/")[0] + question, create=create)
            with pytest.raises(ConfigurationError, match=line) as caught:
                await storage.read("chat:1")
            await storage.aclose()
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("url", "line"), [
    ("https://abc.supabase.co", "starts with one of supabase, supabase"),
    ("supabase+https://abc.supabase.co", "starts with one of"),
    ("supabase://abc.supabase.co:port", "Port"),
    ("supabase://abc.supabase.co:99999", "Port"),
    ("supabase://a b", "does not name a host"),
    ("supabase://a,b", "takes one host"),
    ("supabase://hunter2@abc.supabase.co", "the API key is the password"),
    ("supabase://:hunter%0a2@abc.supabase.co", "is no API key"),
    ("supabase://:1/hunter2@abc.supabase.co", "in a password or a name, write"),
    ("supabase://:1?hunter2@abc.supabase.co", "in a password or a name, write"),
    ("supabase://:1#hunter2@abc.supabase.co", "in a password or a name, write"),
    ("supabase://abc.supabase.co/a#b", "write '#' as %23"),
    ("supabase://abc.supabase.co?schema=a&schema=b", "has option schema more than once"),
    ("supabase://abc.supabase.co/public/sessions", "table is 'public/sessions'"),
    ("supabase://abc.supabase.co/a%22b", "table is 'a\"b'"),
    ("supabase://abc.supabase.co/" + "a" * 51, "1 to 50 letters"),
    ("supabase://abc.supabase.co/a?schema=b.c", "schema is 'b.c'"),
    ("supabase://abc.supabase.co?max_connections=0", "has to be a positive integer"),
    ("supabase://abc.supabase.co?max_connections=many", "not an integer"),
    ("supabase://abc.supabase.co?http2=perhaps", "true or false"),
    ("supabase+http://localhost?http2=yes", "http2 is for supabase://"),
    ("supabase://abc.supabase.co?key=hunter2", "no option key"),
    ("supabase://abc.supabase.co?ttl=0s", "has to be positive"),
    ("supabase:///sessions", "names its host"),
    ("", "starts with its scheme"),
])  # fmt: skip
def test_a_wrong_url_is_refused_before_anything_is_connected(
    url: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUPABASE_URL", raising=False)
    with pytest.raises(ConfigurationError, match=line) as caught:
        SupabaseStorage(url)
    assert "\n" not in str(caught.value)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"table": ""}, {"table": 1}, {"schema": ""}, {"http2": 1}, {"max_connections": -1}]
)
def test_a_wrong_option_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"^{next(iter(options))} is "):
        SupabaseStorage("supabase://abc.supabase.co", **options)


def test_a_url_says_what_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "https://env.supabase.co/")
    for url, where in {
        "supabase://": "supabase://env.supabase.co/satchel_sessions",
        "supabase:///sessions": "supabase://env.supabase.co/sessions",
        "supabase://abc.supabase.co": "supabase://abc.supabase.co/satchel_sessions",
        "supabase://:secret@abc.supabase.co:1/a_b?http2=yes": "supabase://abc.supabase.co:1/a_b",
        "supabase+http://:secret@[::1]:54321/": "supabase+http://[::1]:54321/satchel_sessions",
    }.items():
        assert repr(open_storage(url)) == f"<SupabaseStorage {where}>"
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:54321")
    assert open_storage("supabase:///a", table="b").where == "supabase+http://127.0.0.1:54321/b"  # type: ignore[attr-defined]


@pytest.mark.parametrize("named", ["abc.supabase.co", "HTTPS://abc", "https://", "https://a/rest/v1", "https://u:p@a"])
def test_an_environment_that_names_no_project_is_refused(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", named)
    with pytest.raises(ConfigurationError, match="^SUPABASE_URL does not name a host"):
        open_storage("supabase://")


async def test_the_key_comes_from_the_environment(url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = urlsplit(url)
    monkeypatch.setenv("SUPABASE_URL", f"http://{parts.hostname}:{parts.port}")
    monkeypatch.setenv("SUPABASE_KEY", (parts.password or "") + "\n")
    async with open_storage("supabase://", namespace=namespace) as storage:
        await storage.write("chat:1", 1)
    monkeypatch.delenv("SUPABASE_KEY")
    with pytest.raises(ConfigurationError, match="needs an API key: set SUPABASE_KEY"):
        await open_storage("supabase://").read("chat:1")


async def test_a_key_that_the_gateway_does_not_know_is_said_without_it(url: str) -> None:
    parts = urlsplit(url)
    with pytest.raises(ConfigurationError, match="does not take the API key") as caught:
        async with SupabaseStorage[Any](f"supabase+http://:hunter2@{parts.hostname}:{parts.port}"):
            pass
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("token", "said"), [
    (api_key("service_role")[:-4] + "AAAA", "PGRST301"),
    (api_key("service_role", exp=1), "JWT expired"),
    (api_key("nobody_at_all"), "role|nobody"),
    ("no token", "PGRST301"),
])  # fmt: skip
async def test_a_token_that_is_not_right_is_never_missing(url: str, token: str, said: str) -> None:
    async with client_of(url, token) as client:
        storage = SupabaseStorage[Any](client)
        with pytest.raises(ConfigurationError, match=said) as caught:
            await storage.read("chat:1")
    assert token not in str(caught.value)


@pytest.mark.parametrize(("code", "kind"), [
    ("08006", StorageUnavailableError),
    ("25006", StorageUnavailableError),
    ("40P01", StorageUnavailableError),
    ("53300", StorageUnavailableError),
    ("57014", StorageUnavailableError),
    ("57P01", StorageUnavailableError),
    ("42501", ConfigurationError),
    ("42P01", ConfigurationError),
    ("42883", ConfigurationError),
    ("23514", StorageError),
    ("XX000", StorageError),
])  # fmt: skip
async def test_an_error_of_the_database_is_told_by_its_code(
    scratch_url: str, namespace: str, code: str, kind: type[StorageError]
) -> None:
    async with SupabaseStorage[Any](scratch_url, namespace=namespace) as storage:
        await storage.write("chat:1", "old")
        for call in (
            storage.write("chat:1", f"SQLSTATE {code}"),
            storage.write_many({"new": 1, "chat:1": f"SQLSTATE {code}"}),
        ):
            with pytest.raises(StorageError) as caught:
                await call
            assert type(caught.value) is kind
            assert "\n" not in str(caught.value)
        assert await storage.read_many(["chat:1", "new"]) == {"chat:1": "old"}


async def test_a_port_where_nobody_listens_is_said_at_once(free_tcp_port: int) -> None:
    storage = SupabaseStorage[Any](f"supabase+http://:a.b.c@127.0.0.1:{free_tcp_port}")
    async with asyncio.timeout(5):
        with pytest.raises(StorageUnavailableError, match="cannot be reached"):
            await storage.read("chat:1")
    await storage.aclose()


async def test_a_host_that_is_not_there_is_said() -> None:
    with pytest.raises(StorageUnavailableError, match="cannot be reached"):
        async with SupabaseStorage[Any]("supabase://:a.b.c@nowhere.invalid"):
            pass
