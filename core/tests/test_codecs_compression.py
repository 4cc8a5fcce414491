"""Compression: smaller at rest, exactly the same when read, and no danger when it is damaged."""

import sqlite3
import tracemalloc
import zlib
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from satchel import (
    JSON,
    Codec,
    ConfigurationError,
    CorruptValueError,
    MemoryStorage,
    Sessions,
    ValueTooLargeError,
)
from satchel_sqlite import SQLiteStorage

LONG = {"history": ["the same again and again"] * 100, "pi": 3.5, "big": 2**70}


def column(path: Path) -> Any:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT payload FROM satchel_sessions").fetchone()[0]


async def test_a_large_session_takes_less_room_and_comes_back_exactly(tmp_path: Path) -> None:
    async with SQLiteStorage[Any](tmp_path / "bot.db", codec=JSON.compressed()) as storage:
        await storage.write("chat:1", LONG)
        assert repr(await storage.read("chat:1")) == repr(LONG)
    at_rest = column(tmp_path / "bot.db")
    assert at_rest.startswith(b"\xffzlib")
    assert len(at_rest) < len(JSON.encode(LONG)) / 10
    assert zlib.decompress(at_rest[5:]) == JSON.encode(LONG)  # as the documentation of the layout has it


async def test_what_was_written_without_it_stays_readable(tmp_path: Path) -> None:
    async with SQLiteStorage[Any](tmp_path / "bot.db") as storage:
        await storage.write("chat:1", LONG)
    async with SQLiteStorage[Any](tmp_path / "bot.db", codec=JSON.compressed()) as storage:
        assert await storage.read("chat:1") == LONG


class Raw(Codec[bytes]):
    """Any bytes, as a codec that makes no text may have them."""

    is_text = False

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, payload: bytes) -> bytes:
        return payload


def test_what_would_not_become_smaller_stays_as_it_is() -> None:
    noise = b"".join(sha256(bytes([number])).digest() for number in range(100))
    assert Raw().compressed().encode(noise) == noise
    assert JSON.compressed(threshold=1).encode({"n": 1}) == b'{"n":1}'
    assert JSON.compressed().encode("x" * 509) == JSON.encode("x" * 509)  # 511 bytes are below the threshold
    assert JSON.compressed().encode("x" * 510) != JSON.encode("x" * 510)


@pytest.mark.parametrize("value", [b"", b"\xffzlib", b"\xffzlib" + zlib.compress(b"x"), b"\xff" * 1000])
def test_bytes_that_look_compressed_are_not_taken_for_it(value: bytes) -> None:
    codec = Raw().compressed()
    assert codec.decode(codec.encode(value)) == value


def test_a_bomb_is_refused_before_it_fills_the_memory() -> None:
    bomb = b"\xffzlib" + zlib.compress(b"[" * 20_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptValueError, match="more than 1000000 bytes once decompressed"):
            JSON.compressed(limit=1_000_000).decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


async def test_what_could_not_be_read_again_is_not_written() -> None:
    storage = MemoryStorage(codec=JSON.compressed(limit=1000))
    await storage.write("chat:1", "x" * 998)
    with pytest.raises(ValueTooLargeError, match="1001 bytes before compression") as caught:
        await storage.write("chat:1", "y" * 999)
    assert (caught.value.size, caught.value.limit) == (1001, 1000)
    assert caught.value.__notes__ == ["in the value for 'chat:1'"]
    assert await storage.read("chat:1") == "x" * 998


@pytest.mark.parametrize("cut", [6, 20, -1])
def test_a_damaged_stream_is_corrupt(cut: int) -> None:
    whole = JSON.compressed().encode(LONG)
    for damaged in (whole[:cut], whole + b"more", whole[:5] + b"secret" + whole[11:]):
        with pytest.raises(CorruptValueError, match="zlib stream") as caught:
            JSON.compressed().decode(damaged)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("options", [{"threshold": 0}, {"limit": -1}, {"limit": True}, {"threshold": "1"}])
def test_numbers_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        JSON.compressed(**options)


def test_compressing_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="compresses already"):
        JSON.compressed().compressed()


async def test_sessions_merge_through_it() -> None:
    storage = MemoryStorage(codec=JSON.compressed(threshold=1))
    sessions = Sessions(storage, initial=dict, lock=False)
    async with sessions.open("chat:1") as session:
        session.data["base"] = "long " * 100
    async with sessions.open("chat:1") as one, sessions.open("chat:1") as two:
        one.data["one"] = 1
        two.data["two"] = 2
    assert await sessions.read("chat:1") == {"base": "long " * 100, "one": 1, "two": 2}
