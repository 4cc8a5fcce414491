"""The same turn with each library: read a session, change a field, write it; opened as its own documentation does.

Where a library has a lock for the turn, it is used, and where it keeps JSON, it makes the JSON itself.
"""

import json
import secrets
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiogram.fsm.storage.base import BaseEventIsolation, BaseStorage, DefaultKeyBuilder, StorageKey
from aiogram.fsm.storage.memory import MemoryStorage, SimpleEventIsolation
from aiogram.fsm.storage.redis import RedisEventIsolation, RedisStorage
from key_value.aio.stores.base import BaseContextManagerStore, BaseStore
from key_value.aio.stores.dynamodb import DynamoDBStore
from key_value.aio.stores.memory import MemoryStore
from key_value.aio.stores.mongodb import MongoDBStore
from key_value.aio.stores.postgresql import PostgreSQLStore
from key_value.aio.stores.redis import RedisStore
from litestar.stores.base import Store
from litestar.stores.memory import MemoryStore as LitestarMemoryStore
from litestar.stores.redis import RedisStore as LitestarRedisStore
from redis.asyncio import Redis
from telebot.asyncio_storage import StateMemoryStorage, StateRedisStorage

from benchmarks.report import session_of
from benchmarks.services import option
from benchmarks.stores import roomy
from satchel import Sessions, Storage, open_storage

SIZE: Final = 400
_SHALLOW: Final = "a lock in a process; no JSON, copies of one level"
_LIVE: Final = "nothing; no JSON, no copy: a turn that fails has changed the session"


Handler = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Rival:
    """One library on one backend.

    Attributes:
        name: what tables call it.
        turn: one turn of the session of a chat: the handler changes what it is given.
        count: returns how many turns the stored session has seen.
        guards: what keeps two turns of one session apart, and where it matters, what else is not done.
    """

    name: str
    turn: Callable[[int, Handler], Awaitable[Any]]
    count: Callable[[int], Awaitable[int]]
    guards: str


Opener = Callable[[str, str], Any]
"""Opens a library on a server's URL, in a namespace: an asynchronous context manager of rivals."""


def first() -> dict[str, Any]:
    """Return a new session."""
    return session_of(SIZE)


def _satchel(url_of: Callable[[str, str], str]) -> Opener:
    @asynccontextmanager
    async def opened(url: str, namespace: str) -> AsyncIterator[list[Rival]]:
        async with open_storage(url_of(url, namespace)) as storage:
            yield list(_ours(storage))

    return opened


def _ours(storage: Storage[Any]) -> Iterator[Rival]:
    sessions = Sessions(storage, initial=first, prefix="session:")
    updated = Sessions(storage, initial=first, prefix="update:")

    async def session(chat: int, handle: Handler) -> None:
        async with sessions.open(f"chat:{chat}") as one:
            await handle(one.data)

    async def update(chat: int, handle: Handler) -> None:
        await updated.update(f"chat:{chat}", lambda one: handle(one.data))

    async def plain(chat: int, handle: Handler) -> None:
        data = await storage.read(f"plain:{chat}") or first()
        await handle(data)
        await storage.write(f"plain:{chat}", data)

    def counted(prefix: str) -> Callable[[int], Awaitable[int]]:
        async def count(chat: int) -> int:
            return int((await storage.read(f"{prefix}{chat}") or {"n": 0})["n"])

        return count

    yield Rival("Satchel, sessions.open", session, counted("session:chat:"), "lock in a process, versions across")
    yield Rival("Satchel, sessions.update", update, counted("update:chat:"), "the same, and tries again")
    yield Rival("Satchel, storage alone", plain, counted("plain:"), "nothing")


def _key_value(name: str, make: Callable[[str, str], BaseStore]) -> Opener:
    @asynccontextmanager
    async def opened(url: str, namespace: str) -> AsyncIterator[list[Rival]]:
        with warnings.catch_warnings(action="ignore"):  # of some stores it says that they are unstable
            store = make(url, namespace)
        await store.setup()

        async def turn(chat: int, handle: Handler) -> None:
            data = await store.get(f"chat:{chat}") or first()
            await handle(data)
            await store.put(f"chat:{chat}", data)

        async def count(chat: int) -> int:
            return int((await store.get(f"chat:{chat}") or {"n": 0})["n"])

        yield [Rival(f"py-key-value {name}", turn, count, "nothing")]
        if isinstance(store, BaseContextManagerStore):
            await store.close()

    return opened


@asynccontextmanager
async def _aiogram_memory(_: str, __: str) -> AsyncIterator[list[Rival]]:
    yield [_aiogram("aiogram MemoryStorage", MemoryStorage(), SimpleEventIsolation(), _SHALLOW)]


@asynccontextmanager
async def _aiogram_redis(url: str, namespace: str) -> AsyncIterator[list[Rival]]:
    keys = DefaultKeyBuilder(prefix=namespace)
    storage = RedisStorage.from_url(roomy(url), key_builder=keys)
    isolation = RedisEventIsolation(storage.redis, key_builder=keys)
    try:
        yield [_aiogram("aiogram RedisStorage", storage, isolation, "a lock in Redis")]
    finally:
        await storage.close()


def _aiogram(name: str, storage: BaseStorage, isolation: BaseEventIsolation, guards: str) -> Rival:
    def key_of(chat: int) -> StorageKey:
        return StorageKey(bot_id=1, chat_id=chat, user_id=chat)

    async def turn(chat: int, handle: Handler) -> None:
        key = key_of(chat)
        async with isolation.lock(key):
            data = await storage.get_data(key) or first()
            await handle(data)
            await storage.set_data(key, data)

    async def count(chat: int) -> int:
        return int((await storage.get_data(key_of(chat))).get("n", 0))

    return Rival(f"{name}, isolated", turn, count, guards)


@asynccontextmanager
async def _telebot_memory(_: str, __: str) -> AsyncIterator[list[Rival]]:
    yield [_telebot("pyTelegramBotAPI StateMemoryStorage", StateMemoryStorage(), _LIVE)]


@asynccontextmanager
async def _telebot_redis(url: str, namespace: str) -> AsyncIterator[list[Rival]]:
    storage = StateRedisStorage(redis_url=roomy(url), prefix=namespace)
    try:
        yield [_telebot("pyTelegramBotAPI StateRedisStorage", storage, "nothing")]
    finally:
        await storage.redis.aclose()


def _telebot(name: str, storage: StateMemoryStorage | StateRedisStorage, guards: str) -> Rival:
    begun: set[int] = set()

    async def turn(chat: int, handle: Handler) -> None:
        if chat not in begun:  # data belongs to a state
            begun.add(chat)
            if await storage.get_state(chat, chat) is None:
                await storage.set_state(chat, chat, "on")
        data = (await storage.get_data(chat, chat) or {}).get("session") or first()
        await handle(data)
        await storage.set_data(chat, chat, "session", data)

    async def count(chat: int) -> int:
        return int((await storage.get_data(chat, chat) or {}).get("session", {"n": 0})["n"])

    return Rival(name, turn, count, guards)


@asynccontextmanager
async def _litestar_memory(_: str, __: str) -> AsyncIterator[list[Rival]]:
    yield [_litestar("Litestar MemoryStore", LitestarMemoryStore())]


@asynccontextmanager
async def _litestar_redis(url: str, namespace: str) -> AsyncIterator[list[Rival]]:
    store = LitestarRedisStore.with_client(roomy(url), namespace=namespace)
    async with store:
        yield [_litestar("Litestar RedisStore", store)]


def _litestar(name: str, store: Store) -> Rival:
    async def turn(chat: int, handle: Handler) -> None:
        found = await store.get(f"chat:{chat}")
        data = json.loads(found) if found else first()
        await handle(data)
        await store.set(f"chat:{chat}", json.dumps(data))

    async def count(chat: int) -> int:
        return int(json.loads(await store.get(f"chat:{chat}") or '{"n": 0}')["n"])

    return Rival(name, turn, count, "nothing")


def _redis_store(url: str, namespace: str) -> RedisStore:
    return RedisStore(client=Redis.from_url(roomy(url), decode_responses=True), default_collection=namespace)


def _dynamodb_store(url: str, namespace: str) -> DynamoDBStore:
    region, endpoint = option(url, "region"), option(url, "endpoint_url")
    return DynamoDBStore(table_name=namespace, region_name=region, endpoint_url=endpoint)


OPENERS: Final[dict[str, list[Opener]]] = {
    "memory": [
        _satchel(lambda _, __: "memory://"),
        _key_value("MemoryStore", lambda _, __: MemoryStore()),
        _aiogram_memory,
        _telebot_memory,
        _litestar_memory,
    ],
    "redis": [
        _satchel(lambda url, namespace: f"{url}?namespace={namespace}&max_connections=256"),
        _key_value("RedisStore", _redis_store),
        _aiogram_redis,
        _telebot_redis,
        _litestar_redis,
    ],
    "postgres": [
        _satchel(lambda url, namespace: f"{url}?namespace={namespace}"),
        _key_value(
            "PostgreSQLStore",
            lambda url, namespace: PostgreSQLStore(url=url, default_collection=namespace, table_name="key_value"),
        ),
    ],
    "mongodb": [
        _satchel(lambda url, namespace: f"{url}&namespace={namespace}"),
        _key_value("MongoDBStore", lambda url, namespace: MongoDBStore(url=url, coll_name=namespace)),
    ],
    "dynamodb": [
        _satchel(lambda url, namespace: f"{url}&namespace={namespace}"),
        _key_value("DynamoDBStore", _dynamodb_store),
    ],
}


async def opened(stack: AsyncExitStack, backend: str, url: str, namespace: str) -> list[Rival]:
    """Open every library that has a backend."""
    return [rival for opener in OPENERS[backend] for rival in await stack.enter_async_context(opener(url, namespace))]


def namespace() -> str:
    """Return one that nobody has used."""
    return f"bench-{secrets.token_hex(4)}"
