"""A storage inside a storage: keys with a prefix, for storages that have no namespaces of their own."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final, Self

from satchel import Batch, Change, Expiring, Lifecycle, Listing, Transactional, Versioned, VersionedBatch

_OPTIONAL: Final[Mapping[type, tuple[str, ...]]] = {
    Versioned: ("read_versioned", "write_versioned", "delete_versioned"),
    Expiring: ("touch", "purge_expired"),
    Listing: ("keys",),
    Batch: ("read_many", "write_many", "delete_many"),
    Transactional: ("read_records", "commit"),
    VersionedBatch: ("read_records", "write_records"),
    Lifecycle: ("setup", "aclose", "__aenter__", "__aexit__"),
}


def prefixed(inner: Any, prefix: str) -> Any:
    """Return a storage that puts `prefix` before every key, and has the protocols that `inner` has, and no others.

    What is no key at all goes through as it is, for the inner storage to refuse.
    """
    there = {name for kind, names in _OPTIONAL.items() if isinstance(inner, kind) for name in names}
    absent = [name for names in _OPTIONAL.values() for name in names if name not in there]
    kind = type("Prefixed", (_Prefixed,), dict.fromkeys(absent))  # a method that is None is none to isinstance()
    return kind(inner, prefix)


class _Prefixed:
    def __init__(self, inner: Any, prefix: str) -> None:
        self._inner = inner
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def read(self, key: str) -> Any:
        return await self._inner.read(self._in(key))

    async def write(self, key: str, value: Any) -> None:
        await self._inner.write(self._in(key), value)

    async def delete(self, key: str) -> None:
        await self._inner.delete(self._in(key))

    async def read_versioned(self, key: str) -> Any:
        return await self._inner.read_versioned(self._in(key))

    async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
        version: str = await self._inner.write_versioned(self._in(key), value, expected)
        return version

    async def delete_versioned(self, key: str, expected: str) -> None:
        await self._inner.delete_versioned(self._in(key), expected)

    async def touch(self, key: str) -> bool:
        there: bool = await self._inner.touch(self._in(key))
        return there

    async def purge_expired(self) -> int:
        count: int = await self._inner.purge_expired()
        return count

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        async for key in self._inner.keys(self._prefix + prefix):
            yield key.removeprefix(self._prefix)

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        found = await self._inner.read_many([self._in(key) for key in keys])
        return {key.removeprefix(self._prefix): value for key, value in found.items()}

    async def write_many(self, values: Mapping[str, Any]) -> None:
        await self._inner.write_many({self._in(key): value for key, value in values.items()})

    async def delete_many(self, keys: Iterable[str]) -> None:
        await self._inner.delete_many([self._in(key) for key in keys])

    async def read_records(self, keys: Iterable[str]) -> dict[str, Any]:
        found = await self._inner.read_records([self._in(key) for key in keys])
        return {key.removeprefix(self._prefix): record for key, record in found.items()}

    async def commit(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        versions = await self._inner.commit({self._in(key): change for key, change in changes.items()})
        return {key.removeprefix(self._prefix): version for key, version in versions.items()}

    async def write_records(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        versions = await self._inner.write_records({self._in(key): change for key, change in changes.items()})
        return {key.removeprefix(self._prefix): version for key, version in versions.items()}

    async def setup(self) -> None:
        await self._inner.setup()

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._inner.__aexit__(*raised)

    def _in(self, key: str) -> str:
        return self._prefix + key if isinstance(key, str) and key else key
