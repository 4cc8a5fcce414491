"""MemoryStorage keeps every rule that it declares."""

import pytest

from satchel import MemoryStorage
from satchel_conformance import StorageConformance


class TestMemory(StorageConformance):
    capabilities = MemoryStorage.capabilities
    shared = False

    @pytest.fixture
    def storage_factory(self) -> type[MemoryStorage[object]]:
        return MemoryStorage
