"""A bot's load: tasks that update a few sessions, all through one storage object, and keep accounts."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from conformance.chaos.account import Account
from satchel import ConflictError, Session, Sessions, StorageAdapter, StorageUnavailableError

KEYS: Final = tuple(f"chat:{number}" for number in range(4))
TASKS: Final = 8
TYPED: Final = (StorageUnavailableError, ConflictError)
"""What an update may raise while a server is away."""

_PAUSE: Final = 0.004  # seconds between two updates of a task


class Event(NamedTuple):
    """The end of one update.

    Attributes:
        at: when, in seconds of the monotonic clock.
        key: of which session.
        error: the name of what it raised; "" if it was acknowledged.
    """

    at: float
    key: str
    error: str


class Load:
    """Tasks that update sessions until they are told to stop.

    Each writes a growing number into a field of its own, next to those of the others, and counts the update, so that an
    update which overwrites another is seen, too. No lock keeps them apart, only the storage's versions.

    Attributes:
        events: every update that ended, in order.
        slowest: the longest that an update took, in seconds.
        untyped: what was raised besides `TYPED`, in words, and how often.
    """

    def __init__(self, storage: StorageAdapter[Any], keys: Sequence[str] = KEYS, tasks: int = TASKS) -> None:
        self._storage = storage
        self._sessions = Sessions(storage, initial=lambda: {"updates": 0}, lock=False)
        self._keys = keys
        self._accounts: defaultdict[tuple[str, str], Account] = defaultdict(Account)
        self._running = True
        self._tasks = [asyncio.create_task(self._run(f"task {number}")) for number in range(tasks)]
        self.events: list[Event] = []
        self.slowest = 0.0
        self.untyped: Counter[str] = Counter()

    async def stop(self) -> None:
        """End the tasks, each after the update that it is at."""
        self._running = False
        await asyncio.gather(*self._tasks)

    async def settle(self) -> list[str]:
        """Compare what is stored with the accounts, and return what is wrong, in words."""
        wrong = []
        for key in self._keys:
            accounts = {name: account for (name, of), account in self._accounts.items() if of == key}
            stored = await self._storage.read(key) or {"updates": 0}
            for name, account in accounts.items():
                account.found(stored.get(name, 0))
            asked = sum(account.asked for account in accounts.values())
            kept = sum(len(account.acknowledged) for account in accounts.values())
            if not kept <= stored["updates"] <= asked:
                wrong.append(f"{key} counts {stored['updates']} updates, of {kept} acknowledged and {asked} asked for")
        if self.lost:
            wrong.append(f"{self.lost} acknowledged updates were lost")
        if unasked := sum(account.unasked for account in self._accounts.values()):
            wrong.append(f"{unasked} times a session held what nobody had written")
        wrong += [f"raised {times} times: {what}" for what, times in self.untyped.items()]
        return wrong

    @property
    def acknowledged(self) -> int:
        """How many updates were."""
        return sum(not event.error for event in self.events)

    @property
    def lost(self) -> int:
        """How many updates were acknowledged, and were not there afterwards."""
        return sum(account.lost for account in self._accounts.values())

    async def _run(self, name: str) -> None:
        while self._running:
            key = random.choice(self._keys)
            began = time.monotonic()
            error = await self._update(name, key)
            ended = time.monotonic()
            self.slowest = max(self.slowest, ended - began)
            self.events.append(Event(ended, key, error))
            await asyncio.sleep(_PAUSE)

    async def _update(self, name: str, key: str) -> str:
        """Update a session once; return the name of the error that it raised, or ""."""
        account = self._accounts[name, key]
        number, found = account.ask(), 0

        def change(session: Session[Any]) -> None:
            nonlocal found
            found = session.data.get(name, 0)
            session.data[name] = number
            session.data["updates"] += 1

        try:
            await self._sessions.update(key, change)
        except Exception as error:  # noqa: BLE001
            account.doubt(number, found)
            if not isinstance(error, TYPED):
                self.untyped[f"{type(error).__name__}: {error}, caused by {error.__cause__!r}"] += 1
            return type(error).__name__
        account.acknowledge(number, found)
        return ""
