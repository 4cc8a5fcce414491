"""A real AsyncTeleBot that is fed real updates."""

import asyncio
from datetime import date
from itertools import count
from typing import Any

import pytest
from telebot.async_telebot import AsyncTeleBot
from telebot.asyncio_filters import StateFilter
from telebot.states import State, StatesGroup
from telebot.states.asyncio import StateMiddleware
from telebot.types import Update

from satchel import (
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    InvalidKeyError,
    UnsupportedValueError,
    blocking,
)
from satchel_telebot import AsyncStateStorage, NoStateError, key_of

NUMBERS = count(1)
RECORD = "telebot:bot:42:chat:7:user:7"


class Form(StatesGroup):
    name = State()
    age = State()


def message(text: str, *, chat: int = 7, user: int = 7) -> Any:
    number = next(NUMBERS)
    fields = {
        "message_id": number,
        "date": 1_700_000_000,
        "chat": {"id": chat, "type": "private" if chat == user else "group"},
        "from": {"id": user, "is_bot": False, "first_name": "Ann"},
        "text": text,
    }
    return Update.de_json({"update_id": number, "message": fields})


def form(storage: Any, said: list[str]) -> Any:
    """Make a bot that asks for a name and an age."""
    bot: Any = AsyncTeleBot("42:TEST", state_storage=AsyncStateStorage(storage))
    bot.add_custom_filter(StateFilter(bot))
    bot.setup_middleware(StateMiddleware(bot))

    async def name(message: Any, state: Any) -> None:
        await state.add_data(name=message.text)
        await state.set(Form.age)
        said.append("And your age?")

    bot.register_message_handler(name, state=Form.name)

    async def age(message: Any, state: Any) -> None:
        async with state.data() as data:
            said.append(f"{data['name']} is {message.text}")
        await state.delete()

    bot.register_message_handler(age, state=Form.age)

    async def start(_: Any, state: Any) -> None:
        await state.set(Form.name)
        said.append("Your name?")

    bot.register_message_handler(start, func=lambda _: True)

    return bot


async def test_a_conversation_goes_on_in_another_process(storage: Any) -> None:
    said: list[str] = []
    for text in ("hello", "Ann", "33"):
        await form(storage, said).process_new_updates([message(text)])
    assert said == ["Your name?", "And your age?", "Ann is 33"]


async def test_state_and_data_are_one_readable_record(storage: Any) -> None:
    bot = form(storage, [])
    await bot.process_new_updates([message("hello")])
    assert await storage.read(RECORD) == {"state": "Form:name", "data": {}}
    await bot.process_new_updates([message("Ann")])
    assert await storage.read(RECORD) == {"state": "Form:age", "data": {"name": "Ann"}}
    await bot.process_new_updates([message("33")])
    assert await storage.read(RECORD) is None


async def test_users_chats_threads_and_bots_are_kept_apart(storage: Any) -> None:
    states = AsyncStateStorage(storage)
    places: list[Any] = [
        (chat, user, business, thread, bot)
        for chat in (1, -1, None)
        for user in (1, 11)
        for business in (None, "1", "1:thread:1")
        for thread in (None, 1, 11)
        for bot in (None, 1, 11)
    ]
    for number, (chat, user, *place) in enumerate(places):
        await states.set_state(chat, user, str(number), *place)
    assert [await states.get_state(*place) for place in places] == [str(number) for number in range(len(places))]


async def test_data_belongs_to_a_state(storage: Any) -> None:
    states = AsyncStateStorage(storage)
    with pytest.raises(NoStateError, match="has no state"):
        await states.set_data(7, 7, "a", 1)
    with pytest.raises(RuntimeError):  # as of pyTelegramBotAPI's own
        await states.set_data(7, 7, "a", 1)
    assert not await states.reset_data(7, 7)
    assert not await states.save(7, 7, {"a": 1})
    assert not await states.delete_state(7, 7)
    assert await states.get_data(7, 7) == {}
    assert await storage.read("telebot:chat:7:user:7") is None


async def test_setting_a_state_keeps_the_data_and_resetting_data_the_state(storage: Any) -> None:
    states = AsyncStateStorage(storage)
    await states.set_state(7, 7, "one")
    await states.set_data(7, 7, "list", [1])
    await states.set_state(7, 7, Form.age)
    data = await states.get_data(7, 7)
    data["list"].append(2)
    assert await states.get_data(7, 7) == {"list": [1]}
    assert await states.reset_data(7, 7)
    assert (await states.get_state(7, 7), await states.get_data(7, 7)) == ("Form:age", {})
    assert await states.save(7, 7, {"b": 1})
    assert await states.get_data(7, 7) == {"b": 1}
    assert await states.delete_state(7, 7)


async def test_a_block_saves_what_it_changed_and_nothing_if_it_raises(storage: Any) -> None:
    states = AsyncStateStorage(storage)
    await states.set_state(7, 7, "on")
    async with states.get_interactive_data(7, 7) as data:
        data.update(a=1, b=1)
        await states.set_data(7, 7, "c", 1)  # while the block is open
    with pytest.raises(RuntimeError):
        async with states.get_interactive_data(7, 7) as data:
            data["a"] = 2
            raise RuntimeError
    async with states.get_interactive_data(7, 7) as data:
        del data["b"]
    assert await states.get_data(7, 7) == {"a": 1, "c": 1}


async def test_two_blocks_that_change_one_field_do_not_both_succeed(storage: Any) -> None:
    states = AsyncStateStorage(storage)
    await states.set_state(7, 7, "on")
    async with asyncio.timeout(5):
        with pytest.raises(ConflictError, match="same field: 'a'"):
            async with states.get_interactive_data(7, 7) as data:
                data["a"] = 1
                await states.set_data(7, 7, "a", 2)
    assert await states.get_data(7, 7) == {"a": 2}


async def test_a_block_without_a_state_may_read_and_not_write(storage: Any) -> None:
    states = AsyncStateStorage(storage)
    async with states.get_interactive_data(7, 7) as data:
        assert data == {}
    with pytest.raises(NoStateError):
        async with states.get_interactive_data(7, 7) as data:
            data["a"] = 1


async def test_a_state_that_is_deleted_inside_of_a_block_stays_deleted(storage: Any) -> None:
    states = AsyncStateStorage(storage)
    await states.set_state(7, 7, "on")
    async with states.get_interactive_data(7, 7) as data:
        data["a"] = 1
        await states.delete_state(7, 7)
    assert await states.get_state(7, 7) is None


async def test_what_is_not_json_is_refused_by_its_path(storage: Any) -> None:
    states = AsyncStateStorage(storage)
    await states.set_state(7, 7, "on")
    with pytest.raises(UnsupportedValueError, match=r"^\$\.data\.joined is a date"):
        await states.set_data(7, 7, "joined", date(2026, 1, 1))
    with pytest.raises(UnsupportedValueError, match=r"^\$\.data\.joined is a date"):
        async with states.get_interactive_data(7, 7) as data:
            data["joined"] = date(2026, 1, 1)
    assert await states.get_data(7, 7) == {}


@pytest.mark.parametrize("record", [[1], {"state": "on"}, {"data": {}}, {"state": "on", "data": []}])
async def test_a_record_of_somebody_else_is_not_taken_for_a_state(storage: Any, record: Any) -> None:
    await storage.write(RECORD, record)
    states = AsyncStateStorage(storage)
    for call in (states.get_state(7, 7, bot_id=42), states.set_state(7, 7, "on", bot_id=42)):
        with pytest.raises(CorruptValueError, match="no state of pyTelegramBotAPI"):
            await call
    assert await storage.read(RECORD) == record


async def test_two_bots_share_a_storage_by_prefixes(storage: Any) -> None:
    await AsyncStateStorage(storage, prefix="shop").set_state(7, 7, "buying")
    assert await AsyncStateStorage(storage).get_state(7, 7) is None
    assert await storage.read(key_of("shop", 7, 7)) == {"state": "buying", "data": {}}
    with pytest.raises(InvalidKeyError):
        AsyncStateStorage(storage, prefix="")


def test_a_blocking_storage_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is for blocking callers"):
        AsyncStateStorage(blocking.open_storage("memory://"))  # type: ignore[arg-type]
