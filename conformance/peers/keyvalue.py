"""py-key-value: its memory, Redis and PostgreSQL stores."""

import warnings
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from key_value.aio.errors import SerializationError
from key_value.aio.stores.base import BaseEnumerateKeysStore, BaseStore
from key_value.aio.stores.memory import MemoryStore
from key_value.aio.stores.postgresql import PostgreSQLStore
from key_value.aio.stores.redis import RedisStore
from redis.asyncio import Redis as Client

from conformance.peers.bridge import Bridge, ours, rules_of_our_own, wrap
from conformance.peers.page import Peer
from conformance.peers.servers import roomy
from satchel import Capabilities
from satchel_conformance.servers.postgres import POSTGRES
from satchel_conformance.servers.redis import REDIS

_COLLECTION: Final = "satchel"


class KeyValue(Bridge):
    """A collection is a namespace, `put(ttl=…)` the lifetime, and the bulk calls are batches."""

    capabilities = Capabilities(expiring=True, ttl_resolution=timedelta(milliseconds=1), batch=True)

    def __init__(self, store: BaseStore, ttl: timedelta | None) -> None:
        self.store = store
        self.ttl = ttl

    async def setup(self) -> None:
        with ours():
            await self.store.setup()

    async def read(self, key: str) -> Any:
        with ours():
            return _unwrap(await self.store.get(key))

    async def write(self, key: str, value: Any) -> None:
        with ours(SerializationError):
            await self.store.put(key, wrap(value), ttl=self._seconds)

    async def delete(self, key: str) -> None:
        with ours():
            await self.store.delete(key)

    async def touch(self, key: str) -> bool:
        with ours():
            found = await self.store.get(key)
            if found is not None:
                await self.store.put(key, found, ttl=self._seconds)
            return found is not None

    async def purge_expired(self) -> int:
        return 0  # none of the three has `cull()`

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        wanted = list(keys)
        with ours():
            found = await self.store.get_many(wanted)
        return {key: _unwrap(value) for key, value in zip(wanted, found, strict=True) if value is not None}

    async def write_many(self, values: Mapping[str, Any]) -> None:
        with ours(SerializationError):
            await self.store.put_many(list(values), [wrap(value) for value in values.values()], ttl=self._seconds)

    async def delete_many(self, keys: Iterable[str]) -> None:
        with ours():
            await self.store.delete_many(list(keys))

    @property
    def _seconds(self) -> float | None:
        return None if self.ttl is None else self.ttl.total_seconds()


class KeyValueListing(KeyValue):
    """With `keys()`, of which the one of a collection gives up to 10 000."""

    capabilities = replace(KeyValue.capabilities, listing=True)
    store: BaseEnumerateKeysStore

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        with ours():
            found = await self.store.keys(limit=10_000)
        for key in found:
            if key.startswith(prefix):
                yield key


class Memory(KeyValueListing):
    """MemoryStore."""

    def __init__(self, *, namespace: str = _COLLECTION, ttl: timedelta | None = None) -> None:
        super().__init__(MemoryStore(default_collection=namespace), ttl)


class Redis(KeyValueListing):
    """RedisStore, which gives lifetimes to SETEX in whole seconds."""

    capabilities = replace(KeyValueListing.capabilities, ttl_resolution=timedelta(seconds=1))
    store: RedisStore

    def __init__(self, url: str, *, namespace: str = _COLLECTION, ttl: timedelta | None = None) -> None:
        self.client = Client.from_url(roomy(url), decode_responses=True)
        super().__init__(RedisStore(client=self.client, default_collection=namespace), ttl)

    async def aclose(self) -> None:
        await self.store.close()
        await self.client.aclose()


class PostgreSQL(KeyValue):
    """PostgreSQLStore, which has no `keys()`."""

    store: PostgreSQLStore

    def __init__(self, url: str, *, namespace: str = _COLLECTION, ttl: timedelta | None = None) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A configured store is unstable")  # it says so of its file format
            store = PostgreSQLStore(url=url, default_collection=namespace)
        super().__init__(store, ttl)

    async def aclose(self) -> None:
        await self.store.close()


def _unwrap(found: dict[str, Any] | None) -> Any:
    return None if found is None else found["value"]


_HOW: Final = "`put`, `get`, `delete` and the bulk calls; a collection is a namespace, and a touch is `get` and `put`."

_RULES: Final = rules_of_our_own(
    values="`put` takes a `Mapping[str, Any]`, most often serialized as JSON (AsyncKeyValueProtocol; README)",
    keys="any `str` is a key or a collection (AsyncKeyValueProtocol)",
    closing="what a closed store does is not said (BaseContextManagerStore)",
    lifetimes="`put` refuses what is not positive, as its `InvalidTTLError` says",
)

_ORDER: Final = (
    "keys of objects are sorted, and their order is not promised: you get a dictionary, *hopefully a copy of what you "
    "stored* (README, No Live Objects)"
)
_NO_TOUCH: Final = {
    "R6-touch-undoes-nothing": "there is no touch: the bridge reads and writes (AsyncKeyValueProtocol has `ttl`, "
    "and `put`)",
}
_SORTED: Final = {
    **dict.fromkeys(("R2-key-order", "R2-any-value", "R2-any-value-batch", "R6-touch-keeps"), _ORDER),
}

_JSONB: Final = (
    "values are in a JSONB column (PostgreSQLStore), which has no NUL, orders keys by itself, and prints numbers as "
    "`numeric` does: 1e16 as 10000000000000000, -0.0 as 0.0 (PostgreSQL, 8.14 JSON Types)"
)
_TEXT: Final = (
    "keys and collections are in TEXT columns (PostgreSQLStore), which take no NUL (PostgreSQL, 8.3 Character Types); "
    "the clause tries one"
)

PEERS: Final = (
    Peer(
        "py-key-value MemoryStore",
        "py-key-value-aio",
        Memory,
        shared=False,
        how=f"{_HOW} `keys(limit=10_000)` lists.",
        promised={
            "R6-listing-agrees": "expiry is automatic in all stores (README, TTL support). The cache is given times of "
            "the day, but its clock is monotonic, so it never drops a record"
        },
        not_promised=_RULES | _NO_TOUCH | _SORTED,
    ),
    Peer(
        "py-key-value RedisStore",
        "py-key-value-aio",
        Redis,
        REDIS,
        how=f"{_HOW} `keys(limit=10_000)` lists. Lifetimes are declared to be exact to the second.",
        promised={
            "R4-namespaces-*": "collections are namespaces (README, Collection-based). They are joined to keys by "
            "`::`, and nothing is escaped",
            "R6-*": "`ttl` is in seconds (AsyncKeyValueProtocol). What is left of it a moment later is cut to whole "
            "seconds, so one is lost",
        },
        not_promised=_RULES | _NO_TOUCH | _SORTED,
    ),
    Peer(
        "py-key-value PostgreSQLStore",
        "py-key-value-aio",
        PostgreSQL,
        POSTGRES,
        how=f"{_HOW} There is no listing.",
        not_promised={
            **_RULES,
            **_NO_TOUCH,
            **dict.fromkeys(("R2-key-order", "R2-nul", "R2-number-kinds", "R2-floats", "R2-negative-zero"), _JSONB),
            **dict.fromkeys(("R2-any-value", "R2-any-value-batch"), _JSONB),
            "R6-touch-keeps": _JSONB,
            **dict.fromkeys(("R4-injective-nul", "R4-longest-unprintable"), _TEXT),
            **dict.fromkeys(("R4-any-keys", "R4-batch-key-spelling", "R4-namespaces-injective"), _TEXT),
        },
    ),
)
