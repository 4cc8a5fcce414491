"""PostgresStorage keeps every rule that it declares: on PostgreSQL, and behind PgBouncer in transaction mode."""

import pytest

from satchel_conformance import StorageConformance
from satchel_postgres import PostgresStorage


class TestPostgres(StorageConformance):
    capabilities = PostgresStorage.capabilities
    network = True

    @pytest.fixture
    def storage_url(self, postgres_url: str) -> str:
        return postgres_url


class TestPgBouncer(StorageConformance):
    capabilities = PostgresStorage.capabilities
    network = True

    @pytest.fixture
    def storage_url(self, pgbouncer_url: str) -> str:
        return pgbouncer_url
