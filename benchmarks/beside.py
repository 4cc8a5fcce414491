"""Drivers beside a storage: used directly, on the records that the storage has written.

So what a driver takes among a million records is known without writing a million more. Each lists names by what it has
for that, in the largest pages that it takes.
"""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
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
_TTL_MS: Final = 3_600_000


@dataclass(frozen=True)
class Beside(Driver):
    """A driver that can list the names with a start, too."""

    names: Callable[[str], Awaitable[list[str]]]


@asynccontextmanager
async def sqlite(url: str) -> AsyncIterator[Beside]:
    """One connection in a thread of its own, `synchronous=NORMAL`."""
    with ThreadPoolExecutor(1) as pool:
        run = partial(asyncio.get_running_loop().run_in_executor, pool)
        file = urlsplit(url).path.removeprefix("/")  # an absolute path has four slashes in a URL
        with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as database:
            database.execute("PRAGMA synchronous = NORMAL")
            put = "UPDATE satchel_sessions SET payload = ?, expires_at = ? WHERE key = ?"
            like = "SELECT key FROM satchel_sessions WHERE key >= ? AND key < ? AND expires_at > ?"

            def select(name: str) -> Any:
                return database.execute("SELECT payload FROM satchel_sessions WHERE key = ?", [name]).fetchone()

            async def read(name: str) -> Any:
                return json.loads((await run(select, name))[0])

            async def write(name: str, value: Any) -> None:
                await run(database.execute, put, [json.dumps(value), _end_ms(), name])

            def listed(start: str) -> list[str]:
                found = database.execute(like, [start, _after(start), _end_ms() - _TTL_MS])
                return [name for (name,) in found]

            async def names(start: str) -> list[str]:
                return await run(listed, start)

            yield Beside("sqlite3", read, write, names)


@asynccontextmanager
async def file(url: str) -> AsyncIterator[Beside]:
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

        def listed(start: str) -> list[str]:
            found = []
            for path in folder.glob("*/*.json"):
                with path.open(encoding="utf-8") as opened:
                    found.append(json.loads(opened.readline())["key"])
            return [name for name in found if name.startswith(start)]

        async def names(start: str) -> list[str]:
            return await run(listed, start)

        yield Beside("files", read, write, names)


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[Beside]:
    """GET and SET."""
    async with redis.asyncio.Redis.from_url(_bare(url)) as client:

        async def read(name: str) -> Any:
            found: Any = await client.get(name)
            return json.loads(found)

        async def write(name: str, value: Any) -> None:
            await client.set(name, json.dumps(value), px=TTL)

        async def names(start: str) -> list[str]:
            return [name.decode() async for name in client.scan_iter(f"{start}*", count=1000)]

        yield Beside("redis-py", read, write, names)


@asynccontextmanager
async def psycopg(url: str) -> AsyncIterator[Beside]:
    """A pool of one connection, in autocommit mode."""
    pool = psycopg_pool.AsyncConnectionPool(_bare(url), kwargs={"autocommit": True}, min_size=1, max_size=1, open=False)
    select = "SELECT payload FROM satchel_sessions WHERE key = %s"
    put = "UPDATE satchel_sessions SET payload = %s::json, expires_at = clock_timestamp() + %s WHERE key = %s"
    like = "SELECT key FROM satchel_sessions WHERE key >= %s AND key < %s AND expires_at > statement_timestamp()"
    async with pool:

        async def read(name: str) -> Any:
            async with pool.connection() as connection:
                row: Any = await (await connection.execute(select, [name])).fetchone()
            return row[0]  # psycopg has made JSON's value of it

        async def write(name: str, value: Any) -> None:
            async with pool.connection() as connection:
                await connection.execute(put, [json.dumps(value), TTL, name])

        async def names(start: str) -> list[str]:
            async with pool.connection() as connection:
                rows = await (await connection.execute(like, [start, _after(start)])).fetchall()
            return [name for (name,) in rows]

        yield Beside("psycopg", read, write, names)


@asynccontextmanager
async def mongodb(url: str) -> AsyncIterator[Beside]:
    """By `_id`, acknowledged by a majority's journal."""
    async with pymongo.AsyncMongoClient[Any](url.partition("&namespace=")[0]) as client:
        database = client.get_default_database("satchel")
        records = database.get_collection("satchel_sessions", write_concern=WriteConcern("majority", j=True))

        async def read(name: str) -> Any:
            found: Any = await records.find_one({"_id": name})
            return json.loads(found["payload"])

        async def write(name: str, value: Any) -> None:
            await records.replace_one({"_id": name}, {"payload": json.dumps(value), "expires_at": _end()})

        async def names(start: str) -> list[str]:
            between = {"_id": {"$gte": start, "$lt": _after(start)}, "expires_at": {"$gt": datetime.now(UTC)}}
            return [found["_id"] async for found in records.find(between, {"_id": 1})]

        yield Beside("pymongo", read, write, names)


@asynccontextmanager
async def dynamodb(url: str) -> AsyncIterator[Beside]:
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

        def listed(start: str) -> list[str]:
            pages = client.get_paginator("scan").paginate(
                TableName=table,
                ConsistentRead=True,
                ProjectionExpression="session_key",
                FilterExpression="begins_with(session_key, :start) AND expires_at > :now",
                ExpressionAttributeValues={":start": {"S": start}, ":now": {"N": str(_end_ms() - _TTL_MS)}},
            )
            return [item["session_key"]["S"] for page in pages for item in page["Items"]]

        async def names(start: str) -> list[str]:
            found: list[str] = await run(partial(listed, start))
            return found

        yield Beside("boto3", read, write, names)


@asynccontextmanager
async def s3(url: str) -> AsyncIterator[Beside]:
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

        def listed(start: str) -> list[str]:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=parts.hostname, Prefix=start)
            return [found["Key"] for page in pages for found in page.get("Contents", ())]

        async def names(start: str) -> list[str]:
            found: list[str] = await run(partial(listed, start))
            return found

        yield Beside("boto3", read, write, names)


@asynccontextmanager
async def firestore(url: str) -> AsyncIterator[Beside]:
    """One connection, as the driver has."""
    client = firestore_client(url)
    documents = client.collection(urlsplit(url).path[1:])

    async def read(name: str) -> Any:
        return json.loads((await documents.document(name).get()).get("payload"))

    async def write(name: str, value: Any) -> None:
        end = {"ttl_ms": int(TTL.total_seconds() * 1000), "expires_at": _end()}
        await documents.document(name).set({"payload": json.dumps(value), **end})

    async def names(start: str) -> list[str]:
        first, last = documents.document(start), documents.document(_after(start))
        between = documents.order_by("__name__").start_at({"__name__": first}).end_before({"__name__": last})
        return [found.id async for found in between.select(["expires_at"]).stream()]

    yield Beside("google-cloud-firestore", read, write, names)


@asynccontextmanager
async def supabase(url: str) -> AsyncIterator[Beside]:
    """Selected and upserted through the data API."""
    sessions = (await supabase_client(url)).table("satchel_sessions")

    async def read(name: str) -> Any:
        found: Any = await sessions.select("payload").eq("key", name).execute()
        return json.loads(found.data[0]["payload"])

    async def write(name: str, value: Any) -> None:
        await sessions.upsert({"key": name, "payload": json.dumps(value), "expires_at": _end().isoformat()}).execute()

    async def names(start: str) -> list[str]:
        found: list[str] = []
        while True:
            page: Any = await (
                sessions.select("key")
                .gt("key", found[-1] if found else start)
                .lt("key", _after(start))
                .gt("expires_at", "now")
                .order("key")
                .limit(1000)
                .execute()
            )
            found += [row["key"] for row in page.data]
            if len(page.data) < 1000:
                return found

    yield Beside("supabase", read, write, names)


BESIDE: Final[MappingProxyType[str, Callable[[str], AbstractAsyncContextManager[Beside]]]] = MappingProxyType(
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


def _after(start: str) -> str:
    """Return what comes after all strings with this start, which ends with a colon."""
    return f"{start[:-1]};"


def _end() -> datetime:
    return datetime.now(UTC) + TTL


def _end_ms() -> int:
    return int(_end().timestamp() * 1000)
