"""No lost updates: of what several processes set in the data of one chat, nothing is missing."""

import subprocess
import sys
from pathlib import Path

from satchel import open_storage

PROCESSES, TIMES = 3, 20


async def test_fields_that_several_processes_set_are_all_kept(redis_url: str, namespace: str, tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/bot.db", f"{redis_url}?namespace={namespace}"]
    command = [sys.executable, str(Path(__file__).parent / "worker.py"), str(PROCESSES), str(TIMES), *urls]
    assert subprocess.run(command, check=False).returncode == 0
    for url in urls:
        async with open_storage(url) as storage:
            kept = await storage.read("ptb:bot:42:chat_data:7")
        assert kept == {f"{number}-{index}": True for number in range(PROCESSES) for index in range(TIMES)}
