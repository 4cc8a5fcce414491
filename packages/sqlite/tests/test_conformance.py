"""SQLiteStorage keeps every rule that it declares."""

from pathlib import Path

import pytest

from satchel_conformance import StorageConformance
from satchel_sqlite import SQLiteStorage


class TestSQLite(StorageConformance):
    capabilities = SQLiteStorage.capabilities

    @pytest.fixture
    def storage_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/bot.db"
