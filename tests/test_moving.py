"""Moving sessions between real storages by the command line: killed, interrupted, twice at once, beside a bot."""

import asyncio
import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from satchel import ConflictError, Sessions, open_storage
from satchel.upkeep import Summary, copy, try_out
from satchel.wrappers import Mirrored
from satchel_file import FileStorage
from satchel_redis import RedisStorage
from satchel_sqlite import SQLiteStorage

# Who is started in the background ignores SIGINT, and so does what they start.
HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
SATCHEL = [sys.executable, "-c", f"{HEARS}; from satchel.cli import main; main()"]
RECORDS = 3000


def records(number: int = RECORDS) -> dict[str, Any]:
    return {f"chat:{n}": {"n": n, "text": "pizza" * (n % 50)} for n in range(number)}


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*SATCHEL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([*SATCHEL, *arguments, "--json"], capture_output=True, check=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def content(storage: Any) -> dict[str, Any]:
    found: dict[str, Any] = await storage.read_many([key async for key in storage.keys()])
    return found


@pytest.fixture
async def source(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    async with SQLiteStorage[Any].from_url(url) as storage:
        await storage.write_many(records())
    return url


async def until_some_are_there(storage: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        async for _ in storage.keys():
            return
    pytest.fail("the copy ended, or did nothing")


async def test_a_copy_that_is_killed_is_finished_by_doing_it_again(source: str, tmp_path: Path) -> None:
    target = f"file:///{tmp_path / 'new'}"
    async with FileStorage[Any].from_url(target) as new:
        with running("copy", source, target) as process:
            await until_some_are_there(new, process)
            process.send_signal(signal.SIGKILL)
            assert process.wait(60) == -signal.SIGKILL
        there = await content(new)
        assert 0 < len(there) < RECORDS
        assert all(there[key] == records()[key] for key in there)
        counts = finished("copy", source, target)
        assert (counts["copied"], counts["already_there"]) == (RECORDS - len(there), len(there))
        assert await content(new) == records()


async def test_a_copy_that_is_interrupted_ends_with_whole_records_and_says_how_to_go_on(
    source: str, tmp_path: Path
) -> None:
    target = f"file:///{tmp_path / 'new'}"
    async with FileStorage[Any].from_url(target) as new:
        with running("copy", source, target, "--json") as process:
            await until_some_are_there(new, process)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"Do the same again to go on" in err
        assert b"Traceback" not in err
        there = await content(new)
        assert json.loads(out)["copied"] == len(there)
        assert all(there[key] == records()[key] for key in there)
        assert finished("copy", source, target)["already_there"] == len(there)
        assert await content(new) == records()


async def test_two_copies_at_once_make_one(source: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'new.db'}"
    with running("copy", source, target, "--json") as one, running("copy", source, target, "--json") as two:
        counts = [json.loads(process.communicate(timeout=120)[0]) for process in (one, two)]
        assert [one.returncode, two.returncode] == [0, 0]
    assert [count["copied"] + count["already_there"] for count in counts] == [RECORDS, RECORDS]
    async with SQLiteStorage[Any].from_url(target) as new:
        assert await content(new) == records()


@pytest.mark.parametrize("way", ["sqlite-redis", "redis-file", "file-redis", "redis-sqlite"])
async def test_a_bot_writes_all_the_while_and_no_update_is_lost(way: str, tmp_path: Path, redis_url: str) -> None:
    """The live move: the bot is mirrored, what is there is copied by another process, both end up the same."""
    space = secrets.token_hex(8)
    places = {
        "sqlite": f"sqlite:///{tmp_path / 'bot.db'}?synchronous=NORMAL",
        "file": f"file:///{tmp_path / 'bot'}?fsync=false",
        "redis": f"{redis_url}{'&' if '?' in redis_url else '?'}namespace={space}",
    }
    old_url, new_url = (places[name] for name in way.split("-"))
    async with AsyncExitStack() as stack:
        old, new = open_storage(old_url), open_storage(new_url)
        mirror = await stack.enter_async_context(Mirrored(old, new))
        writable: Any = old
        await writable.write_many(records(1000))
        sessions = Sessions[Any](mirror, initial=lambda: {"n": 0})
        process = await asyncio.create_subprocess_exec(
            *SATCHEL, "copy", old_url, new_url, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        copying = asyncio.ensure_future(process.communicate())
        updates: dict[str, int] = {}
        number = 0
        while not copying.done():
            key = f"chat:{number * 37 % 1100}"
            if number % 10 == 9:
                await sessions.delete(key)
                updates.pop(key, None)
            else:
                async with sessions.open(key) as session:
                    session.data["bot"] = session.data.get("bot", 0) + 1
                    updates[key] = updates.get(key, 0) + 1
            number += 1
        _, err = await copying
        assert process.returncode == 0, err
        assert number > 10
        assert not mirror.behind
        found = await content(new)
        assert found == await content(old)
        assert {key: found[key]["bot"] for key in updates} == updates
        await writable.delete_many(list(found))
        if "redis" in way:
            await new.delete_many(list(found))  # type: ignore[attr-defined]


async def test_a_bot_that_runs_on_the_target_already_keeps_its_records(source: str, redis_url: str) -> None:
    url = f"{redis_url}{'&' if '?' in redis_url else '?'}namespace={secrets.token_hex(8)}"
    async with RedisStorage[Any].from_url(url) as new, SQLiteStorage[Any].from_url(source) as old:
        copying = asyncio.ensure_future(copy(old, new))
        written: dict[str, Any] = {}
        number = RECORDS
        while not copying.done():
            number -= 1
            try:
                await new.write_versioned(f"chat:{number}", {"of": "the bot"}, None)
                written[f"chat:{number}"] = {"of": "the bot"}
            except ConflictError:
                break
        summary = await copying
        assert written
        assert summary == Summary(done=RECORDS - len(written), differing=len(written))
        assert await content(new) == {**records(), **written}
        await new.delete_many(list(records()))


@pytest.mark.parametrize(
    ("fixture", "server"),
    [("redis_url", ("Redis ", "Valkey ")), ("postgres_url", ("PostgreSQL ",)), ("mongodb_url", ("MongoDB ",))],
)
async def test_servers_say_what_they_are_when_they_are_tried_out(
    fixture: str, server: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(fixture)
    async with open_storage(url, namespace=f"doctor-{secrets.token_hex(4)}") as storage:
        report = await try_out(storage, rounds=2)
    assert report.is_fine
    assert report.server.startswith(server)
    assert any(letter.isdigit() for letter in report.server)
