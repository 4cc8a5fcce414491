"""Litestar: its key/value stores."""

from datetime import timedelta
from typing import Any, Final

from litestar.stores.base import Store
from litestar.stores.memory import MemoryStore
from litestar.stores.redis import RedisStore

from conformance.peers.bridge import Bridge, ours, rules_of_our_own
from conformance.peers.page import Peer
from conformance.peers.servers import roomy
from satchel import Capabilities
from satchel.codecs import JSON
from satchel_conformance.servers.redis import REDIS


class Litestar(Bridge):
    """A store holds bytes, so values are encoded by our codec; `get(renew_for=…)` is a touch."""

    capabilities = Capabilities(expiring=True, ttl_resolution=timedelta(seconds=1))

    def __init__(self, store: Store, ttl: timedelta | None) -> None:
        self.store = store
        self.ttl = ttl

    async def aclose(self) -> None:
        await self.store.__aexit__(None, None, None)

    async def read(self, key: str) -> Any:
        with ours():
            found = await self.store.get(key)
        return None if found is None else JSON.decode(found)

    async def write(self, key: str, value: Any) -> None:
        with ours():
            await self.store.set(key, JSON.encode(value), expires_in=self.ttl)

    async def delete(self, key: str) -> None:
        with ours():
            await self.store.delete(key)

    async def touch(self, key: str) -> bool:
        with ours():
            return await self.store.get(key, renew_for=self.ttl) is not None

    async def purge_expired(self) -> int:
        if isinstance(self.store, MemoryStore):
            await self.store.delete_expired()
        return 0  # which is not told


class Memory(Litestar):
    """MemoryStore."""

    def __init__(self, *, ttl: timedelta | None = None) -> None:
        super().__init__(MemoryStore(), ttl)


class Redis(Litestar):
    """RedisStore, which has namespaces."""

    def __init__(self, url: str, *, namespace: str = "LITESTAR", ttl: timedelta | None = None) -> None:
        super().__init__(RedisStore.with_client(roomy(url), namespace=namespace), ttl)


_HOW: Final = "`set`, `get` and `delete` of bytes, encoded by Satchel; `get(renew_for=…)` is a touch."

_RULES: Final = rules_of_our_own(
    values="values are bytes or text (Store)",
    keys="any `str` is a key or a namespace (Store)",
    closing="what a closed store does is not said (Store)",
    lifetimes="`expires_in` may be a number too (Store)",
)

PEERS: Final = (
    Peer("Litestar MemoryStore", "litestar", Memory, shared=False, how=_HOW, not_promised=_RULES),
    Peer(
        "Litestar RedisStore",
        "litestar",
        Redis,
        REDIS,
        how=f"{_HOW} It has namespaces.",
        promised={
            "R4-namespaces-*": "namespaces are isolated (NamespacedStore). They are joined to keys by `:`, and nothing "
            "is escaped",
            "R6-whole-days": "`get(renew_for=…)` takes a timedelta (Store). Only its `.seconds` are taken, which leave "
            "out whole days",
        },
        not_promised=_RULES
        | {"R6-last-touch-decides": "`get` renews nothing without `renew_for`, nor what has no lifetime (Store)"},
    ),
)
