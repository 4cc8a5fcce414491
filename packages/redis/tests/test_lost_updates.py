"""No lost updates: eight processes work on one session at once, and nothing that they did is missing."""

import pytest

from satchel import open_storage
from satchel_conformance.worker import run_workers

PROCESSES, TIMES = 8, 250


@pytest.mark.parametrize("how", ["update", "lease"])
async def test_increments_of_many_processes_are_all_counted(redis_url: str, namespace: str, how: str) -> None:
    assert run_workers(redis_url, namespace, f"sessions-{how}", TIMES, processes=PROCESSES) == 0
    async with open_storage(redis_url, namespace=namespace) as storage:
        assert await storage.read("chat:1") == {"n": PROCESSES * TIMES}
        assert await storage.read("lease:chat:1") is None


async def test_changes_of_different_fields_all_survive_a_merge(redis_url: str, namespace: str) -> None:
    assert run_workers(redis_url, namespace, "sessions-merge", TIMES, processes=PROCESSES) == 0
    async with open_storage(redis_url, namespace=namespace) as storage:
        assert await storage.read("chat:1") == {str(number): TIMES for number in range(PROCESSES)}
