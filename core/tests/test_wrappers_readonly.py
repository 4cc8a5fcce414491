"""Read-only: everything can be seen, and nothing changed."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recording import Recording
from satchel import Change, ConfigurationError, ReadOnlyError, Sessions, StorageError
from satchel.wrappers import ReadOnly
from satchel_sqlite import SQLiteStorage


async def test_everything_can_be_read() -> None:
    inside = Recording()
    await inside.write_many({"a": 1, "b": 2})
    storage = ReadOnly(inside)
    version = inside.version_of(b"1")
    assert await storage.read("a") == 1
    assert await storage.read_versioned("a") == (1, version)
    assert await storage.read_many(["a", "b"]) == {"a": 1, "b": 2}
    assert await storage.read_records(["a"]) == {"a": (1, version)}
    assert sorted([key async for key in storage.keys()]) == ["a", "b"]


async def test_nothing_can_be_changed_and_nothing_reaches_the_storage_inside() -> None:
    inside = Recording(ttl=timedelta(hours=1))
    await inside.write("a", 1)
    inside.visits.clear()
    storage = ReadOnly(inside)
    for call in (
        storage.write("a", 2),
        storage.delete("a"),
        storage.write_versioned("b", 1, None),
        storage.delete_versioned("a", "version"),
        storage.write_many({"a": 2}),
        storage.delete_many(["a"]),
        storage.commit({"a": Change(2, None)}),
        storage.write_records({"a": Change(2, None)}),
        storage.touch("a"),
        storage.purge_expired(),
    ):
        with pytest.raises(ReadOnlyError, match="<Recording memory://> is read-only here: ") as caught:
            await call
        assert isinstance(caught.value, StorageError)
    assert inside.visits == []
    assert await inside.read("a") == 1


async def test_a_session_can_be_looked_at_but_not_saved() -> None:
    inside = Recording()
    await inside.write("chat:1", {"n": 1})
    sessions = Sessions(ReadOnly(inside))
    async with sessions.open("chat:1") as session:
        assert session.data == {"n": 1}
    with pytest.raises(ReadOnlyError):
        async with sessions.open("chat:1") as session:
            session.data["n"] = 2


async def test_looking_at_a_database_that_is_not_there_does_not_create_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="create=False"):
        async with ReadOnly(SQLiteStorage[Any](tmp_path / "bot.db", create=False)):
            pass
    assert list(tmp_path.iterdir()) == []
