"""FirestoreStorage keeps every rule that it declares."""

from typing import ClassVar

import pytest

from satchel_conformance import StorageConformance
from satchel_firestore import FirestoreStorage


class TestFirestore(StorageConformance):
    capabilities = FirestoreStorage.capabilities
    network = True
    races: ClassVar = {
        "R0-batch-atomic": "beside other work, the emulator showed the bare driver a part of a commit in 2 of 555 reads"
    }

    @pytest.fixture
    def storage_url(self, url: str) -> str:
        return url
