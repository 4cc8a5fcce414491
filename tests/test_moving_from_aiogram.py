"""A bot of aiogram's moves as docs/moving.md says, with what aiogram's own storage left."""

import secrets
from pathlib import Path

import pytest

from tests.moving_page import follow

pytest.importorskip("aiogram", reason="aiogram is not for this Python yet")

from aiogram.fsm.storage.base import DefaultKeyBuilder, StorageKey
from aiogram.fsm.storage.redis import RedisStorage


async def test_a_bot_moves_as_the_page_says(redis_url: str, tmp_path: Path) -> None:
    prefix = f"page_{secrets.token_hex(6)}"
    theirs = RedisStorage.from_url(redis_url, key_builder=DefaultKeyBuilder(prefix=prefix))
    await theirs.set_state(StorageKey(99, -100142, 7), "Form:age")
    await theirs.set_data(StorageKey(99, -100142, 7), {"name": "Ann"})

    keys, copied, went_on = follow("From aiogram", tmp_path, redis_url, prefix)

    assert keys == "aiogram:chat:-100142:user:7\n"
    assert "1 copied" in copied
    assert went_on == "Form:age {'name': 'Ann'}\n"
    assert await theirs.get_data(StorageKey(99, -100142, 7)) == {"name": "Ann"}
    await theirs.close()
