"""What is particular to PostgreSQL: layout, names, pools and their options, rights, what is wrong in one line."""

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, cast
from urllib.parse import quote

import psycopg
import psycopg_pool
import pytest
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import class_row, dict_row
from psycopg.types.json import set_json_loads
from psycopg.types.string import StrDumper
from psycopg_pool import AsyncConnectionPool, AsyncNullConnectionPool

from satchel import (
    JSON,
    Change,
    Codec,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    StorageClosedError,
    StorageUnavailableError,
    open_storage,
)
from satchel_conformance.proxy import Proxy
from satchel_postgres import PostgresStorage
from satchel_postgres.connections import Made
from satchel_postgres.running import rows as result_rows

Raw = AsyncConnection[Any]


class Binary(Codec[bytes]):
    """Stores bytes as they are, as compression and encryption will."""

    is_text = False

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, payload: bytes) -> bytes:
        return payload


class Lines(Codec[list[str]]):
    """Stores text that is no JSON."""

    def encode(self, value: list[str]) -> bytes:
        return "\n".join(value).encode()

    def decode(self, payload: bytes) -> list[str]:
        return payload.decode().split("\n")


async def rows(raw: Raw, statement: str, **parameters: Any) -> list[Any]:
    cursor = await raw.execute(statement.encode(), parameters or None)
    return await cursor.fetchall() if cursor.description else []


async def row(raw: Raw, namespace: str, key: str, columns: str = "payload::text, payload_bytes, expires_at") -> Any:
    (found,) = await rows(raw, f"SELECT {columns} FROM satchel_sessions WHERE key = %(key)s", key=f"{namespace}:{key}")
    return found


async def test_at_rest_a_session_is_a_row_of_readable_json(postgres_url: str, namespace: str, raw: Raw) -> None:
    async with PostgresStorage[Any](postgres_url, namespace=namespace) as storage:
        await storage.write("telegram:42", {"name": "Zoë", "pizza": 1})
        await storage.write_many({"chat:2": {"b": "\0", "a": -0.0}})
    assert await row(raw, namespace, "telegram:42") == ('{"name":"Zoë","pizza":1}', None, None)
    assert await row(raw, namespace, "telegram:42", "payload ->> 'pizza'") == ("1",)
    assert await row(raw, namespace, "chat:2") == ('{"b":"\\u0000","a":-0.0}', None, None)


async def test_what_an_earlier_release_laid_down_is_read(postgres_url: str, table: str, raw: Raw) -> None:
    await rows(
        raw,
        f"""CREATE TABLE {table} (
        key text COLLATE "C" PRIMARY KEY, payload json, payload_bytes bytea, expires_at timestamptz
    )""",
    )
    await rows(raw, f"""INSERT INTO {table} VALUES ('satchel:chat:1', '{{"pizza": 1}}')""")
    async with PostgresStorage[Any](postgres_url, table=table) as storage:
        assert await storage.read("chat:1") == {"pizza": 1}


async def test_the_layout_has_a_number(postgres_url: str, table: str, raw: Raw) -> None:
    async with PostgresStorage[Any](postgres_url, table=table):
        comment = await rows(raw, "SELECT obj_description(to_regclass(%(name)s))", name=table)
    assert comment == [("Satchel sessions, layout 1",)]


async def test_what_is_no_json_is_bytes_in_the_same_table(postgres_url: str, namespace: str, raw: Raw) -> None:
    payload = bytes(range(256))
    async with (
        PostgresStorage[bytes](postgres_url, namespace=namespace, codec=Binary()) as binary,
        PostgresStorage[list[str]](postgres_url, namespace=namespace, codec=Lines()) as lines,
        PostgresStorage[Any](postgres_url, namespace=namespace) as storage,
    ):
        await asyncio.gather(*(storage.write(f"chat:{number}", "json") for number in range(1, 7)))
        await binary.write("chat:1", payload)
        version = await binary.write_versioned("chat:1", payload[::-1], binary.version_of(payload))
        assert await binary.read_versioned("chat:1") == (payload[::-1], version)
        await binary.write_many({"chat:2": payload, "chat:3": b""})
        assert await binary.read_many(["chat:2", "chat:3"]) == {"chat:2": payload, "chat:3": b""}
        await binary.delete_versioned("chat:1", version)
        await asyncio.gather(*(lines.write(f"chat:{number}", ["a", "b"]) for number in (4, 5)))
        await lines.write_many({"chat:6": ["c"]})
        assert await lines.read_many(["chat:4", "chat:5", "chat:6"]) == {
            "chat:4": ["a", "b"],
            "chat:5": ["a", "b"],
            "chat:6": ["c"],
        }
        assert await row(raw, namespace, "chat:2") == (None, payload, None)
        assert await row(raw, namespace, "chat:5") == (None, b"a\nb", None)
        await storage.write("chat:2", "json")
        assert await row(raw, namespace, "chat:2") == ('"json"', None, None)


async def test_an_edit_by_hand_counts_as_a_new_version(postgres_url: str, table: str, raw: Raw) -> None:
    async with PostgresStorage[Any](postgres_url, table=table) as storage:
        version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
        await rows(raw, f"""UPDATE {table} SET payload = '{{"pizza": 2}}'""")
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", {"pizza": 9}, version)
        with pytest.raises(ConflictError):
            await storage.delete_versioned("chat:1", version)
        assert await storage.read("chat:1") == {"pizza": 2}


async def test_a_damaged_payload_raises_and_stays(postgres_url: str, table: str, raw: Raw) -> None:
    async with PostgresStorage[Any](postgres_url, table=table) as storage:
        await storage.write("chat:1", {"pizza": 1})
        await rows(raw, f"""UPDATE {table} SET payload = NULL, payload_bytes = '{{"pizza'""")
        with pytest.raises(CorruptValueError, match="'chat:1' in postgresql://"):
            await storage.read("chat:1")
    assert await rows(raw, f"SELECT payload_bytes FROM {table}") == [(b'{"pizza',)]


async def test_the_server_counts_the_lifetime(postgres_url: str, namespace: str, raw: Raw) -> None:
    async with PostgresStorage[Any](postgres_url, namespace=namespace, ttl=timedelta(seconds=90.1234)) as storage:
        version = await storage.write_versioned("created", 1, None)
        await storage.write_versioned("created", 2, version)
        await storage.write("written", 1)
        await storage.write_many({"batched": 1})
        async with PostgresStorage[Any](postgres_url, namespace=namespace) as endless:
            await endless.write("touched", 1)
        assert await storage.touch("touched")
    for key in ("created", "written", "batched", "touched"):
        (left,) = await row(raw, namespace, key, "extract(epoch FROM expires_at - clock_timestamp())::float8")
        assert 60 < left <= 90.124


async def test_without_a_ttl_every_write_and_touch_removes_an_older_end(
    postgres_url: str, namespace: str, raw: Raw
) -> None:
    keys = ("written", "replaced", "batched", "touched")
    async with (
        PostgresStorage[Any](postgres_url, namespace=namespace, ttl=timedelta(minutes=1)) as ending,
        PostgresStorage[Any](postgres_url, namespace=namespace) as storage,
    ):
        await ending.write_many(dict.fromkeys(keys, 1))
        await storage.write("written", 1)
        await storage.write_versioned("replaced", 2, storage.version_of(b"1"))
        await storage.write_many({"batched": 1})
        assert await storage.touch("touched")
    for key in keys:
        assert await row(raw, namespace, key, "expires_at") == (None,)


@pytest.mark.parametrize("ttl", [timedelta.max, timedelta(days=100_000_000), timedelta(days=10_000_000)])
async def test_the_longest_ttl_there_is_is_taken(postgres_url: str, namespace: str, ttl: timedelta) -> None:
    async with PostgresStorage[Any](postgres_url, namespace=namespace, ttl=ttl) as storage:
        await storage.write("chat:1", 1)
        assert await storage.touch("chat:1")
        assert await storage.read("chat:1") == 1


async def expired(postgres_url: str, table: str, raw: Raw, count: int) -> None:
    """Leave so many rows in the table that have ended."""
    async with PostgresStorage[Any](postgres_url, table=table):
        statement = f"""INSERT INTO {table} (key, payload, expires_at)
            SELECT 'old:' || i, '1', clock_timestamp() - interval '1 s' FROM generate_series(1, %(count)s) AS i"""
        await rows(raw, statement, count=count)


async def has_rows(raw: Raw, table: str, count: int) -> None:
    async with asyncio.timeout(20):
        while await rows(raw, f"SELECT count(*) FROM {table}") != [(count,)]:
            await asyncio.sleep(0.01)


async def test_expired_rows_are_removed_by_thousands(postgres_url: str, table: str, raw: Raw) -> None:
    await expired(postgres_url, table, raw, 2500)
    async with PostgresStorage[Any](postgres_url, table=table) as storage:
        await storage.write("chat:1", 1)
        assert await storage.purge_expired() == 2500
        assert await storage.purge_expired() == 0
        assert await storage.read("chat:1") == 1


async def test_once_a_minute_a_write_sets_off_a_purge(
    postgres_url: str, table: str, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    await expired(postgres_url, table, raw, 2500)
    async with PostgresStorage[Any](postgres_url, table=table, ttl=timedelta(hours=1)) as storage:
        storage._purge_at = time.monotonic()
        await storage.write("chat:1", 1)
        await has_rows(raw, table, 1)
        await expired(postgres_url, table, raw, 1)
        await storage.write("chat:2", 2)
        await storage.write_many({"chat:3": 3})
        assert all(task.done() for task in storage._runner._tasks)  # it is not due yet
        await has_rows(raw, table, 4)


async def test_a_purge_neither_delays_nor_fails_the_write_that_sets_it_off(
    postgres_url: str, table: str, raw: Raw
) -> None:
    await expired(postgres_url, table, raw, 10)
    async with PostgresStorage[Any](
        postgres_url, table=table, ttl=timedelta(hours=1), timeout=timedelta(seconds=5)
    ) as storage:
        await storage.write("chat:1", 1)
        await rows(raw, f"CREATE FUNCTION {table}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'")
        await rows(raw, f"CREATE TRIGGER no BEFORE DELETE ON {table} EXECUTE FUNCTION {table}()")
        storage._purge_at = time.monotonic()
        await storage.write("chat:1", 2)
        async with asyncio.timeout(5):
            while storage._runner._tasks:
                await asyncio.sleep(0.01)
        await storage.write("chat:1", 3)
    await rows(raw, f"DROP FUNCTION {table} CASCADE")


async def test_a_purge_leaves_to_others_what_they_are_at(postgres_url: str, table: str, raw: Raw) -> None:
    await expired(postgres_url, table, raw, 10)
    async with PostgresStorage[Any](postgres_url, table=table) as storage:
        async with raw.transaction():
            await rows(raw, f"SELECT 1 FROM {table} WHERE key = 'old:1' FOR UPDATE")
            assert await storage.purge_expired() == 9
        assert await storage.purge_expired() == 1


async def test_many_may_purge_at_once(postgres_url: str, table: str, raw: Raw) -> None:
    await expired(postgres_url, table, raw, 5000)
    async with PostgresStorage[Any](postgres_url, table=table) as storage:
        counts = await asyncio.gather(*(storage.purge_expired() for _ in range(5)))
        assert sum(counts) == 5000


HOSTILE = [
    "Sessions",
    "my table",
    'a"quote',
    "it's",
    "50%",
    "%s %(key)s",
    "{table}",
    "semi; DROP TABLE x; --",
    "back\\slash",
    "таблица",
    "🍕",
    "select",
    "x" * 63,
    "é" * 31 + "x",
]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_table_may_have_any_name(postgres_url: str, table: str, raw: Raw, name: str) -> None:
    await rows(raw, f"CREATE SCHEMA {table}")
    url = f"{postgres_url}?table={quote(f'{table}.{quoted(name)}', safe='')}"
    try:
        async with open_storage(url, ttl=timedelta(minutes=1)) as opened:
            storage = cast("PostgresStorage[Any]", opened)
            version = await storage.write_versioned("chat:1", 1, None)
            version = await storage.write_versioned("chat:1", 2, version)
            await storage.write_many({"chat:2": 2})
            assert await storage.touch("chat:1")
            assert await storage.purge_expired() == 0
            assert await storage.read_many(["chat:1", "chat:2"]) == {"chat:1": 2, "chat:2": 2}
            assert [key async for key in storage.keys()] == ["chat:1", "chat:2"]
            await storage.commit({"chat:2": Change(None, storage.version_of(b"2")), "chat:3": Change(3, None)})
            await storage.delete_versioned("chat:1", version)
            await storage.delete_many(["chat:3"])
        assert await rows(raw, "SELECT tablename FROM pg_tables WHERE schemaname = %(schema)s", schema=table) == [
            (name,)
        ]
    finally:
        await rows(raw, f"DROP SCHEMA {table} CASCADE")


async def test_names_that_look_alike_are_different_tables(postgres_url: str, table: str, raw: Raw) -> None:
    await rows(raw, f"CREATE SCHEMA {table}")
    names = ["name", "Name", '"na.me"', '"na""me"', "x" * 62, "x" * 63]
    try:
        for name in names:
            async with PostgresStorage[Any](postgres_url, table=f"{table}.{name}") as storage:
                assert await storage.read("chat:1") is None
                await storage.write("chat:1", name)
        for name in names:
            async with PostgresStorage[Any](postgres_url, table=f"{table}.{name}", create=False) as storage:
                assert await storage.read("chat:1") == name
        indexes = await rows(raw, "SELECT count(*) FROM pg_indexes WHERE schemaname = %(schema)s", schema=table)
        assert indexes == [(2 * len(names),)]
    finally:
        await rows(raw, f"DROP SCHEMA {table} CASCADE")


async def test_without_a_schema_the_search_path_decides(postgres_url: str, table: str, raw: Raw) -> None:
    await rows(raw, f"CREATE SCHEMA {table}")
    try:
        async with open_storage(f"{postgres_url}?options=-c%20search_path%3D{table}") as storage:
            await storage.write("chat:1", 1)
        assert await rows(raw, f"SELECT key FROM {table}.satchel_sessions") == [("satchel:chat:1",)]
    finally:
        await rows(raw, f"DROP SCHEMA {table} CASCADE")


@pytest.mark.parametrize(
    "name",
    ["", ".", "a.", ".a", "a.b.c", '"a', 'a"b', '""', "a\0b", "x" * 64, "é" * 32, f"{'x' * 64}.a", "a\nb", "\ud800"],
)
def test_what_is_no_name_is_refused_before_anything_is_connected(name: str) -> None:
    with pytest.raises(ConfigurationError, match="^table is ") as caught:
        PostgresStorage("postgresql://localhost", table=name)
    assert "\n" not in str(caught.value)


async def test_a_table_of_somebody_else_is_left_alone(postgres_url: str, table: str, raw: Raw) -> None:
    await rows(raw, f"CREATE TABLE {table} (key text PRIMARY KEY, payload jsonb NOT NULL)")
    with pytest.raises(ConfigurationError, match="column payload is jsonb, not json"):
        async with PostgresStorage[Any](postgres_url, table=table):
            pass


async def test_a_table_that_takes_different_keys_for_the_same_is_refused(
    postgres_url: str, table: str, raw: Raw
) -> None:
    await rows(raw, f"CREATE COLLATION {table} (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    try:
        async with PostgresStorage[Any](postgres_url, table=table):
            pass
        await rows(raw, f"ALTER TABLE {table} ALTER key TYPE text COLLATE {table}")
        with pytest.raises(ConfigurationError, match="column key has a collation to which different keys are the same"):
            async with PostgresStorage[Any](postgres_url, table=table, create=False):
                pass
        await rows(raw, f'ALTER TABLE {table} ALTER key TYPE text COLLATE "en-x-icu"')  # which only sorts otherwise
        async with PostgresStorage[Any](postgres_url, table=table, create=False) as storage:
            await storage.write_many({"User": 1, "user": 2})
            assert await storage.read("User") == 1
    finally:
        await rows(raw, f"DROP TABLE {table}")
        await rows(raw, f"DROP COLLATION {table}")


SETTINGS = ["standard_conforming_strings=off", "array_nulls=off", "quote_all_identifiers=on", "bytea_output=escape"]


@pytest.mark.parametrize("setting", SETTINGS)
async def test_settings_of_a_user_or_a_database_change_nothing(
    postgres_url: str, table: str, raw: Raw, setting: str
) -> None:
    url = f"{postgres_url}?table={table}&prepare_threshold=1&options=-c%20{quote(setting)}"
    payload, other = bytes(range(256)), b"\\x00\\134\0"
    async with (
        PostgresStorage[Any](url) as storage,
        PostgresStorage[bytes](url, codec=Binary()) as binary,
        PostgresStorage[Any](url, codec=JSON.compressed(threshold=1)) as compressed,
    ):
        for _ in range(3):  # the last of them are prepared
            await storage.write_many({"NULL": "NULL", "back\\slash": "\\"})
            assert await storage.read_many(["NULL", "back\\slash"]) == {"NULL": "NULL", "back\\slash": "\\"}
            versions = await storage.commit({"a": Change({"n": 1}, None), "b": Change(2, None)})
            await storage.commit({"a": Change(None, versions["a"]), "b": Change("NULL", versions["b"])})
            assert await storage.read_many(["a", "b"]) == {"b": "NULL"}
            await storage.commit({"b": Change(None, storage.version_of(b'"NULL"'))})
            await storage.delete_many(["NULL", "back\\slash"])
            await binary.write_many({"c": payload, "d": other, "NULL": b""})
            assert await binary.read_many(["c", "d", "NULL"]) == {"c": payload, "d": other, "NULL": b""}
            digests = {key: binary.version_of(value) for key, value in {"c": payload, "d": other, "NULL": b""}.items()}
            await binary.commit({"c": Change(other, digests["c"]), "d": Change(None, digests["d"])})
            assert await binary.read_many(["c", "d"]) == {"c": other}
            version = await binary.write_versioned("NULL", payload, digests["NULL"])
            await binary.delete_versioned("NULL", version)
            await binary.delete("c")
            many = {f"chat:{number}": {"text": "pizza " * number} for number in range(20)}
            await compressed.write_many(many)
            assert await compressed.read_many(many) == many
            await compressed.delete_many(many)
    assert await rows(raw, f"SELECT key FROM {table}") == []


async def test_listing_takes_every_key_of_the_namespace_and_no_other(postgres_url: str, namespace: str) -> None:
    special = [f"{mark}{number}" for number, mark in enumerate(["%", "_", "\\", "*", "[a]", "é", "\n", "\U0010ffff"])]
    keys = special + [f"chat:{number}" for number in range(2000)]
    async with (
        PostgresStorage[Any](postgres_url, namespace=namespace) as storage,
        PostgresStorage[Any](postgres_url, namespace=namespace + "%") as percent,
        PostgresStorage[Any](postgres_url, namespace=namespace[:-1]) as other,
    ):
        await storage.write_many(dict.fromkeys(keys, 1))
        await percent.write("chat:percent", 1)
        await other.write("chat:other", 1)
        assert [key async for key in storage.keys()] == sorted(
            keys, key=lambda key: key.replace("%", "%25").replace("\n", "%0A")
        )
        assert sorted([key async for key in storage.keys("chat:19")]) == sorted(k for k in keys if k[:7] == "chat:19")
        for key in special:
            assert [found async for found in storage.keys(key[0])] == [key]
        assert [key async for key in percent.keys()] == ["chat:percent"]


async def test_listing_and_purging_use_the_indexes(postgres_url: str, table: str, raw: Raw) -> None:
    async with PostgresStorage[Any](postgres_url, table=table) as storage:
        statement = f"""INSERT INTO {table} (key, payload, expires_at) SELECT
            'bot' || i % 100 || ':' || i, '1', clock_timestamp() + i * interval '1 min'
            FROM generate_series(1, 20000) AS i"""
        await rows(raw, statement)
        await rows(raw, f"ANALYZE {table}")
        for explained, values in (
            (storage._sql.page, {"start": "bot1:", "end": "bot1;", "most": 500}),
            (storage._sql.purge, {"most": 1000}),
            (storage._sql.get, {"key": "bot1:1"}),
            (storage._sql.drop_many, {"keys": ["bot1:1", "bot1:2"]}),
            (
                storage._sql.commit,
                {"keys": ["bot1:1", "bot1:2"], "payload": ["2", None], "bytes": [None] * 2, "digests": [b"1", b"2"]},
            ),
        ):
            plan = "\n".join(line for (line,) in await rows(raw, f"EXPLAIN {explained.decode()}", **values))
            assert "Seq Scan" not in plan


async def test_a_page_is_not_sorted_also_where_the_server_has_no_statistics(
    postgres_url: str, table: str, raw: Raw
) -> None:
    async with PostgresStorage[Any](postgres_url, table=table) as storage:
        await rows(raw, f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        statement = f"""INSERT INTO {table} (key, payload)
            SELECT 'bot:' || i, to_json(repeat('x', 400)) FROM generate_series(1, 20000) AS i"""
        await rows(raw, statement)
        values = {"start": "bot:", "end": "bot;", "most": 500}
        plan = "\n".join(line for (line,) in await rows(raw, f"EXPLAIN {storage._sql.page.decode()}", **values))
        assert "Index" in plan
        assert "Sort" not in plan


async def nothing(connection: Raw) -> None:
    pass


async def left_open(connection: Raw) -> None:
    await connection.execute("SELECT 1")


async def other_loaders(connection: Raw) -> None:
    class Upper(StrDumper):
        def dump(self, obj: str) -> bytes:
            return obj.encode() if obj else b""

    connection.adapters.register_dumper(str, Upper)
    set_json_loads(lambda data: ("loaded", data), connection)


@pytest.fixture(
    params=[
        {"kwargs": {"autocommit": True}},
        {},
        {"kwargs": {"row_factory": dict_row}},
        {"kwargs": {"autocommit": True, "row_factory": class_row(list)}},
        {"kwargs": {"cursor_factory": psycopg.AsyncRawCursor}},
        {"kwargs": {"cursor_factory": psycopg.AsyncClientCursor, "autocommit": True}},
        {"kwargs": {"prepare_threshold": 0}},
        {"kwargs": {"prepare_threshold": None, "application_name": "bot"}},
        {"min_size": 0, "max_size": 1},
        {"configure": nothing, "reset": nothing, "check": AsyncConnectionPool.check_connection},
        {"check": left_open},
        {"configure": other_loaders},
        {"kwargs": {"options": "-c default_transaction_isolation=serializable"}},
        {"class": AsyncNullConnectionPool, "min_size": 0, "max_size": 3},
    ],
    ids=lambda options: "-".join(map(str, options)) + "-" + "-".join(options.get("kwargs", ())),
)
async def pool(postgres_url: str, request: pytest.FixtureRequest) -> AsyncIterator[AsyncConnectionPool[Any]]:
    options = {"min_size": 1, "max_size": 4, **request.param}
    kind = options.pop("class", AsyncConnectionPool)
    async with kind(postgres_url, open=False, **options) as pool:
        yield pool


async def test_a_pool_works_with_any_options_and_stays_open(pool: AsyncConnectionPool[Any], namespace: str) -> None:
    async with pool.connection() as connection:
        autocommit = connection.autocommit
    async with PostgresStorage[Any](pool, namespace=namespace, ttl=timedelta(minutes=1)) as storage:
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
        async with PostgresStorage[Any](pool, namespace=namespace) as other:  # so it is committed
            await other.delete_versioned("chat:2", version)
        assert await storage.read_many(["chat:ü", "chat:2"]) == {"chat:ü": value}
        versions = await storage.commit({"chat:3": Change(value, None), "chat:4": Change(4, None)})
        await storage.commit({"chat:3": Change(value, versions["chat:3"]), "chat:4": Change(None, versions["chat:4"])})
        with pytest.raises(ConflictError, match="'chat:4' is not"):
            await storage.commit({"chat:3": Change(3, versions["chat:3"]), "chat:4": Change(4, versions["chat:4"])})
        assert await storage.read_records(["chat:3", "chat:4"]) == {"chat:3": (value, versions["chat:3"])}
        await storage.delete_many(["chat:ü", "chat:3"])
        assert await storage.read("chat:ü") is None
    async with pool.connection() as connection:
        assert connection.autocommit == autocommit
        assert (await psycopg.AsyncCursor(connection).execute("SELECT 1")).rowcount == 1


async def test_bytes_that_are_no_text_come_back_whatever_the_pool_does(
    pool: AsyncConnectionPool[Any], namespace: str
) -> None:
    payload = bytes(range(256))
    async with PostgresStorage[bytes](pool, namespace=namespace, codec=Binary()) as storage:
        await storage.write("chat:1", payload)
        assert await storage.read("chat:1") == payload
        version = await storage.write_versioned("chat:1", payload[::-1], storage.version_of(payload))
        assert await storage.read_many(["chat:1"]) == {"chat:1": payload[::-1]}
        await storage.delete_versioned("chat:1", version)
        versions = await storage.commit({"chat:1": Change(payload, None), "chat:2": Change(payload[::-1], None)})
        await storage.commit({"chat:1": Change(payload[1:], versions["chat:1"]), "chat:2": Change(None, version)})
        assert await storage.read_many(["chat:1", "chat:2"]) == {"chat:1": payload[1:]}


async def test_two_storages_share_a_pool(postgres_url: str, namespace: str) -> None:
    async with AsyncConnectionPool(postgres_url, open=False) as pool:
        assert pool.get_stats()["pool_max"] == 4
        async with PostgresStorage[Any](pool, namespace=namespace) as first:
            async with PostgresStorage[Any](pool, namespace=namespace) as second:
                await second.write("chat:1", 1)
            with pytest.raises(StorageClosedError):
                await second.read("chat:1")
            assert await first.read("chat:1") == 1


async def test_a_pool_in_another_encoding_is_refused(postgres_url: str) -> None:
    async with AsyncConnectionPool(postgres_url, kwargs={"client_encoding": "LATIN1"}, open=False) as pool:
        with pytest.raises(ConfigurationError, match="client_encoding has to be UTF8"):
            await PostgresStorage[Any](pool).read("chat:1")


async def test_a_pool_that_is_not_open_is_refused(postgres_url: str) -> None:
    pool = AsyncConnectionPool[AsyncConnection[Any]](postgres_url, open=False)
    with pytest.raises(ConfigurationError, match="is not open yet"):
        await PostgresStorage[Any](pool).read("chat:1")
    async with pool:
        pass
    with pytest.raises(ConfigurationError, match="is already closed"):
        await PostgresStorage[Any](pool).read("chat:1")


async def test_a_pool_without_a_connection_to_spare_says_so(postgres_url: str, namespace: str) -> None:
    async with (
        AsyncConnectionPool(postgres_url, min_size=1, max_size=1, timeout=0.1, max_waiting=1, open=False) as pool,
        PostgresStorage[Any](pool, namespace=namespace) as storage,
    ):
        async with pool.connection():
            results = await asyncio.gather(*(storage.read("chat:1") for _ in range(3)), return_exceptions=True)
            for result in results:
                assert isinstance(result, StorageUnavailableError)
                assert "no connection to spare" in str(result)
        assert await storage.read("chat:1") is None


def test_what_is_no_asynchronous_pool_is_refused(postgres_url: str) -> None:
    pool = psycopg_pool.ConnectionPool(postgres_url, open=False)
    with pytest.raises(ConfigurationError, match="not psycopg_pool.pool.ConnectionPool"):
        PostgresStorage(cast("Any", pool))
    with pytest.raises(ConfigurationError, match="not builtins.NoneType"):
        PostgresStorage(None)  # type: ignore[arg-type]


async def test_what_a_pool_decides_is_not_asked_for_twice() -> None:
    pool = AsyncConnectionPool[AsyncConnection[Any]]("host=db.example password=hunter2", open=False)
    assert repr(PostgresStorage[Any](pool)) == "<PostgresStorage postgresql://db.example:5432/root>".replace(
        "root", conninfo_user()
    )
    options: list[dict[str, Any]] = [{"max_connections": 5}, {"prepare_threshold": None}]
    for option in options:
        with pytest.raises(ConfigurationError, match="a pool has its own"):
            PostgresStorage[Any](pool, **option)


def conninfo_user() -> str:
    return next(o.val.decode() for o in psycopg.pq.Conninfo.get_defaults() if o.keyword == b"user" and o.val)


async def test_a_storage_belongs_to_the_loop_that_opened_it(postgres_url: str, namespace: str) -> None:
    async with PostgresStorage[Any](postgres_url, namespace=namespace) as storage:
        await storage.write("chat:1", 1)

        def elsewhere() -> None:
            with pytest.raises(ConfigurationError, match="another event loop"):
                asyncio.run(storage.read("chat:1"))

        await asyncio.to_thread(elsewhere)
        assert await storage.read("chat:1") == 1


async def connections(raw: Raw, name: str) -> int:
    ((count,),) = await rows(raw, "SELECT count(*) FROM pg_stat_activity WHERE application_name = %(name)s", name=name)
    return int(count)


async def test_many_calls_wait_for_the_connections_that_there_are(postgres_url: str, namespace: str, raw: Raw) -> None:
    url = f"{postgres_url}?application_name={namespace}&max_connections=4"
    async with open_storage(url, namespace=namespace) as storage:
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(256)))
        assert await asyncio.gather(*(storage.read(f"chat:{number}") for number in range(256))) == list(range(256))
        assert 0 < await connections(raw, namespace) <= 4


async def test_connections_that_idle_for_long_are_closed(
    postgres_url: str, namespace: str, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_storage(f"{postgres_url}?application_name={namespace}", namespace=namespace) as storage:
        await asyncio.gather(*(storage.read("chat:1") for _ in range(8)))
        assert await connections(raw, namespace) > 1
        monkeypatch.setattr("satchel_postgres.connections._IDLE", 0.0)
        await storage.read("chat:1")
        async with asyncio.timeout(5):
            while await connections(raw, namespace) > 1:  # the server notices in its own time
                await asyncio.sleep(0.01)


async def test_closing_leaves_no_connection_and_no_task(postgres_url: str, namespace: str, raw: Raw) -> None:
    tasks = asyncio.all_tasks()
    async with open_storage(f"{postgres_url}?application_name={namespace}", namespace=namespace) as storage:
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(20)))
        assert await connections(raw, namespace) > 0
    assert asyncio.all_tasks() == tasks
    async with asyncio.timeout(5):
        while await connections(raw, namespace):  # the server notices in its own time
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["url", "pool", "transactional pool"])
async def test_a_call_is_one_round_trip_and_stays_one_when_statements_are_prepared(
    postgres_url: str, namespace: str, kind: str
) -> None:
    with Proxy(*address(postgres_url)) as proxy:
        url = proxy.url(postgres_url)
        async with AsyncConnectionPool(
            url, min_size=1, max_size=1, kwargs={"autocommit": kind == "pool"}, open=False
        ) as pool:
            options: dict[str, Any] = {"namespace": namespace, "ttl": timedelta(minutes=1)}
            async with PostgresStorage[Any](url if kind == "url" else pool, **options) as storage:
                calls: list[Callable[[], Awaitable[Any]]] = [
                    lambda: storage.write("chat:1", 1),
                    lambda: storage.read("chat:1"),
                    lambda: storage.read_versioned("chat:1"),
                    lambda: storage.write_versioned("chat:1", 2, storage.version_of(b"1")),
                    lambda: storage.delete_versioned("chat:1", storage.version_of(b"2")),
                    lambda: storage.write_versioned("chat:1", 1, None),
                    lambda: storage.touch("chat:1"),
                    lambda: storage.delete("chat:1"),
                    lambda: storage.write_many({"chat:1": 1, "chat:2": 2}),
                    lambda: storage.read_many(["chat:1", "chat:2"]),
                    lambda: storage.delete_many(["chat:1", "chat:2"]),
                    lambda: storage.commit({"chat:1": Change(1, None), "chat:2": Change(2, None)}),
                    lambda: storage.read_records(["chat:1", "chat:2"]),
                    lambda: storage.commit({"chat:1": Change(None, storage.version_of(b"1"))}),
                    lambda: storage.delete_many(["chat:1", "chat:2"]),
                ]
                storage._purge_at = math.inf
                for _ in range(7):  # from now on all are prepared
                    for call in calls:
                        await call()
                for call in calls:
                    with proxy.counting() as count:
                        await call()
                    assert (count.round_trips, count.connections) == (1, 0)


def address(url: str) -> tuple[str, int]:
    said = conninfo_to_dict(url)
    return str(said["host"]), int(said["port"] or 0)


async def prepared(storage: PostgresStorage[Any], raw: Raw) -> int:
    """Return how many statements are prepared on the storage's connection, after many calls."""
    for number in range(20):
        await storage.write("chat:1", number)
        await storage.read("chat:1")
    cursor = await storage._send(b"SELECT count(*)::text FROM pg_prepared_statements WHERE %(key)s = ''", key="")
    assert cursor.pgresult is not None
    return int(cursor.pgresult.get_value(0, 0) or 0)


@pytest.mark.parametrize(
    ("said", "expected"), [("", True), ("none", False), ("0", True), ("auto", True), ("50", False)]
)
async def test_statements_are_prepared_as_one_says(
    postgres_url: str, namespace: str, raw: Raw, said: str, expected: bool
) -> None:
    url = f"{postgres_url}?max_connections=1" + (f"&prepare_threshold={said}" if said else "")
    async with PostgresStorage[Any](url, namespace=namespace) as storage:
        assert (await prepared(storage, raw) > 0) is expected
    async with PostgresStorage[Any](url, namespace=namespace, prepare_threshold=None) as storage:
        assert await prepared(storage, raw) == 0


async def test_behind_a_pooler_nothing_is_prepared_unless_one_says_so(pgbouncer_url: str, namespace: str) -> None:
    async with PostgresStorage[Any](pgbouncer_url, namespace=namespace) as storage:
        assert isinstance(storage._connections, Made)
        assert storage._connections.prepare_threshold is None
        for number in range(20):
            await asyncio.gather(*(storage.write(f"chat:{each}", number) for each in range(10)))
    with pytest.raises(ConfigurationError, match="is a pooler, which needs prepare_threshold=None"):
        async with PostgresStorage[Any](pgbouncer_url, namespace=namespace, prepare_threshold=0) as storage:
            for number in range(20):
                await asyncio.gather(*(storage.write(f"chat:{each}", number) for each in range(20)))
    async with (
        AsyncConnectionPool(pgbouncer_url, kwargs={"prepare_threshold": None}, open=False) as pool,
        PostgresStorage[Any](pool, namespace=namespace) as storage,
    ):
        await asyncio.gather(*(storage.write(f"chat:{number % 10}", number) for number in range(200)))


async def test_a_prepared_statement_that_is_another_clients_is_known_by_its_parameters(
    postgres_url: str, namespace: str
) -> None:
    """As behind a pooler, where it is up to chance."""
    url = f"{postgres_url}?max_connections=1&prepare_threshold=0"
    async with PostgresStorage[Any](url, namespace=namespace) as storage:
        await storage.read("chat:1")
        names = await storage._send(b"SELECT name FROM pg_prepared_statements WHERE name <> %(no)s", no="")
        for (name,) in result_rows(names):
            await storage._send(b"DEALLOCATE " + name)
            await storage._send(b"PREPARE " + name + b" AS SELECT 1")
        with pytest.raises(ConfigurationError, match="is a pooler, which needs prepare_threshold=None"):
            await storage.read("chat:1")


async def test_an_option_that_a_pooler_does_not_take_is_named(pgbouncer_url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used like this: unsupported startup parameter: options"):
        async with PostgresStorage[Any](f"{pgbouncer_url}?options=-c%20statement_timeout%3D10s"):
            pass


async def test_without_create_nothing_is_created_and_what_is_missing_is_named(
    postgres_url: str, table: str, raw: Raw
) -> None:
    with pytest.raises(ConfigurationError, match=f'has no table "{table}", and create=False'):
        async with PostgresStorage[Any](postgres_url, table=table, create=False):
            pass
    assert await rows(raw, "SELECT to_regclass(%(name)s)", name=table) == [(None,)]
    with pytest.raises(ConfigurationError, match='lacks something: schema "nowhere"'):
        async with PostgresStorage[Any](postgres_url, table="nowhere.sessions"):
            pass


@pytest.fixture
async def user(raw: Raw) -> AsyncIterator[str]:
    """A user that may do nothing yet."""
    name = f"Bot {secrets.token_hex(4)}"
    await rows(raw, f'CREATE ROLE "{name}" LOGIN')
    yield name
    await rows(raw, f'DROP OWNED BY "{name}"')
    await rows(raw, f'DROP ROLE "{name}"')


def login(url: str, user: str) -> str:
    return url.replace("//postgres@", f"//{quote(user)}@")


async def every_call(storage: PostgresStorage[Any]) -> None:
    async with storage:
        version = await storage.write_versioned("chat:1", 1, None)
        version = await storage.write_versioned("chat:1", 2, version)
        await storage.write("chat:2", 2)
        await storage.write_many({"chat:2": 2, "chat:3": 3})
        assert await storage.touch("chat:1")
        assert await storage.purge_expired() == 0
        assert await storage.read("chat:2") == 2
        assert await storage.read_many(["chat:1", "chat:2"]) == {"chat:1": 2, "chat:2": 2}
        assert [key async for key in storage.keys()] == ["chat:1", "chat:2", "chat:3"]
        await storage.commit({"chat:2": Change(None, storage.version_of(b"2")), "chat:4": Change(4, None)})
        await storage.delete_versioned("chat:1", version)
        await storage.delete("chat:2")
        await storage.delete_many(["chat:2", "chat:3", "chat:4"])


@pytest.mark.parametrize("jsonb", [False, True])
async def test_the_rights_that_the_schema_names_are_enough_and_nothing_is_spare(
    postgres_url: str, table: str, raw: Raw, user: str, jsonb: bool
) -> None:
    url = login(postgres_url, user)

    def storage(**options: Any) -> PostgresStorage[Any]:
        return PostgresStorage[Any](url, table=f"{table}.Sessions", jsonb=jsonb, ttl=timedelta(minutes=1), **options)

    schema = storage().schema()
    assert "GRANT USAGE ON SCHEMA" in schema
    await rows(raw, f"CREATE SCHEMA {table}")
    try:
        for _ in range(2):  # it may be run again
            await raw.execute(schema.encode())
        for _ in range(2):
            await every_call(storage())
            await every_call(storage(create=False))
        for right in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            await rows(raw, f'REVOKE {right} ON {table}."Sessions" FROM {quoted(user)}')
            with pytest.raises(
                ConfigurationError, match="forbids its user something: permission denied for table Sessions"
            ):
                await every_call(storage())
            await rows(raw, f'TRUNCATE {table}."Sessions"')
            await rows(raw, f'GRANT {right} ON {table}."Sessions" TO {quoted(user)}')
        await rows(raw, f"REVOKE USAGE ON SCHEMA {table} FROM {quoted(user)}")
        with pytest.raises(ConfigurationError, match="forbids its user something: permission denied for schema"):
            await every_call(storage())
    finally:
        await rows(raw, f"DROP SCHEMA {table} CASCADE")


async def test_without_the_right_to_create_a_table_what_to_do_is_said(
    postgres_url: str, table: str, raw: Raw, user: str
) -> None:
    url = login(postgres_url, user)
    storage = PostgresStorage[Any](url, table=table)
    with pytest.raises(ConfigurationError, match="may not create it: let an administrator run what `satchel schema`"):
        async with storage:
            pass
    await raw.execute(storage.schema().encode())
    await every_call(PostgresStorage[Any](url, table=table, ttl=timedelta(minutes=1)))


async def test_rows_that_row_level_security_hides_are_not_missing(
    postgres_url: str, table: str, raw: Raw, user: str
) -> None:
    async with PostgresStorage[Any](postgres_url, table=table) as storage:
        await storage.write("chat:1", 1)
        await rows(raw, f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        await rows(raw, f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {quoted(user)}")
        assert await storage.read("chat:1") == 1  # of a table's owner nothing is hidden
    storage = PostgresStorage[Any](login(postgres_url, user), table=table)
    with pytest.raises(ConfigurationError, match="row-level security on .*: what it hides would seem to be missing"):
        async with storage:
            pass
    await rows(raw, f"ALTER ROLE {quoted(user)} BYPASSRLS")
    async with PostgresStorage[Any](login(postgres_url, user), table=table) as storage:
        assert await storage.read("chat:1") == 1


async def test_a_table_that_goes_away_is_missed_loudly(postgres_url: str, table: str, raw: Raw) -> None:
    async with PostgresStorage[Any](postgres_url, table=table) as storage:
        await storage.write("chat:1", 1)
        await rows(raw, f"DROP TABLE {table}")
        with pytest.raises(ConfigurationError, match=f'lacks something: relation "{table}" does not exist'):
            await storage.read("chat:1")


async def test_batches_that_meet_do_not_end_in_a_deadlock(postgres_url: str, namespace: str) -> None:
    keys = [f"chat:{number}" for number in range(50)]
    async with PostgresStorage[Any](postgres_url, namespace=namespace) as storage:
        for round_ in range(10):
            orders = [keys[shift:] + keys[:shift] for shift in range(0, 50, 10)] + [keys[::-1]]
            await asyncio.gather(
                *(storage.write_many(dict.fromkeys(order, round_)) for order in orders),
                *(storage.delete_many(order) for order in orders),
            )


async def test_a_database_in_another_encoding_is_refused(postgres_url: str, table: str, raw: Raw) -> None:
    await rows(raw, f"CREATE DATABASE {table} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with pytest.raises(ConfigurationError, match="is a database in LATIN1; sessions need one in UTF8"):
            async with PostgresStorage[Any](postgres_url.rpartition("/")[0] + f"/{table}"):
                pass
    finally:
        await rows(raw, f"DROP DATABASE {table} WITH (FORCE)")


async def test_writes_that_a_crash_may_lose_are_warned_of_once(
    postgres_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_storage(f"{postgres_url}?options=-c%20synchronous_commit%3Doff", namespace=namespace) as storage:
        await storage.write("chat:1", 1)
        await storage.write("chat:1", 2)
    (record,) = caplog.records
    assert "synchronous_commit is off" in record.message


async def test_a_table_that_a_crash_empties_is_warned_of(
    postgres_url: str, table: str, raw: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    async with PostgresStorage[Any](postgres_url, table=table):
        pass
    assert caplog.messages == []
    await rows(raw, f"ALTER TABLE {table} SET UNLOGGED")
    async with PostgresStorage[Any](postgres_url, table=table) as storage:
        await storage.write("chat:1", 1)
    (message,) = caplog.messages
    assert message.endswith(f'table "{table}" is UNLOGGED, so a crash empties it')


async def test_a_server_that_only_reads_says_so(postgres_url: str, namespace: str) -> None:
    url = f"{postgres_url}?options=-c%20default_transaction_read_only%3Don"
    async with open_storage(postgres_url, namespace=namespace), open_storage(url, namespace=namespace) as storage:
        assert await storage.read("chat:1") is None
        with pytest.raises(StorageUnavailableError, match="takes no writes"):
            await storage.write("chat:1", 1)


@pytest.mark.parametrize(("url", "line"), [
    ("http://localhost", "starts with postgresql:// or postgres://"),
    ("postgresql+async://localhost", "starts with postgresql:// or postgres://"),
    ("postgresql://localhost:port", "Port"),
    ("postgresql://localhost:99999", "Port"),
    ("postgresql://localhost?nonsense=1", 'invalid URI query parameter: "nonsense"'),
    ("postgresql://localhost?options=-c a=b", 'in URI query parameter: "options"'),
    ("postgresql://bot:hun%ter2@localhost", "libpq cannot read it"),
    ("postgresql://bot:1#hunter2@localhost/db", "in a password or a name, write"),
    ("postgresql://bot:1/hunter2@localhost/db", "in a password or a name, write"),
    ("postgresql://bot:1?hunter2@localhost/db", "in a password or a name, write"),
    ("postgresql://bot:1?2/hunter2=3@localhost/db", "in a password or a name, write"),
    ("postgresql://localhost/db#hunter2", "write '#' as %23"),
    ("postgresql://localhost?sslmode=disable&sslmode=prefer", "has option sslmode more than once"),
    ("postgresql://localhost?table=hunter2&table=b", "has option table more than once"),
    ("postgresql://localhost?sslmode=strict", "sslmode is 'strict'"),
    ("postgresql://localhost?sslrootcert=/missing/ca.pem", "sslrootcert is '/missing/ca.pem', which is no file"),
    ("postgresql://localhost?table=a.b.c", "table is 'a.b.c'"),
    ("postgresql://localhost?jsonb=perhaps", "jsonb is not true or false"),
    ("postgresql://localhost?max_connections=0", "has to be a positive integer"),
    ("postgresql://localhost?max_connections=many", "not an integer"),
    ("postgresql://localhost?prepare_threshold=-1", "prepare_threshold is '-1'"),
    ("postgresql://localhost?prepare_threshold=some", "prepare_threshold is 'some'"),
    ("postgresql://localhost?ttl=0s", "has to be positive"),
    ("postgresql://localhost?timeout=soon", "not a duration"),
    ("", "starts with its scheme"),
])  # fmt: skip
def test_a_wrong_url_is_refused_before_anything_is_connected(url: str, line: str) -> None:
    with pytest.raises(ConfigurationError, match=line) as caught:
        PostgresStorage(url)
    assert "\n" not in str(caught.value)
    assert "hun" not in str(caught.value)


@pytest.mark.parametrize("query", [
    "user=bot&password=abc&hunter2", "password=abc&hunter2=1", "pass%77ord=hunter2=", "sslpassword=abc&hun=te=r2",
    "password=abc&hunter2=",
])  # fmt: skip
def test_a_part_of_a_password_in_the_query_is_not_taken_for_the_name_of_an_option(query: str) -> None:
    with pytest.raises(ConfigurationError, match="^a PostgreSQL URL is malformed: libpq cannot read it$"):
        PostgresStorage(f"postgresql://h/db?{query}")


@pytest.mark.parametrize(("query", "line"), [
    ("port=99999999", 'invalid port number: "99999999"'),
    ("connect_timeout=soon", "bad value for connect_timeout: 'soon'"),
    ("target_session_attrs=bogus", "invalid target_session_attrs value"),
    ("service=nowhere&sslmode=prefer", 'definition of service "nowhere" not found'),
])  # fmt: skip
async def test_what_only_libpq_understands_it_refuses(query: str, line: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^postgresql://[^ ]* cannot be used like this: {line}"):
        async with PostgresStorage[Any](f"postgresql://?{query}"):
            pass


def test_a_url_says_what_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", "bot")
    for url, where in {
        "postgresql://": "postgresql:///bot",
        "postgres://bot:secret@[::1]/db": "postgresql://[::1]:5432/db",
        "POSTGRES://bot:secret@example.com:1/a%20b": "postgresql://example.com:1/a%20b",
        "postgresql://a:1,b:2/db?password=secret": "postgresql://a:1,b:2/db",
        "postgresql:///db?host=/run/postgresql&password=secret": "postgresql:///db?host=/run/postgresql",
        "postgresql://%2Frun%2Fpostgresql/db": "postgresql:///db?host=/run/postgresql",
    }.items():
        assert repr(open_storage(url)) == f"<PostgresStorage {where}>"


async def test_what_the_url_leaves_out_is_in_the_environment(
    postgres_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = address(postgres_url)
    for name, value in {"PGHOST": host, "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres"}.items():
        monkeypatch.setenv(name, value)
    async with open_storage("postgresql:///", namespace=namespace) as storage:
        await storage.write("chat:1", 1)
        assert repr(storage) == f"<PostgresStorage postgresql://{host}:{port}/postgres>"


async def test_libpq_reads_its_part_of_the_url_letter_by_letter(postgres_url: str, namespace: str) -> None:
    url = f"{postgres_url}?application_name=a+b%26c&namespace={namespace}"
    async with open_storage(url) as storage:
        cursor = await cast("PostgresStorage[Any]", storage)._send(b"SHOW application_name")
        assert cursor.pgresult is not None
        assert cursor.pgresult.get_value(0, 0) == b"a+b&c"


async def test_a_user_or_database_that_is_not_there_is_said_in_one_line(postgres_url: str) -> None:
    for url in (postgres_url.replace("//postgres@", "//nobody:hunter2@"), postgres_url.rpartition("/")[0] + "/nowhere"):
        with pytest.raises(
            ConfigurationError, match='cannot be used like this: (role|database) "no.*" does not'
        ) as caught:
            async with PostgresStorage[Any](url):
                pass
        assert "hunter2" not in str(caught.value)
        assert "\n" not in str(caught.value)


async def test_a_port_where_nobody_listens_is_said_at_once(free_tcp_port: int) -> None:
    storage = PostgresStorage[Any](f"postgresql://127.0.0.1:{free_tcp_port}")
    async with asyncio.timeout(5):
        with pytest.raises(StorageUnavailableError, match="cannot be reached: Connection refused"):
            await storage.read("chat:1")
    await storage.aclose()


async def test_a_host_that_is_not_there_is_said() -> None:
    with pytest.raises(StorageUnavailableError, match="cannot be reached"):
        async with PostgresStorage[Any]("postgresql://nowhere.invalid?sslmode=prefer"):
            pass


async def test_of_several_hosts_the_first_that_answers_is_used(
    postgres_url: str, namespace: str, free_tcp_port: int
) -> None:
    host, port = address(postgres_url)
    url = f"postgresql://postgres@127.0.0.1:{free_tcp_port},{host}:{port}/postgres"
    async with PostgresStorage[Any](url, namespace=namespace) as storage:
        assert await storage.read("chat:1") is None


async def test_a_server_of_another_kind_is_said() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for mode in ("prefer", "disable"):
            url = f"postgresql://127.0.0.1:{port}?sslmode={mode}"
            storage = PostgresStorage[Any](url, timeout=timedelta(seconds=5))
            with pytest.raises(ConfigurationError, match="cannot be used like this: .*received"):
                await storage.read("chat:1")
            await storage.aclose()


def test_identifiers_are_quoted_as_psycopg_does() -> None:
    for name in HOSTILE:
        storage = PostgresStorage[Any]("postgresql://", table=quoted(name))
        assert storage._sql.name == sql.Identifier(name).as_string(None)
