"""Clients of supabase-py: made from a URL, checked, and described."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from satchel import ConfigurationError, StorageClosedError, StorageURL
from satchel.adapter import kind_of
from satchel.settling import together
from satchel.threads import positive
from satchel.urls import boolean

if TYPE_CHECKING:
    from postgrest import AsyncPostgrestClient
    from supabase import AsyncClient

TABLE: Final = "satchel_sessions"
_SCHEMES: Final = {"supabase": "https", "supabase+http": "http"}
_WORD: Final = re.compile("[A-Za-z_][A-Za-z0-9_]{0,49}")  # 63 bytes, less the longest suffix of a function or index
_PROJECT: Final = re.compile(r"https?://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
_KEY: Final = re.compile("[!-~]+")
_IDLE: Final = 30.0  # seconds: less than any gateway keeps a connection


class Target(NamedTuple):
    """What a URL says.

    Attributes:
        project: the URL of the project: `https://abc.supabase.co`.
        key: the API key, or None where only the environment can have it.
        table: the name of the table.
        schema: the schema that it is in.
        http2: whether HTTP/2 is spoken, over TLS.
        max_connections: how many connections there may be.
    """

    project: str
    key: str | None
    table: str
    schema: str
    http2: bool
    max_connections: int

    def checked(self) -> Self:
        """Return it, if all of it makes sense.

        Raises:
            ConfigurationError: it does not.
        """
        word("table", self.table)
        word("schema", self.schema)
        positive("max_connections", self.max_connections)
        if not isinstance(self.http2, bool):
            raise ConfigurationError(f"http2 is {self.http2!r}; it is True or False")
        if self.key is not None and not _KEY.fullmatch(self.key):
            raise ConfigurationError("the password of a Supabase URL is no API key")
        return self


class Made:
    """Clients of the data API, and of nothing else of Supabase's: one for each call that is under way.

    Of a client with many connections, httpx goes through all of them for each request, twice, and looks whether each
    is still open: with twenty that takes as long as all the rest. So each has one. With HTTP/2 a single connection
    serves all calls. https://github.com/encode/httpcore/blob/master/httpcore/_async/connection_pool.py

    Args:
        target: what they ask. The driver is imported here, which takes a while.

    Raises:
        ConfigurationError: there is no key.
    """

    def __init__(self, target: Target) -> None:
        key = target.key or os.environ.get("SUPABASE_KEY", "").strip()
        if not _KEY.fullmatch(key):
            raise ConfigurationError(f"{where(target.project)} needs an API key: set SUPABASE_KEY")

        import httpx

        self._target = target
        self._headers = {"apikey": key, "Authorization": f"Bearer {key}"}
        # Certificates are read once, and without TLS not at all.
        self._tls = False if target.project.startswith("http:") else httpx.create_ssl_context()
        self._slots = asyncio.Semaphore(target.max_connections)
        self._made: list[AsyncPostgrestClient] = []
        self._free: list[AsyncPostgrestClient] = []
        self._dropped: set[asyncio.Future[None]] = set()
        self._closed = False
        self._make()

    @asynccontextmanager
    async def one(self) -> AsyncIterator["AsyncPostgrestClient"]:
        """Wait until there are fewer calls than there may be connections, and give a client for one more.

        Raises:
            StorageClosedError: they were closed meanwhile.
        """
        async with self._slots:
            if self._closed:
                raise StorageClosedError(f"{where(self._target.project)} was closed")
            if not self._free:
                self._make()
            client = self._free[-1] if self._target.http2 else self._free.pop()
            try:
                yield client
            except asyncio.CancelledError:
                if not self._target.http2:
                    self._drop(client)
                raise
            finally:
                if not self._target.http2 and client in self._made:
                    self._free.append(client)

    async def aclose(self) -> None:
        """Close the connections."""
        self._closed = True
        await together(client.aclose() for client in self._made)
        await asyncio.gather(*self._dropped, return_exceptions=True)

    def _drop(self, client: "AsyncPostgrestClient") -> None:
        """Close a client whose call was cancelled.

        A connection that was assigned to it, and not used yet, httpcore takes for used for ever, and with it a client
        that has only one: https://github.com/encode/httpcore/issues/1093
        """
        self._made.remove(client)
        closing = asyncio.ensure_future(client.aclose())
        self._dropped.add(closing)
        closing.add_done_callback(self._dropped.discard)

    def _make(self) -> None:
        import httpx
        from postgrest import AsyncPostgrestClient

        most = self._target.max_connections if self._target.http2 else 1  # what does not speak it needs more than one
        limits = httpx.Limits(max_connections=most, max_keepalive_connections=None, keepalive_expiry=_IDLE)
        # The storage itself ends what takes too long.
        http = httpx.AsyncClient(verify=self._tls, http2=self._target.http2, limits=limits, timeout=None)  # noqa: S113
        client = AsyncPostgrestClient(
            f"{self._target.project}/rest/v1", schema=self._target.schema, headers=self._headers, http_client=http
        )
        self._made.append(client)
        self._free.append(client)


class Lent:
    """A client that was passed in, for any number of calls, which is not closed."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    def one(self) -> AbstractAsyncContextManager["AsyncClient"]:
        """Give the client."""
        return nullcontext(self._client)

    async def aclose(self) -> None:
        """Do nothing."""


def parse(url: str, given: Any, **arguments: Any) -> tuple[Target, Any]:
    """Return what a URL says, with the arguments that are not None over it, and the options that all storages have.

    Raises:
        ConfigurationError: a part of it is wrong or missing.
    """
    parsed = StorageURL(url)
    if parsed.scheme not in _SCHEMES:
        raise ConfigurationError(f"a Supabase URL starts with one of {', '.join(_SCHEMES)}, not with {parsed.scheme}")
    if len(parsed.hosts) > 1 or parsed.username:
        raise ConfigurationError(f"{parsed.scheme}:// takes one host, and no user name: the API key is the password")
    said: dict[str, Any] = {
        "table": parsed.path.removeprefix("/") or TABLE,
        "schema": parsed.take("schema", str) or "public",
        "http2": parsed.take("http2", boolean) or False,
        "max_connections": parsed.take("max_connections", int),
    }
    said |= {name: value for name, value in arguments.items() if value is not None}
    if said["max_connections"] is None:
        said["max_connections"] = 50
    options = parsed.options(given)
    if said["http2"] and parsed.scheme == "supabase+http":
        raise ConfigurationError("option http2 is for supabase://, not for supabase+http://")
    return Target(_project(parsed), parsed.password or None, **said).checked(), options


def checked(client: Any, of_clients: Mapping[str, object]) -> "AsyncClient":
    """Return a client that was passed in, if it is one, and there are no options beside it that it has itself."""
    from supabase import AsyncClient

    if not isinstance(client, AsyncClient):
        raise ConfigurationError(f"SupabaseStorage takes a URL or an AsyncClient of supabase, not {kind_of(client)}")
    if given := [name for name, value in of_clients.items() if value is not None]:
        raise ConfigurationError(f"{' and '.join(given)} cannot be given with a client: it has its own")
    return client


def word(what: str, name: object) -> str:
    """Return the name of a table or schema.

    Raises:
        ConfigurationError: it is not one to be a part of other names, of SQL and of an address on the web.
    """
    if not isinstance(name, str) or not _WORD.fullmatch(name):
        raise ConfigurationError(f"{what} is {ascii(name)[:80]}; it has 1 to 50 letters, digits and underscores")
    return name


def where(project: str) -> str:
    """Name a project by its URL, without secrets."""
    parts = urlsplit(project)
    scheme = "supabase" if parts.scheme == "https" else "supabase+http"
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}"


def _project(parsed: StorageURL) -> str:
    """Return the URL of the project: what the URL names, or else SUPABASE_URL."""
    if parsed.host:
        host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
        project = f"{_SCHEMES[parsed.scheme]}://{host}{f':{parsed.port}' if parsed.port else ''}"
    elif not (project := os.environ.get("SUPABASE_URL", "").strip().rstrip("/")):
        raise ConfigurationError("a Supabase URL names its host, as in supabase://PROJECT.supabase.co, or SUPABASE_URL")
    if not _PROJECT.fullmatch(project):
        which = "a Supabase URL" if parsed.host else "SUPABASE_URL"
        raise ConfigurationError(f"{which} does not name a host such as PROJECT.supabase.co, with or without a port")
    return project
