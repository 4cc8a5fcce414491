"""SQLiteStorage keeps every rule that it declares."""

from functools import partial
from pathlib import Path

import pytest

from satchel_conformance import StorageConformance
from satchel_sqlite import SQLiteStorage


class TestSQLite(StorageConformance):
    capabilities = SQLiteStorage.capabilities

    @pytest.fixture
    def storage_factory(self, tmp_path: Path) -> partial[SQLiteStorage[object]]:
        return partial(SQLiteStorage, tmp_path / "bot.db")
