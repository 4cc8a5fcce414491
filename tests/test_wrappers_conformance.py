"""Each codec and each wrapper keeps every rule, on top of a real backend."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from satchel import JSON, Codec
from satchel.encryption import generate_key
from satchel.wrappers import Cached, Fallback, HiddenKeys, Mirrored, ReadOnly, Retrying, Telemetry
from satchel_conformance import StorageConformance
from satchel_redis import RedisStorage
from satchel_sqlite import SQLiteStorage

Factory = Callable[..., Any]
KEY = generate_key()


@pytest.fixture
def sqlite(tmp_path: Path) -> Factory:
    return partial(SQLiteStorage, tmp_path / "bot.db")


class ReadThrough(ReadOnly[Any]):
    """Reads through `ReadOnly`, and writes past it, since a suite has to write something."""

    async def _pass(self, operation: str, call: Callable[..., Any], *arguments: Any) -> Any:
        if operation.startswith("read"):
            return await super()._pass(operation, call, *arguments)
        return await call(*arguments)


class TestFallback(StorageConformance):
    capabilities = replace(SQLiteStorage.capabilities, read_your_writes=False)

    @pytest.fixture
    def storage_factory(self, sqlite: Factory, tmp_path: Path) -> Factory:
        return lambda **options: Fallback(sqlite(**options), SQLiteStorage(tmp_path / "spare.db", **options))


class TestMirrored(StorageConformance):
    capabilities = SQLiteStorage.capabilities

    @pytest.fixture
    def storage_factory(self, sqlite: Factory, tmp_path: Path) -> Factory:
        return lambda **options: Mirrored(sqlite(**options), SQLiteStorage(tmp_path / "new.db", **options))


class TestTheOthersOnRedis(StorageConformance):
    """One around another, on a server: where one does not pass on what it should, all of them fail."""

    capabilities = replace(RedisStorage.capabilities, read_your_writes=False, atomic_batch=False, max_key_bytes=368)

    @pytest.fixture
    def storage_factory(self, redis_url: str) -> Factory:
        def make(codec: Codec[Any] = JSON, **options: Any) -> Any:
            inside = RedisStorage(redis_url, codec=codec.compressed(threshold=20).encrypted(KEY), **options)
            return Telemetry(Cached(Retrying(ReadThrough(HiddenKeys(inside, KEY)))))

        return make
