"""FileStorage keeps every rule that it declares."""

from pathlib import Path

import pytest

from satchel_conformance import StorageConformance
from satchel_file import FileStorage


class TestFile(StorageConformance):
    capabilities = FileStorage.capabilities

    @pytest.fixture
    def storage_url(self, tmp_path: Path) -> str:
        return f"file:///{tmp_path}/sessions"
