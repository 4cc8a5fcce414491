"""What a process pays before its first turn: importing Satchel, importing a driver, and reading once."""

import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

from benchmarks.places import PLACES
from benchmarks.report import Setting, Table

BARE: Final = "bare Python"
FIRST: Final = """
import asyncio, satchel
async def main():
    async with satchel.open_storage({url!r}) as storage:
        await storage.read("chat:1")
asyncio.run(main())
"""
IMPORTS: Final = {
    BARE: "",
    "asyncio": "import asyncio",
    "satchel": "import satchel",
    "satchel, a storage, sessions": "from satchel import MemoryStorage, Sessions",
    "sqlite3, asyncio": "import sqlite3, asyncio",
    "satchel_sqlite": "import satchel_sqlite",
    "satchel_file": "import satchel_file",
    "redis.asyncio": "import redis.asyncio",
    "satchel_redis": "import satchel_redis",
    "psycopg, psycopg_pool": "import psycopg, psycopg_pool",
    "satchel_postgres": "import satchel_postgres",
    "pymongo": "import pymongo",
    "satchel_mongodb": "import satchel_mongodb",
    "boto3": "import boto3",
    "satchel_dynamodb": "import satchel_dynamodb",
    "satchel_s3": "import satchel_s3",
    "google.cloud.firestore": "import google.cloud.firestore",
    "satchel_firestore": "import satchel_firestore",
    "supabase": "import supabase",
    "satchel_supabase": "import satchel_supabase",
}
NOTE: Final = (
    "Over bare Python, each in a fresh process, in turns. CPU time is what the process used, with all it started; it "
    "tells more than the time that passed where the machine is busy."
)


def answer(setting: Setting) -> Iterator[Table]:
    """Start processes."""
    with ExitStack() as stack:
        urls = {"memory": "memory://", "sqlite": f"sqlite:///{stack.enter_context(TemporaryDirectory())}/bot.db"}
        for name, place in PLACES.items():
            if place.server is not None and setting.wants(name):
                urls[name] = stack.enter_context(place.server.server())
        imports = dict(islice(IMPORTS.items(), 4)) if setting.quick else IMPORTS
        programs = imports | {f"first read: {name}": FIRST.format(url=url) for name, url in urls.items()}
        yield Table("startup", "Start-up", _rows(programs, 3 if setting.quick else 7), NOTE)


def _rows(programs: dict[str, str], rounds: int) -> list[dict[str, Any]]:
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for program in programs.values():
        _run(program)  # compiled, and read from the disk
    for _ in range(rounds):
        for name, program in programs.items():
            taken[name].append(_run(program))
    passed, used = (
        {name: statistics.median(pair[which] for pair in pairs) for name, pairs in taken.items()} for which in (0, 1)
    )
    return [
        {
            "": name,
            "CPU ms": round((used[name] - used[BARE]) * 1e3, 1),
            "ms": round((passed[name] - passed[BARE]) * 1e3, 1),
        }
        if name != BARE
        else {"": f"{BARE} itself", "CPU ms": round(used[BARE] * 1e3, 1), "ms": round(passed[BARE] * 1e3, 1)}
        for name in programs
    ]


def _run(program: str) -> tuple[float, float]:
    """Return the seconds that passed while a process ran, and those of CPU time that it used."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    passed, after = perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return passed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
