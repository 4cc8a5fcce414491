"""A lock across processes, kept as a lease in any versioned storage."""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from hashlib import sha256
from typing import Any

from satchel.adapter import milliseconds
from satchel.errors import (
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    LeaseLostError,
    LockTimeoutError,
    StorageError,
)
from satchel.keys import LEASE, MAX_KEY_BYTES, show
from satchel.locks import KeyedLock
from satchel.storage import Record, StorageAdapter, Versioned

logger = logging.getLogger("satchel")

_SHORTEST_WAIT, _LONGEST_WAIT = 0.002, 0.05  # seconds between two looks at a lease that another process holds


class LeaseLock:
    """Lets one task of all processes at a time work on a key: `Sessions(storage, lock=LeaseLock(storage))`.

    The lease of `key` is the record `lease:key`, so give it a storage with a namespace of its own if keys are listed.
    While its block runs, the holder renews it; when the holder dies, the others see it unchanged for its whole duration
    and take it over. For that no clocks are compared. Waiters look again every 2 to 50 ms, in no order.

        async with LeaseLock(storage).hold("report") as lease:
            await printer.print(page, fence=lease.token)  # which refuses a token smaller than one that it has seen

    Args:
        storage: a versioned storage of JSON objects.
        duration: how long a lease outlives a holder that died.
        timeout: how long to wait for others before `LockTimeoutError`; more than `duration`, to outwait a dead one.
    """

    def __init__(
        self,
        storage: StorageAdapter[Any],
        *,
        duration: timedelta = timedelta(seconds=15),
        timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        if not isinstance(storage, Versioned):
            raise ConfigurationError(f"a lease needs a versioned storage, which {storage!r} is not")
        self._storage: Versioned[Any] = storage
        self._duration = milliseconds("duration", duration) / 1000
        ttl = getattr(storage, "ttl", None)
        if isinstance(ttl, timedelta) and ttl <= duration:
            raise ConfigurationError(f"a lease of {duration} would not last in {storage!r}, whose ttl is {ttl}")
        self._seconds = milliseconds("timeout", timeout) / 1000
        self._local = KeyedLock(timeout=timeout)  # tasks of this process queue here: one of them at a time polls

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator["Lease"]:
        """Hold the lock of `key` for the length of a block."""
        async with self._local.hold(key):
            lease = await self._acquire(key)
            renewing = asyncio.create_task(lease.keep())
            try:
                yield lease
            finally:
                renewing.cancel()
                await asyncio.wait([renewing])
                await lease.release()

    async def _acquire(self, key: str) -> "Lease":
        lease = Lease(self._storage, key, self._duration)
        deadline = time.monotonic() + self._seconds
        wait = _SHORTEST_WAIT
        seen: str | None = None
        since = 0.0
        while True:
            record = await self._storage.read_versioned(lease.name)
            now = time.monotonic()
            if record is None or record.version != seen:
                seen, since = record and record.version, now
            if record is None or now - since >= _duration_of(record, lease.name):
                try:
                    await lease.take(record)
                except ConflictError:
                    pass
                except BaseException:
                    await lease.abandon()
                    raise
                else:
                    return lease
            if now >= deadline:
                raise LockTimeoutError(f"session {show(key)} was leased to another process for {self._seconds:g} s")
            await asyncio.sleep(random.uniform(_SHORTEST_WAIT, wait))
            wait = min(wait * 1.5, _LONGEST_WAIT)


class Lease:
    """One holder's lease of one key.

    Attributes:
        token: the fencing token, for whatever the block changes outside of Satchel: each holder's is greater than those
            of the holders before. (The next after a release takes it from its clock, so to be wrong about a holder
            that lost its lease, clocks would have to be further apart than the lease was long.) What Sessions write is
            fenced by versions, and needs none.
    """

    def __init__(self, storage: Versioned[Any], key: str, duration: float) -> None:
        self.name = _lease_name(key, storage)
        self._key = key
        self._storage = storage
        self._duration = duration
        self._owner = secrets.token_hex(8)
        self.token = 0
        self._renewals = -1
        self._version: str | None = None
        self._until = 0.0

    async def take(self, record: Record[Any] | None) -> None:
        """Take the lease over from a dead holder, or from none; ConflictError if another was faster."""
        self.token = max(time.time_ns() // 1000, 0 if record is None else (_field(record, "token") or 0) + 1)
        await self.write(record and record.version)

    async def write(self, expected: str | None) -> None:
        """Take or renew the lease; ConflictError if it is not at the version expected."""
        start = time.monotonic()
        value = {
            "owner": self._owner,
            "token": self.token,
            "seconds": self._duration,
            "renewals": self._renewals + 1,
        }
        try:
            self._version = await self._storage.write_versioned(self.name, value, expected)
        except ConflictError:
            record = None if self._version is None else await self._storage.read_versioned(self.name)
            if record is None or record.version == expected or _field(record, "owner") != self._owner:
                raise
            # An earlier renewal has arrived although its answer had not. From when on it counts is not known.
            self._version, self._renewals = record.version, _field(record, "renewals")
            await self.write(record.version)
            return
        self._renewals += 1
        self._until = start + self._duration

    async def keep(self) -> None:
        """Renew the lease until cancelled, or lost."""
        warned = False
        while True:
            await asyncio.sleep(self._duration / 3)
            try:
                await self.write(self._version)
            except ConflictError:
                self._until = 0.0
                return
            except StorageError as error:
                if not warned:
                    logger.warning("the lease of session %s could not be renewed yet: %s", show(self._key), error)
                warned = True
            else:
                warned = False

    async def release(self) -> None:
        """Let others in at once. Whatever goes wrong here ends with the lease, so it is only logged."""
        if self._version is None:
            return
        try:
            await self._storage.delete_versioned(self.name, self._version)
        except ConflictError:
            if not await self.abandon():
                logger.warning("the lease of session %s was lost before its block ended", show(self._key))
        except StorageError as error:
            logger.warning("the lease of session %s ends only by itself: %s", show(self._key), error)

    async def abandon(self) -> bool:
        """Remove what a write has left whose answer was not heard, if it has; tell whether there is such a record."""
        with suppress(StorageError):
            record = await self._storage.read_versioned(self.name)
            if record is not None and _field(record, "owner") == self._owner:
                with suppress(StorageError):
                    await self._storage.delete_versioned(self.name, record.version)
                return True
        return False

    def ensure(self) -> None:
        """Return if the lease is held still.

        Raises:
            LeaseLostError: it is not; somebody else may hold it by now.
        """
        if time.monotonic() >= self._until:
            raise LeaseLostError(f"the lease of session {show(self._key)} was lost before its block ended")


def _lease_name(key: str, storage: object) -> str:
    name, capabilities = LEASE + key, getattr(storage, "capabilities", None)
    longest = getattr(capabilities, "max_key_bytes", MAX_KEY_BYTES)
    return name if len(name.encode()) <= longest else LEASE + sha256(key.encode()).hexdigest()


def _field(record: Record[Any], name: str) -> Any:
    return record.value.get(name) if isinstance(record.value, dict) else None


def _duration_of(record: Record[Any], name: str) -> float:
    seconds = _field(record, "seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise CorruptValueError(f"{show(name)} is not a lease")
    return float(seconds)
