"""Conversations of a real dispatcher, on real storages."""

from collections.abc import Callable, Coroutine
from datetime import date
from typing import Any

import pytest
from aiogram import Dispatcher, F
from aiogram.exceptions import DataNotDictLikeError
from aiogram.fsm.context import FSMContext
from aiogram.fsm.scene import Scene, SceneRegistry, ScenesManager, on
from aiogram.fsm.state import State, StatesGroup
from aiogram.fsm.storage.base import StorageKey
from aiogram.types import Message

from satchel import CorruptValueError, InvalidKeyError, StorageUnavailableError, UnsupportedValueError, open_storage
from satchel_aiogram import FSMStorage, key_of
from satchel_conformance.proxy import Proxy, Refuse, address_in

Feed = Callable[..., Coroutine[Any, Any, Any]]

RECORD = "aiogram:bot:42:chat:7:user:7"
KEY = StorageKey(bot_id=42, chat_id=7, user_id=7)


class Form(StatesGroup):
    name = State()
    age = State()


def form(storage: Any, **options: Any) -> Dispatcher:
    """Make a bot that asks for a name and an age."""
    dispatcher = Dispatcher(storage=FSMStorage(storage, **options))

    @dispatcher.message(Form.name)
    async def name(message: Message, state: FSMContext) -> None:
        await state.update_data(name=message.text)
        await state.set_state(Form.age)
        await message.answer("And your age?")

    @dispatcher.message(Form.age)
    async def age(message: Message, state: FSMContext) -> None:
        await message.answer(f"{await state.get_value('name')} is {message.text}")
        await state.clear()

    @dispatcher.message()
    async def start(message: Message, state: FSMContext) -> None:
        await state.set_state(Form.name)
        await message.answer("Your name?")

    return dispatcher


async def test_a_conversation_goes_on_in_another_process(storage: Any, feed: Feed, sent: list[str]) -> None:
    for text in ("hello", "Ann", "33"):
        await feed(form(storage), text)
    assert sent == ["Your name?", "And your age?", "Ann is 33"]


async def test_state_and_data_are_one_readable_record(storage: Any, feed: Feed) -> None:
    await feed(form(storage), "hello")
    assert await storage.read(RECORD) == {"state": "Form:name", "data": {}}
    await feed(form(storage), "Ann")
    assert await storage.read(RECORD) == {"state": "Form:age", "data": {"name": "Ann"}}
    await feed(form(storage), "33")
    assert await storage.read(RECORD) is None


async def test_users_chats_threads_and_destinies_are_kept_apart(storage: Any) -> None:
    fsm = FSMStorage(storage)
    keys = [
        StorageKey(bot, chat, user, thread, business, destiny)
        for bot in (1, 11)
        for chat in (1, -1)
        for user in (1, 11)
        for thread in (None, 1)
        for business in (None, "1", "1:user:1", "1:destiny:a")
        for destiny in ("default", "a", "thread:1", "a:b")
    ]
    for number, key in enumerate(keys):
        await fsm.set_state(key, str(number))
    assert [await fsm.get_state(key) for key in keys] == [str(number) for number in range(len(keys))]


def test_a_key_names_all_of_its_parts() -> None:
    assert key_of(StorageKey(42, -100, 7)) == "aiogram:bot:42:chat:-100:user:7"
    whole = StorageKey(42, -100, 7, thread_id=5, business_connection_id="abc", destiny="menu")
    assert key_of(whole) == "aiogram:bot:42:chat:-100:thread:5:user:7:business:abc:destiny:menu"


async def test_what_was_copied_from_aiograms_own_storage_goes_on(storage: Any, feed: Feed, sent: list[str]) -> None:
    await storage.write("aiogram:chat:7:user:7", {"state": "Form:age", "data": {"name": "Ann"}})
    await storage.write("aiogram:chat:8:user:8", {"state": None, "data": {"name": "Ben"}})
    fsm = FSMStorage(storage, with_bot_id=False)
    assert await fsm.get_state(StorageKey(42, 8, 8)) is None
    assert await fsm.get_data(StorageKey(42, 8, 8)) == {"name": "Ben"}
    await feed(form(storage, with_bot_id=False), "33")
    assert sent == ["Ann is 33"]


async def test_two_dispatchers_share_a_storage_by_prefixes(storage: Any) -> None:
    await FSMStorage(storage, prefix="shop").set_state(KEY, "buying")
    assert await FSMStorage(storage).get_state(KEY) is None
    assert await storage.read(key_of(KEY, "shop")) == {"state": "buying", "data": {}}


async def test_an_empty_prefix_is_refused(storage: Any) -> None:
    with pytest.raises(InvalidKeyError):
        FSMStorage(storage, prefix="")


async def test_setting_one_part_leaves_the_other(storage: Any) -> None:
    fsm = FSMStorage(storage)
    await fsm.set_data(KEY, {"a": 1})
    await fsm.set_state(KEY, Form.age)
    assert await fsm.update_data(KEY, {"b": 2}) == await fsm.get_data(KEY) == {"a": 1, "b": 2}
    await fsm.set_data(KEY, {})
    assert (await fsm.get_state(KEY), await fsm.get_data(KEY)) == ("Form:age", {})


async def test_what_is_read_is_the_readers_own(storage: Any) -> None:
    fsm = FSMStorage(storage)
    for read in (await fsm.update_data(KEY, {"list": [1]}), await fsm.get_data(KEY)):
        read["list"].append(2)
    assert await fsm.get_value(KEY, "list") == [1]
    assert await fsm.get_value(KEY, "other", "default") == "default"


async def test_what_is_not_json_is_refused_by_its_path(storage: Any) -> None:
    fsm = FSMStorage(storage)
    await fsm.set_data(KEY, {"a": 1})
    with pytest.raises(UnsupportedValueError, match=r"^\$\.data\.joined is a date"):
        await fsm.update_data(KEY, {"joined": date(2026, 1, 1)})
    with pytest.raises(DataNotDictLikeError):
        await fsm.set_data(KEY, [("a", 2)])  # type: ignore[arg-type]
    assert await fsm.get_data(KEY) == {"a": 1}


@pytest.mark.parametrize("record", [[1], {"state": 1}, {"data": []}, "Form:name"])
async def test_a_record_of_somebody_else_is_not_taken_for_a_state(storage: Any, record: Any) -> None:
    await storage.write(RECORD, record)
    fsm = FSMStorage(storage)
    for call in (fsm.get_state(KEY), fsm.get_data(KEY), fsm.set_state(KEY, "on"), fsm.update_data(KEY, {"a": 1})):
        with pytest.raises(CorruptValueError, match="no state of aiogram"):
            await call
    assert await storage.read(RECORD) == record


async def test_an_outage_is_not_the_end_of_a_conversation(
    redis_url: str, namespace: str, feed: Feed, sent: list[str]
) -> None:
    with Proxy(*address_in(redis_url)) as proxy:
        async with open_storage(proxy.url(redis_url), namespace=namespace) as storage:
            dispatcher = form(storage)
            await feed(dispatcher, "hello")
            proxy.arm(Refuse())
            with pytest.raises(StorageUnavailableError):
                await feed(dispatcher, "Ann")
            proxy.heal()
            await feed(dispatcher, "Ann")
            await storage.delete(RECORD)
    assert sent == ["Your name?", "And your age?"]


class First(Scene, state="first"):
    @on.message.enter()
    async def enter(self, message: Message) -> None:
        await message.answer("first")

    @on.message()
    async def onwards(self, message: Message) -> None:
        await self.wizard.update_data(came="from first")
        await self.wizard.goto(Second)


class Second(Scene, state="second"):
    @on.message.enter()
    async def enter(self, message: Message, state: FSMContext) -> None:
        await message.answer(f"second, {await state.get_value('came')}")

    @on.message()
    async def back(self, message: Message) -> None:
        await self.wizard.back()


async def test_scenes_find_their_way_back(storage: Any, feed: Feed, sent: list[str]) -> None:
    dispatcher = Dispatcher(storage=FSMStorage(storage))
    scenes = SceneRegistry(dispatcher)
    scenes.add(First, Second)

    @dispatcher.message(F.text == "start")
    async def start(_: Message, scenes: ScenesManager) -> None:
        await scenes.enter(First)

    for text in ("start", "on", "back"):
        await feed(dispatcher, text)
    assert sent == ["first", "second, from first", "first"]
    assert await storage.read(RECORD) == {"state": "first", "data": {"came": "from first"}}


async def test_closing_a_dispatcher_leaves_the_storage_open(storage: Any) -> None:
    dispatcher = form(storage)
    await dispatcher.emit_shutdown()
    await storage.write("chat:1", {"n": 1})
    assert await storage.read("chat:1") == {"n": 1}
