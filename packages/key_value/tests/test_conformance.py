"""KeyValueStorage keeps every rule that it declares, over py-key-value's stores in memory and in Redis."""

from collections.abc import Callable
from typing import Any

import pytest
from key_value.aio.stores.memory import MemoryStore
from key_value.aio.stores.redis import RedisStore
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from satchel_conformance import StorageConformance
from satchel_key_value import KeyValueStorage


class OverRedis(KeyValueStorage[Any]):
    """Over a client of its own, which it closes."""

    def __init__(self, url: str, **options: Any) -> None:
        pool = BlockingConnectionPool.from_url(url, max_connections=20, timeout=None, decode_responses=True)
        self.client = Redis.from_pool(pool)
        super().__init__(RedisStore(client=self.client), unavailable=[RedisConnectionError], **options)

    async def close(self) -> None:
        await self.client.aclose()


class TestMemoryStore(StorageConformance):
    capabilities = KeyValueStorage.capabilities

    @pytest.fixture
    def storage_factory(self) -> Callable[..., Any]:
        store = MemoryStore()
        return lambda **options: KeyValueStorage(store, **options)


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # which RedisStore calls
class TestRedisStore(StorageConformance):
    capabilities = KeyValueStorage.capabilities

    @pytest.fixture
    def storage_factory(self, redis_url: str) -> Callable[..., Any]:
        return lambda **options: OverRedis(redis_url, **options)
