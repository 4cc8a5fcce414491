"""TLS, what a gateway says instead of PostgREST, and servers that are stopped and started again."""

import asyncio
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from satchel import ConfigurationError, StorageError, StorageUnavailableError
from satchel_supabase import SupabaseStorage

from .conftest import AUTHORITY, CONTAINERS


@pytest.fixture
def fragile(supabase_fragile_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A server of its own, with TLS, whose authority is trusted."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return supabase_fragile_url


async def test_a_call_that_is_cancelled_at_any_moment_leaves_a_storage_that_works(
    supabase_url: str, namespace: str
) -> None:
    async with SupabaseStorage[Any](supabase_url, namespace=namespace, timeout=timedelta(seconds=5)) as storage:
        await storage.write("chat:1", 1)
        for moment in range(60):
            reading = asyncio.ensure_future(storage.read("chat:1"))
            await asyncio.sleep(moment / 20_000)
            reading.cancel()
            await asyncio.wait([reading])
            assert await storage.read("chat:1") == 1


@pytest.mark.parametrize("http2", [False, True])
async def test_a_server_with_a_certificate_of_a_known_authority_is_used(
    fragile: str, namespace: str, http2: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "httpx")
    async with SupabaseStorage[Any](fragile, http2=http2, namespace=namespace) as storage:
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(50)))
        found = await asyncio.gather(*(storage.read(f"chat:{number}") for number in range(50)))
        assert found == list(range(50))
        reading = asyncio.ensure_future(storage.read("chat:1"))
        await asyncio.sleep(0.001)
        reading.cancel()
        assert await storage.read("chat:2") == 2
        assert storage.where.startswith("supabase://localhost:")
    assert {"HTTP/2" if "HTTP/2" in record.getMessage() else "HTTP/1.1" for record in caplog.records} == {
        "HTTP/2" if http2 else "HTTP/1.1"
    }
    assert fragile.split(":")[2].partition("@")[0] not in caplog.text


async def test_a_certificate_of_an_unknown_authority_is_refused(
    supabase_fragile_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="has no certificate to trust: .*issuer"):
        async with SupabaseStorage[Any](supabase_fragile_url):
            pass
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    with pytest.raises(ConfigurationError, match="has no certificate to trust: .*issuer"):
        async with SupabaseStorage[Any](supabase_fragile_url):
            pass


async def test_a_certificate_for_another_name_is_refused(fragile: str) -> None:
    with pytest.raises(ConfigurationError, match="has no certificate to trust: .*127.0.0.1"):
        async with SupabaseStorage[Any](fragile.replace("localhost", "127.0.0.1")):
            pass


async def test_tls_to_a_server_without_it_and_the_other_way_round_end_in_a_clear_error(
    fragile: str, supabase_url: str
) -> None:
    with pytest.raises(ConfigurationError, match="does not speak TLS as asked"):
        async with SupabaseStorage[Any](supabase_url.replace("supabase+http://", "supabase://")):
            pass
    with pytest.raises(ConfigurationError, match="is no data API of Supabase: HTTP status 400"):
        async with SupabaseStorage[Any](fragile.replace("supabase://", "supabase+http://")):
            pass


@pytest.mark.parametrize(("page", "kind", "line"), [
    *((f"page{status}", StorageUnavailableError, f"HTTP status {status}") for status in (429, 500, 502, 503, 504)),
    *((f"page{status}", ConfigurationError, "is no data API of Supabase") for status in (302, 404, 405)),
    *((f"page{status}", ConfigurationError, "does not take the API key") for status in (401, 403)),
    ("page413", ConfigurationError, "takes no request of this size"),
    ("page200", ConfigurationError, "is its URL right"),
    ("page204", ConfigurationError, "is its URL right"),
    ("empty", ConfigurationError, "is its URL right"),
    ("list", ConfigurationError, "is its URL right"),
    ("upstream", StorageUnavailableError, "cannot do it now"),
    ("nothing", StorageUnavailableError, "cannot do it now"),
    ("credentials", ConfigurationError, "does not take the API key"),
])  # fmt: skip
async def test_a_page_of_the_gateway_itself_is_never_missing(
    fragile: str, page: str, kind: type[StorageError], line: str
) -> None:
    storage = SupabaseStorage[Any](fragile.rpartition("/")[0] + f"/{page}")
    with pytest.raises(kind, match=line) as caught:
        await storage.read("chat:1")
    await storage.aclose()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stopped", ["rest", "database"])
async def test_a_server_that_is_stopped_is_unavailable_and_works_again_once_it_is_back(
    fragile: str, namespace: str, stopped: str
) -> None:
    container = CONTAINERS[stopped].get_wrapped_container()
    async with SupabaseStorage[Any](fragile, namespace=namespace, timeout=timedelta(seconds=5)) as storage:
        version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
        container.stop(timeout=0)
        try:
            for call in (storage.read("chat:1"), storage.write("chat:2", 2), storage.keys().__anext__()):
                with pytest.raises(StorageUnavailableError):
                    await call
            with pytest.raises(StorageUnavailableError):
                await storage.write_versioned("chat:1", {"pizza": 2}, version)
        finally:
            container.start()
        async with asyncio.timeout(60):
            while True:
                try:
                    assert await storage.read("chat:1") == {"pizza": 1}
                    break
                except StorageUnavailableError:
                    await asyncio.sleep(0.05)
        await storage.write_versioned("chat:1", {"pizza": 2}, version)


async def test_a_server_that_hangs_is_given_up_by_its_gateway(fragile: str, namespace: str) -> None:
    container = CONTAINERS["rest"].get_wrapped_container()
    async with SupabaseStorage[Any](fragile, namespace=namespace) as storage:
        container.pause()
        try:
            with pytest.raises(StorageUnavailableError, match="HTTP status 504"):
                await storage.read("chat:1")
        finally:
            container.unpause()
        assert await storage.read("chat:1") is None
