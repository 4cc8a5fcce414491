"""Sessions of grammY's in PostgreSQL: pages, tables that are none of grammY's, the one right that is needed.

What a real bot of grammY's leaves is read in tests/test_moving_from_grammy.py, as in the other storages that it has.
"""

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from satchel import ConfigurationError, CorruptValueError, open_storage
from satchel_postgres.grammy import GrammyPostgresStorage

Connection = psycopg.AsyncConnection[Any]


@pytest.fixture
async def theirs(raw: Connection, table: str) -> str:
    """A table as the adapter of grammY makes it."""
    await raw.execute(f'CREATE TABLE "{table}" ("key" VARCHAR NOT NULL, "value" TEXT)'.encode())
    await raw.execute(f'CREATE UNIQUE INDEX IDX_{table} ON "{table}" ("key")'.encode())
    return table


async def put(raw: Connection, table: str, sessions: Mapping[str, str | None]) -> None:
    async with raw.cursor() as cursor:
        await cursor.executemany(f'INSERT INTO "{table}" VALUES (%s, %s)'.encode(), list(sessions.items()))


async def test_more_sessions_than_one_page_are_listed_once_each(
    postgres_url: str, raw: Connection, theirs: str
) -> None:
    odd = {f"{letter}{number}": "1" for letter in "aAäÄ-_ %" for number in range(150)}
    await put(raw, theirs, odd)

    async with GrammyPostgresStorage(postgres_url, table=theirs, keys="same") as storage:
        keys = [key async for key in storage.keys()]
        assert sorted(keys) == sorted(odd)
        assert await storage.read_many(keys) == dict.fromkeys(odd, 1)
    async with GrammyPostgresStorage(postgres_url, table=theirs, prefix="%", keys="same") as storage:
        assert sorted([key async for key in storage.keys()]) == sorted(str(number) for number in range(150))


async def test_damaged_rows_raise_and_say_whose_they_are(postgres_url: str, raw: Connection, theirs: str) -> None:
    await put(raw, theirs, {"41": None, "42": "{", "43": '{"pizza":1}'})

    async with GrammyPostgresStorage(postgres_url, table=theirs) as storage:
        for key in ("telegram:41", "telegram:42"):
            with pytest.raises(CorruptValueError, match=f"'{key}' in grammy.postgresql://.* is not"):
                await storage.read(key)
        assert sorted([key async for key in storage.keys()]) == ["telegram:41", "telegram:42", "telegram:43"]
        assert await storage.read("telegram:43") == {"pizza": 1}
        assert await storage.read("telegram:\0") is None


async def test_a_table_that_is_not_there_or_not_grammys_is_an_error(
    postgres_url: str, raw: Connection, table: str
) -> None:
    with pytest.raises(ConfigurationError, match=f'has no table "{table}"'):
        async with open_storage(f"grammy+{postgres_url}?table={table}"):
            pass
    await raw.execute(f"CREATE TABLE {table} (key text, data text)".encode())
    with pytest.raises(ConfigurationError, match="without value: it is not grammY's"):
        async with open_storage(f"grammy+{postgres_url}?table={table}"):
            pass
    with pytest.raises(ConfigurationError, match="takes no jsonb"):
        open_storage(f"grammy+{postgres_url}?table={table}&jsonb=true")


async def test_the_table_is_the_adapters_own_unless_it_is_said(postgres_url: str) -> None:
    assert 'ON "sessions" TO' in GrammyPostgresStorage(postgres_url).schema()


async def test_the_right_that_the_schema_names_is_enough(postgres_url: str, raw: Connection, theirs: str) -> None:
    await put(raw, theirs, {"42": '{"pizza":1}'})
    user, password = f"reader_{secrets.token_hex(4)}", secrets.token_hex(8)
    parts = urlsplit(postgres_url)
    url = f"postgresql://{user}:{password}@{parts.hostname}:{parts.port}{parts.path}"
    await raw.execute(f"CREATE USER {user} PASSWORD '{password}'".encode())
    try:
        async with GrammyPostgresStorage(url, table=theirs) as storage:
            with pytest.raises(ConfigurationError, match="forbids its user something"):
                await storage.read("telegram:42")
            await raw.execute(storage.schema().encode())
            assert await storage.read("telegram:42") == {"pizza": 1}
            assert [key async for key in storage.keys()] == ["telegram:42"]
    finally:
        await raw.execute(f"DROP OWNED BY {user}; DROP USER {user}".encode())
