"""What other processes do for a clause: `python -m satchel_conformance.worker PROCESSES URL NAMESPACE JOB ARGUMENT…`.

Each is given its number, from 0, before the job's arguments. Where there is more than one, they are forked when the
adapter and its driver have been imported, which takes longer than most jobs; they open the storage at one time, and
begin at one time, lest they work one after the other.
"""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError
from typing import Any, Final, cast

from satchel import ConflictError, LeaseLock, Session, Sessions, open_storage
from satchel.urls import storage_class

_TO_COME: Final = 30.0  # seconds, less than a clause has


async def increment(storage: Any, _worker: str, times: str) -> None:
    """Add one to "counter", so many times."""
    for _ in range(int(times)):
        while True:
            record = await storage.read_versioned("counter")
            value, version = (record.value, record.version) if record else (0, None)
            try:
                await storage.write_versioned("counter", value + 1, version)
            except ConflictError:
                continue
            break


async def create(storage: Any, writer: str, keys: str) -> None:
    """Create so many keys, and print the numbers of those that nobody else had created."""
    for number in range(int(keys)):
        try:
            await storage.write_versioned(f"new:{number}", writer, None)
        except ConflictError:
            continue
        say(number)


def say(number: int) -> None:
    """Print a number at once."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


async def write(storage: Any, writer: str) -> None:
    """Write "first" once."""
    await storage.write("first", {"writer": writer})


async def forever(storage: Any, _worker: str) -> None:
    """Write until killed, and print the number of each write once it is acknowledged."""
    for number in count(1):
        await storage.write("last", {"number": number, "pad": str(number) * 2000})
        await storage.write(f"n:{number}", number)
        say(number)


async def sessions_update(storage: Any, _worker: str, times: str) -> None:
    """Add one to the session "chat:1", so many times, with `Sessions.update`."""
    sessions = Sessions(storage, initial=lambda: {"n": 0})

    def add(session: Session[Any]) -> None:
        session.data["n"] += 1

    for _ in range(int(times)):
        await sessions.update("chat:1", add)


async def sessions_lease(storage: Any, _worker: str, times: str) -> None:
    """Add one to the session "chat:1", so many times, under a lease, where a conflict would raise."""
    sessions = Sessions(storage, initial=lambda: {"n": 0}, lock=LeaseLock(storage), on_conflict="raise")
    for _ in range(int(times)):
        async with sessions.open("chat:1") as session:
            session.data["n"] += 1


async def sessions_merge(storage: Any, worker: str, times: str) -> None:
    """Count in a field of its own of the session "chat:1"."""
    sessions = Sessions(storage, initial=dict, on_conflict="merge")
    for number in range(1, int(times) + 1):
        async with sessions.open("chat:1") as session:
            session.data[worker] = number


PROGRAM: Final = (sys.executable, "-m", "satchel_conformance.worker")
"""What does a job: a command that takes the arguments of `main` but the first."""


def run_workers(url: str, namespace: str, job: str, *arguments: object, processes: int) -> int:
    """Do a job in so many processes at once, each with its number as the first argument; return how many failed."""
    given = map(str, (processes, url, namespace, job, *arguments))
    return subprocess.run([*PROGRAM, *given], check=False).returncode


JOBS: dict[str, Callable[..., Awaitable[None]]] = {
    "increment": increment,
    "create": create,
    "write": write,
    "forever": forever,
    "sessions-update": sessions_update,
    "sessions-lease": sessions_lease,
    "sessions-merge": sessions_merge,
}


def do(others: Barrier, url: str, namespace: str, job: str, *arguments: str) -> None:
    """Open the storage, and do the job, each as soon as all others are there."""

    async def work() -> None:
        async with open_storage(url, namespace=namespace) as storage:
            await asyncio.to_thread(others.wait)
            await JOBS[job](storage, *arguments)

    try:
        others.wait()
        asyncio.run(work())
    except BrokenBarrierError:
        sys.exit(1)  # another has failed, and says why
    except BaseException:
        others.abort()
        raise


def main(parent: int, processes: int, url: str, namespace: str, job: str, *arguments: str) -> int:
    """Do the job in so many processes, and return how many failed; end with the process `parent`, which began this."""
    context = get_context("fork") if sys.platform == "linux" else get_context("spawn")  # elsewhere to fork is not safe
    others = context.Barrier(processes, timeout=_TO_COME)
    if processes == 1:
        _end_with(parent, [])
        do(others, url, namespace, job, "0", *arguments)
        return 0
    storage_class(url)
    each = [
        context.Process(target=do, args=(others, url, namespace, job, str(number), *arguments))
        for number in range(processes)
    ]
    for process in each:
        process.start()
    _end_with(parent, each)
    running = {process.sentinel: process for process in each}
    while running:
        for sentinel in wait(running):
            process = running.pop(cast("int", sentinel))
            process.join()
            if process.exitcode != 0:
                others.abort()  # it may have had no time to do so
            if process.exitcode not in (0, 1):
                sys.stderr.write(f"{process.name} has ended with {process.exitcode}\n")
    return sum(process.exitcode != 0 for process in each)


def _end_with(parent: int, others: Iterable[BaseProcess]) -> None:
    """End this process, and others, when the one that started it has been killed: nobody else would."""

    def watch() -> None:
        while os.getppid() == parent:  # on Windows it stays what it is
            time.sleep(0.2)
        for process in others:
            process.kill()
        os._exit(1)

    threading.Thread(target=watch, name="satchel-conformance-parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(os.getppid(), int(sys.argv[1]), *sys.argv[2:]))
