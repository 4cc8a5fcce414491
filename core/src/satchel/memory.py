"""Sessions in the memory of this process: for tests, for development, and where forgetting on restart is fine."""

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Self, Unpack

from satchel.adapter import ANY, EncodedStorage, Expected, Payload, StorageOptions
from satchel.capabilities import Capabilities
from satchel.storage import V
from satchel.threads import positive
from satchel.urls import StorageURL


class MemoryStorage(EncodedStorage[V]):
    """One dict of encoded values: nothing in it is shared with the objects that were written or read.

    Args:
        max_size: the most records to keep; over that, the one that was not used for longest goes. None: no limit.
        options: see `StorageOptions`.
    """

    capabilities = Capabilities(
        versioned=True,
        conditional_delete=True,
        expiring=True,
        ttl_resolution=timedelta(milliseconds=1),
        listing=True,
        batch=True,
        atomic_batch=True,
        transactional=True,
        versioned_batch=True,
    )
    local = True

    def __init__(self, *, max_size: int | None = None, **options: Unpack[StorageOptions[V]]) -> None:
        super().__init__(where="memory://", **options)
        self._max_size = None if max_size is None else positive("max_size", max_size)
        self._records: OrderedDict[str, tuple[Payload, float | None]] = OrderedDict()  # least recently used first

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open `memory://?max_size=1000&ttl=30m`."""
        parsed = StorageURL(url)
        max_size = parsed.take("max_size", int)
        return cls(max_size=max_size, **parsed.options(options))

    async def get(self, name: str) -> Payload | None:
        """Return the payload."""
        return self._alive(name)

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """Store the payload."""
        if expected is not ANY and not self._is_at(name, expected):
            return None
        self._records[name] = (payload, self._end())
        self._records.move_to_end(name)
        self._make_room()
        return self.version_of(payload) if expected is not ANY else ""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """Remove the record."""
        if expected is not ANY and not self._is_at(name, expected):
            return False
        self._records.pop(name, None)
        return True

    async def renew(self, name: str) -> bool:
        """Start the lifetime anew."""
        payload = self._alive(name)
        if payload is not None:
            self._records[name] = (payload, self._end())
            self._records.move_to_end(name)
        return payload is not None

    async def purge(self) -> int:
        """Remove the expired records."""
        now = time.monotonic()
        dead = [name for name, (_, end) in self._records.items() if end is not None and end <= now]
        for name in dead:
            del self._records[name]
        return len(dead)

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """List the names, as they are at this moment."""
        yield [name for name in self._living() if name.startswith(prefix)]

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """Return the payloads."""
        return {name: payload for name in names if (payload := self._alive(name)) is not None}

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        """Store the payloads."""
        for name, payload in payloads.items():
            await self.put(name, payload)

    async def drop_many(self, names: Sequence[str]) -> None:
        """Remove the records."""
        for name in names:
            self._records.pop(name, None)

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        """Store and remove them all, if all are as expected."""
        if not all(self._is_at(name, expected) for name, (_, expected) in changes.items()):
            return None
        for name, (payload, _) in changes.items():
            await (self.drop(name) if payload is None else self.put(name, payload))
        return {name: self.version_of(payload) for name, (payload, _) in changes.items() if payload is not None}

    def _alive(self, name: str) -> Payload | None:
        record = self._records.get(name)
        if record is None:
            return None
        payload, end = record
        if end is not None and end <= time.monotonic():
            del self._records[name]
            return None
        if self._max_size is not None:
            self._records.move_to_end(name)
        return payload

    def _is_at(self, name: str, expected: str | None) -> bool:
        payload = self._alive(name)
        return (None if payload is None else self.version_of(payload)) == expected

    def _end(self) -> float | None:
        return None if self.ttl_ms is None else time.monotonic() + self.ttl_ms / 1000

    def _living(self) -> Iterator[str]:
        now = time.monotonic()
        return (name for name, (_, end) in self._records.items() if end is None or end > now)

    def _make_room(self) -> None:
        """Forget records from the oldest on: those that have expired, and those that are too many."""
        now = time.monotonic()
        while self._records:
            name, (_, end) = next(iter(self._records.items()))
            too_many = self._max_size is not None and len(self._records) > self._max_size
            if not too_many and (end is None or end > now):
                return
            del self._records[name]
