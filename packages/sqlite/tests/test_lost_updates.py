"""No lost updates: eight processes work on one session at once, and nothing that they did is missing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from satchel_sqlite import SQLiteStorage

PROCESSES, INCREMENTS = 8, 250

WORKER = """
import asyncio, sys
from satchel import LeaseLock, Sessions, open_storage

async def main(url, how, worker, increments):
    async with open_storage(url) as storage:
        if how == "update":
            sessions = Sessions(storage, initial=lambda: {"n": 0})
            for _ in range(increments):
                await sessions.update("chat:1", lambda session: session.set_state(n=session.data["n"] + 1))
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

asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
"""


def run_workers(url: str, how: str) -> None:
    """Run all workers at once; each ends with success."""
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, url, how, f"worker {number}", str(INCREMENTS)])
        for number in range(PROCESSES)
    ]
    assert [worker.wait() for worker in workers] == [0] * PROCESSES


@pytest.mark.parametrize("how", ["update", "lease"])
async def test_increments_of_many_processes_are_all_counted(tmp_path: Path, how: str) -> None:
    run_workers(f"sqlite:///{tmp_path / 'bot.db'}", how)
    async with SQLiteStorage[Any](tmp_path / "bot.db") as storage:
        assert await storage.read("chat:1") == {"n": PROCESSES * INCREMENTS}
        assert [key async for key in storage.keys()] == ["chat:1"]


async def test_changes_of_different_fields_all_survive_a_merge(tmp_path: Path) -> None:
    run_workers(f"sqlite:///{tmp_path / 'bot.db'}", "merge")
    async with SQLiteStorage[Any](tmp_path / "bot.db") as storage:
        assert await storage.read("chat:1") == {f"worker {number}": INCREMENTS for number in range(PROCESSES)}


def test_many_processes_may_create_the_file_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, url, "update", "", "1"]) for _ in range(10)]
    assert [worker.wait() for worker in workers] == [0] * 10
