"""An acknowledged write survives `kill -9` of the process that made it, and none is torn."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from satchel_sqlite import SQLiteStorage

WRITER = """
import asyncio, itertools, sys
from satchel_sqlite import SQLiteStorage

async def main():
    async with SQLiteStorage(sys.argv[1]) as storage:
        for number in itertools.count(1):
            await storage.write("last", {"number": number, "padding": "x" * 5000})
            await storage.write(f"chat:{number}", number)
            print(number, flush=True)

asyncio.run(main())
"""


async def test_every_acknowledged_write_is_there_after_the_writer_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged = 0
        for line in writer.stdout:
            acknowledged = int(line)
            if acknowledged == 50:
                writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert acknowledged >= 50
        async with SQLiteStorage[Any](path) as storage:
            found = await storage.read_many(f"chat:{number}" for number in range(1, acknowledged + 1))
            assert found == {f"chat:{number}": number for number in range(1, acknowledged + 1)}
            last = await storage.read("last")
            assert last is not None
            assert last["number"] >= acknowledged
            assert last["padding"] == "x" * 5000
