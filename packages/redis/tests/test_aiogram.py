"""A bot of aiogram's moves: what its own storage left in Redis is read, one record for a state and its data."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from satchel import ConfigurationError, CorruptValueError, ReadOnlyError, open_storage
from satchel.foreign.aiogram import Conversation

pytest.importorskip("aiogram", reason="aiogram is not for this Python yet")

from aiogram import Bot, Dispatcher
from aiogram.client.session.base import BaseSession
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.fsm.storage.base import DefaultKeyBuilder, StorageKey
from aiogram.fsm.storage.redis import RedisStorage
from aiogram.fsm.strategy import FSMStrategy
from aiogram.types import Message, Update

BOT = 123456
GROUP = -1001234567890


class Form(StatesGroup):
    name = State()
    age = State()


class Offline(BaseSession):
    """Sends nothing anywhere."""

    async def close(self) -> None:
        pass

    async def make_request(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the bot of these tests says nothing")

    async def stream_content(self, *_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
        raise AssertionError("the bot of these tests fetches nothing")
        yield b""


@pytest.fixture
async def prefix(raw: Redis) -> AsyncIterator[str]:
    """What the names of one test start with."""
    made = f"fsm-{secrets.token_hex(6)}"
    yield made
    await raw.delete("nothing", *[name async for name in raw.scan_iter(f"{made}*")])


@pytest.fixture
def theirs(url: str, prefix: str) -> Callable[..., RedisStorage]:
    """Make aiogram's own storage, with the options of its key builder."""

    def make(**options: Any) -> RedisStorage:
        return RedisStorage.from_url(url, key_builder=DefaultKeyBuilder(prefix=prefix, **options))

    return make


async def everything_in(url: str, **options: Any) -> dict[str, Any]:
    """Return all that a copy would bring over."""
    async with open_storage(f"aiogram+{url}", **options) as storage:
        keys = [key async for key in storage.keys()]  # type: ignore[attr-defined]
        values: dict[str, Any] = await storage.read_many(keys)  # type: ignore[attr-defined]
        assert [await storage.read(key) for key in keys] == list(values.values())
    assert len(keys) == len(set(keys)) == len(values)
    return values


def says(text: str, chat: int, user: int) -> Update:
    """Return an update as Telegram sends it."""
    kind = {"type": "supergroup", "title": "A chat"} if chat < 0 else {"type": "private"}
    sender = {"id": user, "is_bot": False, "first_name": "Ann"}
    message = {"message_id": 1, "date": 0, "chat": {"id": chat, **kind}, "from": sender, "text": text}
    return Update.model_validate({"update_id": 1, "message": message})


@pytest.mark.parametrize(
    ("strategy", "keys"),
    [
        (FSMStrategy.USER_IN_CHAT, {f"aiogram:chat:{GROUP}:user:7", "aiogram:chat:7:user:7"}),
        (FSMStrategy.CHAT, {f"aiogram:chat:{GROUP}:user:{GROUP}", "aiogram:chat:7:user:7"}),
        (FSMStrategy.GLOBAL_USER, {"aiogram:chat:7:user:7"}),
    ],
)
async def test_what_a_bot_was_told_is_one_record_with_its_state(
    url: str, prefix: str, theirs: Callable[..., RedisStorage], strategy: FSMStrategy, keys: set[str]
) -> None:
    async def ask_age(message: Message, state: FSMContext) -> None:
        await state.update_data(name=message.text)
        await state.set_state(Form.age)

    bot, dispatcher = Bot(f"{BOT}:offline", session=Offline()), Dispatcher(storage=theirs(), fsm_strategy=strategy)
    dispatcher.message.register(ask_age)
    for chat in (GROUP, 7):
        await dispatcher.feed_update(bot, says("Änn 🧀", chat, 7))
    await dispatcher.storage.close()

    expected = {"state": "Form:age", "data": {"name": "Änn 🧀"}}
    assert await everything_in(url, prefix=prefix) == dict.fromkeys(keys, expected)


async def test_a_state_without_data_and_data_without_a_state_are_records(
    url: str, prefix: str, theirs: Callable[..., RedisStorage]
) -> None:
    storage = theirs()
    await storage.set_state(StorageKey(BOT, 1, 1), Form.name)
    await storage.set_data(StorageKey(BOT, 2, 2), {"age": 7})
    await storage.set_state(StorageKey(BOT, 3, 3), Form.name)
    await storage.set_state(StorageKey(BOT, 3, 3), None)
    await storage.close()

    assert await everything_in(url, prefix=prefix) == {
        "aiogram:chat:1:user:1": {"state": "Form:name", "data": {}},
        "aiogram:chat:2:user:2": {"state": None, "data": {"age": 7}},
    }


ANYONE = StorageKey(BOT, GROUP, 7)
IN_A_TOPIC = StorageKey(BOT, GROUP, 7, thread_id=5)
OF_A_BUSINESS = StorageKey(BOT, 42, 7, business_connection_id="Ab_c-1:x")
FOR_A_MENU = StorageKey(BOT, GROUP, 7, destiny="menu: 100%")


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({}, [ANYONE, IN_A_TOPIC]),
        ({"with_bot_id": True}, [ANYONE, IN_A_TOPIC]),
        ({"with_business_connection_id": True}, [ANYONE, IN_A_TOPIC, OF_A_BUSINESS]),
        ({"with_destiny": True}, [ANYONE, IN_A_TOPIC, FOR_A_MENU]),
        ({"with_bot_id": True, "with_destiny": True, "separator": "--"}, [ANYONE, IN_A_TOPIC, FOR_A_MENU]),
        (
            {"with_bot_id": True, "with_business_connection_id": True, "with_destiny": True, "separator": "/"},
            [ANYONE, IN_A_TOPIC, OF_A_BUSINESS, FOR_A_MENU],
        ),
    ],
    ids=str,
)
async def test_every_variant_of_names_is_read(
    url: str, prefix: str, theirs: Callable[..., RedisStorage], options: dict[str, Any], keys: list[StorageKey]
) -> None:
    storage = theirs(**options)
    expected = {}
    for number, key in enumerate(keys):
        await storage.set_data(key, {"number": number})
        conversation = Conversation(
            bot_id=key.bot_id if "with_bot_id" in options else None,
            chat_id=key.chat_id,
            user_id=key.user_id,
            thread_id=key.thread_id,
            business_connection_id=key.business_connection_id,
            destiny=key.destiny,
        )
        expected[conversation.key()] = {"state": None, "data": {"number": number}}
        assert Conversation.of(conversation.key()) == conversation
    await storage.close()

    assert await everything_in(url, prefix=prefix, **options) == expected


async def test_a_lock_is_no_record(url: str, prefix: str, theirs: Callable[..., RedisStorage]) -> None:
    storage = theirs()
    async with storage.create_isolation().lock(ANYONE):
        assert await everything_in(url, prefix=prefix) == {}
    await storage.close()


async def test_an_ended_state_is_gone_and_its_data_stays(url: str, raw: Redis, prefix: str) -> None:
    storage = RedisStorage(raw, DefaultKeyBuilder(prefix=prefix), state_ttl=1)
    await storage.set_state(ANYONE, Form.name)
    await storage.set_data(ANYONE, {"age": 7})
    await raw.pexpire(f"{prefix}:{GROUP}:7:state", 1)
    while await raw.exists(f"{prefix}:{GROUP}:7:state"):
        pass

    assert await everything_in(url, prefix=prefix) == {
        f"aiogram:chat:{GROUP}:user:7": {"state": None, "data": {"age": 7}}
    }


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"a": NaN}', b"\xff", b"null", b""])
async def test_damaged_data_raises_and_says_whose_it_is(url: str, raw: Redis, prefix: str, data: bytes) -> None:
    await raw.set(f"{prefix}:42:7:data", data)
    await raw.set(f"{prefix}:1:1:data", b"{}")

    async with open_storage(f"aiogram+{url}?prefix={prefix}") as storage:
        with pytest.raises(CorruptValueError, match="'aiogram:chat:42:user:7' in aiogram.redis://.* is not"):
            await storage.read("aiogram:chat:42:user:7")
        assert await storage.read("aiogram:chat:1:user:1") == {"state": None, "data": {}}
        listed = [key async for key in storage.keys()]  # type: ignore[attr-defined]
    assert sorted(listed) == ["aiogram:chat:1:user:1", "aiogram:chat:42:user:7"]


async def test_a_name_that_is_no_conversations_is_told_after_all_others(url: str, raw: Redis, prefix: str) -> None:
    for name in ("42:7:data", "42:7", "42:7:data:more", "042:7:data", "a:b:state", "1:42:0:7:state"):
        await raw.set(f"{prefix}:{name}", b"{}")

    listed: list[str] = []
    async with open_storage(f"aiogram+{url}?prefix={prefix}") as storage:
        with pytest.raises(CorruptValueError, match=f"without a key of ours: '{prefix}:.* and 4 more"):
            async for key in storage.keys():  # type: ignore[attr-defined]
                listed.append(key)  # noqa: PERF401 - the end raises
    assert listed == ["aiogram:chat:42:user:7"]


async def test_theirs_is_only_read(url: str, prefix: str, theirs: Callable[..., RedisStorage]) -> None:
    storage = theirs()
    await storage.set_data(ANYONE, {"age": 7})

    async with open_storage(f"aiogram+{url}?prefix={prefix}") as ours:
        with pytest.raises(ReadOnlyError, match="what aiogram stored is left as it is"):
            await ours.write(f"aiogram:chat:{GROUP}:user:7", {"state": None, "data": {}})
        with pytest.raises(ReadOnlyError):
            await ours.delete(f"aiogram:chat:{GROUP}:user:7")

    assert await storage.get_data(ANYONE) == {"age": 7}
    await storage.close()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("separator=", "separator is ''"),
        ("separator=0", "separator is '0'"),
        ("with_bot_id=perhaps", "with_bot_id is not true or false"),
        ("namespace=x", "takes no namespace: its records are aiogram's"),
        ("ttl=1d", "takes no ttl"),
        ("keys=per_chat", "has no option keys"),
    ],
)
def test_a_wrong_option_is_refused(query: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        open_storage(f"aiogram+redis://localhost?{query}")
