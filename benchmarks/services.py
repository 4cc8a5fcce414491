"""Contenders that are services, on the servers that stand in for them: DynamoDB, S3, Firestore and Supabase."""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config
from google.cloud.firestore import AsyncClient
from postgrest import APIError
from supabase import acreate_client

from benchmarks.stores import Driver
from satchel import Storage, open_storage
from satchel_conformance.servers.supabase import administer, api_key

S3_CONFIG: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "s3": {"addressing_style": "path"},
        # What boto3 adds by itself since 1.36 is not known to every server.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
)
_THREADS: Final = 32  # and connections: as many as Satchel's


@asynccontextmanager
async def dynamodb(url: str) -> AsyncIterator[tuple[Driver, Storage[Any]]]:
    """An item for each key, read consistently; threads and connections as Satchel has."""
    endpoint = option(url, "endpoint_url")
    table = f"bench_{secrets.token_hex(4)}"
    with boto3_in_threads("dynamodb", endpoint) as (client, run):
        client.create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )

        async def read(key: str) -> Any:
            found = await run(partial(client.get_item, TableName=table, Key={"key": {"S": key}}, ConsistentRead=True))
            return json.loads(found["Item"]["payload"]["S"])

        async def write(key: str, value: Any) -> None:
            item = {"key": {"S": key}, "payload": {"S": json.dumps(value)}}
            await run(partial(client.put_item, TableName=table, Item=item))

        ours = f"dynamodb:///{table}_ours?endpoint_url={endpoint}&region=us-east-1"
        async with open_storage(ours) as storage:
            yield Driver("boto3 in a thread", read, write), storage
        for name in (table, f"{table}_ours"):
            client.delete_table(TableName=name)


@asynccontextmanager
async def s3(url: str) -> AsyncIterator[tuple[Driver, Storage[Any]]]:
    """An object for each key, in one bucket."""
    endpoint = option(url, "endpoint_url")
    bucket = f"bench-{secrets.token_hex(4)}"
    with boto3_in_threads("s3", endpoint, **S3_CONFIG) as (client, run):
        client.create_bucket(Bucket=bucket)

        def get(key: str) -> bytes:
            with closing(client.get_object(Bucket=bucket, Key=f"raw/{key}")["Body"]) as body:
                found: bytes = body.read()
            return found

        async def read(key: str) -> Any:
            return json.loads(await run(partial(get, key)))

        async def write(key: str, value: Any) -> None:
            await run(partial(client.put_object, Bucket=bucket, Key=f"raw/{key}", Body=json.dumps(value).encode()))

        async with open_storage(f"s3://{bucket}/ours?endpoint_url={endpoint}&region=us-east-1") as storage:
            yield Driver("boto3 in a thread", read, write), storage
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for found in page.get("Contents", ()):
                client.delete_object(Bucket=bucket, Key=found["Key"])
        client.delete_bucket(Bucket=bucket)


@asynccontextmanager
async def firestore(url: str) -> AsyncIterator[tuple[Driver, Storage[Any]]]:
    """A document for each key; one connection, as the driver has."""
    collection, parts = f"bench_{secrets.token_hex(4)}", urlsplit(url)
    emulator = option(url, "emulator")
    client = firestore_client(url)
    documents = client.collection(collection)

    async def read(key: str) -> Any:
        return json.loads((await documents.document(key).get()).get("payload"))

    async def write(key: str, value: Any) -> None:
        await documents.document(key).set({"payload": json.dumps(value)})

    async with open_storage(f"firestore://{parts.hostname}/{collection}_ours?emulator={emulator}") as storage:
        yield Driver("google-cloud-firestore", read, write), storage
    for name in (collection, f"{collection}_ours"):
        async for document in client.collection(name).list_documents():
            await document.delete()


@asynccontextmanager
async def supabase(url: str) -> AsyncIterator[tuple[Driver, Storage[Any]]]:
    """A row for each key, selected and upserted through the data API."""
    table = f"bench_{secrets.token_hex(4)}"
    administer(
        url, f"CREATE TABLE {table} (key text PRIMARY KEY, payload text NOT NULL); NOTIFY pgrst, 'reload schema'"
    )
    client = await supabase_client(url)

    async def read(key: str) -> Any:
        found: Any = await client.table(table).select("payload").eq("key", key).execute()
        return json.loads(found.data[0]["payload"])

    async def write(key: str, value: Any) -> None:
        await client.table(table).upsert({"key": key, "payload": json.dumps(value)}).execute()

    storage: Any = open_storage(f"{url}?namespace={table}")
    async with storage:
        await _known(write)
        yield Driver("supabase", read, write), storage
        await storage.delete_many([key async for key in storage.keys()])
    administer(url, f"DROP TABLE {table}")


def option(url: str, name: str) -> str:
    """Return what the query of a URL says."""
    return parse_qs(urlsplit(url).query)[name][0]


def firestore_client(url: str) -> AsyncClient:
    """Return the driver's client for the emulator of a storage's URL."""
    with patch.dict(os.environ, FIRESTORE_EMULATOR_HOST=option(url, "emulator")):
        return AsyncClient(project=urlsplit(url).hostname)


async def supabase_client(url: str) -> Any:
    """Return the driver's client for the data API of a storage's URL."""
    parts = urlsplit(url)
    return await acreate_client(f"http://{parts.hostname}:{parts.port}", api_key("service_role"))


async def _known(write: Callable[[str, Any], Awaitable[None]]) -> None:
    """Wait until the data API has taken note of the table."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await write("known", None)
            except APIError:
                await asyncio.sleep(0.1)


@contextmanager
def boto3_in_threads(
    service: str, endpoint: str, region: str = "us-east-1", **settings: Any
) -> Iterator[tuple[Any, Callable[..., Awaitable[Any]]]]:
    """Give a client, and what runs its calls in threads."""
    make: Any = boto3.client
    config = Config(max_pool_connections=_THREADS, **settings)
    with (
        closing(make(service, endpoint_url=endpoint, region_name=region, config=config)) as client,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        yield client, partial(asyncio.get_running_loop().run_in_executor, pool)
