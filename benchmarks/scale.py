"""What grows with the number of sessions and with their size: memory, and the time that calls take."""

import asyncio
import json
import os
import random
import resource
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from itertools import repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.beside import BESIDE, TTL, Beside
from benchmarks.places import PLACES
from benchmarks.report import Setting, Table, session_of
from satchel import Batch, MemoryStorage, open_storage
from satchel.upkeep import copy

MOST: Final = {
    "memory": 1_000_000,
    "sqlite": 1_000_000,
    "file": 100_000,
    "redis": 1_000_000,
    "postgres": 1_000_000,
    "mongodb": 1_000_000,
    "dynamodb": 10_000,  # of services, what stands in for them, which is no faster with more
    "s3": 10_000,
    "firestore": 10_000,
    "supabase": 100_000,
}
QUICK: Final = 1000
SIZES: Final = (400, 4_000, 40_000, 350_000)  # the last is near what DynamoDB takes
OF_EACH_SIZE: Final = 100
BATCH: Final = 1000
MOST_AT_ONCE: Final = 4_000_000  # bytes in one batch
SAMPLE: Final = 1000
LISTED: Final = 100_000  # keys in all, by which it is known how long listing takes
NOTE: Final = (
    "Sessions of 400 bytes, with a lifetime. Filling is by `write_many`, a thousand at a time, or else 16 writes at "
    "once. Reading and writing is one at a time, of a random session, and listing of all, in turns with the driver on "
    "the same records; medians. Memory is what the process grew by, at its largest. Purging looks for what has expired "
    "where nothing has. Copying is into memory, and compares each."
)
NOTE_ON_SIZES: Final = f"As above, but {OF_EACH_SIZE} sessions, of different sizes."


def answer(setting: Setting) -> Iterator[Table]:
    """Measure, from a thousand sessions on, and from 400 bytes on."""
    by_number, by_size = [], []
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        for name, most in MOST.items():
            if not setting.wants(name):
                continue
            server = PLACES[name].server
            url = stack.enter_context(server.server()) if server else f"{name}://"
            number = 1000
            while number <= (QUICK if setting.quick else most):
                by_number.append({"": name, **_in_a_process(_apart(url, folder), number, setting.sizes[0])})
                number *= 10
            for size in SIZES[:1] if setting.quick else SIZES:
                measured = _in_a_process(_apart(url, folder), OF_EACH_SIZE, size)
                by_size.append({"": name, "bytes": size, **measured})
    yield Table("scale", "Cost of scale", by_number, NOTE)
    yield Table("scale", "Cost of size", by_size, NOTE_ON_SIZES)


def _apart(url: str, folder: str) -> str:
    """Return the URL of a place for one measurement."""
    own = secrets.token_hex(4)
    if url.startswith("sqlite"):
        return f"sqlite:///{folder}/{own}.db?synchronous=NORMAL"
    if url.startswith("file"):
        Path(folder, own).mkdir()
        return f"file:///{folder}/{own}"
    if url.startswith("memory"):
        return url
    return f"{url}{'&' if '?' in url else '?'}namespace=b{own}"


def _in_a_process(url: str, number: int, size: int) -> dict[str, Any]:
    print(f"scale: {number:,} sessions of {size:,} bytes in {url.partition(':')[0]}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.scale", url, str(number), str(size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


async def _measured(url: str, number: int, size: int) -> dict[str, Any]:
    at_once = max(1, min(BATCH, MOST_AT_ONCE // size))
    keys = [f"chat:{n}" for n in range(number)]
    storage: Any = open_storage(url, ttl=TTL)
    async with storage, _emptied(storage, keys):
        await storage.write("chat:0", session_of(size))
        before = _megabytes()
        began = perf_counter()
        for start in range(0, number, at_once):
            some = range(start, min(start + at_once, number))
            await _write(storage, {keys[n]: session_of(size) | {"n": n} for n in some})
        filled = perf_counter() - began
        grown = _megabytes() - before
        some_keys = random.choices(keys, k=min(SAMPLE, number * 3))
        reads, writes, lists = await _compared(url, storage, some_keys, number, size)
        purging, copying = await _purged(storage), await _copied(storage, number)
    return {
        "sessions": number,
        "memory MB": round(grown, 1),
        "fill, µs each": round(filled / number * 1e6, 1),
        "read µs": round(reads[0] * 1e6, 1),
        "÷ driver's read": _ratio(*reads),
        "write µs": round(writes[0] * 1e6, 1),
        "÷ driver's write": _ratio(*writes),
        "list, µs each": round(lists[0] / number * 1e6, 2),
        "÷ driver's list": _ratio(*lists),
        "purge ms": "–" if purging is None else round(purging * 1e3, 2),
        "copy, µs each": round(copying / number * 1e6, 1),
    }


async def _compared(url: str, storage: Any, keys: list[str], number: int, size: int) -> list[list[float]]:
    """Return the median seconds of reads, writes and listings: the storage's and, if it is measured, the driver's."""
    async with AsyncExitStack() as stack:
        contenders: list[tuple[Any, str]] = [(storage, "")]
        if (opened := BESIDE.get(urlsplit(url).scheme)) is not None:
            driver = await stack.enter_async_context(opened(url))
            contenders.append((driver, f"{storage.namespace}:"))
        rounds = max(1, min(5, LISTED // number))
        reads = (_reading(key) for key in keys)
        writes = (_writing(key, session_of(size) | {"n": -count}) for count, key in enumerate(keys))
        lists = repeat(lambda each, before: _list(each, f"{before}chat:", number), rounds)
        return [await _in_turns(contenders, calls) for calls in (reads, writes, lists)]


def _reading(key: str) -> Callable[[Any, str], Awaitable[Any]]:
    return lambda each, before: each.read(before + key)


def _writing(key: str, value: Any) -> Callable[[Any, str], Awaitable[Any]]:
    return lambda each, before: each.write(before + key, value)


async def _in_turns(
    contenders: list[tuple[Any, str]], calls: Iterable[Callable[[Any, str], Awaitable[Any]]]
) -> list[float]:
    """Return the median seconds that each contender takes for the calls."""
    taken: list[list[float]] = [[] for _ in contenders]
    for call in calls:
        for contender, seconds in zip(contenders, taken, strict=True):
            began = perf_counter()
            await call(*contender)
            seconds.append(perf_counter() - began)
    return [median(seconds) for seconds in taken]


async def _list(contender: Any, start: str, number: int) -> None:
    if isinstance(contender, Beside):
        listed = await contender.names(start)
    else:
        listed = [key async for key in contender.keys(start)]
    if len(listed) != number:
        raise AssertionError(f"{len(listed)} of {number} keys are listed")


def _ratio(ours: float, driver: float | None = None) -> str:
    return "–" if driver is None else f"{ours / driver:.2f}"


async def _write(storage: Any, values: dict[str, Any]) -> None:
    if isinstance(storage, Batch):
        await storage.write_many(values)
    else:
        await _at_once(lambda key: storage.write(key, values[key]), values)


@asynccontextmanager
async def _emptied(storage: Any, keys: list[str]) -> AsyncIterator[None]:
    """Leave nothing behind on a server of one's own; a container is removed anyway."""
    yield
    if not any(name.startswith("SATCHEL_TEST_") and name.endswith("_URL") for name in os.environ):
        return
    for start in range(0, len(keys), BATCH):
        if isinstance(storage, Batch):
            await storage.delete_many(keys[start : start + BATCH])
        else:
            await _at_once(storage.delete, keys[start : start + BATCH])


async def _at_once(call: Callable[[str], Awaitable[Any]], keys: Iterable[str]) -> None:
    left = iter(keys)

    async def work() -> None:
        for key in left:
            await call(key)

    await asyncio.gather(*(work() for _ in range(16)))


async def _purged(storage: Any) -> float | None:
    """Return the seconds that a purge takes, or None where there is none."""
    if not storage.capabilities.expiring or not hasattr(storage, "purge_expired"):
        return None
    began = perf_counter()
    await storage.purge_expired()
    return perf_counter() - began


async def _copied(storage: Any, number: int) -> float:
    """Return the seconds that copying all of it into memory takes."""
    async with MemoryStorage() as target:
        began = perf_counter()
        summary = await copy(storage, target, prefix="chat:")
        seconds = perf_counter() - began
    if summary.done != number:
        raise AssertionError(f"{summary.done} of {number} sessions are copied")
    return seconds


def _megabytes() -> float:
    """Return the most memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, ru_maxrss begins with what the process that started this one has had
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes, on macOS


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measured(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
