"""What grows with the number of sessions: memory, and the time to read, write, list and purge."""

import asyncio
import json
import random
import resource
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

from benchmarks.places import PLACES
from benchmarks.report import Setting, Table, session_of
from satchel import open_storage

MOST: Final = {"memory": 1_000_000, "sqlite": 100_000, "redis": 100_000, "postgres": 100_000, "mongodb": 100_000}
QUICK: Final = {"memory": 100_000}
BATCH: Final = 1000
SAMPLE: Final = 1000
NOTE: Final = (
    "Sessions of 400 bytes. Filling is by `write_many`, a thousand at a time; reading and writing is one at a time, of "
    "a random session; memory is what the process grew by, at its largest. Purging looks for what has expired where "
    "nothing has."
)


def answer(setting: Setting) -> Iterator[Table]:
    """Measure, from a thousand sessions on."""
    rows = []
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        for name, most in MOST.items():
            if setting.wants(name):
                server = PLACES[name].server
                url = stack.enter_context(server.server()) if server else f"{name}://"
                number = 1000
                while number <= (QUICK.get(name, 10_000) if setting.quick else most):
                    own = f"sqlite:///{folder}/{number}.db?synchronous=NORMAL" if name == "sqlite" else url
                    rows.append({"": name, **_in_a_process(own, number)})
                    number *= 10
    yield Table("scale", "Cost of scale", rows, NOTE)


def _in_a_process(url: str, number: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.scale", url, str(number)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


async def _measured(url: str, number: int) -> dict[str, Any]:
    options: dict[str, Any] = {} if url.startswith(("memory", "sqlite")) else {"namespace": f"b{secrets.token_hex(4)}"}
    storage: Any = open_storage(url, ttl=timedelta(hours=1), **options)
    async with storage:
        await storage.write("chat:0", session_of(400))
        before = _megabytes()
        began = perf_counter()
        for start in range(0, number, BATCH):
            await storage.write_many({f"chat:{n}": session_of(400) | {"n": n} for n in range(start, start + BATCH)})
        filled = perf_counter() - began
        grown = _megabytes() - before
        keys = [f"chat:{random.randrange(number)}" for _ in range(SAMPLE)]
        began = perf_counter()
        for key in keys:
            await storage.read(key)
        read = perf_counter() - began
        began = perf_counter()
        for count, key in enumerate(keys):
            await storage.write(key, session_of(400) | {"n": -count})
        written = perf_counter() - began
        began = perf_counter()
        listed = len([key async for key in storage.keys("chat:")])
        listing = perf_counter() - began
        if listed != number:
            raise AssertionError(f"{listed} of {number} keys are listed")
        began = perf_counter()
        await storage.purge_expired()
        purging = perf_counter() - began
        if number <= 100_000 and not url.startswith("memory"):
            for start in range(0, number, BATCH):  # leave nothing behind
                await storage.delete_many([f"chat:{n}" for n in range(start, start + BATCH)])
    return {
        "sessions": number,
        "memory MB": round(grown, 1),
        "fill, µs each": round(filled / number * 1e6, 1),
        "read µs": round(read / SAMPLE * 1e6, 1),
        "write µs": round(written / SAMPLE * 1e6, 1),
        "list, µs each": round(listing / number * 1e6, 2),
        "purge ms": round(purging * 1e3, 2),
    }


def _megabytes() -> float:
    """Return the most memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, ru_maxrss begins with what the process that started this one has had
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes, on macOS


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measured(sys.argv[1], int(sys.argv[2])))))
