"""DynamoDBStorage keeps every rule that it declares."""

import pytest

from satchel_conformance import StorageConformance
from satchel_dynamodb import DynamoDBStorage


class TestDynamoDB(StorageConformance):
    capabilities = DynamoDBStorage.capabilities
    network = True

    @pytest.fixture
    def storage_url(self, dynamodb_url: str) -> str:
        return dynamodb_url
