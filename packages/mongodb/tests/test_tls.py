"""tls=true: who the server is gets verified, unless one says otherwise."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from satchel import ConfigurationError, StorageUnavailableError
from satchel_mongodb import MongoDBStorage

from .conftest import AUTHORITY

TIMEOUT = timedelta(seconds=1)


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


async def test_a_server_with_a_certificate_of_a_known_authority_is_used(
    mongodb_tls_url: str, namespace: str, trusted: Path
) -> None:
    async with MongoDBStorage[Any](f"{mongodb_tls_url}&tlsCAFile={trusted}", namespace=namespace) as storage:
        await storage.write("chat:1", {"pizza": 1})
        assert await storage.read("chat:1") == {"pizza": 1}
        assert storage.where.startswith("mongodb://localhost:")


async def test_a_certificate_of_an_unknown_authority_is_refused(mongodb_tls_url: str, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    for url in (mongodb_tls_url, f"{mongodb_tls_url}&tlsCAFile={tmp_path / 'other.pem'}"):
        with pytest.raises(ConfigurationError, match="has no certificate to trust: .*issuer") as caught:
            async with MongoDBStorage[Any](url, timeout=TIMEOUT):
                pass
        assert "\n" not in str(caught.value)


async def test_a_certificate_for_another_name_is_refused_unless_names_are_not_checked(
    mongodb_tls_url: str, namespace: str, trusted: Path
) -> None:
    url = f"{mongodb_tls_url.replace('localhost', '127.0.0.1')}&tlsCAFile={trusted}"
    with pytest.raises(ConfigurationError, match="has no certificate to trust: .*127.0.0.1"):
        async with MongoDBStorage[Any](url, timeout=TIMEOUT):
            pass
    async with MongoDBStorage[Any](f"{url}&tlsAllowInvalidHostnames=true", namespace=namespace) as storage:
        assert await storage.read("chat:1") is None


async def test_tls_to_a_server_without_it_and_the_other_way_round_end_in_a_clear_error(
    mongodb_tls_url: str, mongodb_url: str
) -> None:
    with pytest.raises(ConfigurationError, match="does not speak TLS as asked"):
        async with MongoDBStorage[Any](f"{mongodb_url}&tls=true", timeout=TIMEOUT):
            pass
    with pytest.raises(StorageUnavailableError, match="cannot be reached: .*connection (is already )?closed"):
        async with MongoDBStorage[Any](mongodb_tls_url.replace("?tls=true", ""), timeout=TIMEOUT):
            pass
