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


class TestThoseThatChangeNothing(StorageConformance):
    """One around another, since each passes on what it is given."""

    capabilities = SQLiteStorage.capabilities

    @pytest.fixture
    def storage_factory(self, sqlite: Factory) -> Factory:
        return lambda **options: Telemetry(Retrying(ReadThrough(sqlite(**options))))


class TestHiding(StorageConformance):
    """Names that are hidden, over values that are compressed and encrypted."""

    capabilities = replace(SQLiteStorage.capabilities, max_key_bytes=368)

    @pytest.fixture
    def storage_factory(self, sqlite: Factory) -> Factory:
        def make(codec: Codec[Any] = JSON, **options: Any) -> Any:
            return HiddenKeys(sqlite(codec=codec.compressed(threshold=20).encrypted(KEY), **options), KEY)

        return make


class TestCached(StorageConformance):
    capabilities = replace(SQLiteStorage.capabilities, read_your_writes=False, atomic_batch=False)

    @pytest.fixture
    def storage_factory(self, sqlite: Factory) -> Factory:
        return lambda **options: Cached(sqlite(**options))


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


class TestAllOnRedis(StorageConformance):
    """All of them around one another, on a server."""

    capabilities = replace(RedisStorage.capabilities, read_your_writes=False, atomic_batch=False, max_key_bytes=368)

    @pytest.fixture
    def storage_factory(self, redis_url: str) -> Factory:
        def make(codec: Codec[Any] = JSON, **options: Any) -> Any:
            inside = RedisStorage(redis_url, codec=codec.compressed().encrypted(KEY), **options)
            return Telemetry(Cached(Retrying(HiddenKeys(inside, KEY))))

        return make
