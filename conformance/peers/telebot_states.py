"""pyTelegramBotAPI: the storages of its states."""

from typing import Any, Final

from telebot.asyncio_storage import StateMemoryStorage, StateRedisStorage

from conformance.peers.bridge import Bridge, ours, rules_of_our_own, wrap
from conformance.peers.page import Peer
from conformance.peers.servers import roomy
from satchel_conformance.servers.redis import REDIS


class Telebot(Bridge):
    """The data of a user, one field of it; of what makes a key, only `business_connection_id` is free text."""

    def __init__(self, storage: StateMemoryStorage | StateRedisStorage) -> None:
        self.storage = storage

    async def read(self, key: str) -> Any:
        with ours():
            data = await self.storage.get_data(1, 1, key)
        return data["value"]["value"] if "value" in data else None

    async def write(self, key: str, value: Any) -> None:
        with ours():
            await self.storage.set_state(1, 1, "on", key)  # data belongs to a state, without which it is refused
            await self.storage.set_data(1, 1, "value", wrap(value), key)  # lists are none of its types

    async def delete(self, key: str) -> None:
        with ours():
            await self.storage.delete_state(1, 1, key)


class Memory(Telebot):
    """StateMemoryStorage."""

    def __init__(self) -> None:
        super().__init__(StateMemoryStorage())


class Redis(Telebot):
    """StateRedisStorage."""

    storage: StateRedisStorage

    def __init__(self, url: str) -> None:
        super().__init__(StateRedisStorage(redis_url=roomy(url)))

    async def aclose(self) -> None:
        await self.storage.redis.aclose()


_HOW: Final = "`set_state`, `set_data`, `get_data` and `delete_state`; the key is `business_connection_id`."

_RULES: Final = rules_of_our_own(
    values="`set_data` takes text, numbers and dictionaries (StateRedisStorage)",
    keys="`business_connection_id` is any `str` (StateStorageBase)",
    closing="closing is not described (StateStorageBase)",
)

PEERS: Final = (
    Peer(
        "pyTelegramBotAPI StateMemoryStorage",
        "pyTelegramBotAPI",
        Memory,
        shared=False,
        how=_HOW,
        promised={
            "R3-*": "data changes by `set_data` and `save` (StateStorageBase), and only so with StateRedisStorage. "
            "Nothing is copied"
        },
        not_promised=_RULES,
    ),
    Peer(
        "pyTelegramBotAPI StateRedisStorage",
        "pyTelegramBotAPI",
        Redis,
        REDIS,
        how=_HOW,
        not_promised=_RULES,
    ),
)
