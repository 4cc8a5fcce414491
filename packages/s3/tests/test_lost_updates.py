"""No lost updates: four processes work on one session at once, and nothing that they did is missing."""

from satchel import open_storage
from satchel_conformance.worker import run_workers

PROCESSES, TIMES = 4, 10


async def test_increments_of_many_processes_are_all_counted(url: str, namespace: str) -> None:
    assert run_workers(url, namespace, "sessions-update", TIMES, processes=PROCESSES) == 0
    async with open_storage(url, namespace=namespace) as storage:
        assert await storage.read("chat:1") == {"n": PROCESSES * TIMES}


async def test_increments_under_a_lease_are_all_counted(moto_url: str, namespace: str) -> None:
    """A lease is given back by a conditional delete, which Ceph does not have: there it would be waited for."""
    assert run_workers(moto_url, namespace, "sessions-lease", TIMES, processes=PROCESSES) == 0
    async with open_storage(moto_url, namespace=namespace) as storage:
        assert await storage.read("chat:1") == {"n": PROCESSES * TIMES}
        assert await storage.read("lease:chat:1") is None


async def test_changes_of_different_fields_all_survive_a_merge(url: str, namespace: str) -> None:
    assert run_workers(url, namespace, "sessions-merge", TIMES, processes=PROCESSES) == 0
    async with open_storage(url, namespace=namespace) as storage:
        assert await storage.read("chat:1") == {str(number): TIMES for number in range(PROCESSES)}
