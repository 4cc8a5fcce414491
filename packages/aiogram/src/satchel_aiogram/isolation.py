"""One event of a user in a chat at a time, in all processes of a bot."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from aiogram.fsm.storage.base import BaseEventIsolation, StorageKey

from satchel import LeaseLock, StorageAdapter
from satchel.sessions import asynchronous
from satchel_aiogram.storage import key_of


class EventIsolation(BaseEventIsolation):
    """Locks a dispatcher's events with leases: `Dispatcher(events_isolation=EventIsolation(storage), …)`.

    What a handler reads of the state was read after the lock was taken, so a handler that reads, thinks and writes is
    safe. When the process of a holder dies, the others go on after `duration`.

    Args:
        storage: a versioned storage of JSON objects, the one of the states or another.
        duration: how long a lease outlives a process that died; it is renewed for as long as a handler runs.
        timeout: how long an event waits for those before it, then aiogram logs a `LockTimeoutError` and drops it.
        prefix: as that of the `FSMStorage`.
        with_bot_id: as that of the `FSMStorage`.

    Raises:
        ConfigurationError: the storage has no versions, or is a blocking one, or a duration is not positive.
    """

    def __init__(
        self,
        storage: StorageAdapter[Any],
        *,
        duration: timedelta = timedelta(seconds=15),
        timeout: timedelta = timedelta(seconds=30),
        prefix: str = "aiogram",
        with_bot_id: bool = True,
    ) -> None:
        self._leases = LeaseLock(asynchronous(storage), duration=duration, timeout=timeout)
        self._prefix = prefix
        self._with_bot_id = with_bot_id

    @asynccontextmanager
    async def lock(self, key: StorageKey) -> AsyncGenerator[None, None]:
        """Hold the lease of a key for the length of a block.

        Raises:
            LockTimeoutError: others kept it for longer than `timeout`.
            SessionAlreadyOpenError: the task that handles an event of this key feeds another one, and awaits it.
        """
        async with self._leases.hold(key_of(key, self._prefix, with_bot_id=self._with_bot_id)):
            yield

    async def close(self) -> None:
        """Do nothing: a storage is closed by who opened it, and leases end with their blocks."""
