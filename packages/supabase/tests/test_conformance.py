"""SupabaseStorage keeps every rule that it declares: on PostgREST behind a gateway, over PostgreSQL."""

import pytest

from satchel_conformance import StorageConformance
from satchel_supabase import SupabaseStorage


class TestSupabase(StorageConformance):
    capabilities = SupabaseStorage.capabilities
    network = True

    @pytest.fixture
    def storage_url(self, supabase_url: str) -> str:
        return f"{supabase_url}?timeout=30s"  # for many processes that import the driver at once, on a busy machine
