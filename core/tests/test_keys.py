"""What a session key may be, how keys are built, and where the presets look for them."""

from types import SimpleNamespace as Thing
from typing import Any

import pytest

from satchel import InvalidKeyError, MemoryStorage, Sessions, per_chat, per_user, per_user_in_chat, session_key
from satchel.keys import after


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "cannot be empty"),
        ("x" * 513, "has 513 UTF-8 bytes; the limit is 512"),
        ("ü" * 257, "has 514 UTF-8 bytes"),
        ("a\ud800", "lone surrogate at index 1"),
        (42, "a session key is a string, not int"),
        (None, "not None"),
        (b"chat", "not bytes"),
    ],
)
async def test_a_bad_key_is_refused_with_its_reason_before_anything_is_done(key: Any, reason: str) -> None:
    storage = MemoryStorage()
    for call in (
        storage.read(key),
        storage.write(key, 1),
        storage.delete(key),
        storage.read_versioned(key),
        storage.write_versioned(key, 1, None),
        storage.delete_versioned(key, "v"),
        storage.touch(key),
        storage.read_many(["good", key]),
        storage.write_many({"good": 1, key: 1}),
        storage.delete_many(["good", key]),
    ):
        with pytest.raises(InvalidKeyError, match=reason):
            await call
    assert [key async for key in storage.keys()] == []


async def test_the_longest_key_is_512_bytes() -> None:
    storage = MemoryStorage()
    await storage.write("ü" * 256, 1)
    assert await storage.read("ü" * 256) == 1


def test_session_keys_are_readable() -> None:
    assert session_key("telegram", 42) == "telegram:42"
    assert session_key("telegram", -1001) == "telegram:-1001"


def test_different_parts_never_make_the_same_key() -> None:
    parts = [("a", "b", "c"), ("a:b", "c"), ("a", "b:c"), ("a%3Ab", "c"), ("a", "b%3Ac"), ("a:b:c",), ("a%3Ab%3Ac",)]
    assert len({session_key(*each) for each in parts}) == len(parts)


@pytest.mark.parametrize("parts", [(), ("",), ("a", ""), (None,), (True,), (1.5,), ("x" * 600,)])
def test_bad_parts_are_refused(parts: Any) -> None:
    with pytest.raises(InvalidKeyError):
        session_key(*parts)


CHAT, USER = Thing(id=42), Thing(id=7)


@pytest.mark.parametrize(
    "update",
    [
        Thing(effective_chat=CHAT, effective_user=USER),  # python-telegram-bot
        Thing(chat=CHAT, from_user=USER),  # aiogram, pyTelegramBotAPI
        Thing(message=Thing(chat=CHAT), from_user=USER),  # a callback query
        Thing(message=None, callback_query=Thing(message=Thing(chat=CHAT), from_user=USER)),  # an aiogram update
        Thing(channel=CHAT, author=USER),  # discord.py
        {"channel": "42", "user": "7"},  # a Slack event
        {"event": {"channel": "42", "user": "7"}},
        {"message": {"chat": {"id": 42}, "from": {"id": 7}}},  # a raw Telegram update
    ],
)
def test_presets_find_chat_and_user_in_the_shapes_of_the_frameworks(update: Any) -> None:
    assert per_chat(update) == "chat:42"
    assert per_user(update) == "user:7"
    assert per_user_in_chat(update) == "chat:42:user:7"


def test_presets_find_no_key_where_there_is_no_chat() -> None:
    inline_query = Thing(inline_query=Thing(from_user=USER))
    assert per_chat(inline_query) is None
    assert per_user_in_chat(inline_query) is None
    assert per_user(inline_query) == "user:7"


async def test_a_key_function_may_be_asynchronous() -> None:
    async def key(update: Thing) -> str:
        return f"tenant:{update.id}"

    sessions = Sessions(MemoryStorage(), key=key, initial=dict)
    async with sessions.open(Thing(id=3)) as session:
        assert session.key == "tenant:3"


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("satchel:", "satchel;"),
        ("satchel:chat", "satchel:chau"),
        ("a\ud7ff", "a\ue000"),
        ("a\U0010ffff\U0010ffff", "b"),
    ],
)
def test_the_end_of_a_prefix_is_the_first_string_behind_all_that_start_with_it(prefix: str, end: str) -> None:
    assert after(prefix) == end
    for rest in ("", "\0", "z", "\U0010ffff", "\U0010ffff" * 3):
        assert (prefix + rest).encode() < end.encode()
