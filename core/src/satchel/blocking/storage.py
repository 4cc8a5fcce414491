"""Storages for blocking callers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, Self

import satchel
from satchel.blocking.loop import each, run
from satchel.errors import ConfigurationError
from satchel.storage import Change, Record, StorageAdapter, V


def open_storage(url: str, **options: Any) -> "Storage[Any]":
    """Make the storage that `url` names; see `satchel.open_storage`."""
    return Storage(satchel.open_storage(url, **options))


class Storage(Generic[V]):
    """A storage for blocking callers. A method that the storage does not have raises `AttributeError`.

    Attributes:
        wrapped: the asynchronous storage; use it here only.
    """

    def __init__(self, storage: StorageAdapter[V]) -> None:
        if not isinstance(storage, StorageAdapter):
            raise ConfigurationError(f"{type(storage).__name__} is no storage: it has no read, write and delete")
        self.wrapped: Any = storage

    @property
    def capabilities(self) -> satchel.Capabilities:
        """What the storage can do."""
        found: satchel.Capabilities = self.wrapped.capabilities
        return found

    def read(self, key: str) -> V | None:
        """Return the value under `key`, or None if there is none, and only then."""
        found: V | None = self._call("read", key)
        return found

    def write(self, key: str, value: V) -> None:
        """Store `value` under `key`, over whatever is there."""
        self._call("write", key, value)

    def delete(self, key: str) -> None:
        """Remove `key`. Where it is absent, nothing happens."""
        self._call("delete", key)

    def read_versioned(self, key: str) -> Record[V] | None:
        """Return the value under `key` with its version, or None if there is none."""
        found: Record[V] | None = self._call("read_versioned", key)
        return found

    def write_versioned(self, key: str, value: V, expected: str | None) -> str:
        """Store `value` if `key` is at the version `expected` (None: if it does not exist); return the new version."""
        version: str = self._call("write_versioned", key, value, expected)
        return version

    def delete_versioned(self, key: str, expected: str) -> None:
        """Remove `key` if it is at the version `expected`."""
        self._call("delete_versioned", key, expected)

    def touch(self, key: str) -> bool:
        """Start the lifetime of `key` anew; tell whether the key exists."""
        there: bool = self._call("touch", key)
        return there

    def purge_expired(self) -> int:
        """Remove what has expired and return how many records that were."""
        count: int = self._call("purge_expired")
        return count

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Iterate over the keys that start with `prefix`, each once, in no particular order."""
        yield from each(self._method("keys")(prefix))

    def read_many(self, keys: Iterable[str]) -> dict[str, V]:
        """Return the values of those `keys` that exist."""
        found: dict[str, V] = self._call("read_many", keys)
        return found

    def write_many(self, values: Mapping[str, V]) -> None:
        """Store every value under its key."""
        self._call("write_many", values)

    def delete_many(self, keys: Iterable[str]) -> None:
        """Remove every key; absent ones are no error."""
        self._call("delete_many", keys)

    def read_records(self, keys: Iterable[str]) -> dict[str, Record[V]]:
        """Return the values of those `keys` that exist, with their versions."""
        found: dict[str, Record[V]] = self._call("read_records", keys)
        return found

    def commit(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        """Make every change, by key, or none of them, and return the new versions of what was written."""
        versions: dict[str, str] = self._call("commit", changes)
        return versions

    def write_records(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        """Make every change that can be made, and return by key the new version, or "" where nothing is there now."""
        versions: dict[str, str] = self._call("write_records", changes)
        return versions

    def setup(self) -> None:
        """Connect, and create what is needed."""
        self._call("setup")

    def close(self) -> None:
        """Release everything that the storage made itself."""
        self._call("aclose")

    def __enter__(self) -> Self:
        """Call `setup()`."""
        try:
            self.setup()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Call `close()`."""
        self.close()

    def __repr__(self) -> str:
        """Name the backend, without secrets."""
        return f"<blocking {self.wrapped!r}>"

    def _method(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] | None = getattr(self.wrapped, name, None)
        if method is None:
            raise AttributeError(f"{self.wrapped!r} has no {name}()")
        return method

    def _call(self, name: str, *arguments: Any) -> Any:
        return run(_awaited(self._method(name), *arguments))


async def _awaited(method: Callable[..., Any], *arguments: Any) -> Any:
    return await method(*arguments)
