"""Sessions of grammY's in Redis: what only Redis can hold in their place, rights, a Cluster.

What a real bot of grammY's leaves is read in tests/test_moving_from_grammy.py, as in the other storages that it has.
"""

import secrets
import shlex
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis, RedisCluster

from satchel import CorruptValueError, open_storage
from satchel_redis.foreign import AiogramRedisStorage, GrammyRedisStorage


@pytest.fixture
async def prefix(raw: Redis) -> AsyncIterator[str]:
    """What the names of one test start with: for a pattern, most of it stands for something else."""
    made = f"[{secrets.token_hex(6)}]*?\\"
    yield made
    names = [name async for name in raw.scan_iter() if name.startswith(made.encode())]
    await raw.delete("nothing", *names)


async def test_a_key_of_another_type_is_no_session_and_reading_it_raises(url: str, raw: Redis, prefix: str) -> None:
    await raw.set(f"{prefix}42", "{}")
    await raw.rpush(f"{prefix}list", "{}")

    async with GrammyRedisStorage(url, prefix=prefix) as storage:
        assert [key async for key in storage.keys()] == ["telegram:42"]
        with pytest.raises(CorruptValueError, match="'telegram:list' cannot be read: .* something else than a string"):
            await storage.read("telegram:list")
        with pytest.raises(CorruptValueError, match="'telegram:list' cannot be read: .* something else than a string"):
            await storage.read_many(["telegram:42", "telegram:list"])
        assert await storage.read_many(["telegram:42", "telegram:43"]) == {"telegram:42": {}}


async def test_a_client_of_ours_is_used_and_left_open(raw: Redis, prefix: str) -> None:
    await raw.set(f"{prefix}42", '{"pizza":1}')

    async with GrammyRedisStorage(raw, prefix=prefix, keys="per_chat") as storage:
        assert await storage.read("chat:42") == {"pizza": 1}
    assert await raw.ping()


async def test_more_sessions_than_one_page_are_listed_once_each(url: str, raw: Redis, prefix: str) -> None:
    await raw.mset({f"{prefix}{number}": number for number in range(2000)})

    async with GrammyRedisStorage(url, prefix=prefix) as storage:
        keys = [key async for key in storage.keys()]
        assert sorted(keys) == sorted(f"telegram:{number}" for number in range(2000))
        assert (await storage.read_many(keys))["telegram:1999"] == 1999


@pytest.mark.parametrize("kind", [GrammyRedisStorage, AiogramRedisStorage])
async def test_the_rights_that_the_schema_names_are_enough(
    url: str, raw: Redis, prefix: str, kind: type[GrammyRedisStorage | AiogramRedisStorage]
) -> None:
    _, _, user, *rules = shlex.split(kind(url, prefix=prefix).schema())
    user, password = user + secrets.token_hex(4), secrets.token_hex(8)
    rules = [rule.replace("PASSWORD", password) for rule in rules]
    await raw.set(f"{prefix}42", "{}")
    await raw.set(f"{prefix}:42:42:data", "{}")
    await raw.execute_command("ACL", "SETUSER", user, *rules)  # type: ignore[no-untyped-call]
    parts = urlsplit(url)
    try:
        async with kind(f"redis://{user}:{password}@{parts.hostname}:{parts.port}/0", prefix=prefix) as storage:
            keys = [key async for key in storage.keys()]
            assert keys
            assert len(await storage.read_many(keys)) == len(keys)
    finally:
        await raw.acl_deluser(user)


async def test_a_cluster_is_read_from_all_its_nodes(redis_cluster_url: str) -> None:
    prefix, url = f"{secrets.token_hex(6)}-", redis_cluster_url.replace("redis://", "redis+cluster://")
    expected: dict[str, Any] = {f"telegram:{number}": {"number": number} for number in range(50)}
    async with RedisCluster.from_url(redis_cluster_url) as raw:
        for number in range(50):
            await raw.set(f"{prefix}{number}", f'{{"number":{number}}}')
        await raw.set(f"{prefix}fsm:42:7:state", "Form:name")
        await raw.set(f"{prefix}fsm:42:7:data", '{"age":7}')

    async with open_storage(f"grammy+{url}?prefix={prefix}&only=[0-9]*") as storage:
        keys = [key async for key in storage.keys()]  # type: ignore[attr-defined]
        assert await storage.read_many(keys) == expected  # type: ignore[attr-defined]
    async with open_storage(f"aiogram+{url}?prefix={prefix}fsm") as storage:
        assert await storage.read("aiogram:chat:42:user:7") == {"state": "Form:name", "data": {"age": 7}}
