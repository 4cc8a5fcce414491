"""S3Storage keeps every rule that it declares: on Ceph's gateway, and on moto."""

from dataclasses import replace
from typing import ClassVar

import pytest

from satchel_conformance import StorageConformance
from satchel_s3 import S3Storage


class TestCeph(StorageConformance):
    capabilities = replace(S3Storage.capabilities, conditional_delete=False)  # Ceph 16 ignores If-Match on a delete
    network = True
    races: ClassVar = dict.fromkeys(
        ("R6-touch-undoes-nothing", "R7-plain-write-stays"),
        "to the bare driver Ceph 16 acknowledged 101 of 900 plain writes and deletes that were undone by a write under "
        "If-Match at the same time, which it acknowledged, too",
    )

    @pytest.fixture
    def storage_url(self, ceph_url: str) -> str:
        return ceph_url


class TestMoto(StorageConformance):
    """Not behind the proxy: it closes each connection after one answer, so there is none to break, or to keep."""

    capabilities = S3Storage.capabilities

    @pytest.fixture
    def storage_url(self, moto_url: str) -> str:
        return moto_url
