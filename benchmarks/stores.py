"""Where the contenders keep sessions: the drivers used directly, and Satchel's storages over the same servers.

A driver does what a careful program would do without Satchel, and as durably: the same JSON, as many connections, one
round trip. One without asyncio works in threads, as Satchel's does, so what is compared is not the hop.
"""

import asyncio
import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg_pool
import pymongo
import redis.asyncio
from pymongo.write_concern import WriteConcern

from satchel import Storage, open_storage


@dataclass(frozen=True)
class Driver:
    """A driver, used directly."""

    name: str
    read: Callable[[str], Awaitable[Any]]
    write: Callable[[str, Any], Awaitable[Any]]


@asynccontextmanager
async def memory(_: str) -> AsyncIterator[tuple[Driver, Storage[Any]]]:
    """JSON alone, in a dict."""
    records: dict[str, str] = {}

    async def read(key: str) -> Any:
        return json.loads(records[key])

    async def write(key: str, value: Any) -> None:
        records[key] = json.dumps(value)

    async with open_storage("memory://") as storage:
        yield Driver("json", read, write), storage


@asynccontextmanager
async def sqlite(_: str) -> AsyncIterator[tuple[Driver, Storage[Any]]]:
    """WAL, `synchronous=NORMAL`, one connection in a thread of its own."""
    with TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        connect = partial(sqlite3.connect, f"{folder}/raw.db", isolation_level=None, check_same_thread=False)
        run = partial(asyncio.get_running_loop().run_in_executor, pool)
        with closing(connect()) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("CREATE TABLE sessions (key TEXT PRIMARY KEY NOT NULL, payload NOT NULL)")
            put = "INSERT INTO sessions VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET payload = excluded.payload"

            def select(key: str) -> Any:
                return database.execute("SELECT payload FROM sessions WHERE key = ?", [key]).fetchone()

            async def read(key: str) -> Any:
                return json.loads((await run(select, key))[0])

            async def write(key: str, value: Any) -> None:
                await run(database.execute, put, [key, json.dumps(value)])

            async with open_storage(f"sqlite:///{folder}/ours.db?synchronous=NORMAL") as storage:
                yield Driver("sqlite3 in a thread", read, write), storage


@asynccontextmanager
async def file(_: str) -> AsyncIterator[tuple[Driver, Storage[Any]]]:
    """Written aside, synced, moved to its place, and the folder synced; eight threads."""
    with TemporaryDirectory() as folder, ThreadPoolExecutor(8) as pool:
        run = partial(asyncio.get_running_loop().run_in_executor, pool)

        def path_of(key: str) -> Path:
            return Path(folder, hashlib.sha256(key.encode()).hexdigest())

        async def read(key: str) -> Any:
            return json.loads(await run(path_of(key).read_text, "utf-8"))

        async def write(key: str, value: Any) -> None:
            await run(put_file, path_of(key), json.dumps(value))

        async with open_storage(f"file:///{folder}/ours") as storage:
            yield Driver("files in a thread", read, write), storage


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[tuple[Driver, Storage[Any]]]:
    """GET and SET; as many connections as there are workers."""
    async with redis.asyncio.Redis.from_url(roomy(url)) as client:

        async def read(key: str) -> Any:
            found: Any = await client.get(f"raw-{key}")
            return json.loads(found)

        async def write(key: str, value: Any) -> None:
            await client.set(f"raw-{key}", json.dumps(value), px=600_000)

        ours = f"{url}?namespace=bench-{secrets.token_hex(4)}&ttl=600s&max_connections=256"
        async with open_storage(ours) as storage:
            yield Driver("redis-py", read, write), storage


@asynccontextmanager
async def psycopg(url: str) -> AsyncIterator[tuple[Driver, Storage[Any]]]:
    """A pool of psycopg's in autocommit mode, and ten connections."""
    table = f"bench_{secrets.token_hex(4)}"
    async with psycopg_pool.AsyncConnectionPool(
        url, kwargs={"autocommit": True}, min_size=10, max_size=10, open=False
    ) as pool:
        async with pool.connection() as connection:
            await connection.execute(f"CREATE TABLE {table} (key text PRIMARY KEY, payload json NOT NULL)".encode())
        select = f"SELECT payload FROM {table} WHERE key = %s".encode()
        put = (
            f"INSERT INTO {table} VALUES (%s, %s::json) ON CONFLICT (key) DO UPDATE SET payload = excluded.payload"
        ).encode()

        async def read(key: str) -> Any:
            async with pool.connection() as connection:
                row: Any = await (await connection.execute(select, [key])).fetchone()
            return row[0]  # psycopg has made JSON's value of it

        async def write(key: str, value: Any) -> None:
            async with pool.connection() as connection:
                await connection.execute(put, [key, json.dumps(value)])

        async with open_storage(f"{url}?table={table}_ours") as storage:
            yield Driver("psycopg pool", read, write), storage
        async with pool.connection() as connection:
            await connection.execute(f"DROP TABLE {table}, {table}_ours".encode())


@asynccontextmanager
async def mongodb(url: str) -> AsyncIterator[tuple[Driver, Storage[Any]]]:
    """By `_id`, acknowledged by a majority's journal; up to a hundred connections."""
    collection = f"bench_{secrets.token_hex(4)}"
    async with pymongo.AsyncMongoClient[Any](url) as client:
        records = client["satchel"].get_collection(collection, write_concern=WriteConcern("majority", j=True))

        async def read(key: str) -> Any:
            found: Any = await records.find_one({"_id": key})
            return json.loads(found["payload"])

        async def write(key: str, value: Any) -> None:
            await records.replace_one({"_id": key}, {"payload": json.dumps(value)}, upsert=True)

        async with open_storage(f"{url}&collection={collection}_ours") as storage:
            yield Driver("pymongo", read, write), storage
        await records.drop()
        await client["satchel"].drop_collection(f"{collection}_ours")


def put_file(path: Path, text: str) -> None:
    """Write a file aside, move it to its place, and have both on the disk."""
    aside = path.with_suffix("." + secrets.token_hex(4))
    with aside.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    aside.replace(path)
    opened = os.open(path.parent, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)


def roomy(url: str) -> str:
    """Return a URL with which redis-py has a connection for every worker: over its limit of 100 it raises."""
    return f"{url}?max_connections=1000"
