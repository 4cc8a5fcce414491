"""Hidden keys: a stolen database does not tell who talks to the bot, and the bot notices no difference."""

from pathlib import Path
from typing import Any

import pytest

from satchel import (
    JSON,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    InvalidKeyError,
    MemoryStorage,
    UnsupportedValueError,
)
from satchel.encryption import generate_key
from satchel.wrappers import HiddenKeys
from satchel_sqlite import SQLiteStorage

SECRET = generate_key()


async def test_the_file_holds_neither_keys_nor_values(tmp_path: Path) -> None:
    inside = SQLiteStorage[Any](tmp_path / "bot.db", codec=JSON.encrypted(SECRET))
    async with HiddenKeys(inside, SECRET) as storage:
        await storage.write("telegram:user:4711", {"name": "Zoë"})
        assert await storage.read("telegram:user:4711") == {"name": "Zoë"}
        assert [key async for key in storage.keys("telegram:")] == ["telegram:user:4711"]
    found = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for secret in (b"telegram", b"4711", b"name", "Zoë".encode()):
        assert secret not in found


async def test_a_key_is_found_again_by_whoever_has_the_secret_and_by_nobody_else() -> None:
    inside = MemoryStorage[Any]()
    await HiddenKeys(inside, SECRET).write("chat:1", 1)
    assert await HiddenKeys(inside, SECRET).read("chat:1") == 1
    await HiddenKeys(inside, SECRET).write("user:1", 1)
    assert [key async for key in HiddenKeys(inside, SECRET).keys("chat:")] == ["chat:1"]
    assert await HiddenKeys(inside, generate_key()).read("chat:1") is None
    assert await inside.read("chat:1") is None


async def test_a_listing_that_finds_keys_of_another_secret_says_so() -> None:
    inside = MemoryStorage[Any]()
    storage = HiddenKeys(inside, SECRET)
    await inside.write("chat:1", 1)
    with pytest.raises(ConfigurationError, match="holds a key that was not hidden by this secret"):
        [key async for key in storage.keys()]


async def test_errors_name_the_session_key_and_not_what_it_is_stored_as() -> None:
    inside = MemoryStorage[Any]()
    storage = HiddenKeys(inside, SECRET)
    await storage.write("chat:1", 1)
    with pytest.raises(ConflictError, match="'chat:1' exists already in memory://"):
        await storage.write_versioned("chat:1", 2, None)
    with pytest.raises(UnsupportedValueError) as caught:
        await storage.write("chat:1", {1})
    assert caught.value.__notes__ == ["in the value for 'chat:1'"]
    inside.codec = JSON.encrypted(SECRET)
    with pytest.raises(CorruptValueError, match="'chat:1' in memory:// is not encrypted"):
        await storage.read_many(["chat:1"])


async def test_keys_are_as_long_as_what_hides_them_leaves_room_for() -> None:
    storage = HiddenKeys(MemoryStorage[Any](), SECRET)
    longest = "é" * 184
    await storage.write(longest, 1)
    assert [key async for key in storage.keys()] == [longest]
    with pytest.raises(InvalidKeyError, match="370 UTF-8 bytes; hidden, the limit is 368"):
        await storage.write(longest + "é", 1)


@pytest.mark.parametrize("bad", ["", "secret", None, b"x" * 32, SECRET + SECRET], ids=range(5))  # it is random
def test_a_secret_that_is_none_is_refused_without_being_shown(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match="the secret of HiddenKeys is not 32 bytes in Base64") as caught:
        HiddenKeys(MemoryStorage(), bad)
    assert SECRET not in str(caught.value)
