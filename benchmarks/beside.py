"""Drivers beside a storage: used directly, on the records that the storage has written.

So what a driver takes among a million records is known without writing a million more.
"""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg_pool
import pymongo
import redis.asyncio
from pymongo.write_concern import WriteConcern

from benchmarks.services import S3_CONFIG, boto3_in_threads, firestore_client, option, supabase_client
from benchmarks.stores import Driver, put_file

TTL: Final = timedelta(hours=1)
"""The lifetime of what drivers write, as that of the storage's records."""


@asynccontextmanager
async def sqlite(url: str) -> AsyncIterator[Driver]:
    """One connection in a thread of its own, `synchronous=NORMAL`."""
    with ThreadPoolExecutor(1) as pool:
        run = partial(asyncio.get_running_loop().run_in_executor, pool)
        file = urlsplit(url).path.removeprefix("/")  # an absolute path has four slashes in a URL
        with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as database:
            database.execute("PRAGMA synchronous = NORMAL")
            put = "UPDATE satchel_sessions SET payload = ?, expires_at = ? WHERE key = ?"

            def select(name: str) -> Any:
                return database.execute("SELECT payload FROM satchel_sessions WHERE key = ?", [name]).fetchone()

            async def read(name: str) -> Any:
                return json.loads((await run(select, name))[0])

            async def write(name: str, value: Any) -> None:
                await run(database.execute, put, [json.dumps(value), _end_ms(), name])

            yield Driver("sqlite3", read, write)


@asynccontextmanager
async def file(url: str) -> AsyncIterator[Driver]:
    """Written aside, synced, moved to its place, and the folder synced; in a thread."""
    folder = Path(urlsplit(url).path.removeprefix("/"))
    with ThreadPoolExecutor(1) as pool:
        run = partial(asyncio.get_running_loop().run_in_executor, pool)

        def path_of(name: str) -> Path:
            digest = hashlib.sha256(name.encode()).hexdigest()
            return folder / digest[:2] / f"{digest}.json"

        async def read(name: str) -> Any:
            return json.loads((await run(path_of(name).read_text, "utf-8")).partition("\n")[2])

        async def write(name: str, value: Any) -> None:
            header = {"satchel": 1, "key": name, "expires_at": _end_ms(), "sha256": None}
            await run(put_file, path_of(name), f"{json.dumps(header)}\n{json.dumps(value)}\n")

        yield Driver("files", read, write)


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[Driver]:
    """GET and SET."""
    async with redis.asyncio.Redis.from_url(_bare(url)) as client:

        async def read(name: str) -> Any:
            found: Any = await client.get(name)
            return json.loads(found)

        async def write(name: str, value: Any) -> None:
            await client.set(name, json.dumps(value), px=TTL)

        yield Driver("redis-py", read, write)


@asynccontextmanager
async def psycopg(url: str) -> AsyncIterator[Driver]:
    """A pool of one connection, in autocommit mode."""
    pool = psycopg_pool.AsyncConnectionPool(_bare(url), kwargs={"autocommit": True}, min_size=1, max_size=1, open=False)
    select = "SELECT payload FROM satchel_sessions WHERE key = %s"
    put = "UPDATE satchel_sessions SET payload = %s::json, expires_at = clock_timestamp() + %s WHERE key = %s"
    async with pool:

        async def read(name: str) -> Any:
            async with pool.connection() as connection:
                row: Any = await (await connection.execute(select, [name])).fetchone()
            return row[0]  # psycopg has made JSON's value of it

        async def write(name: str, value: Any) -> None:
            async with pool.connection() as connection:
                await connection.execute(put, [json.dumps(value), TTL, name])

        yield Driver("psycopg", read, write)


@asynccontextmanager
async def mongodb(url: str) -> AsyncIterator[Driver]:
    """By `_id`, acknowledged by a majority's journal."""
    async with pymongo.AsyncMongoClient[Any](url.partition("&namespace=")[0]) as client:
        database = client.get_default_database("satchel")
        records = database.get_collection("satchel_sessions", write_concern=WriteConcern("majority", j=True))

        async def read(name: str) -> Any:
            found: Any = await records.find_one({"_id": name})
            return json.loads(found["payload"])

        async def write(name: str, value: Any) -> None:
            await records.replace_one({"_id": name}, {"payload": json.dumps(value), "expires_at": _end()})

        yield Driver("pymongo", read, write)


@asynccontextmanager
async def dynamodb(url: str) -> AsyncIterator[Driver]:
    """Read consistently, in a thread."""
    table = urlsplit(url).path[1:]
    with boto3_in_threads("dynamodb", option(url, "endpoint_url"), option(url, "region")) as (client, run):

        async def read(name: str) -> Any:
            key = {"session_key": {"S": name}}
            found = await run(partial(client.get_item, TableName=table, Key=key, ConsistentRead=True))
            return json.loads(found["Item"]["payload"]["S"])

        async def write(name: str, value: Any) -> None:
            end = _end_ms()
            item = {
                "session_key": {"S": name},
                "payload": {"S": json.dumps(value)},
                "version": {"S": "-"},
                "expires_at": {"N": str(end)},
                "remove_at": {"N": str(end // 1000 + 1)},
            }
            await run(partial(client.put_item, TableName=table, Item=item))

        yield Driver("boto3", read, write)


@asynccontextmanager
async def s3(url: str) -> AsyncIterator[Driver]:
    """In a thread."""
    parts = urlsplit(url)
    with boto3_in_threads("s3", option(url, "endpoint_url"), **S3_CONFIG) as (client, run):

        def get(name: str) -> bytes:
            with closing(client.get_object(Bucket=parts.hostname, Key=name)["Body"]) as body:
                found: bytes = body.read()
            return found

        async def read(name: str) -> Any:
            return json.loads((await run(get, name)).partition(b"\n")[0])

        async def write(name: str, value: Any) -> None:
            end = str(_end_ms())
            body = f"{json.dumps(value)}\n{end}".encode()
            metadata = {"expires-at": end}
            await run(partial(client.put_object, Bucket=parts.hostname, Key=name, Body=body, Metadata=metadata))

        yield Driver("boto3", read, write)


@asynccontextmanager
async def firestore(url: str) -> AsyncIterator[Driver]:
    """One connection, as the driver has."""
    client = firestore_client(url)
    documents = client.collection(urlsplit(url).path[1:])

    async def read(name: str) -> Any:
        return json.loads((await documents.document(name).get()).get("payload"))

    async def write(name: str, value: Any) -> None:
        end = {"ttl_ms": int(TTL.total_seconds() * 1000), "expires_at": _end()}
        await documents.document(name).set({"payload": json.dumps(value), **end})

    yield Driver("google-cloud-firestore", read, write)


@asynccontextmanager
async def supabase(url: str) -> AsyncIterator[Driver]:
    """Selected and upserted through the data API."""
    sessions = (await supabase_client(url)).table("satchel_sessions")

    async def read(name: str) -> Any:
        found: Any = await sessions.select("payload").eq("key", name).execute()
        return json.loads(found.data[0]["payload"])

    async def write(name: str, value: Any) -> None:
        await sessions.upsert({"key": name, "payload": json.dumps(value), "expires_at": _end().isoformat()}).execute()

    yield Driver("supabase", read, write)


BESIDE: Final[MappingProxyType[str, Callable[[str], AbstractAsyncContextManager[Driver]]]] = MappingProxyType(
    {
        "sqlite": sqlite,
        "file": file,
        "redis": redis_py,
        "postgresql": psycopg,
        "mongodb": mongodb,
        "dynamodb": dynamodb,
        "s3": s3,
        "firestore": firestore,
        "supabase+http": supabase,
    }
)
"""What opens the driver for a storage's URL, by scheme. It knows records by their names: `namespace:key`."""


def _bare(url: str) -> str:
    return urlsplit(url)._replace(query="").geturl()


def _end() -> datetime:
    return datetime.now(UTC) + TTL


def _end_ms() -> int:
    return int(_end().timestamp() * 1000)
