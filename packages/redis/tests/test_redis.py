"""What is particular to Redis: layout, clients and their options, commands and rights, what is wrong in one line."""

import asyncio
import secrets
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
import redis
from redis.asyncio import BlockingConnectionPool, Redis

from satchel import (
    Codec,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    StorageClosedError,
    StorageUnavailableError,
    open_storage,
)
from satchel_redis import RedisStorage


class Binary(Codec[bytes]):
    """Stores bytes as they are, as compression and encryption will."""

    is_text = False

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, payload: bytes) -> bytes:
        return payload


async def test_at_rest_a_session_is_a_string_of_readable_json(url: str, namespace: str, raw: Redis) -> None:
    async with RedisStorage[Any](url, namespace=namespace) as storage:
        await storage.write("telegram:42", {"name": "Zoë", "pizza": 1})
    assert await raw.get(f"{namespace}:telegram:42") == '{"name":"Zoë","pizza":1}'.encode()
    assert await raw.pttl(f"{namespace}:telegram:42") == -1


async def test_the_server_ends_a_session_to_the_millisecond(url: str, namespace: str, raw: Redis) -> None:
    async with RedisStorage[Any](url, namespace=namespace, ttl=timedelta(milliseconds=90_123.4)) as storage:
        version = await storage.write_versioned("created", 1, None)
        await storage.write_versioned("created", 2, version)
        await storage.write("written", 1)
        await storage.write_many({"batched": 1})
        await raw.set(f"{namespace}:touched", "1")
        assert await storage.touch("touched")
    for key in ("created", "written", "batched", "touched"):
        assert 80_000 < await raw.pttl(f"{namespace}:{key}") <= 90_124


async def test_without_a_ttl_every_write_and_touch_removes_an_older_end(url: str, namespace: str, raw: Redis) -> None:
    async with RedisStorage[Any](url, namespace=namespace) as storage:
        for key in ("written", "replaced", "batched", "touched"):
            await raw.set(f"{namespace}:{key}", "1", px=60_000)
        await storage.write("written", 1)
        await storage.write_versioned("replaced", 2, storage.version_of(b"1"))
        await storage.write_many({"batched": 1})
        assert await storage.touch("touched")
        assert await storage.touch("touched")
        assert not await storage.touch("missing")
    for key in ("written", "replaced", "batched", "touched"):
        assert await raw.pttl(f"{namespace}:{key}") == -1


async def test_the_longest_ttl_there_is_is_taken(url: str, namespace: str) -> None:
    async with RedisStorage[Any](url, namespace=namespace, ttl=timedelta.max) as storage:
        await storage.write("chat:1", 1)
        assert await storage.touch("chat:1")
        assert await storage.read("chat:1") == 1


async def test_an_edit_by_hand_counts_as_a_new_version(url: str, namespace: str, raw: Redis) -> None:
    async with RedisStorage[Any](url, namespace=namespace) as storage:
        version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
        await raw.set(f"{namespace}:chat:1", '{"pizza": 2}')
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", {"pizza": 9}, version)
        with pytest.raises(ConflictError):
            await storage.delete_versioned("chat:1", version)
        assert await storage.read("chat:1") == {"pizza": 2}


async def test_conditional_writes_work_when_the_server_has_forgotten_its_scripts(
    url: str, namespace: str, raw: Redis
) -> None:
    async with RedisStorage[Any](url, namespace=namespace) as storage:
        version = await storage.write_versioned("chat:1", 1, None)
        for number in (2, 3):
            await raw.script_flush()
            version = await storage.write_versioned("chat:1", number, version)
        await raw.script_flush()
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", 9, "another version")
        await raw.script_flush()
        await storage.delete_versioned("chat:1", version)
        assert await storage.read("chat:1") is None


@pytest.mark.parametrize("method", ["read", "read_many", "write_versioned", "delete_versioned"])
async def test_a_key_that_holds_something_else_is_never_missing(
    url: str, namespace: str, raw: Redis, method: str
) -> None:
    await raw.rpush(f"{namespace}:chat:1", "a", "list")
    arguments: dict[str, tuple[Any, ...]] = {
        "read": ("chat:1",),
        "read_many": (["chat:0", "chat:1"],),
        "write_versioned": ("chat:1", 1, "0"),
        "delete_versioned": ("chat:1", "0"),
    }
    async with RedisStorage[Any](url, namespace=namespace) as storage:
        with pytest.raises(CorruptValueError, match="something else than a string"):
            await getattr(storage, method)(*arguments[method])
    assert await raw.lrange(f"{namespace}:chat:1", 0, -1) == [b"a", b"list"]


async def test_a_damaged_payload_raises_and_stays(url: str, namespace: str, raw: Redis) -> None:
    await raw.set(f"{namespace}:chat:1", b'{"pizza"\xff')
    async with RedisStorage[Any](url, namespace=namespace) as storage:
        with pytest.raises(CorruptValueError, match="'chat:1' in redis://"):
            await storage.read("chat:1")
    assert await raw.get(f"{namespace}:chat:1") == b'{"pizza"\xff'


async def test_listing_takes_every_key_of_the_namespace_and_no_other(url: str, namespace: str, raw: Redis) -> None:
    special = [
        f"{mark}{number}" for number, mark in enumerate(["*", "?", "[a]", "]", "\\", "^", "{a}", "%", "é", "\n"])
    ]
    keys = special + [f"chat:{number}" for number in range(2000)]
    async with (
        RedisStorage[Any](url, namespace=namespace) as storage,
        RedisStorage[Any](url, namespace=namespace + "*") as glob,
        RedisStorage[Any](url, namespace=namespace[:-1]) as other,
    ):
        await storage.write_many(dict.fromkeys(keys, 1))
        await glob.write("chat:glob", 1)
        await other.write("chat:other", 1)
        await raw.set(namespace.encode() + b":\xff", "no key of ours")
        assert sorted([key async for key in storage.keys()]) == sorted(keys)
        assert sorted([key async for key in storage.keys("chat:19")]) == sorted(k for k in keys if k[:7] == "chat:19")
        for key in special:
            assert [found async for found in storage.keys(key[0])] == [key]
        assert [key async for key in glob.keys()] == ["chat:glob"]


@pytest.fixture(
    params=[
        {},
        {"decode_responses": True},
        {"decode_responses": True, "encoding": "cp1252", "encoding_errors": "replace"},
        {"decode_responses": True, "encoding": "ascii", "encoding_errors": "ignore"},
        {"protocol": 3},
        {"protocol": 3, "decode_responses": True},
        {"single_connection_client": True},
        {"max_connections": 1},
        {"health_check_interval": 1, "client_name": "bot", "socket_keepalive": False},
    ],
    ids=str,
)
async def client(url: str, request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    parts = urlsplit(url)
    async with Redis(host=parts.hostname or "", port=parts.port or 0, **request.param) as client:
        yield client


async def test_a_client_works_with_any_options_and_stays_open(client: Redis, namespace: str) -> None:
    async with RedisStorage[Any](client, namespace=namespace, ttl=timedelta(minutes=1)) as storage:
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
    assert await client.ping()


async def test_bytes_that_are_no_text_come_back_whatever_the_client_decodes(client: Redis, namespace: str) -> None:
    payload = bytes(range(256))
    async with RedisStorage[bytes](client, namespace=namespace, codec=Binary()) as storage:
        await storage.write("chat:1", payload)
        assert await storage.read("chat:1") == payload
        version = await storage.write_versioned("chat:1", payload[::-1], storage.version_of(payload))
        assert await storage.read_many(["chat:1"]) == {"chat:1": payload[::-1]}
        await storage.delete_versioned("chat:1", version)


async def test_sessions_are_read_while_they_are_listed_also_with_one_connection(url: str, namespace: str) -> None:
    keys = [f"chat:{number}" for number in range(1200)]
    async with (
        Redis.from_url(url, max_connections=1) as client,
        RedisStorage[Any](client, namespace=namespace, timeout=timedelta(seconds=2)) as storage,
    ):
        await storage.write_many(dict.fromkeys(keys, 1))
        found: list[str] = []
        async for key in storage.keys():
            if not found:
                assert sorted([key async for key in storage.keys()]) == sorted(keys)
            assert await storage.read(key) == 1
            found.append(key)
        assert sorted(found) == sorted(keys)


async def test_two_storages_share_a_client(raw: Redis, namespace: str) -> None:
    async with RedisStorage[Any](raw, namespace=namespace) as first:
        async with RedisStorage[Any](raw, namespace=namespace) as second:
            await second.write("chat:1", 1)
        with pytest.raises(StorageClosedError):
            await second.read("chat:1")
        assert await first.read("chat:1") == 1


def test_what_is_no_asynchronous_client_is_refused(url: str) -> None:
    with redis.Redis.from_url(url) as client, pytest.raises(ConfigurationError, match="not redis.client.Redis"):
        RedisStorage(cast("Any", client))
    with pytest.raises(ConfigurationError, match="not builtins.NoneType"):
        RedisStorage(None)  # type: ignore[arg-type]


async def test_a_client_whose_encoding_the_server_does_not_understand_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="utf-16"):
        RedisStorage(Redis(encoding="utf-16"))


async def test_a_storage_belongs_to_the_loop_that_opened_it(url: str, namespace: str) -> None:
    async with RedisStorage[Any](url, namespace=namespace) as storage:
        await storage.write("chat:1", 1)

        def elsewhere() -> None:
            with pytest.raises(ConfigurationError, match="another event loop"):
                asyncio.run(storage.read("chat:1"))

        await asyncio.to_thread(elsewhere)
        assert await storage.read("chat:1") == 1


async def connections(raw: Redis, name: str) -> int:
    return sum(each["name"] == name for each in await raw.client_list())


async def test_many_calls_wait_for_the_connections_that_there_are(url: str, namespace: str, raw: Redis) -> None:
    async with open_storage(f"{url}?client_name={namespace}&max_connections=8", namespace=namespace) as storage:
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(256)))
        assert await asyncio.gather(*(storage.read(f"chat:{number}") for number in range(256))) == list(range(256))
        assert await connections(raw, namespace) <= 8


async def test_a_client_with_a_pool_of_its_own_is_not_asked_for_more_than_it_has(url: str, namespace: str) -> None:
    async with (
        Redis.from_pool(BlockingConnectionPool.from_url(url, max_connections=2, timeout=0.001)) as client,
        RedisStorage[Any](client, namespace=namespace) as storage,
    ):
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(100)))


async def test_closing_leaves_no_connection_and_no_task(url: str, namespace: str, raw: Redis) -> None:
    tasks = asyncio.all_tasks()
    async with RedisStorage[Any](f"{url}?client_name={namespace}", namespace=namespace) as storage:
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(20)))
        assert await connections(raw, namespace) > 0
    assert asyncio.all_tasks() == tasks
    async with asyncio.timeout(5):
        while await connections(raw, namespace):  # the server notices in its own time
            pass


async def test_a_call_is_one_command(redis_restarted_url: str, namespace: str) -> None:
    async with (
        RedisStorage[Any](redis_restarted_url, namespace=namespace, ttl=timedelta(minutes=1)) as storage,
        Redis.from_url(redis_restarted_url) as raw,
    ):
        one, two = storage.version_of(b"1"), storage.version_of(b"2")
        calls: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
            ("set", lambda: storage.write("chat:1", 1)),
            ("get", lambda: storage.read("chat:1")),
            ("get", lambda: storage.read_versioned("chat:1")),
            ("evalsha", lambda: storage.write_versioned("chat:1", 2, one)),
            ("evalsha", lambda: storage.delete_versioned("chat:1", two)),
            ("set", lambda: storage.write_versioned("chat:1", 1, None)),
            ("pexpire", lambda: storage.touch("chat:1")),
            ("unlink", lambda: storage.delete("chat:1")),
            ("evalsha", lambda: storage.write_many({"chat:1": 1, "chat:2": 2})),
            ("evalsha", lambda: storage.read_many(["chat:1", "chat:2"])),
            ("unlink", lambda: storage.delete_many(["chat:1", "chat:2"])),
        ]
        for _, call in calls:
            await call()  # from now on the scripts are known
        for command, call in calls:
            await raw.config_resetstat()
            await call()
            stats = await raw.info("commandstats")
            sent = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}
            del sent["config|resetstat"]
            inside = {"get", "set", "unlink"} if command == "evalsha" else set()  # what a script calls counts as well
            assert sent.pop(command) == 1
            assert sent.keys() <= inside


async def test_the_rights_that_the_schema_names_are_enough_and_nothing_is_spare(
    url: str, namespace: str, raw: Redis
) -> None:
    storage = RedisStorage[Any](url, namespace=namespace + "*")
    _, _, user, *rules = shlex.split(storage.schema())  # which takes backslashes and quotes as redis-cli does
    user, password = user + secrets.token_hex(4), secrets.token_hex(8)
    rules = [rule.replace("PASSWORD", password) for rule in rules]
    assert f"~{namespace}\\*:*" in rules
    await set_user(raw, user, *rules)
    parts = urlsplit(url)
    login = f"redis://{user}:{password}@{parts.hostname}:{parts.port}/0"
    try:
        for ttl in (None, timedelta(minutes=1)):
            for protocol in (2, 3):
                await raw.script_flush()
                options: dict[str, Any] = {"namespace": namespace + "*", "ttl": ttl}
                async with RedisStorage[Any](f"{login}?protocol={protocol}", **options) as storage:
                    version = await storage.write_versioned("chat:1", 1, None)
                    version = await storage.write_versioned("chat:1", 2, version)
                    await storage.write_many({"chat:2": 2, "chat:3": 3})
                    assert await storage.touch("chat:1")
                    assert await storage.read_many(["chat:1", "chat:2"]) == {"chat:1": 2, "chat:2": 2}
                    assert sorted([key async for key in storage.keys()]) == ["chat:1", "chat:2", "chat:3"]
                    await storage.delete_versioned("chat:1", version)
                    await storage.delete_many(["chat:2", "chat:3"])
        async with RedisStorage[Any](login, namespace=namespace) as storage:
            with pytest.raises(ConfigurationError, match="forbids"):
                await storage.read("chat:1")
        async with RedisStorage[Any](login, namespace=namespace + "*") as storage:
            for command in [rule for rule in rules if rule.startswith("+") and rule != "+select"]:
                await set_user(raw, user, "-" + command[1:])
                await raw.script_flush()
                with pytest.raises(ConfigurationError, match="forbids"):
                    await every_command(storage, login, namespace + "*")
                await set_user(raw, user, command)
            await every_command(storage, login, namespace + "*")
    finally:
        await raw.acl_deluser(user)


@pytest.mark.parametrize("special", ["*", "\\", '"', "'", " ", "[a]", "?", "^", "é", '\\"\\\\ *'])
@pytest.mark.parametrize("name", ["", "bot"])
async def test_the_schema_is_taken_as_it_is_printed_and_gives_away_no_other_namespace(
    url: str, namespace: str, raw: Redis, special: str, name: str
) -> None:
    namespace = f"{namespace}{special}b"
    url = f"{url}?client_name={name}" if name else url
    user, password = f"satchel{secrets.token_hex(4)}", secrets.token_hex(8)
    line = RedisStorage[Any](url, namespace=namespace).schema()
    assert ("+client|setname" in line) == bool(name)
    try:
        await typed(url, line.replace(" satchel ", f" {user} ").replace("PASSWORD", password))
        login = url.replace("//", f"//{user}:{password}@")
        async with RedisStorage[Any](login, namespace=namespace) as storage:
            await storage.write("chat:1", 1)
            assert await storage.read("chat:1") == 1
            assert [key async for key in storage.keys()] == ["chat:1"]
        for other in (namespace.replace(special, "another"), namespace.replace(special, "")):
            async with RedisStorage[Any](login, namespace=other) as storage:
                with pytest.raises(ConfigurationError, match="forbids"):
                    await storage.read("chat:1")
    finally:
        await raw.acl_deluser(user)


async def typed(url: str, line: str) -> None:
    """Send a line as somebody at a terminal would; the server splits it by the rules of redis-cli."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(line.encode())
    assert await reader.readline() == b"+OK\r\n"
    writer.close()
    await writer.wait_closed()


async def set_user(raw: Redis, *rules: str) -> None:
    await raw.execute_command("ACL", "SETUSER", *rules)  # type: ignore[no-untyped-call]


async def every_command(storage: RedisStorage[Any], url: str, namespace: str) -> None:
    async with RedisStorage[Any](url, namespace=namespace, ttl=timedelta(minutes=1)) as expiring:
        await storage.delete("chat:1")
        version = await storage.write_versioned("chat:1", 1, None)
        await storage.write_versioned("chat:1", 2, version)
        await storage.write_versioned("chat:1", 1, storage.version_of(b"2"))
        await storage.read("chat:1")
        await storage.touch("chat:1")
        await expiring.touch("chat:1")
        assert [key async for key in storage.keys()] == ["chat:1"]


@pytest.mark.parametrize(("url", "line"), [
    ("http://localhost", "starts with one of"),
    ("redis+tcp://localhost", "starts with one of"),
    ("redis://localhost:port", "Port"),
    ("redis://localhost:99999", "Port"),
    ("redis://localhost/zero", "number of a database"),
    ("redis://localhost/0/1", "number of a database"),
    ("redis://a:1,b:2", "one host"),
    ("redis://localhost?decode_responses=true", "no option decode_responses"),
    ("redis://localhost?sentinel_password=x", "no option sentinel_password"),
    ("redis://localhost?protocol=4", "protocol is 4"),
    ("redis://localhost?protocol=three", "protocol is not an integer"),
    ("redis://localhost?max_connections=0", "has to be a positive integer"),
    ("redis://localhost?wait_replicas=-1", "has to be an integer of at least 0"),
    ("redis://localhost?ttl=0s", "has to be positive"),
    ("redis://localhost?timeout=soon", "not a duration"),
    ("redis://localhost?ssl_ca_certs=/etc/ca.pem", "is for rediss://"),
    ("rediss://localhost?ssl_ca_certs=/missing/ca.pem", "is no file"),
    ("rediss://localhost?ssl_check_hostname=perhaps", "true or false"),
    ("redis+cluster://localhost/1", "only database 0"),
    ("redis+cluster://a:1,b:x", "Port"),
    ("redis+sentinel://localhost", "names the master"),
    ("redis+sentinel://localhost/mymaster/zero", "number of a database"),
    ("redis://bot:1#hunter2@localhost:1/0", "in a password or a name, write"),
    ("redis://bot:1/hunter2@localhost:1/0", "in a password or a name, write"),
    ("redis://bot:1?hunter2@localhost:1/0", "in a password or a name, write"),
    ("redis://bot:1?hunter2=3@localhost:1/0", "in a password or a name, write"),
    ("redis://localhost/0#2", "write '#' as %23"),
    ("redis://localhost?protocol=2&protocol=3", "has option protocol more than once"),
    ("", "starts with its scheme"),
])  # fmt: skip
def test_a_wrong_url_is_refused_before_anything_is_connected(url: str, line: str) -> None:
    with pytest.raises(ConfigurationError, match=line) as caught:
        RedisStorage(url)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_url_says_what_it_opens() -> None:
    for url, where in {
        "redis://": "redis://localhost:6379/0",
        "redis://bot:secret@[::1]/3": "redis://[::1]:6379/3",
        "rediss://:secret@example.com:1": "rediss://example.com:1/0",
        "redis+unix:///run/redis.sock?db=2": "redis+unix:///run/redis.sock?db=2",
        "redis+cluster://bot:secret@a:1,b:2": "redis+cluster://a:1,b:2",
        "rediss+cluster://:secret@a": "redis+cluster://a:6379",
        "redis+sentinel://:secret@a,b:2/mymaster/4?sentinel_password=secret": "redis+sentinel:///mymaster/4",
    }.items():
        storage = open_storage(url)
        assert repr(storage) == f"<RedisStorage {where}>"


async def test_a_user_that_is_not_there_is_said_in_one_line_without_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="does not take the user name and password") as caught:
        async with RedisStorage[Any](url.replace("redis://", "redis://nobody:hunter2@")):
            pass
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_database_that_is_not_there_is_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"redis://.*/99 has no such database"):
        async with RedisStorage[Any](url.rpartition("/")[0] + "/99"):
            pass


async def test_a_port_where_nobody_listens_is_said_at_once(free_tcp_port: int) -> None:
    storage = RedisStorage[Any](f"redis://127.0.0.1:{free_tcp_port}")
    async with asyncio.timeout(5):
        with pytest.raises(StorageUnavailableError, match="cannot be reached"):
            await storage.read("chat:1")
    await storage.aclose()


async def test_a_host_that_is_not_there_is_said() -> None:
    with pytest.raises(StorageUnavailableError, match="cannot be reached"):
        async with RedisStorage[Any]("redis://nowhere.invalid"):
            pass


async def test_a_server_of_another_kind_is_said() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        storage = RedisStorage[Any](f"redis://127.0.0.1:{port}", timeout=timedelta(seconds=2))
        with pytest.raises(ConfigurationError, match="does not speak the protocol of Redis"):
            await storage.read("chat:1")
        await storage.aclose()


async def test_one_server_is_no_cluster(url: str) -> None:
    storage = RedisStorage[Any](url.replace("redis://", "redis+cluster://"))
    with pytest.raises(ConfigurationError, match="is no Cluster: use redis://"):
        await storage.read("chat:1")
    await storage.aclose()
