"""aiogram 3: the storages of its finite-state machine."""

from datetime import timedelta
from typing import Any, Final

from aiogram.fsm.storage.base import BaseStorage, DefaultKeyBuilder, StorageKey
from aiogram.fsm.storage.memory import MemoryStorage
from aiogram.fsm.storage.redis import RedisStorage

from conformance.peers.bridge import Bridge, ours, rules_of_our_own, wrap
from conformance.peers.page import Peer
from conformance.peers.servers import roomy
from satchel import Capabilities
from satchel_conformance.servers.redis import REDIS


class Aiogram(Bridge):
    """The data of a `StorageKey`, of which `destiny` is free text; no data is no session, as after `clear()`."""

    def __init__(self, storage: BaseStorage) -> None:
        self.storage = storage

    async def aclose(self) -> None:
        await self.storage.close()

    async def read(self, key: str) -> Any:
        with ours():
            return (await self.storage.get_data(_key(key))).get("value")

    async def write(self, key: str, value: Any) -> None:
        with ours():
            await self.storage.set_data(_key(key), wrap(value))

    async def delete(self, key: str) -> None:
        with ours():
            await self.storage.set_data(_key(key), {})


class Memory(Aiogram):
    """MemoryStorage."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage())


class Redis(Aiogram):
    """RedisStorage, which has lifetimes, by EX in whole seconds."""

    capabilities = Capabilities(expiring=True, ttl_resolution=timedelta(seconds=1))

    def __init__(self, url: str, *, ttl: timedelta | None = None) -> None:
        builder = DefaultKeyBuilder(with_destiny=True)
        super().__init__(RedisStorage.from_url(roomy(url), key_builder=builder, state_ttl=ttl, data_ttl=ttl))

    async def touch(self, key: str) -> bool:
        with ours():
            data = await self.storage.get_data(_key(key))
            if data:
                await self.storage.set_data(_key(key), data)
            return bool(data)

    async def purge_expired(self) -> int:
        return 0  # Redis does it


def _key(key: str) -> StorageKey:
    return StorageKey(bot_id=1, chat_id=1, user_id=1, destiny=key)


_HOW: Final = "`set_data` and `get_data`; the key is `StorageKey(destiny=…)`, and no data is no session."

_RULES: Final = rules_of_our_own(
    values="`set_data` takes a `Mapping[str, Any]` (BaseStorage)",
    keys="`destiny` is any `str` (StorageKey)",
    closing="what a closed storage does is not said (BaseStorage)",
    lifetimes="`data_ttl` may be a number too (RedisStorage)",
)

PEERS: Final = (
    Peer(
        "aiogram MemoryStorage",
        "aiogram",
        Memory,
        shared=False,
        how=_HOW,
        promised={
            "R3-*": "data changes by `set_data` (BaseStorage), and only so with RedisStorage. Copies are made of one "
            "level"
        },
        not_promised=_RULES,
    ),
    Peer(
        "aiogram RedisStorage",
        "aiogram",
        Redis,
        REDIS,
        how=f"{_HOW} `data_ttl` is the lifetime, and a touch is `get_data` and `set_data`.",
        not_promised=_RULES
        | {"R6-touch-undoes-nothing": "there is no touch (BaseStorage): the bridge reads and writes"},
    ),
)
