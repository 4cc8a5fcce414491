"""No lost updates: eight processes work on one session at once, and nothing that they did is missing."""

from pathlib import Path

import pytest

from satchel import open_storage
from satchel_conformance.worker import run_workers

PROCESSES, TIMES = 8, 250


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'bot.db'}"


@pytest.mark.parametrize("how", ["update", "lease"])
async def test_increments_of_many_processes_are_all_counted(url: str, how: str) -> None:
    assert run_workers(url, "satchel", f"sessions-{how}", TIMES, processes=PROCESSES) == 0
    async with open_storage(url) as storage:
        assert await storage.read("chat:1") == {"n": PROCESSES * TIMES}
        assert await storage.read("lease:chat:1") is None


async def test_changes_of_different_fields_all_survive_a_merge(url: str) -> None:
    assert run_workers(url, "satchel", "sessions-merge", TIMES, processes=PROCESSES) == 0
    async with open_storage(url) as storage:
        assert await storage.read("chat:1") == {str(number): TIMES for number in range(PROCESSES)}


def test_many_processes_may_create_the_file_at_once(url: str) -> None:
    assert run_workers(url, "satchel", "sessions-update", 1, processes=10) == 0
