"""What another process does for a clause: `python -m satchel_conformance.worker URL NAMESPACE JOB ARGUMENT…`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from satchel import ConflictError, open_storage


async def increment(storage: Any, times: str) -> None:
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


async def create(storage: Any, writer: str) -> None:
    """Create 30 keys, and print the numbers of those that nobody else had created."""
    for number in range(30):
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


async def forever(storage: Any) -> None:
    """Write until killed, and print the number of each write once it is acknowledged."""
    for number in count(1):
        await storage.write("last", {"number": number, "pad": str(number) * 2000})
        await storage.write(f"n:{number}", number)
        say(number)


JOBS: dict[str, Callable[..., Awaitable[None]]] = {
    "increment": increment,
    "create": create,
    "write": write,
    "forever": forever,
}


async def main(url: str, namespace: str, job: str, *arguments: str) -> None:
    """Open the storage and do the job."""
    async with open_storage(url, namespace=namespace) as storage:
        await JOBS[job](storage, *arguments)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
