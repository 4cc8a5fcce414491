"""A storage as py-key-value knows stores, for FastMCP and whoever else takes an `AsyncKeyValue`."""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from datetime import timedelta
from typing import Any, Final, SupportsFloat

from key_value.aio import errors
from key_value.aio.protocols.key_value import AsyncKeyValueProtocol

from satchel import (
    Batch,
    ConfigurationError,
    CorruptValueError,
    InvalidKeyError,
    Listing,
    SatchelError,
    Session,
    Sessions,
    StorageAdapter,
    StorageUnavailableError,
    UnsupportedValueError,
    ValueTooLargeError,
)
from satchel.clock import now
from satchel.keys import escape_part, unescape
from satchel.settling import together

_PAGE: Final = 100
_KINDS: Final = {
    UnsupportedValueError: errors.SerializationError,
    CorruptValueError: errors.DeserializationError,
    InvalidKeyError: errors.InvalidKeyError,
    StorageUnavailableError: errors.StoreConnectionError,
    ConfigurationError: errors.StoreSetupError,
    SatchelError: errors.KeyValueStoreError,
}


class SatchelStore(AsyncKeyValueProtocol):
    """A store whose entries are records of a storage: `kv:` and the collection, a colon, and the key.

        store = SatchelStore(open_storage("postgresql://localhost/bot"))
        mcp = FastMCP("My server", session_state_store=store)

    An entry is `{"value": {…}}`, with `"expires_at"`, in milliseconds since 1970, if it was put with a ttl. It ends by
    itself, by the clocks of who put it and who gets it, and is removed by `cull()`, or by the storage's own `ttl`,
    which ends entries that would have lived longer. On a versioned storage, just one of many that delete an entry at
    once is told that it did. Where the storage cannot list, there are no `keys`, `collections`, `cull`, `destroy` and
    `destroy_collection`, for isinstance() neither. The storage is neither opened nor closed here.

    Args:
        storage: any storage of JSON.
        prefix: is put before every key, as what else is in the storage might be called the same.
        default_collection: where entries are for which no collection is named.

    Raises:
        ConfigurationError: it is no storage, or a blocking one.
    """

    def __init__(
        self,
        storage: StorageAdapter[Any],
        *,
        prefix: str = "kv:",
        default_collection: str = "default_collection",
    ) -> None:
        self._sessions = Sessions(storage)
        self._storage: Any = storage
        self._prefix = prefix
        self._default = default_collection
        self._ttl: timedelta | None = getattr(storage, "ttl", None)
        if not isinstance(storage, Listing):
            unlisted: Any = _Unlisted
            self.__class__ = unlisted

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        """Return the value, or None if there is none."""
        return (await self.ttl(key, collection=collection))[0]

    async def ttl(self, key: str, *, collection: str | None = None) -> tuple[dict[str, Any] | None, float | None]:
        """Return the value and for how many seconds it will be there; `(None, None)` if it is not there."""
        with _theirs():
            return _alive(await self._storage.read(self._key(collection, key)))

    async def put(
        self, key: str, value: Mapping[str, Any], *, collection: str | None = None, ttl: SupportsFloat | None = None
    ) -> None:
        """Store a value, for `ttl` seconds."""
        with _theirs():
            await self._storage.write(self._key(collection, key), self._entry(value, ttl))

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        """Remove an entry, and tell whether it was there."""
        with _theirs():
            return await self._sessions.update(self._key(collection, key), _drop)

    async def get_many(self, keys: Sequence[str], *, collection: str | None = None) -> list[dict[str, Any] | None]:
        """Return the values, in the order of the keys."""
        return [value for value, _ in await self.ttl_many(keys, collection=collection)]

    async def ttl_many(
        self, keys: Sequence[str], *, collection: str | None = None
    ) -> list[tuple[dict[str, Any] | None, float | None]]:
        """Return what `ttl` returns, in the order of the keys."""
        with _theirs():
            names = [self._key(collection, key) for key in keys]
            found = await self._read_many(names)
            return [_alive(found.get(name)) for name in names]

    async def put_many(
        self,
        keys: Sequence[str],
        values: Sequence[Mapping[str, Any]],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        """Store values, all for `ttl` seconds.

        Raises:
            ValueError: there are more keys or more values.
        """
        pairs = zip(keys, values, strict=True)
        with _theirs():
            entries = {self._key(collection, key): self._entry(value, ttl) for key, value in pairs}
            if isinstance(self._storage, Batch):
                await self._storage.write_many(entries)
            else:
                await together(self._storage.write(name, entry) for name, entry in entries.items())

    async def delete_many(self, keys: Sequence[str], *, collection: str | None = None) -> int:
        """Remove entries, and return how many of them were there."""
        return sum(await together(self.delete(key, collection=collection) for key in dict.fromkeys(keys)))

    async def keys(self, collection: str | None = None, *, limit: int | None = None) -> list[str]:
        """Return the keys of a collection: all of them, or `limit`."""
        prefix = self._collection(collection)
        return await _first(limit, self._living(prefix), lambda name: name.removeprefix(prefix))

    async def collections(self, *, limit: int | None = None) -> list[str]:
        """Return the collections that have entries: all of them, or `limit`."""
        start = len(self._prefix)
        return await _first(limit, self._living(self._prefix), lambda name: unescape(name[start:].partition(":")[0]))

    async def cull(self) -> None:
        """Remove the entries that have ended."""
        with _theirs():
            async for page in self._pages(self._prefix):
                dead = [name for name, entry in (await self._read_many(page)).items() if _has_ended(entry)]
                await together(self._sessions.update(name, _drop_dead) for name in dead)

    async def destroy(self) -> bool:
        """Remove all entries, and tell whether there were any."""
        return await self._destroy(self._prefix)

    async def destroy_collection(self, collection: str) -> bool:
        """Remove all entries of a collection, and tell whether there were any."""
        return await self._destroy(self._collection(collection))

    def _collection(self, collection: str | None) -> str:
        return f"{self._prefix}{escape_part(collection or self._default)}:"

    def _key(self, collection: str | None, key: str) -> str:
        return self._collection(collection) + key

    def _entry(self, value: Mapping[str, Any], ttl: SupportsFloat | None) -> dict[str, Any]:
        ends = [_milliseconds(ttl)] if ttl is not None else []
        if self._ttl is not None:  # then the storage removes it, so `ttl` is to tell
            ends.append(self._ttl // timedelta(milliseconds=1))
        entry: dict[str, Any] = {"value": dict(value)}
        return entry | {"expires_at": now() + min(ends)} if ends else entry

    async def _read_many(self, names: Sequence[str]) -> dict[str, Any]:
        if isinstance(self._storage, Batch):
            found: dict[str, Any] = await self._storage.read_many(names)
            return found
        values = await together(self._storage.read(name) for name in names)
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

    async def _pages(self, prefix: str) -> AsyncIterator[list[str]]:
        page: list[str] = []
        async for name in self._storage.keys(prefix):
            page.append(name)
            if len(page) == _PAGE:
                yield page
                page = []
        if page:
            yield page

    async def _living(self, prefix: str) -> AsyncGenerator[str, None]:
        with _theirs():
            async for page in self._pages(prefix):
                for name, entry in (await self._read_many(page)).items():
                    if not _has_ended(entry):
                        yield name

    async def _destroy(self, prefix: str) -> bool:
        there = False
        with _theirs():
            async for page in self._pages(prefix):
                there = True
                await together(self._storage.delete(name) for name in page)
        return there


class _Unlisted(SatchelStore):
    """Over a storage that does not list; a method that is None is none to isinstance()."""

    keys = collections = cull = destroy = destroy_collection = None  # type: ignore[assignment]


async def _first(limit: int | None, names: AsyncGenerator[str, None], part: Callable[[str], str]) -> list[str]:
    """Return what `part` makes of the names, each once."""
    found: dict[str, None] = {}
    async with aclosing(names):
        async for name in names:
            found[part(name)] = None
            if len(found) == limit:
                break
    return list(found)


def _alive(entry: Any) -> tuple[dict[str, Any] | None, float | None]:
    """Return the value of an entry and the seconds that are left to it."""
    match entry:
        case None:
            return None, None
        case {"value": dict() as value, "expires_at": int() as end}:
            left = end - now()
            return (None, None) if left < 0 else (value, left / 1000)
        case {"value": dict() as value}:
            return value, None
        case _:
            raise CorruptValueError("what is stored is no entry of a SatchelStore")


def _has_ended(entry: Any) -> bool:
    match entry:
        case {"expires_at": int() as end}:
            return end < now()  # both are cut to whole milliseconds
        case _:
            return False


def _drop(session: Session[Any]) -> bool:
    is_there = not session.is_new and not _has_ended(session.data)
    session.delete()
    return is_there


def _drop_dead(session: Session[Any]) -> None:
    if not session.is_new and _has_ended(session.data):
        session.delete()


def _milliseconds(ttl: SupportsFloat) -> int:
    try:
        seconds = 0.0 if isinstance(ttl, bool) else float(ttl)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise errors.InvalidTTLError(ttl)
    return math.ceil(seconds * 1000)


@contextmanager
def _theirs() -> Iterator[None]:
    """Raise our errors as those of py-key-value."""
    try:
        yield
    except ValueTooLargeError as error:
        raise errors.ValueTooLargeError(error.size, error.limit) from error
    except SatchelError as error:
        kind = next(theirs for ours, theirs in _KINDS.items() if isinstance(error, ours))
        raise kind(str(error)) from error
