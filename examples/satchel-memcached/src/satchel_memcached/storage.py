"""Sessions in memcached: an item per session, expired by the server."""

import selectors
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, Self, TypeVar, Unpack
from urllib.parse import quote

from pymemcache import Client  # type: ignore[import-untyped]
from pymemcache import exceptions as driver

from satchel import (
    ANY,
    Capabilities,
    ConfigurationError,
    EncodedStorage,
    Expected,
    Payload,
    StorageError,
    StorageOptions,
    StorageUnavailableError,
    StorageURL,
    Threads,
)
from satchel.storage import V

T = TypeVar("T")

_LONGEST_KEY: Final = 250  # https://github.com/memcached/memcached/blob/master/doc/protocol.txt, "Keys"
_LONGEST_RELATIVE: Final = 60 * 60 * 24 * 30  # the same, "Expiration times": seconds; more are a Unix time


class MemcachedStorage(EncodedStorage[V]):
    """One item of JSON text per session, through connections that a few threads use.

    Args:
        host: where the server is.
        port: the same.
        max_connections: how many calls are at the server at once; more wait.
        options: see `satchel.StorageOptions`. A `ttl` is of whole seconds.
    """

    capabilities = Capabilities(
        versioned=True,
        conditional_delete=True,
        expiring=True,
        ttl_resolution=timedelta(seconds=1),
        max_value_bytes=1024 * 1024 - 1024,  # an item is 1 MiB with its header and its key; see -I of memcached
    )

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 11211,
        *,
        max_connections: int = 8,
        **options: Unpack[StorageOptions[V]],
    ) -> None:
        super().__init__(where=f"memcached://{f'[{host}]' if ':' in host else host}:{port}", **options)
        if self.ttl is not None and self.ttl % timedelta(seconds=1):
            raise ConfigurationError(f"ttl is {self.ttl}; memcached counts in whole seconds")
        self._server = (host, port)
        self._threads = Threads(max_connections, "satchel-memcached")
        self._idle: deque[Client] = deque()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open `memcached://host:port`; the query may say `max_connections=4`."""
        parsed = StorageURL(url)
        if len(parsed.hosts) > 1 or parsed.username is not None or parsed.path not in ("", "/"):
            raise ConfigurationError("a memcached URL is memcached://host:port")
        if (max_connections := parsed.take("max_connections", int)) is not None:
            options = {"max_connections": max_connections} | options
        return cls(parsed.host or "127.0.0.1", parsed.port or 11211, **parsed.options(options))

    async def open(self) -> None:
        """Ask for the server's version."""
        await self._run(lambda memcached: memcached.version())

    async def close(self) -> None:
        """Close the connections and end the threads."""
        self._threads.close()
        self._hang_up()

    async def get(self, name: str) -> Payload | None:
        """Send get."""
        payload: Payload | None = await self._run(lambda memcached: memcached.get(_key(name)))
        return payload

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """Send set, add, or gets and cas."""
        key, lifetime = _key(name), self._lifetime()

        def store(memcached: Client) -> bool:
            if expected is ANY:
                return bool(memcached.set(key, payload, lifetime))
            if expected is None:
                return bool(memcached.add(key, payload, lifetime))
            token = self._token(memcached, key, expected)
            return token is not None and bool(memcached.cas(key, payload, token, lifetime))

        return self.version_of(payload) if await self._run(store) else None

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """Send delete, or gets and then cas to an item that has ended already: there is no conditional delete."""
        key = _key(name)

        def remove(memcached: Client) -> bool:
            if not isinstance(expected, str):
                memcached.delete(key)
                return True
            token = self._token(memcached, key, expected)
            return token is not None and bool(memcached.cas(key, b"", token, expire=-1))

        return await self._run(remove)

    async def renew(self, name: str) -> bool:
        """Send touch."""
        return bool(await self._run(lambda memcached: memcached.touch(_key(name), self._lifetime())))

    def translate(self, error: Exception) -> StorageError | None:
        """Say what an error of pymemcache's or of the network means."""
        match error:
            case TimeoutError():
                return None
            case driver.MemcacheUnexpectedCloseError():
                return StorageUnavailableError(f"{self.where} closed the connection")
            case OSError():
                return StorageUnavailableError(f"{self.where} cannot be reached: {error.strerror or error}")
            case driver.MemcacheServerError(args=[bytes(reason)]):
                return StorageUnavailableError(f"{self.where} refuses: {reason.decode(errors='replace')}")
            case driver.MemcacheUnknownError() | driver.MemcacheUnknownCommandError():
                return ConfigurationError(f"{self.where} does not speak the protocol of memcached")
            case _:
                return None

    def _token(self, memcached: Client, key: str, version: str) -> bytes | None:
        """Return memcached's token for the item under `key` if it is at `version`."""
        payload, token = memcached.gets(key)
        return token if payload is not None and self.version_of(payload) == version else None

    def _lifetime(self) -> int:
        """Return the ttl as memcached takes it: 0 is for ever."""
        if self.ttl is None:
            return 0
        # Its clock moves once a second, so the first of n seconds may be over at once.
        seconds = self.ttl // timedelta(seconds=1) + 1
        if seconds <= _LONGEST_RELATIVE:
            return seconds
        end = int(time.time()) + seconds + 1
        return end if end < 2**31 else 0

    async def _run(self, work: Callable[[Client], T]) -> T:
        """Do something with a connection, in a thread."""
        return await self._threads.run(lambda: self._work(work))

    def _work(self, work: Callable[[Client], T]) -> T:
        try:
            memcached = self._idle.pop()
        except IndexError:
            seconds = self.timeout.total_seconds()
            memcached = Client(self._server, connect_timeout=seconds, timeout=seconds, default_noreply=False)
        try:
            if _has_ended(memcached):
                memcached.close()  # the next command connects anew
            return work(memcached)
        finally:
            self._idle.append(memcached)
            if self._closed:
                self._hang_up()

    def _hang_up(self) -> None:
        with suppress(IndexError):  # other threads do it too
            while True:
                self._idle.pop().close()


def _key(name: str) -> str:
    """Return the key for a name: up to 250 characters of ASCII without spaces, and never the same for two names."""
    key = quote(name, safe=":")
    if len(key) <= _LONGEST_KEY:
        return key
    digest = sha256(name.encode()).hexdigest()
    return f"{key[: _LONGEST_KEY - len(digest) - 1]}#{digest}"  # quote() leaves no #, so this is no short name's


def _has_ended(memcached: Client) -> bool:
    """Tell whether the server has closed an idle connection: then there is something to read, which is its end."""
    if memcached.sock is None:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(memcached.sock, selectors.EVENT_READ)
        return bool(selector.select(0))
