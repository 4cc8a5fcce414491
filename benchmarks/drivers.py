"""What Satchel's storages cost over the drivers used directly: reading, writing, and writing at a version."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

from benchmarks.measuring import Contender, compare, figures, in_tasks
from benchmarks.places import PLACES, Place
from benchmarks.report import Setting, Table, session_of
from benchmarks.stores import Driver
from satchel import Storage

NOTE = (
    "The ratios are to the driver that is used directly (a thread included, where it has no asyncio); of a write at a "
    "version, to Satchel's plain write."
)


def answer(setting: Setting) -> Iterator[Table]:
    """Measure each backend."""
    for name, place in PLACES.items():
        if setting.wants(name):
            with ExitStack() as stack:
                url = stack.enter_context(place.server.server()) if place.server else ""
                yield Table("drivers", f"{name}: against the driver", _rows(place, url, setting), NOTE)


def _rows(place: Place, url: str, setting: Setting) -> list[dict[str, Any]]:
    rows = []
    with asyncio.Runner() as loop:
        opened = place.opened(url)
        driver, storage = loop.run(opened.__aenter__())
        try:
            for size, workers in _cells(place, setting):
                contenders = list(_contenders(loop, driver, storage, size, workers))
                measured = compare(contenders, workers, setting.rounds, setting.seconds)
                rows += figures(contenders, measured, bytes=size)
        finally:
            loop.run(opened.__aexit__(None, None, None))
    return rows


def _cells(place: Place, setting: Setting) -> list[tuple[int, int]]:
    """Return sizes and numbers of workers: every size with one worker, every number with the smallest size."""
    sizes = [(size, 1) for size in setting.sizes]
    return sizes + [(setting.sizes[0], workers) for workers in setting.workers if 1 < workers <= place.most]


def _contenders(
    loop: asyncio.Runner, driver: Driver, storage: Storage[Any], size: int, most: int
) -> Iterator[Contender]:
    """Return five contenders, whose workers change what they write each time."""
    versioned: Any = storage
    keys = [f"chat:{size}:{number}" for number in range(most)]
    values = [session_of(size) for _ in keys]
    versions: dict[int, str] = {}

    async def fill() -> None:
        for key, value in zip(keys, values, strict=True):
            await driver.write(key, value)
            await storage.write(key, value)

    def writing(write: Callable[[str, Any], Awaitable[Any]]) -> Callable[[int], Awaitable[Any]]:
        def turn(number: int) -> Awaitable[Any]:
            values[number]["n"] += 1
            return write(keys[number], values[number])

        return turn

    async def at_a_version(number: int) -> None:
        values[number]["n"] += 1
        key = f"{keys[number]}:versioned"
        versions[number] = await versioned.write_versioned(key, values[number], versions.get(number))

    loop.run(fill())
    for number, key in enumerate(keys):
        if (record := loop.run(versioned.read_versioned(f"{key}:versioned"))) is not None:
            versions[number] = record.version
    yield Contender(f"{driver.name}: read", in_tasks(loop, lambda number: driver.read(keys[number])))
    yield Contender("read", in_tasks(loop, lambda number: storage.read(keys[number])))
    its_write = f"{driver.name}: write"
    yield Contender(its_write, in_tasks(loop, writing(driver.write)), its_write)
    yield Contender("write", in_tasks(loop, writing(storage.write)), its_write)
    yield Contender("write at a version", in_tasks(loop, at_a_version), "write")
