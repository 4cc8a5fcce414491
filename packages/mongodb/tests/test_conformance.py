"""MongoDBStorage keeps every rule that it declares."""

import pytest

from satchel_conformance import StorageConformance
from satchel_mongodb import MongoDBStorage


class TestMongoDB(StorageConformance):
    capabilities = MongoDBStorage.capabilities
    network = True

    @pytest.fixture
    def storage_url(self, mongodb_url: str) -> str:
        return mongodb_url
