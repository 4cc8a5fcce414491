"""Sessions in a store of py-key-value: an entry per session, in one collection."""

import base64
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Unpack

from key_value.aio import errors
from key_value.aio.protocols import AsyncKeyValue
from key_value.aio.protocols.key_value import AsyncCullProtocol, AsyncKeyValueProtocol

from satchel import (
    ANY,
    Capabilities,
    ConfigurationError,
    CorruptValueError,
    EncodedStorage,
    Expected,
    InvalidKeyError,
    KeyedLock,
    Payload,
    ReadOnlyError,
    StorageError,
    StorageOptions,
    StorageUnavailableError,
    UnsupportedValueError,
)
from satchel.clock import now
from satchel.storage import V

_MARGIN: Final = 2.0  # seconds by which the store keeps more: some count whole ones, and cut what is left of the last


class KeyValueStorage(EncodedStorage[V]):
    """One entry per session. It ends when it says so itself, to the millisecond, whatever the store makes of its ttl.

    There are no versions, as stores have no conditional write, and no listing, as their `keys()` may stop short of all
    without saying so. Tasks of this process take turns at a key, so that a touch never brings back an older value.

    Args:
        store: any store or wrapper of py-key-value. It is set up here, and never closed.
        collection: where the entries are; None is the store's default.
        unavailable: what the store's driver raises when its server cannot be reached, such as
            `redis.exceptions.ConnectionError`, if that is no `OSError`.
        options: see `satchel.StorageOptions`.

    Raises:
        ConfigurationError: it is no store.
    """

    capabilities = Capabilities(expiring=True, ttl_resolution=timedelta(milliseconds=1), batch=True)
    round_trips = MappingProxyType({"touch": 2})

    def __init__(
        self,
        store: AsyncKeyValue,
        *,
        collection: str | None = None,
        unavailable: Iterable[type[Exception]] = (),
        **options: Unpack[StorageOptions[V]],
    ) -> None:
        if not isinstance(store, AsyncKeyValueProtocol):
            raise ConfigurationError(f"{type(store).__name__} is no store of py-key-value: it lacks get, put or delete")
        super().__init__(where=f"py-key-value's {type(store).__name__}", **options)
        self._store = store
        self._collection = collection
        self._unavailable = (OSError, errors.StoreConnectionError, *unavailable)
        self._turns = KeyedLock(timeout=2 * self.timeout)  # the call itself times out before

    async def open(self) -> None:
        """See whether the store returns what it is given: one over a misconfigured client answers None to everything.

        (py-key-value's RedisStore does, over a client without `decode_responses=True`.)
        """
        name, entry = f":probe:{secrets.token_hex(8)}", {"payload": "0"}  # no namespace's name starts with a colon
        await self._store.put(name, entry, collection=self._collection, ttl=60)
        found = await self._store.get(name, collection=self._collection)
        await self._store.delete(name, collection=self._collection)
        if found != entry:
            raise ConfigurationError(f"{self.where} does not return what it was given: look at its client's options")

    async def get(self, name: str) -> Payload | None:
        """Get one entry."""
        return self._payload(await self._store.get(name, collection=self._collection))

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """Put one entry."""
        async with self._turn([name]):
            await self._store.put(name, self._entry(payload), collection=self._collection, ttl=self._ttl_of_store)
        return ""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """Delete one entry."""
        async with self._turn([name]):
            await self._store.delete(name, collection=self._collection)
        return True

    async def renew(self, name: str) -> bool:
        """Get the entry, and put it with a new end."""
        async with self._turn([name]):
            payload = await self.get(name)
            if payload is not None:
                entry = self._entry(payload)
                await self._store.put(name, entry, collection=self._collection, ttl=self._ttl_of_store)
        return payload is not None

    async def purge(self) -> int:
        """Let the store cull, if it is one that does not remove by itself what has ended."""
        if isinstance(self._store, AsyncCullProtocol):
            await self._store.cull()
        return 0

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """Get the entries at once."""
        found = await self._store.get_many(names, collection=self._collection)
        payloads = zip(names, map(self._payload, found), strict=True)
        return {name: payload for name, payload in payloads if payload is not None}

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        """Put the entries at once."""
        entries = [self._entry(payload) for payload in payloads.values()]
        async with self._turn(payloads):
            await self._store.put_many(list(payloads), entries, collection=self._collection, ttl=self._ttl_of_store)

    async def drop_many(self, names: Sequence[str]) -> None:
        """Delete the entries at once."""
        async with self._turn(names):
            await self._store.delete_many(names, collection=self._collection)

    def translate(self, error: Exception) -> StorageError | None:
        """Say what an error of py-key-value means. Its own text may hold keys and values, so it is left out."""
        match error:
            case TimeoutError():
                return None
            case errors.StoreSetupError() if isinstance(error.__cause__, Exception):
                return self.translate(error.__cause__) or ConfigurationError(f"{self.where} cannot be set up")
            case errors.SerializationError():
                return UnsupportedValueError(f"cannot be serialized by {self.where}")
            case errors.DeserializationError() | errors.DecryptionError():
                return CorruptValueError(f"an entry of {self.where} cannot be read")
            case errors.InvalidKeyError() | errors.PathSecurityError():
                return InvalidKeyError(f"{self.where} refuses the key")
            case errors.ReadOnlyError():
                return ReadOnlyError(f"{self.where} is read-only")
            case _ if isinstance(error, self._unavailable):
                return StorageUnavailableError(f"{self.where} cannot be reached: {type(error).__name__}")
            case _:
                return None

    @asynccontextmanager
    async def _turn(self, names: Iterable[str]) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for name in sorted(names):
                await stack.enter_async_context(self._turns.hold(name))
            yield

    @property
    def _ttl_of_store(self) -> float | None:
        return None if self.ttl_ms is None else self.ttl_ms / 1000 + _MARGIN

    def _entry(self, payload: Payload) -> dict[str, Any]:
        """Return the entry for a payload, as text: so the store's own JSON changes nothing about it."""
        if self.codec.is_text:
            entry: dict[str, Any] = {"payload": payload.decode()}
        else:
            entry = {"base64": base64.b64encode(payload).decode()}
        return entry if self.ttl_ms is None else entry | {"expires_at": now() + self.ttl_ms}

    def _payload(self, entry: Mapping[str, Any] | None) -> Payload | None:
        if entry is None:
            return None
        match entry:
            case {"expires_at": int() | float() as end} if end < now():  # both are cut to whole milliseconds
                return None
            case {"payload": str() as text}:
                return text.encode()
            case {"base64": str() as text}:
                return base64.b64decode(text)
            case _:
                raise CorruptValueError(f"an entry of {self.where} is not one of Satchel's")
