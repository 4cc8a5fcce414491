"""FirestoreStorage keeps every rule that it declares."""

import pytest

from satchel_conformance import StorageConformance
from satchel_firestore import FirestoreStorage


class TestFirestore(StorageConformance):
    capabilities = FirestoreStorage.capabilities
    network = True

    @pytest.fixture
    def storage_url(self, url: str) -> str:
        return url
