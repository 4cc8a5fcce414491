"""A second storage to read from while the first is away."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, TypeVar

from satchel.adapter import milliseconds
from satchel.capabilities import Capabilities
from satchel.errors import StorageError, StorageUnavailableError
from satchel.storage import Lifecycle, Record, StorageAdapter, V
from satchel.wrappers.base import Inner, Wrapper, checked

logger = logging.getLogger("satchel")

T = TypeVar("T")

_THEIRS: Final = "of the fallback"
"""The version of every record of the fallback's: nothing in the first storage ever is at it."""


class Fallback(Wrapper[V]):
    """Reads from `secondary` while `primary` raises `StorageUnavailableError`: a replica, a mirror, last night's copy.

        storage = Fallback(open_storage("redis://main"), open_storage("redis://replica"))

    - Everything that changes something, and listing, is done by `primary` alone, or raises. Two storages that both take
      writes would have to be reconciled, and one of two updates would be lost.
    - A record that `secondary` has may be old. Its version is good for no write: one that expects it raises
      `StorageUnavailableError`, or `ConflictError` once `primary` is back, and sessions then merge or raise.
    - A record that `secondary` does not have is not said to be missing: the read raises what `primary` raised.

    So during an outage sessions can be read; to save a changed one raises. But where sessions are written without
    regard to versions, over a primary that has none or with `on_conflict="overwrite"`, one that was read here during an
    outage, and is saved after it, replaces what is newer.

    Args:
        primary: the storage.
        secondary: what to read from meanwhile. Somebody else has to keep it up to date, as `Mirrored` does. It is set
            up and closed with the wrapper; that it is away itself is only logged.
        pause: after a failure, reads leave `primary` alone for so long, so that not each of them waits for it.

    Raises:
        ConfigurationError: an option is not right.
    """

    def __init__(
        self,
        primary: StorageAdapter[V],
        secondary: StorageAdapter[V],
        /,
        *,
        pause: timedelta = timedelta(seconds=5),
    ) -> None:
        super().__init__(primary)
        self.secondary = checked(secondary)
        self._pause = milliseconds("pause", pause) / 1000
        self._failed: StorageUnavailableError | None = None  # the last thing that was heard of the primary
        self._again = 0.0  # when it is tried again

    @property
    def capabilities(self) -> Capabilities:
        """Those of the first storage, but reads need not see the latest write."""
        return replace(super().capabilities, read_your_writes=False)

    async def read(self, key: str) -> V | None:
        return await self._either(lambda storage: storage.read(key), lambda value: value is not None)

    async def read_versioned(self, key: str) -> Record[V] | None:
        async def ask(storage: Inner[V]) -> Record[V] | None:
            if storage is self.inner:
                return await storage.read_versioned(key)
            value = await storage.read(key)
            return None if value is None else Record(value, _THEIRS)

        return await self._either(ask, lambda record: record is not None)

    async def read_many(self, keys: Iterable[str]) -> dict[str, V]:
        wanted = list(keys)

        async def ask(storage: Inner[V]) -> dict[str, V]:
            return await (storage.read_many(wanted) if storage is self.inner else _read_each(storage, wanted))

        return await self._either(ask, lambda found: found.keys() == set(wanted))

    async def read_records(self, keys: Iterable[str]) -> dict[str, Record[V]]:
        wanted = list(keys)

        async def ask(storage: Inner[V]) -> dict[str, Record[V]]:
            if storage is self.inner:
                return await storage.read_records(wanted)
            found = await _read_each(storage, wanted)
            return {key: Record(value, _THEIRS) for key, value in found.items()}

        return await self._either(ask, lambda found: found.keys() == set(wanted))

    async def setup(self) -> None:
        """Set up both. One of them may be away.

        Raises:
            StorageUnavailableError: both are.
        """
        spare: StorageUnavailableError | None = None
        if isinstance(self.secondary, Lifecycle):
            try:
                await self.secondary.setup()
            except StorageUnavailableError as error:
                spare = error
                logger.warning("%r has no fallback: %s", self.inner, error)
        try:
            await super().setup()
        except StorageUnavailableError:
            if spare is not None:
                raise

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            if isinstance(self.secondary, Lifecycle):
                await self.secondary.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.inner!r} {self.secondary!r}>"

    async def _pass(self, operation: str, call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        try:
            result = await super()._pass(operation, call, *arguments)
        except StorageUnavailableError as error:
            self._is_away(error)
            raise
        except StorageError:
            self._is_back()
            raise
        self._is_back()
        return result

    async def _either(self, ask: Callable[[Inner[V]], Awaitable[T]], is_whole: Callable[[T], bool]) -> T:
        """Ask the first storage, or the second if that is away and the second has an answer."""
        failed = self._failed
        if failed is None or time.monotonic() >= self._again:
            try:
                return await self._pass("read", ask, self.inner)
            except StorageUnavailableError as error:
                failed = error
        try:
            found = await ask(self.secondary)
        except StorageError as error:
            raise StorageUnavailableError(f"{failed}; nor does the fallback help: {error}") from failed
        if not is_whole(found):
            raise StorageUnavailableError(f"{failed}, and the fallback does not have what was asked for") from failed
        return found

    def _is_away(self, error: StorageUnavailableError) -> None:
        if self._failed is None:
            logger.warning("reading from %r: %s", self.secondary, error)
        self._failed, self._again = error, time.monotonic() + self._pause

    def _is_back(self) -> None:
        if self._failed is not None:
            self._failed = None
            logger.warning("reading from %r again", self.inner)


async def _read_each(storage: Inner[V], keys: list[str]) -> dict[str, V]:
    """Return the values of those keys that exist, however the storage can be asked for them."""
    found = {key: await storage.read(key) for key in dict.fromkeys(keys)}
    return {key: value for key, value in found.items() if value is not None}
