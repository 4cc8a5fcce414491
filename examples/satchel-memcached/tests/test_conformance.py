"""MemcachedStorage keeps every rule that it declares."""

from functools import partial

import pytest

from satchel_conformance import StorageConformance
from satchel_memcached import MemcachedStorage


class TestMemcached(StorageConformance):
    capabilities = MemcachedStorage.capabilities

    @pytest.fixture
    def storage_factory(self, memcached_url: str) -> partial[MemcachedStorage[object]]:
        return partial(MemcachedStorage.from_url, memcached_url)
