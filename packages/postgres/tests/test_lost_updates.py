"""No lost updates: eight processes work on one session at once, and nothing that they did is missing."""

import pytest

from satchel import open_storage
from satchel_conformance.worker import run_workers

PROCESSES, TIMES = 8, 100


@pytest.mark.parametrize("how", ["update", "lease"])
async def test_increments_of_many_processes_are_all_counted(postgres_url: str, namespace: str, how: str) -> None:
    assert run_workers(postgres_url, namespace, f"sessions-{how}", TIMES, processes=PROCESSES) == 0
    async with open_storage(postgres_url, namespace=namespace) as storage:
        assert await storage.read("chat:1") == {"n": PROCESSES * TIMES}
        assert await storage.read("lease:chat:1") is None


async def test_changes_of_different_fields_all_survive_a_merge(postgres_url: str, namespace: str) -> None:
    assert run_workers(postgres_url, namespace, "sessions-merge", TIMES, processes=PROCESSES) == 0
    async with open_storage(postgres_url, namespace=namespace) as storage:
        assert await storage.read("chat:1") == {str(number): TIMES for number in range(PROCESSES)}


async def test_under_serializable_transactions_all_increments_are_counted_too(
    postgres_url: str, namespace: str
) -> None:
    """The server rolls back what would not be serializable, and the statement is sent again."""
    url = f"{postgres_url}?options=-c%20default_transaction_isolation%3Dserializable"
    assert run_workers(url, namespace, "sessions-update", 50, processes=4) == 0
    async with open_storage(url, namespace=namespace) as storage:
        assert await storage.read("chat:1") == {"n": 200}


async def test_many_processes_may_create_the_table_at_once(postgres_url: str, namespace: str, table: str) -> None:
    url = f"{postgres_url}?table={table}"
    assert run_workers(url, namespace, "sessions-update", 1, processes=10) == 0
