"""How long the event loop is kept from a heartbeat while 256 tasks use each storage, and the driver beside it."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Iterator
from time import perf_counter
from typing import Any, Final

from benchmarks.places import PLACES, Place
from benchmarks.report import Setting, Table, session_of

TASKS: Final = 256
BEAT: Final = 0.001
NOTE: Final = (
    f"A heartbeat wants to run every {BEAT * 1e3:g} ms beside {TASKS} tasks that read and write sessions of 400 bytes. "
    "What it is late by is no call that blocks: while all these tasks are ready, each has its turn first. So look at "
    "the driver's."
)


def answer(setting: Setting) -> Iterator[Table]:
    """Measure each backend, and its driver, in turns."""
    rows: list[dict[str, Any]] = []
    for name, place in PLACES.items():
        if setting.wants(name):
            if place.server is None:
                rows += asyncio.run(_rows(name, place, "", setting))
            else:
                with place.server.server() as url:
                    rows += asyncio.run(_rows(name, place, url, setting))
    yield Table("stalls", f"Lateness of a heartbeat beside {TASKS} tasks", rows, NOTE)


async def _rows(name: str, place: Place, url: str, setting: Setting) -> list[dict[str, Any]]:
    async with place.opened(url) as (driver, storage):
        values = [session_of(400) for _ in range(TASKS)]

        def turn(read: Callable[[str], Awaitable[Any]], write: Callable[[str, Any], Awaitable[Any]]) -> Any:
            async def one(number: int) -> None:
                values[number]["n"] += 1
                await write(f"chat:{number}", values[number])
                await read(f"chat:{number}")
                await asyncio.sleep(0)  # in memory nothing else lets others in

            return one

        contenders = {driver.name: turn(driver.read, driver.write), "Satchel": turn(storage.read, storage.write)}
        late: dict[str, list[float]] = {which: [] for which in contenders}
        longest: dict[str, list[float]] = {which: [] for which in contenders}
        for _ in range(setting.rounds):
            for which, work in contenders.items():
                beats = await _beside(work, 5 * setting.seconds)
                late[which] += beats
                longest[which].append(max(beats))
    return [
        {
            "": f"{name}: {which}",
            "late, p50 ms": round(statistics.median(late[which]) * 1e3, 2),
            "longest of a round, median ms": round(statistics.median(longest[which]) * 1e3, 2),
            "longest ms": round(max(longest[which]) * 1e3, 2),
        }
        for which in contenders
    ]


async def _beside(work: Callable[[int], Awaitable[None]], seconds: float) -> list[float]:
    """Return how late each beat was."""
    await asyncio.gather(*map(work, range(TASKS)))  # connections are opened
    end = perf_counter() + seconds

    async def repeat(number: int) -> None:
        while perf_counter() < end:
            await work(number)

    tasks = [asyncio.create_task(repeat(number)) for number in range(TASKS)]
    beats: list[float] = []
    while perf_counter() < end or not beats:
        before = perf_counter()
        await asyncio.sleep(BEAT)
        beats.append(perf_counter() - before - BEAT)
    await asyncio.gather(*tasks)
    return beats
