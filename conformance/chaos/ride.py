"""One scenario: a load on a server, which is struck again and again."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final, Protocol

from conformance.chaos.figures import Figures, Outcome, all_updated_since, figures
from conformance.chaos.load import KEYS, Load
from satchel import open_storage

TIMEOUT: Final = timedelta(seconds=5)
"""Of each call of the storage."""

_WINDOW: Final = 1.5  # seconds, about, of a load that nothing disturbs, before each fault and after it
_PATIENCE: Final = 30.0  # seconds in which a server has to be back, and every session to be updated


Strike = Callable[[], Awaitable[object]]


class Target(Protocol):
    """A server that runs, and can be struck.

    Attributes:
        url: of a storage in it.
        faults: how to strike it, by what that is called.
    """

    url: str
    faults: Mapping[str, Strike]

    async def incarnation(self) -> object:
        """Return something that is another one after a fault, or None while the server is away."""

    async def mend(self) -> None:
        """Bring back what does not come back by itself, once another has taken its place."""


async def ride(name: str, target: Target, rounds: int) -> Outcome:
    """Put a server under load, strike it with each of its faults so many times, and compare all that was acknowledged.

    One storage object is used from the beginning to the end.
    """
    outcome = Outcome(name)
    async with open_storage(target.url, timeout=TIMEOUT) as storage:
        load = Load(storage)
        for fault, strike in [*target.faults.items()] * rounds:
            felt = await _strike(load, target, fault, strike)
            if felt is None:
                outcome.wrong.append(f"{fault}: {_PATIENCE:g} s later, not every session was updated again")
                break
            outcome.faults.append(felt)
        await load.stop()
        outcome.wrong += await load.settle()
    outcome.acknowledged, outcome.lost, outcome.slowest = load.acknowledged, load.lost, load.slowest
    return outcome


async def _strike(load: Load, target: Target, fault: str, strike: Strike) -> Figures | None:
    """Strike once; return the figures, or None if the load did not recover."""
    began = time.monotonic()
    await asyncio.sleep(random.uniform(_WINDOW, 1.5 * _WINDOW))
    before = await target.incarnation()
    struck = time.monotonic()
    await strike()
    try:
        async with asyncio.timeout(_PATIENCE):
            while await target.incarnation() in (None, before):
                await asyncio.sleep(0.05)
            await target.mend()
            back = time.monotonic()
            while not all_updated_since(load.events, len(KEYS), back):
                await asyncio.sleep(0.02)
    except TimeoutError:
        return None
    await asyncio.sleep(_WINDOW)
    return figures(fault, load.events, began, struck, time.monotonic())
