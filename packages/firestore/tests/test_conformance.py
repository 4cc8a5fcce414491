"""FirestoreStorage keeps every rule that it declares."""

from typing import ClassVar

import pytest

from satchel_conformance import StorageConformance
from satchel_firestore import FirestoreStorage


class TestFirestore(StorageConformance):
    capabilities = FirestoreStorage.capabilities
    network = True
    exceptions: ClassVar = {"R0-batch-atomic": "sometimes the emulator shows a commit by documents; Firestore does not"}

    @pytest.fixture
    def storage_url(self, url: str) -> str:
        return url
