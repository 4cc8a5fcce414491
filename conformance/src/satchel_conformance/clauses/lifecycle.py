"""R10, R11, R13 and R14: opening, closing, and the event loop in between."""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from satchel import Change, ConfigurationError, Lifecycle, StorageClosedError, StorageError
from satchel_conformance.bench import Bench, Everything
from satchel_conformance.checks import NotApplicable, expect, expect_error, expect_same, outcome
from satchel_conformance.registry import clause

_LONGEST_STALL = 0.15  # seconds
_ATTEMPTS = 4  # a busy machine may stall a loop, but not every time


def need_lifecycle(storage: object) -> None:
    """Leave the clause out if the storage is one that cannot be opened and closed."""
    if not isinstance(storage, Lifecycle):
        raise NotApplicable("the storage has no setup() and aclose()")


@clause("R14-setup-repeats")
async def setup_repeats(bench: Bench) -> None:
    """setup() may be called again and again, and harms nothing that is stored."""
    need_lifecycle(bench.storage)
    await bench.storage.write("key", 1)
    for _ in range(3):
        await bench.storage.setup()
    expect_same(await bench.storage.read("key"), 1, "read after setup() was repeated")


@clause("R14-setup-concurrent", opened=False)
async def setup_concurrent(bench: Bench) -> None:
    """setup() may be called from many storages and tasks at once, on what is not set up yet."""
    need_lifecycle(bench.storage)
    storages = [await bench.make() for _ in range(6)]
    await asyncio.gather(*(storage.setup() for storage in storages for _ in range(2)))
    await asyncio.gather(*(storage.write(f"key:{i}", i) for i, storage in enumerate(storages)))
    for i, storage in enumerate(storages):
        expect_same(await storage.read(f"key:{i}"), i, "read after setup() in many places at once")


@clause("R14-first-use-concurrent", opened=False)
async def first_use(bench: Bench) -> None:
    """A storage works without setup(), also when many tasks use it first at the same time."""
    await asyncio.gather(*(bench.storage.write(f"key:{i}", i) for i in range(20)))
    found = await asyncio.gather(*(bench.storage.read(f"key:{i}") for i in range(20)))
    expect_same(list(found), list(range(20)), "reads after first use by 20 tasks at once")


@clause("R11-context")
async def context(bench: Bench) -> None:
    """`async with` opens a storage, gives it, and closes it."""
    need_lifecycle(bench.storage)
    storage = await bench.make()
    async with storage as opened:
        expect(opened is storage, "async with gives the storage itself", f"it gave {type(opened).__name__}")
        await opened.write("key", 1)
        expect_same(await opened.read("key"), 1, "read inside of async with")
    with expect_error(StorageClosedError, "read after async with"):
        await storage.read("key")


@clause("R11-close-twice")
async def close_twice(bench: Bench) -> None:
    """aclose() may be called twice, at once too, and on a storage that was never used."""
    need_lifecycle(bench.storage)
    used, unused = await bench.another(), await bench.make()
    await used.write("key", 1)
    await asyncio.gather(used.aclose(), used.aclose())
    await used.aclose()
    await unused.aclose()
    await unused.aclose()


@clause("R11-closed-refuses")
async def closed(bench: Bench) -> None:
    """After aclose() every call raises StorageClosedError, also on a storage that was never used."""
    need_lifecycle(bench.storage)
    used, unused = await bench.another(), await bench.make()
    await used.write("key", 1)
    for storage, what in ((used, "a closed storage"), (unused, "a storage closed before its first use")):
        await storage.aclose()
        for name, call in _calls(bench, storage).items():
            with expect_error(StorageClosedError, f"{name} on {what}"):
                await call()


def _calls(bench: Bench, storage: Everything) -> dict[str, Callable[[], Awaitable[Any]]]:
    async def list_keys() -> list[str]:
        return [key async for key in storage.keys()]

    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "read": lambda: storage.read("key"),
        "write": lambda: storage.write("key", 2),
        "delete": lambda: storage.delete("key"),
        "setup": storage.setup,
    }
    if bench.capabilities.versioned:
        calls["read_versioned"] = lambda: storage.read_versioned("key")
        calls["write_versioned"] = lambda: storage.write_versioned("key", 2, None)
    if bench.capabilities.conditional_delete:
        calls["delete_versioned"] = lambda: storage.delete_versioned("key", "1")
    if bench.capabilities.expiring:
        calls["touch"] = lambda: storage.touch("key")
        calls["purge_expired"] = storage.purge_expired
    if bench.capabilities.listing:
        calls["keys"] = list_keys
    if bench.capabilities.batch:
        calls["read_many"] = lambda: storage.read_many(["key"])
        calls["write_many"] = lambda: storage.write_many({"key": 2})
        calls["delete_many"] = lambda: storage.delete_many(["key"])
    if bench.capabilities.transactional or bench.capabilities.versioned_batch:
        calls["read_records"] = lambda: storage.read_records(["key"])
    if bench.capabilities.transactional:
        calls["commit"] = lambda: storage.commit({"key": Change(2, None)})
    if bench.capabilities.versioned_batch:
        calls["write_records"] = lambda: storage.write_records({"key": Change(2, None)})
    return calls


@clause("R11-closes-only-itself", "shared")
async def closes_only_itself(bench: Bench) -> None:
    """Closing one storage leaves others over the same backend open."""
    need_lifecycle(bench.storage)
    other = await bench.another()
    await other.write("key", 1)
    await other.aclose()
    expect_same(await bench.storage.read("key"), 1, "read from another storage after aclose()")


@clause("R11-no-leaks")
async def no_leaks(bench: Bench) -> None:
    """After aclose() no task, no thread and, where the system lists them, no open file or socket is left."""
    need_lifecycle(bench.storage)
    await bench.storage.aclose()  # while it is open, it may begin what it needs only now
    await _use(await bench.make())  # by now there is what a driver begins once in a process
    tasks, threads, files = asyncio.all_tasks(), set(threading.enumerate()), _open_files()
    closed = [await _use(await bench.make()) for _ in range(3)]  # kept, as what is collected is closed late, not left
    deadline = time.monotonic() + 2
    while (left := _left(tasks, threads, files)) and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    expect(not left, f"nothing runs on, or stays open, after aclose() of {len(closed)} storages", ", ".join(left))


async def _use(storage: Everything) -> Everything:
    await storage.setup()
    await asyncio.gather(*(storage.write(f"key:{i}", i) for i in range(5)))
    await storage.aclose()
    return storage


def _left(tasks: set["asyncio.Task[Any]"], threads: set[threading.Thread], files: AbstractSet[str]) -> list[str]:
    return [
        *(f"the task {task.get_name()}" for task in asyncio.all_tasks() - tasks),
        *(
            f"the thread {thread.name}"
            for thread in set(threading.enumerate()) - threads
            if not thread.name.startswith("asyncio_")  # the loop's own, for what it asks the system: loop.getaddrinfo
        ),
        *sorted(_open_files() - files),
    ]


def _open_files() -> AbstractSet[str]:
    """Return what this process has open, each with its number; nothing where there is no /dev/fd, as on Windows."""
    found = set()
    with suppress(OSError):
        for file in Path("/dev/fd").iterdir():
            with suppress(OSError):  # the list itself was open, too
                os.fstat(int(file.name))
                found.add(f"{file.readlink() if file.is_symlink() else 'a file'} as {file.name}")
    return found


@clause("R13-survives-closing", "shared")
async def survives(bench: Bench) -> None:
    """What was written is there after the storage was closed and another one opened."""
    need_lifecycle(bench.storage)
    await bench.storage.write("key", {"a": 1})
    version: str | None = None
    if bench.capabilities.versioned:
        version = await bench.storage.write_versioned("versioned", 1, None)
    await bench.storage.aclose()
    reopened = await bench.another()
    expect_same(await reopened.read("key"), {"a": 1}, "read after closing and opening again")
    if bench.capabilities.versioned:
        await reopened.write_versioned("versioned", 2, version)
        expect_same(await reopened.read("versioned"), 2, "read after a write at the version from before closing")


@clause("R10-loop-runs-on")
async def loop_runs_on(bench: Bench) -> None:
    """The event loop goes on while calls wait, setup() and aclose() too: nothing is stalled for more than 150 ms."""
    for attempt in range(1, _ATTEMPTS + 1):
        stall = await _longest_stall(bench)
        if stall <= _LONGEST_STALL:
            return
        expect(
            attempt < _ATTEMPTS, f"no stall of more than {_LONGEST_STALL} s", f"one of {stall:.3f} s, {attempt} times"
        )


async def _longest_stall(bench: Bench) -> float:
    longest, running = 0.0, True

    async def beat() -> None:
        nonlocal longest
        while running:
            start = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - start)

    beating = asyncio.create_task(beat())
    value = {"text": "x" * min(300_000, (bench.capabilities.max_value_bytes or 300_000) // 2)}
    for number in range(4):
        await bench.storage.write(f"key:{number}", value)
        await bench.storage.read(f"key:{number}")
        await bench.storage.delete(f"key:{number}")
    if bench.capabilities.versioned:
        await bench.storage.write_versioned("versioned", value, None)
        await bench.storage.delete("versioned")
    if bench.capabilities.batch:
        await bench.storage.write_many({"a": value, "b": value})
        await bench.storage.read_many(["a", "b"])
    if bench.capabilities.listing:
        async for _ in bench.storage.keys():
            pass
    other = await bench.another()
    await other.write("key", 1)
    if isinstance(other, Lifecycle):
        await other.aclose()
    running = False
    await beating
    return longest


@clause("R10-second-loop")
async def second_loop(bench: Bench) -> None:
    """Used on a second event loop, a storage works, or raises an error of ours; on the first it works on."""
    await bench.storage.write("key", 1)

    def elsewhere() -> object:
        async def use() -> object:
            async with asyncio.timeout(15):
                return await outcome(bench.storage.read("key"), StorageError)

        return asyncio.run(use())

    result = await asyncio.to_thread(elsewhere)
    expect(
        result == 1 or isinstance(result, StorageError), "a second loop reads the value or gets an error", f"{result!r}"
    )
    expect_same(await bench.storage.read("key"), 1, "read on the first loop after use on a second")


@clause("R15-refuses-timeouts")
async def refuses_timeouts(bench: Bench) -> None:
    """A timeout that is zero, negative or no timedelta raises ConfigurationError when the storage is made."""
    for timeout in (timedelta(0), timedelta(seconds=-1), 10, "10"):
        with expect_error(ConfigurationError, f"a storage with timeout={timeout!r}"):
            await bench.make(timeout=timeout)
