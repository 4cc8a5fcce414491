"""What is particular to SQLite: the file, its layout, and what is wrong with a path in one line."""

import asyncio
import os
import sqlite3
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from satchel import (
    Change,
    ConfigurationError,
    CorruptValueError,
    StorageError,
    StorageUnavailableError,
    open_storage,
)
from satchel_sqlite import SQLiteStorage

ENDED: Final = """
WITH RECURSIVE numbers(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < {})
INSERT INTO satchel_sessions SELECT 'satchel:ended:' || n, '1', 1 FROM numbers
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


def rows(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database, database:
        return database.execute(statement).fetchall()


def count_of_ended(path: Path) -> int:
    ((count,),) = rows(path, "SELECT count(*) FROM satchel_sessions WHERE expires_at = 1")
    return int(count)


class Gate:
    """Where every statement of a storage's connection comes by as it starts, and one may be made to wait."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()
        self._held: str | None = None

    def hold(self, start: str) -> None:
        """Have the next statement that starts like this wait until the gate is opened."""
        self._held = start

    def open(self) -> None:
        """Let it go on."""
        self._open.set()

    def passed(self, statement: str) -> None:
        """Hold up a statement, if it is the one."""
        if self._held is not None and statement.strip().startswith(self._held):
            self._held = None
            self.reached.set()
            self._open.wait(30)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def connect_by(*arguments: Any, **options: Any) -> sqlite3.Connection:
        database = connect(*arguments, **options)
        database.set_trace_callback(gate.passed)
        return database

    monkeypatch.setattr("satchel_sqlite.storage.sqlite3.connect", connect_by)
    yield gate
    gate.open()


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold what a writer in another process would hold, until it commits."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


async def test_at_rest_a_session_is_a_row_of_readable_json(path: Path) -> None:
    async with SQLiteStorage[Any](path, namespace="my bot") as storage:
        await storage.write("telegram:42", {"name": "Zoë", "pizza": 1})
    assert rows(path, "SELECT key, payload, expires_at FROM satchel_sessions") == [
        ("my bot:telegram:42", '{"name":"Zoë","pizza":1}', None)
    ]
    assert rows(path, "SELECT payload ->> '$.pizza' FROM satchel_sessions") == [(1,)]


async def test_what_an_earlier_release_laid_down_is_read(path: Path) -> None:
    rows(path, "CREATE TABLE satchel_sessions (key TEXT PRIMARY KEY NOT NULL, payload NOT NULL, expires_at INTEGER)")
    rows(path, """INSERT INTO satchel_sessions VALUES ('satchel:chat:1', '{"pizza": 1}', NULL)""")
    async with SQLiteStorage[Any](path) as storage:
        assert await storage.read("chat:1") == {"pizza": 1}


async def test_an_edit_by_hand_counts_as_a_new_version(path: Path) -> None:
    async with SQLiteStorage[Any](path) as storage:
        version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
        rows(path, """UPDATE satchel_sessions SET payload = '{"pizza": 2}'""")
        with pytest.raises(StorageError, match="not at the expected version"):
            await storage.write_versioned("chat:1", {"pizza": 9}, version)
        assert await storage.read("chat:1") == {"pizza": 2}


async def test_a_damaged_payload_raises_and_stays(path: Path) -> None:
    async with SQLiteStorage[Any](path) as storage:
        await storage.write("chat:1", {"pizza": 1})
        rows(path, """UPDATE satchel_sessions SET payload = '{"pizza'""")
        with pytest.raises(CorruptValueError, match="'chat:1' in sqlite:///"):
            await storage.read("chat:1")
    assert rows(path, "SELECT payload FROM satchel_sessions") == [('{"pizza',)]


async def test_expired_rows_are_removed_by_later_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("satchel_sqlite.storage._PURGE_EVERY", 0.0)
    async with SQLiteStorage[Any](path, ttl=timedelta(milliseconds=1)) as storage:
        await storage.write("chat:1", 1)
    await asyncio.sleep(0.005)
    async with SQLiteStorage[Any](path, ttl=timedelta(hours=1)) as storage:
        await storage.write("chat:2", 2)
    assert [key for (key,) in rows(path, "SELECT key FROM satchel_sessions")] == ["satchel:chat:2"]


async def test_a_write_removes_some_of_the_rows_that_have_ended_and_the_next_ones_the_others(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("satchel_sqlite.storage._PURGED_BESIDE", 10)
    monkeypatch.setattr("satchel_sqlite.storage._PURGE_EVERY", 0.1)
    async with SQLiteStorage[Any](path, ttl=timedelta(hours=1)) as storage:
        rows(path, ENDED.format(35))
        await asyncio.sleep(0.11)
        left = []
        for call in (
            storage.write("chat:1", 1),
            storage.write_many({"chat:1": 1, "chat:2": 2}),
            storage.commit({"chat:3": Change(3, None)}),
            storage.delete("chat:1"),
        ):
            await call
            left.append(count_of_ended(path))
    assert left == [25, 15, 5, 0]


async def test_purge_expired_removes_all_rows_that_have_ended_and_lets_others_come_in_between(
    path: Path, gate: Gate
) -> None:
    async with SQLiteStorage[Any](path, ttl=timedelta(hours=1)) as storage:
        await storage.write("chat:1", 1)
        rows(path, ENDED.format(2500))
        gate.hold("DELETE")
        purge = asyncio.create_task(storage.purge_expired())
        assert await asyncio.to_thread(gate.reached.wait, 10)
        read = asyncio.create_task(storage.read("chat:1"))
        done: list[asyncio.Task[Any]] = []
        for task in (purge, read):
            task.add_done_callback(done.append)
        await asyncio.sleep(0)  # the read is in the queue
        gate.open()
        assert await asyncio.gather(purge, read) == [2500, 1]
        assert done == [read, purge]
        assert await storage.purge_expired() == 0
        assert [key async for key in storage.keys()] == ["chat:1"]


async def test_a_purge_that_fails_does_not_fail_the_write_that_it_rides_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("satchel_sqlite.storage._PURGE_EVERY", 0.0)
    async with SQLiteStorage[Any](path, ttl=timedelta(hours=1)) as storage:
        rows(path, ENDED.format(1))
        rows(path, "CREATE TRIGGER no BEFORE DELETE ON satchel_sessions BEGIN SELECT RAISE(ABORT, 'no'); END")
        await storage.write("chat:1", 1)
        assert await storage.read("chat:1") == 1
        with pytest.raises(StorageError):
            await storage.purge_expired()


async def test_the_url_names_a_relative_or_an_absolute_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    for url in ("sqlite:///a%20b.db?synchronous=normal&ttl=1h", f"sqlite:///{path}", "sqlite:///bots@home%231.db"):
        async with open_storage(url) as storage:
            await storage.write("chat:1", 1)
    assert sorted(each.name for each in path.parent.glob("*.db")) == ["a b.db", "bot.db", "bots@home#1.db"]


async def test_a_relative_path_stays_the_same_file_when_the_process_moves(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(path.parent)
    storage = SQLiteStorage[Any]("bot.db")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    async with storage:
        await storage.write("chat:1", 1)
    assert path.exists()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://bot.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///bot.db?mode=ro",
        "sqlite:///bot.db?synchronous=OFF",
        "sqlite:///my#bot.db?namespace=shop",
        "sqlite:///bot.db?namespace=a&namespace=b",
    ],
)
def test_a_wrong_url_is_refused_before_anything_is_opened(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_storage(url)


@pytest.mark.parametrize("name", ["", ":memory:", "a\0b"])
def test_what_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no file for SQLite"):
        SQLiteStorage(name)


async def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"folder {tmp_path}/missing does not exist"):
        await SQLiteStorage[Any](tmp_path / "missing" / "bot.db").read("chat:1")


async def test_a_folder_is_not_a_database(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        await SQLiteStorage[Any](tmp_path).read("chat:1")


async def test_a_file_that_is_no_database_is_left_as_it_is(path: Path) -> None:
    path.write_text("a letter to my mother, " * 100)
    with pytest.raises(ConfigurationError, match="is not an SQLite database"):
        await SQLiteStorage[Any](path).write("chat:1", 1)
    assert path.read_text().startswith("a letter")


async def test_a_read_only_folder_is_refused_and_says_so() -> None:
    with unprivileged_folder() as folder:
        folder.chmod(0o555)
        with pytest.raises(ConfigurationError, match="cannot be opened for writing"):
            await SQLiteStorage[Any](folder / "bot.db").write("chat:1", 1)


async def test_a_read_only_file_is_refused_and_what_it_holds_stays() -> None:
    with unprivileged_folder() as folder:
        path = folder / "bot.db"
        async with SQLiteStorage[Any](path) as storage:
            await storage.write("chat:1", 1)
        path.chmod(0o444)
        async with SQLiteStorage[Any](path) as storage:
            with pytest.raises(ConfigurationError, match="cannot be opened for writing"):
                await storage.write("chat:1", 2)
        path.chmod(0o644)
        async with SQLiteStorage[Any](path) as storage:
            assert await storage.read("chat:1") == 1


async def test_without_create_nothing_is_created_and_what_is_missing_is_named(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist, and create=False"):
        await SQLiteStorage[Any](path, create=False).read("chat:1")
    assert not path.exists()
    rows(path, "CREATE TABLE other (a)")
    with pytest.raises(ConfigurationError, match="has no table satchel_sessions, and create=False"):
        await SQLiteStorage[Any](path, create=False).read("chat:1")
    with closing(sqlite3.connect(path)) as database:
        database.executescript(SQLiteStorage[Any](path).schema())
    async with SQLiteStorage[Any](path, create=False) as storage:
        assert await storage.read("chat:1") is None


@pytest.mark.parametrize("statement", ["PRAGMA user_version = 0", "CREATE TABLE other (a)"])
async def test_without_create_a_file_without_the_table_stays_as_it_is(path: Path, statement: str) -> None:
    path.touch()
    rows(path, statement)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="has no table satchel_sessions, and create=False"):
        await SQLiteStorage[Any](path, create=False).write("chat:1", 1)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


async def test_without_create_a_table_will_do_that_has_no_index_of_ours(path: Path) -> None:
    rows(path, "CREATE TABLE satchel_sessions (key TEXT PRIMARY KEY NOT NULL, payload NOT NULL, expires_at INTEGER)")
    async with SQLiteStorage[Any](path, create=False, ttl=timedelta(hours=1)) as storage:
        await storage.write("chat:1", 1)
        rows(path, ENDED.format(3))
        assert await storage.purge_expired() == 3
        assert await storage.read("chat:1") == 1
    assert rows(path, "SELECT count(*) FROM sqlite_master WHERE name = 'satchel_sessions_expires_at'") == [(0,)]


async def test_a_database_that_stays_locked_raises_within_the_timeout_and_works_again_after(path: Path) -> None:
    async with SQLiteStorage[Any](path, timeout=timedelta(milliseconds=100)) as storage:
        await storage.write("chat:1", 1)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailableError):
                await storage.write("chat:1", 2)
            assert await storage.read("chat:1") == 1
        await storage.write("chat:1", 3)
        assert await storage.read("chat:1") == 3


CHANGES: Final[dict[str, Callable[[SQLiteStorage[Any]], Awaitable[Any]]]] = {
    "write": lambda storage: storage.write("chat:1", "given up"),
    "delete": lambda storage: storage.delete("chat:1"),
    "write_many": lambda storage: storage.write_many({"chat:1": "given up", "chat:2": "given up"}),
    "commit": lambda storage: storage.commit({"chat:2": Change("given up", None)}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_change_that_was_cancelled_while_it_waited_is_not_made_over_a_newer_one(
    path: Path, gate: Gate, change: Callable[[SQLiteStorage[Any]], Awaitable[Any]]
) -> None:
    async with SQLiteStorage[Any](path) as storage:
        await storage.write("chat:1", "first")
        with locked(path) as other:
            gate.open()
            gate.hold("")
            task = asyncio.ensure_future(change(storage))
            assert await asyncio.to_thread(gate.reached.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(5):  # as the thread does not wait for the lock any more
                assert await storage.read("chat:1") == "first"
            other.execute("""UPDATE satchel_sessions SET payload = '"newer"'""")
            other.execute("COMMIT")
        assert await storage.read_many(["chat:1", "chat:2"]) == {"chat:1": "newer"}


async def test_a_write_that_timed_out_is_not_made_later(path: Path) -> None:
    async with SQLiteStorage[Any](path, timeout=timedelta(milliseconds=500)) as storage:
        await storage.write("chat:1", "old")
        with locked(path) as other:
            first = asyncio.create_task(storage.write("chat:1", "first"))
            await asyncio.sleep(0.25)  # so that the thread comes to the second when half of its time is over
            for write in (first, storage.write("chat:1", "given up")):
                with pytest.raises(StorageUnavailableError, match="locked by another process"):
                    await write
            other.execute("""UPDATE satchel_sessions SET payload = '"newer"'""")
            other.execute("COMMIT")
        assert await storage.read("chat:1") == "newer"


async def test_a_write_that_was_given_up_as_it_got_the_lock_is_not_made(path: Path, gate: Gate) -> None:
    async with SQLiteStorage[Any](path, timeout=timedelta(milliseconds=200)) as storage:
        await storage.write("chat:1", "old")
        with locked(path) as other:
            gate.hold("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailableError):
                await storage.write("chat:1", "given up")
            assert gate.reached.is_set()
            other.execute("""UPDATE satchel_sessions SET payload = '"newer"'""")
            other.execute("COMMIT")
        gate.open()
        assert await storage.read("chat:1") == "newer"


async def test_closing_while_the_thread_is_busy_says_so_and_closes_the_file_after_that(path: Path, gate: Gate) -> None:
    before = set(threading.enumerate())
    storage = SQLiteStorage[Any](path, timeout=timedelta(milliseconds=200))
    await storage.write("chat:1", 1)
    (thread,) = set(threading.enumerate()) - before
    gate.hold("SELECT")
    busy = asyncio.create_task(storage.read("chat:1"))
    assert await asyncio.to_thread(gate.reached.wait, 10)
    write = asyncio.create_task(storage.write("chat:1", 2))
    with pytest.raises(StorageUnavailableError, match="will be closed as soon as"):
        await storage.aclose()
    await asyncio.gather(busy, write, return_exceptions=True)
    gate.open()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()
    assert [each.name for each in path.parent.iterdir()] == ["bot.db"]
    assert rows(path, "SELECT payload FROM satchel_sessions") == [("1",)]


async def test_closing_does_not_wait_for_a_write_that_was_given_up(path: Path, gate: Gate) -> None:
    storage = SQLiteStorage[Any](path)
    await storage.write("chat:1", 1)
    with locked(path):
        gate.open()
        gate.hold("INSERT")
        task = asyncio.create_task(storage.write("chat:1", 2))
        assert await asyncio.to_thread(gate.reached.wait, 10)
        task.cancel()
        async with asyncio.timeout(5):
            await storage.aclose()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rows(path, "SELECT payload FROM satchel_sessions") == [("1",)]


@pytest.mark.parametrize("how", ["write", "write_many", "commit"])
async def test_a_full_disk_is_called_one_and_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def connect_small(*arguments: Any, **options: Any) -> sqlite3.Connection:
        database = connect(*arguments, **options)
        database.execute("PRAGMA max_page_count = 20")
        return database

    monkeypatch.setattr("satchel_sqlite.storage.sqlite3.connect", connect_small)
    large = "x" * 100_000
    async with SQLiteStorage[Any](path) as storage:
        await storage.write("chat:1", 1)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "write": lambda: storage.write("chat:1", large),
            "write_many": lambda: storage.write_many({"chat:1": 2, "chat:2": large}),
            "commit": lambda: storage.commit({"chat:2": Change(2, None), "chat:3": Change(large, None)}),
        }
        with pytest.raises(StorageUnavailableError, match="the disk is full"):
            await calls[how]()
        assert await storage.read_many(["chat:1", "chat:2", "chat:3"]) == {"chat:1": 1}
        await storage.write_many({"chat:1": 2, "chat:2": 2})
        assert await storage.read_many(["chat:1", "chat:2"]) == {"chat:1": 2, "chat:2": 2}


@pytest.mark.parametrize("replaced", [True, False])
async def test_nothing_is_acknowledged_that_goes_to_a_file_that_was_removed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    monkeypatch.setattr("satchel_sqlite.storage._LOOK_EVERY", 0.0)
    async with SQLiteStorage[Any](path) as storage:
        await storage.write("chat:1", 1)
        kept = path.rename(tmp_path / "kept.db")
        if replaced:
            rows(path, "CREATE TABLE other (a)")
        for call in (storage.write("chat:1", 2), storage.write_many({"chat:1": 2}), anext(storage.keys())):
            with pytest.raises(StorageUnavailableError, match="was removed or replaced while it was open"):
                await call
        kept.replace(path)
        assert await storage.read("chat:1") == 1
        await storage.write("chat:1", 3)
        assert await storage.read("chat:1") == 3


def test_the_declared_size_is_one_that_sqlite_takes() -> None:
    declared = SQLiteStorage.capabilities.max_value_bytes
    with closing(sqlite3.connect(":memory:")) as database:
        assert declared is not None
        assert database.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) >= declared + 10_000


async def test_closing_leaves_no_thread_and_no_open_file(path: Path) -> None:
    before = set(threading.enumerate())
    async with SQLiteStorage[Any](path) as storage:
        await storage.write("chat:1", 1)
        (thread,) = set(threading.enumerate()) - before
    thread.join(10)
    assert not thread.is_alive()
    assert [each.name for each in path.parent.iterdir()] == ["bot.db"]  # the last to close removes -wal and -shm


@contextmanager
def unprivileged_folder() -> Iterator[Path]:
    """Make a folder that belongs to the user the block runs as, which is never root: permissions mean nothing to it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
            folder.chmod(0o755)
