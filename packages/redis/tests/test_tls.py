"""rediss://: who the server is gets verified, unless one says otherwise."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from satchel import ConfigurationError, StorageError
from satchel_redis import RedisStorage

from .conftest import AUTHORITY


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


async def test_a_server_with_a_certificate_of_a_known_authority_is_used(
    redis_tls_url: str, namespace: str, trusted: Path
) -> None:
    async with RedisStorage[Any](f"{redis_tls_url}?ssl_ca_certs={trusted}", namespace=namespace) as storage:
        await storage.write("chat:1", {"pizza": 1})
        assert await storage.read("chat:1") == {"pizza": 1}
        assert storage.where.startswith("rediss://localhost:")


async def test_a_certificate_of_an_unknown_authority_is_refused(redis_tls_url: str, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    for url in (redis_tls_url, f"{redis_tls_url}?ssl_ca_certs={tmp_path / 'other.pem'}"):
        with pytest.raises(ConfigurationError, match="has no certificate to trust: .*issuer") as caught:
            async with RedisStorage[Any](url):
                pass
        assert "\n" not in str(caught.value)


async def test_a_certificate_for_another_name_is_refused_unless_names_are_not_checked(
    redis_tls_url: str, namespace: str, trusted: Path
) -> None:
    url = f"{redis_tls_url.replace('localhost', '127.0.0.1')}?ssl_ca_certs={trusted}"
    with pytest.raises(ConfigurationError, match="has no certificate to trust: .*127.0.0.1"):
        async with RedisStorage[Any](url):
            pass
    async with RedisStorage[Any](f"{url}&ssl_check_hostname=no", namespace=namespace) as storage:
        assert await storage.read("chat:1") is None


async def test_tls_to_a_server_without_it_and_the_other_way_round_end_in_a_clear_error(
    redis_tls_url: str, redis_url: str
) -> None:
    timeout = timedelta(seconds=2)
    for url in (redis_url.replace("redis://", "rediss://"), redis_tls_url.replace("rediss://", "redis://")):
        with pytest.raises(StorageError, match=r"^rediss?://[^ ]* "):
            async with RedisStorage[Any](url, timeout=timeout):
                pass
