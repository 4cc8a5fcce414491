"""The protocols: what a storage must do (`StorageAdapter`) and what it may do beyond that.

Three methods are the whole obligation. Everything else is found with `isinstance`:

    if isinstance(storage, Versioned):
        record = await storage.read_versioned(key)
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import TypeVar

    V = TypeVar("V", default=Any)
else:
    from typing import TypeVar

    V = TypeVar("V")


class Record(NamedTuple, Generic[V]):
    """A value and the version that it is at.

    A version is an opaque string: compare it, store it, pass it back, and read nothing into it.
    """

    value: V
    version: str


class Change(NamedTuple, Generic[V]):
    """What is done to one record: write a value, or with None delete it, if it is at the version expected.

    None expects that there is none. With both None, nothing is done, and only that is demanded.
    """

    value: V | None
    expected: str | None


@runtime_checkable
class StorageAdapter(Protocol[V]):
    """What every storage does."""

    async def read(self, key: str) -> V | None:
        """Return the value under `key`, or None if there is none, and only then."""
        ...

    async def write(self, key: str, value: V) -> None:
        """Store `value` under `key`, over whatever is there."""

    async def delete(self, key: str) -> None:
        """Remove `key`. Where it is absent, nothing happens."""


@runtime_checkable
class Versioned(Protocol[V]):
    """A storage that writes only over the version it is told to expect, so that no update is lost."""

    async def read_versioned(self, key: str) -> Record[V] | None:
        """Return the value under `key` with its version, or None if there is none."""
        ...

    async def write_versioned(self, key: str, value: V, expected: str | None) -> str:
        """Store `value` if `key` is at the version `expected` (None: if it does not exist) and return the new version.

        Raises:
            ConflictError: it is not. Nothing was written.
        """
        ...

    async def delete_versioned(self, key: str, expected: str) -> None:
        """Remove `key` if it is at the version `expected`.

        Raises:
            ConflictError: it is not, or it does not exist. Nothing was removed.
        """


@runtime_checkable
class Expiring(Protocol):
    """A storage whose records end, `ttl` after they were last written or touched."""

    async def touch(self, key: str) -> bool:
        """Start the lifetime of `key` anew, as writing the same value would; tell whether the key exists."""
        ...

    async def purge_expired(self) -> int:
        """Remove what has expired and return how many records that were; 0 where the backend removes them itself."""
        ...


@runtime_checkable
class Listing(Protocol):
    """A storage that can enumerate its keys."""

    def keys(self, prefix: str = "") -> AsyncIterator[str]:
        """Iterate over the keys that start with `prefix`, each once, in no particular order.

        Keys that are there from start to end are complete; those written or deleted meanwhile may or may not appear.
        """
        ...


@runtime_checkable
class Batch(Protocol[V]):
    """A storage that handles several records in one round trip."""

    async def read_many(self, keys: Iterable[str]) -> dict[str, V]:
        """Return the values of those `keys` that exist."""
        ...

    async def write_many(self, values: Mapping[str, V]) -> None:
        """Store every value under its key."""

    async def delete_many(self, keys: Iterable[str]) -> None:
        """Remove every key; absent ones are no error."""


@runtime_checkable
class Transactional(Protocol[V]):
    """A storage that changes several records in one round trip, each at its version, all of them or none."""

    async def read_records(self, keys: Iterable[str]) -> dict[str, Record[V]]:
        """Return the values of those `keys` that exist, with their versions."""
        ...

    async def commit(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        """Make every change, by key, and return the new versions of what was written.

        Raises:
            ConflictError: a record is not at the version that its change expects. Nothing was changed.
        """
        ...


@runtime_checkable
class VersionedBatch(Protocol[V]):
    """A storage that changes several records in one round trip, each at its version, and each by itself.

    Where changes are to be made all or none, it takes a `Transactional` storage. A storage can be both.
    """

    async def read_records(self, keys: Iterable[str]) -> dict[str, Record[V]]:
        """Return the values of those `keys` that exist, with their versions."""
        ...

    async def write_records(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        """Make every change that can be made, and return by key the new version, or "" where nothing is there now.

        A key that is not in the answer was in conflict: its record is not at the version that its change expects, and
        is as it was. The others are changed all the same, so there is no `ConflictError`.

        Raises:
            StorageError: a key or a value is refused, and nothing was changed; or the backend failed, and then each of
                the changes was made, or was not.
        """
        ...


@runtime_checkable
class Lifecycle(Protocol):
    """A storage that holds resources."""

    async def setup(self) -> None:
        """Connect, and create what is needed; harmless to repeat, and when several processes do it at once."""

    async def aclose(self) -> None:
        """Release everything that the storage made itself."""

    async def __aenter__(self) -> Self:
        """Call `setup()`."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        """Call `aclose()`."""


class Storage(StorageAdapter[V], Lifecycle, Protocol[V]):
    """What `open_storage` returns: a storage with a lifecycle."""
