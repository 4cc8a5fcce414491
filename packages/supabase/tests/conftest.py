"""Servers of the kinds that the plugin does not start, and what the tests look at them with."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
import trustme
from supabase import AsyncClient, AsyncClientOptions

from satchel import ConfigurationError
from satchel_conformance.backends import Backend
from satchel_conformance.plugin import url_fixture
from satchel_conformance.servers.supabase import administer, api_key, supabase
from satchel_supabase import SupabaseStorage

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

AUTHORITY = trustme.CA()
_CERTIFICATE = AUTHORITY.issue_cert("localhost")  # and not for 127.0.0.1

CONTAINERS: Final[dict[str, "DockerContainer"]] = {}
"""Those of `supabase_fragile_url`, for the tests to stop and start."""

# What the gateway answers itself, each under the name of a table.
_PAGES: Final = {
    **{f"page{status}": f"{status}" for status in (401, 403, 404, 405, 413, 429, 500, 502, 503, 504)},
    "page302": "302 /login",
    "page200": "200 '<html>Welcome</html>'",
    "page204": "204",
    "empty": "200 ''",
    "list": "200 '[]'",
    "upstream": """502 '{"message":"name resolution failed"}'""",
    "nothing": "500 '{}'",
    "credentials": """401 '{"message":"Invalid authentication credentials"}'""",
}
_TLS: Final = """
    listen 443 ssl http2;
    ssl_certificate /etc/nginx/c.pem;
    ssl_certificate_key /etc/nginx/k.pem;
    proxy_connect_timeout 300ms;
    proxy_read_timeout 1s;
    default_type application/json;
"""
_RAISING: Final = """
CREATE FUNCTION {table}_raise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.payload LIKE '"SQLSTATE _____"' THEN
        RAISE EXCEPTION 'as told' USING ERRCODE = substr(new.payload, 11, 5);
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER raising BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_raise();
"""


@contextmanager
def _fragile() -> Iterator[str]:
    files = {
        "/etc/nginx/c.pem": b"".join(blob.bytes() for blob in _CERTIFICATE.cert_chain_pems),
        "/etc/nginx/k.pem": _CERTIFICATE.private_key_pem.bytes(),
    }
    pages = "".join(f"location /rest/v1/rpc/{name}_ {{ return {answer}; }}\n" for name, answer in _PAGES.items())
    with supabase(more=_TLS + pages, files=files) as containers:
        CONTAINERS.update(containers)
        port = containers["gateway"].get_exposed_port(443)
        yield f"supabase://:{api_key('service_role')}@localhost:{port}/satchel_sessions"


supabase_fragile_url = url_fixture(Backend("supabase_fragile", _fragile))


@pytest.fixture
def url(supabase_url: str) -> str:
    """The server that all tests share."""
    return supabase_url


@pytest.fixture
def namespace() -> str:
    """A part of the server for one test."""
    return f"test-{secrets.token_hex(6)}"


@asynccontextmanager
async def client_of(url: str, token: str = "", **options: Any) -> AsyncIterator[AsyncClient]:
    """Give a client of supabase's with the key of the URL; or with that of `anon`, and a token of a user."""
    parts = urlsplit(url)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    key = api_key("anon") if token else parts.password or ""
    async with httpx.AsyncClient() as http:
        wanted = AsyncClientOptions(**{"headers": headers, "httpx_client": http, **options})
        yield AsyncClient(f"http://{parts.hostname}:{parts.port}", key, wanted)


@pytest.fixture
async def raw(url: str) -> AsyncIterator[AsyncClient]:
    """A client of the driver's own, to look behind the storage's back."""
    async with client_of(url) as client:
        yield client


@pytest.fixture(scope="session")
def scratch_url(supabase_url: str) -> str:
    """Make a table of the tests' own, where a session like "SQLSTATE 57014" makes PostgreSQL raise that."""
    url = f"{supabase_url.rpartition('/')[0]}/scratch_{secrets.token_hex(4)}"
    administer(url, SupabaseStorage[Any](url).schema() + _RAISING.format(table=urlsplit(url).path[1:]))
    asyncio.run(noticed(url))
    return url


async def noticed(url: str) -> None:
    """Wait for PostgREST, which looks at what was created in its own time."""
    async with asyncio.timeout(30):
        while True:
            with suppress(ConfigurationError):
                async with SupabaseStorage[Any](url):
                    return
