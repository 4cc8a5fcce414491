"""What is particular to SQLite: the file, its layout, and what is wrong with a path in one line."""

import asyncio
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from satchel import (
    ConfigurationError,
    CorruptValueError,
    StorageError,
    StorageUnavailableError,
    open_storage,
)
from satchel_sqlite import SQLiteStorage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


def rows(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database, database:
        return database.execute(statement).fetchall()


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


async def test_the_url_names_a_relative_or_an_absolute_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    for url in ("sqlite:///a%20b.db?synchronous=normal&ttl=1h", f"sqlite:///{path}"):
        async with open_storage(url) as storage:
            await storage.write("chat:1", 1)
    assert sorted(each.name for each in path.parent.glob("*.db")) == ["a b.db", "bot.db"]


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
    ["sqlite://bot.db", "sqlite://", "sqlite:///", "sqlite:///bot.db?mode=ro", "sqlite:///bot.db?synchronous=OFF"],
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
