"""No lost updates: eight processes work on one session at once, and nothing that they did is missing."""

import subprocess
import sys
from typing import Any

import pytest

from satchel_redis import RedisStorage

PROCESSES, INCREMENTS = 8, 250

WORKER = """
import asyncio, sys
from satchel import LeaseLock, Sessions, open_storage

async def main(url, namespace, how, worker, increments):
    async with open_storage(url, namespace=namespace) as storage:
        if how == "update":
            sessions = Sessions(storage, initial=lambda: {"n": 0})
            for _ in range(increments):
                await sessions.update("chat:1", lambda session: session.data.update(n=session.data["n"] + 1))
        elif how == "lease":
            sessions = Sessions(storage, initial=lambda: {"n": 0}, lock=LeaseLock(storage), on_conflict="raise")
            for _ in range(increments):
                async with sessions.open("chat:1") as session:
                    session.data["n"] += 1
        else:
            sessions = Sessions(storage, initial=dict, on_conflict="merge")
            for number in range(1, increments + 1):
                async with sessions.open("chat:1") as session:
                    session.data[worker] = number

asyncio.run(main(*sys.argv[1:5], int(sys.argv[5])))
"""


def run_workers(url: str, namespace: str, how: str) -> None:
    """Run all workers at once; each ends with success."""
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, url, namespace, how, f"worker {number}", str(INCREMENTS)])
        for number in range(PROCESSES)
    ]
    assert [worker.wait() for worker in workers] == [0] * PROCESSES


@pytest.mark.parametrize("how", ["update", "lease"])
async def test_increments_of_many_processes_are_all_counted(redis_url: str, namespace: str, how: str) -> None:
    run_workers(redis_url, namespace, how)
    async with RedisStorage[Any](redis_url, namespace=namespace) as storage:
        assert await storage.read("chat:1") == {"n": PROCESSES * INCREMENTS}
        assert [key async for key in storage.keys()] == ["chat:1"]


async def test_changes_of_different_fields_all_survive_a_merge(redis_url: str, namespace: str) -> None:
    run_workers(redis_url, namespace, "merge")
    async with RedisStorage[Any](redis_url, namespace=namespace) as storage:
        assert await storage.read("chat:1") == {f"worker {number}": INCREMENTS for number in range(PROCESSES)}
