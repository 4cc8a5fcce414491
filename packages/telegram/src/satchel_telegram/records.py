"""Records that several processes work on: what each last saw of them, and what is still to be saved."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from satchel import (
    Batch,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    KeyedLock,
    Listing,
    Session,
    Sessions,
    StorageAdapter,
    StorageUnavailableError,
    UnsupportedValueError,
    ValueTooLargeError,
)
from satchel.envelope import Envelope
from satchel.keys import show, unescape
from satchel_telegram.tracking import Fields, fields_of, merged, refreshed

Data = dict[Any, Any]

_PAGE: Final = 100  # records that are read at once


class Records:
    """The records of an application.

    Saving is queued by key: only the newest data of a record is written, and what could not be is tried again.
    """

    def __init__(self, storage: StorageAdapter[Any]) -> None:
        self._storage = storage
        self._sessions: Sessions[Any] = Sessions(storage, initial=dict, lock=False)
        self._locks = KeyedLock()
        self._seen: dict[str, Fields] = {}  # what was in a record when the application's data was last like it
        self._unsaved: dict[str, Callable[[], Awaitable[None]]] = {}
        self._failed: set[str] = set()  # those of them that nobody is about to write

    @property
    def listing(self) -> Listing:
        """The storage, as one that lists its keys.

        Raises:
            ConfigurationError: it is none.
        """
        if not isinstance(self._storage, Listing):
            raise ConfigurationError(
                f"{self._storage!r} cannot list its keys: it takes lazy=True, and no persistent ConversationHandler"
            )
        return self._storage

    async def load(self, key: str) -> Data | None:
        """Return a record for the application to work on, or None."""
        record = await self._sessions.read(key)
        return None if record is None else self.met(key, record)

    def met(self, key: str, record: Any) -> Data:
        """Take note that the application has a record that was read.

        Raises:
            CorruptValueError: it is no object.
        """
        known = _known(key, record)
        self._seen[key] = fields_of(known)
        return known

    async def refresh(self, key: str, live: Data) -> None:
        """Bring what others have saved into the application's data, but where that has changes of its own."""
        async with self._locks.hold(key):
            theirs = _known(key, await self._sessions.read(key) or {})
            self._seen[key] = refreshed(self._seen.get(key, {}), live, theirs)

    async def save(self, key: str, data: Data, *, report: bool = True) -> None:
        """Save the application's data, if it changed, on top of what others have saved.

        Raises:
            UnsupportedValueError: it is no dict of JSON.
            ConflictError: a field was changed by others too, differently, and stays as they wrote it.
        """
        with _naming(key):
            fields = fields_of(data)

        async def write() -> None:
            await self._merge(key, data, fields, report=report)

        await self._queue(key, write)

    async def put(self, key: str, value: Any) -> None:
        """Write a record over whatever is there, or delete it for None."""

        async def write() -> None:
            await (self._storage.delete(key) if value is None else self._storage.write(key, value))
            self._seen.pop(key, None)

        await self._queue(key, write)

    async def flush(self) -> None:
        """Save what could not be saved before."""
        for key in list(self._failed):
            await self._write(key)

    async def list(self, start: str) -> dict[str, Any]:
        """Return all records whose keys start like this, by what follows in the key."""
        keys = [key async for key in self.listing.keys(start)]
        found: dict[str, Any] = {}
        for first in range(0, len(keys), _PAGE):
            page = keys[first : first + _PAGE]
            if isinstance(self._storage, Batch):
                read = await self._storage.read_many(page)
            else:
                read = {key: record for key in page if (record := await self._storage.read(key)) is not None}
            found |= {unescape(key.removeprefix(start)): Envelope.opened(record).data for key, record in read.items()}
        return found

    async def _queue(self, key: str, write: Callable[[], Awaitable[None]]) -> None:
        self._unsaved[key] = write  # in place of an older one
        await self._write(key)
        await self.flush()

    async def _write(self, key: str) -> None:
        async with self._locks.hold(key):
            write = self._unsaved.pop(key, None)
            self._failed.discard(key)
            if write is None:
                return  # another task has written it
            try:
                with _naming(key):
                    await write()
            except (StorageUnavailableError, asyncio.CancelledError):
                self._unsaved.setdefault(key, write)
                self._failed.add(key)
                raise

    async def _merge(self, key: str, data: Data, fields: Fields, *, report: bool) -> None:
        seen = self._seen.get(key, {})
        if fields == seen:
            return

        def change(session: Session[Any]) -> list[str]:
            record, lost = merged(seen, data, _known(key, session.data))
            session.data = record or None
            return lost

        lost = await self._sessions.update(key, change)
        # Of what others wrote, the application has seen nothing: that comes with the next refresh.
        self._seen[key] = fields
        if lost and report:
            names = ", ".join(map(ascii, lost))
            raise ConflictError(f"{show(key)} was changed by somebody else in the same field: {names}")


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Note in the error of a value that is refused whose it is, as a storage does of what gets as far as there."""
    try:
        yield
    except (UnsupportedValueError, ValueTooLargeError) as error:
        name = show(key)
        if not any(name in text for text in (str(error), *getattr(error, "__notes__", ()))):
            error.add_note(f"in the value for {name}")
        raise


def _known(key: str, record: Any) -> Data:
    if not isinstance(record, dict):
        raise CorruptValueError(f"{show(key)} holds no data of python-telegram-bot: an object")
    return record
