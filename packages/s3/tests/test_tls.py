"""An endpoint with https://: who the server is gets verified."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from satchel import ConfigurationError, StorageUnavailableError
from satchel_conformance.front import Front
from satchel_s3 import S3Storage

from .conftest import endpoint_of

AUTHORITY = trustme.CA()


@pytest.fixture
def tls_url(moto_url: str) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    with Front(endpoint_of(moto_url), tls=context) as front:
        yield moto_url.replace(endpoint_of(moto_url), front.url)


async def test_a_server_with_a_certificate_of_a_known_authority_is_used(
    tls_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    async with S3Storage[Any].from_url(tls_url, namespace=namespace) as storage:
        await storage.write("chat:1", {"pizza": 1})
        assert await storage.read("chat:1") == {"pizza": 1}
    with pytest.raises(ConfigurationError, match="has no certificate to trust: .*127.0.0.1"):
        await S3Storage[Any].from_url(tls_url.replace("localhost", "127.0.0.1")).read("chat:1")


async def test_a_certificate_of_an_unknown_authority_is_refused(tls_url: str) -> None:
    with pytest.raises(ConfigurationError, match="has no certificate to trust: .*issuer") as caught:
        await S3Storage[Any].from_url(tls_url).read("chat:1")
    assert "\n" not in str(caught.value)


async def test_tls_to_a_server_without_it_ends_in_a_clear_error(moto_url: str) -> None:
    with pytest.raises((ConfigurationError, StorageUnavailableError), match="s3://sessions"):
        await S3Storage[Any].from_url(moto_url.replace("http://", "https://")).read("chat:1")
