"""RedisStorage keeps every rule that it declares: on Redis, on Valkey, and on a Redis Cluster."""

from dataclasses import replace

import pytest

from satchel_conformance import StorageConformance
from satchel_redis import RedisStorage


class TestRedis(StorageConformance):
    capabilities = RedisStorage.capabilities
    network = True

    @pytest.fixture
    def storage_url(self, redis_url: str) -> str:
        return redis_url


class TestValkey(StorageConformance):
    capabilities = RedisStorage.capabilities
    network = True

    @pytest.fixture
    def storage_url(self, valkey_url: str) -> str:
        return valkey_url


class TestRedisCluster(StorageConformance):
    capabilities = replace(RedisStorage.capabilities, atomic_batch=False, transactional=False)

    @pytest.fixture
    def storage_url(self, redis_cluster_url: str) -> str:
        return redis_cluster_url.replace("redis://", "redis+cluster://")
