"""What all wrappers share: the protocols, capabilities and lifecycle of the storage inside, no more and no less."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar, cast

from satchel.capabilities import Capabilities
from satchel.codecs import Codec
from satchel.errors import ConfigurationError
from satchel.storage import (
    Batch,
    Change,
    Expiring,
    Lifecycle,
    Listing,
    Record,
    StorageAdapter,
    Transactional,
    V,
    Versioned,
    VersionedBatch,
)

T = TypeVar("T")

_OPTIONAL: Final[Mapping[type, tuple[str, ...]]] = {
    Versioned: ("read_versioned", "write_versioned", "delete_versioned"),
    Expiring: ("touch", "purge_expired"),
    Listing: ("keys",),
    Batch: ("read_many", "write_many", "delete_many"),
    Transactional: ("read_records", "commit"),
    VersionedBatch: ("read_records", "write_records"),
    Lifecycle: ("setup", "aclose", "__aenter__", "__aexit__"),
}

_FITTED: Final[dict[tuple[type[Any], frozenset[str]], type[Any]]] = {}


class Inner(  # a wrapper uses only what is there
    StorageAdapter[V],
    Versioned[V],
    Expiring,
    Listing,
    Batch[V],
    Transactional[V],
    VersionedBatch[V],
    Lifecycle,
    Protocol[V],
):
    """All that a storage can have."""

    codec: Codec[V]
    ttl: timedelta | None
    where: str
    round_trips: Mapping[str, int]


class Wrapper(Generic[V]):
    """A storage that passes every call on to another one. Derive from it, and override what is to be different.

    The wrapper has just those optional protocols that the storage inside has, by isinstance too.

    Attributes:
        inner: the storage inside.
    """

    _kind: type[Any]

    def __new__(cls, storage: StorageAdapter[V], /, *_others: Any, **_options: Any) -> Self:
        """Make a wrapper without the methods that the storage inside lacks."""
        return cast("Self", object.__new__(_fitted(cls, _absent(storage))))

    def __init__(self, storage: StorageAdapter[V], /) -> None:
        self.inner = checked(storage)
        self._fits = type(storage)  # what `inner` was when this was fitted to it

    @property
    def capabilities(self) -> Capabilities:
        """What the storage can do."""
        return capabilities_of(self.inner)

    @property
    def round_trips(self) -> Mapping[str, int]:
        """The methods that go to the backend more than once, and how often."""
        return getattr(self.inner, "round_trips", {})

    # These raise AttributeError where the storage inside does not say.

    @property
    def codec(self) -> Codec[V]:
        """How values become bytes."""
        return self.inner.codec

    @property
    def ttl(self) -> timedelta | None:
        """The lifetime of a record, or None."""
        return self.inner.ttl

    @property
    def where(self) -> str:
        """The backend as messages name it, without secrets."""
        return self.inner.where

    async def read(self, key: str) -> V | None:
        return await self._pass("read", self.inner.read, key)

    async def write(self, key: str, value: V) -> None:
        await self._pass("write", self.inner.write, key, value)

    async def delete(self, key: str) -> None:
        await self._pass("delete", self.inner.delete, key)

    async def read_versioned(self, key: str) -> Record[V] | None:
        return await self._pass("read_versioned", self.inner.read_versioned, key)

    async def write_versioned(self, key: str, value: V, expected: str | None) -> str:
        return await self._pass("write_versioned", self.inner.write_versioned, key, value, expected)

    async def delete_versioned(self, key: str, expected: str) -> None:
        await self._pass("delete_versioned", self.inner.delete_versioned, key, expected)

    async def touch(self, key: str) -> bool:
        return await self._pass("touch", self.inner.touch, key)

    async def purge_expired(self) -> int:
        return await self._pass("purge_expired", self.inner.purge_expired)

    def keys(self, prefix: str = "") -> AsyncIterator[str]:
        return self.inner.keys(prefix)

    async def read_many(self, keys: Iterable[str]) -> dict[str, V]:
        return await self._pass("read_many", self.inner.read_many, list(keys))

    async def write_many(self, values: Mapping[str, V]) -> None:
        await self._pass("write_many", self.inner.write_many, values)

    async def delete_many(self, keys: Iterable[str]) -> None:
        await self._pass("delete_many", self.inner.delete_many, list(keys))

    async def read_records(self, keys: Iterable[str]) -> dict[str, Record[V]]:
        return await self._pass("read_records", self.inner.read_records, list(keys))

    async def commit(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        return await self._pass("commit", self.inner.commit, changes)

    async def write_records(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        return await self._pass("write_records", self.inner.write_records, changes)

    async def setup(self) -> None:
        await self._pass("setup", self.inner.setup)

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def __aenter__(self) -> Self:
        try:
            await self.setup()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.inner!r}>"

    async def _pass(self, operation: str, call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Await a call of the storage inside. Override it for what is to be done about all of them but `keys`."""
        try:
            return await call(*arguments)
        finally:
            if type(self.inner) is not self._fits:
                self._fit()

    def _fit(self) -> None:
        """Go by what the storage inside has now: some find out only when they are opened."""
        self._fits = type(self.inner)
        self.__class__ = _fitted(self._kind, _absent(self.inner))


def checked(storage: StorageAdapter[V]) -> Inner[V]:
    """Return `storage` as one whose optional methods may be called.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(storage, StorageAdapter):
        raise ConfigurationError(f"{type(storage).__name__} is no storage: it has no read, write and delete")
    return cast("Inner[V]", storage)


def capabilities_of(storage: object) -> Capabilities:
    """Return what a storage declares or, where it does not, what can be seen of it."""
    declared = getattr(storage, "capabilities", None)
    if isinstance(declared, Capabilities):
        return declared
    expiring = isinstance(storage, Expiring)
    return Capabilities(
        versioned=isinstance(storage, Versioned),
        conditional_delete=isinstance(storage, Versioned),
        expiring=expiring,
        ttl_resolution=timedelta(seconds=1) if expiring else None,
        listing=isinstance(storage, Listing),
        batch=isinstance(storage, Batch),
        transactional=isinstance(storage, Transactional),
        versioned_batch=isinstance(storage, VersionedBatch),
    )


@asynccontextmanager
async def closing(keys: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close a listing at the end of the block, if it is one that can be closed."""
    try:
        yield keys
    finally:
        if isinstance(keys, AsyncGenerator):
            await keys.aclose()


def _absent(storage: object) -> frozenset[str]:
    there = {name for kind, names in _OPTIONAL.items() if isinstance(storage, kind) for name in names}
    return frozenset(name for names in _OPTIONAL.values() for name in names if name not in there)


def _fitted(kind: type[Any], absent: frozenset[str]) -> type[Any]:
    """Return a wrapper's class without some methods: one that is None is none to isinstance()."""
    if (kind, absent) not in _FITTED:
        body = dict.fromkeys(absent) | {"_kind": kind, "__doc__": kind.__doc__, "__module__": kind.__module__}
        _FITTED[kind, absent] = type(kind.__name__, (kind,), body)
    return _FITTED[kind, absent]
