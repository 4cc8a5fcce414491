"""A write survives `kill -9` once it is acknowledged, and one that fails leaves what was there."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from satchel_file import FileStorage

WRITER = """
import asyncio, itertools, sys
from satchel_file import FileStorage

async def main():
    async with FileStorage(sys.argv[1]) as storage:
        for number in itertools.count(1):
            await storage.write("last", {"number": number, "padding": "x" * 5000})
            await storage.write(f"chat:{number}", number)
            print(number, flush=True)

asyncio.run(main())
"""

HOLDER = """
import sys, time
from pathlib import Path
from threading import Event
from satchel_file.folders import Folder

with Folder(Path(sys.argv[1])) as folder, folder.locked(Event()):
    print("locked", flush=True)
    time.sleep(60)
"""

FULL_DISK = """
import asyncio, sys
from pathlib import Path
from satchel import StorageUnavailableError
from satchel_file import FileStorage

async def main():
    async with FileStorage(sys.argv[1] + "/sessions") as storage:
        await storage.write("chat:1", "old")
        written = 0
        try:
            while True:
                await storage.write(f"fill:{written}", "x" * 50_000)
                written += 1
        except StorageUnavailableError as error:
            assert "cannot grow: the disk" in str(error), error
        try:
            await storage.write("chat:1", "y" * 200_000)
        except StorageUnavailableError as error:
            assert "cannot grow: the disk" in str(error), error
        else:
            raise AssertionError
        assert await storage.read("chat:1") == "old"
        assert len([key async for key in storage.keys()]) == written + 1
        assert not list(Path(sys.argv[1]).rglob("*.tmp"))
        for number in range(written):
            await storage.delete(f"fill:{number}")
        await storage.write("chat:1", "z" * 200_000)

asyncio.run(main())
"""

READ_ONLY = """
import asyncio, subprocess, sys
from satchel import ConfigurationError
from satchel_file import FileStorage

async def main():
    async with FileStorage(sys.argv[1] + "/sessions") as storage:
        await storage.write("chat:1", "old")
        subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
    async with FileStorage(sys.argv[1] + "/sessions") as storage:
        for call in (storage.write("chat:1", 2), storage.write("chat:2", 2), storage.delete("chat:1")):
            try:
                await call
            except ConfigurationError as error:
                assert "Read-only file system" in str(error), error
            else:
                raise AssertionError
        assert await storage.read("chat:1") == "old"
        assert [key async for key in storage.keys()] == ["chat:1"]

asyncio.run(main())
"""

TOO_LARGE = """
import asyncio, resource, sys
from pathlib import Path
from satchel import StorageError
from satchel_file import FileStorage

async def main():
    async with FileStorage(sys.argv[1]) as storage:
        await storage.write("chat:1", "old")
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            await storage.write("chat:1", "y" * 20_000)
        except StorageError as error:
            assert "takes no file of this size" in str(error), error
        else:
            raise AssertionError
        assert await storage.read("chat:1") == "old"
        assert not list(Path(sys.argv[1]).rglob("*.tmp"))
        await storage.write("chat:1", "new")

asyncio.run(main())
"""

ONE_WRITE = """
import asyncio, sys
from satchel_file import FileStorage

async def main():
    async with FileStorage(sys.argv[1]) as storage:
        await storage.write("chat:1", 1)
        await storage.write("chat:1", 2)
        await storage.delete("chat:1")

asyncio.run(main())
"""


async def test_every_acknowledged_write_is_there_after_the_writer_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "sessions"
    for rounds in range(1, 4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged = 0
        for line in writer.stdout:
            acknowledged = int(line)
            if acknowledged == 20:
                writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert acknowledged >= 20
        assert len(list(path.rglob("*.tmp"))) <= rounds
        async with FileStorage[Any](path) as storage:
            found = await storage.read_many(f"chat:{number}" for number in range(1, acknowledged + 1))
            assert found == {f"chat:{number}": number for number in range(1, acknowledged + 1)}
            last = await storage.read("last")
            assert last is not None
            assert last["number"] >= acknowledged
            assert last["padding"] == "x" * 5000
    for left in path.rglob("*.tmp"):
        os.utime(left, (0, 0))
    async with FileStorage[Any](path) as storage:
        await storage.purge_expired()
    assert not list(path.rglob("*.tmp"))


async def test_the_lock_of_a_process_that_was_killed_is_gone_with_it(tmp_path: Path) -> None:
    async with FileStorage[Any](tmp_path) as storage:
        await storage.write("chat:1", 1)
        (fan,) = tmp_path.iterdir()
        holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(fan)], stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        holder.kill()
        holder.wait()
        holder.stdout.close()
        await storage.write("chat:1", 2)
        assert await storage.read("chat:1") == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[list[str]]:
    """The command that runs a program with a file system of 1 MB, of its own, at `tmp_path`, which ends with it."""
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    mount = 'mount -t tmpfs -o size=1m satchel "$0" && exec "$@"'
    command = ["unshare", *rights, "--mount", "sh", "-c", mount, str(tmp_path)]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False) if _has_unshare() else None
    if tried is None or tried.returncode:
        pytest.skip("this system mounts no file system for a test; the other failures of a write are tried")
    yield command
    assert not list(tmp_path.iterdir())


def _has_unshare() -> bool:
    return shutil.which("unshare") is not None


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", [FULL_DISK, READ_ONLY], ids=["full", "read-only"])
def test_a_disk_that_takes_no_write_is_said_and_what_it_has_stays(
    small_disk: list[str], tmp_path: Path, program: str
) -> None:
    run(*small_disk, sys.executable, "-c", program, str(tmp_path))


def test_a_write_that_fails_halfway_leaves_the_old_value_and_nothing_else(tmp_path: Path) -> None:
    run(sys.executable, "-c", TOO_LARGE, str(tmp_path))


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("fsync", [True, False])
def test_the_disk_has_the_file_before_its_name_and_the_name_before_the_write_is_acknowledged(
    tmp_path: Path, fsync: bool
) -> None:
    log, path = tmp_path / "log", tmp_path / "new" / "sessions"
    path.parent.mkdir()
    program = ONE_WRITE if fsync else ONE_WRITE.replace("sys.argv[1]", "sys.argv[1], fsync=False")
    traced = "trace=mkdirat,fsync,rename,renameat,renameat2,unlinkat,openat"
    run("strace", "-f", "-y", "-qq", "-o", str(log), "-e", traced, sys.executable, "-c", program, str(path))
    steps: list[str] = []
    for line in log.read_text().splitlines():
        call = re.search(r"(mkdirat|fsync|rename\w*|unlinkat)\(", line)
        if call and str(path.parent) in line and " = -1 " not in line:
            steps.append(f"{call[1]} {'file' if '.tmp' in line else 'folder'}" if call[1] == "fsync" else call[1])
    write = ["fsync file", "rename", "fsync folder"]
    expected = ["mkdirat", "fsync folder", "mkdirat", "fsync folder", *write, *write, "unlinkat", "fsync folder"]
    steps = [re.sub(r"^rename.*", "rename", step) for step in steps]
    assert steps == [step for step in expected if fsync or not step.startswith("fsync")]
