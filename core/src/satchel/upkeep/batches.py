"""Going through any number of records in bounded memory: batches of a bounded size, and a bounded number at once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from typing import Any, Final, TypeVar

from satchel.errors import (
    ConfigurationError,
    CorruptValueError,
    ReadOnlyError,
    StorageClosedError,
    StorageError,
    StorageUnavailableError,
)
from satchel.settling import together
from satchel.storage import Batch, Listing, StorageAdapter
from satchel.wrappers.base import closing

K = TypeVar("K")
T = TypeVar("T")

_AT_ONCE: Final = 4  # batches
_SINGLES: Final = 16  # calls for one record each
_FIRST, _MOST = 2, 100  # records of a batch
_BYTES: Final = 2 * 1024 * 1024  # of a batch, about; as objects of Python they take several times as much

ENDS_READING: Final = (StorageUnavailableError, StorageClosedError)
"""Errors that the next record would meet, too. (A `ConfigurationError` may be a key of encryption that is missing.)"""
ENDS_WRITING: Final = (*ENDS_READING, ReadOnlyError, ConfigurationError)
"""The same, of writes."""


class Batches:
    """How many records are worked on at once: few large ones, many small ones."""

    def __init__(self) -> None:
        self._size = _FIRST
        self._singles = asyncio.Semaphore(_SINGLES)

    def weigh(self, records: int, size: int) -> None:
        """Choose the size of the next batches by one that was read: its records, and the bytes of all of them."""
        fitting = min(_MOST, _BYTES * records // max(size, 1))
        self._size = max(1, min(fitting, self._size * 2))

    async def each(self, items: AsyncIterator[K], work: Callable[[list[K]], Coroutine[Any, Any, None]]) -> None:
        """Call `work` with all items, a batch at a time.

        The first error ends it, as does being cancelled; either way the batches that are under way are finished first,
        so that each record is either done or not begun. Cancelling it a second time ends those, too. What a listing
        says at its end, of keys that it cannot give, is raised when all others are done.
        """
        running: set[asyncio.Task[None]] = set()
        batch: list[K] = []
        damaged: CorruptValueError | None = None
        try:
            async with closing(items):
                while True:
                    try:
                        batch.append(await anext(items))
                    except StopAsyncIteration:
                        break
                    except CorruptValueError as error:
                        damaged = error
                        break
                    if len(batch) >= self._size:
                        running.add(asyncio.ensure_future(work(batch)))
                        batch = []
                    if len(running) >= _AT_ONCE:
                        await _first_of(running)
            if batch:
                running.add(asyncio.ensure_future(work(batch)))
            while running:
                await _first_of(running)
        except BaseException:
            await _end_of(running)
            raise
        if damaged is not None:
            raise damaged

    async def read(
        self, storage: StorageAdapter[T], keys: Collection[str]
    ) -> tuple[dict[str, T], dict[str, StorageError]]:
        """Return the values of those `keys` that exist, and why others could not be read."""
        if len(keys) > 1 and isinstance(storage, Batch):
            try:
                return await storage.read_many(keys), {}
            except ENDS_READING:
                raise
            except StorageError:
                pass  # of one of them: find out of which
        values: dict[str, T] = {}
        errors: dict[str, StorageError] = {}

        async def read_one(key: str) -> None:
            try:
                value = await storage.read(key)
            except ENDS_READING:
                raise
            except StorageError as error:
                errors[key] = error
            else:
                if value is not None:
                    values[key] = value

        if len(keys) == 1:  # perhaps of a call that has its turn already, and would wait for itself
            await read_one(*keys)
        else:
            await self.singly(read_one, keys)
        return values, errors

    async def singly(self, call: Callable[[K], Coroutine[Any, Any, None]], items: Iterable[K]) -> None:
        """Await a call for each item, not too many at once."""

        async def in_turn(item: K) -> None:
            async with self._singles:
                await call(item)

        await together(in_turn(item) for item in items)


def listed(storage: StorageAdapter[Any]) -> Listing:
    """Return a storage as one that lists its keys.

    Raises:
        ConfigurationError: it cannot.
    """
    if not isinstance(storage, Listing):
        raise ConfigurationError(f"{storage!r} cannot list its keys")
    return storage


async def _first_of(running: set[asyncio.Task[None]]) -> None:
    """Wait until one of the tasks ends, take it out, and raise what it raised."""
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    running -= done
    for error in [task.exception() for task in done]:
        if error is not None:
            raise error


async def _end_of(running: set[asyncio.Task[None]]) -> None:
    """Wait for all tasks; what went wrong first is known by now."""
    try:
        if running:
            await asyncio.wait(running)
    except asyncio.CancelledError:
        for task in running:
            task.cancel()
        raise
    finally:
        await asyncio.gather(*running, return_exceptions=True)
