"""Real applications, and what they remember."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import date
from itertools import count
from typing import Any

import pytest
from telegram import Update
from telegram.ext import ContextTypes, MessageHandler, PersistenceInput, filters

from satchel import (
    ANY,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    Expected,
    InvalidKeyError,
    MemoryStorage,
    StorageUnavailableError,
    UnsupportedValueError,
    ValueTooLargeError,
    blocking,
    open_storage,
)
from satchel_conformance.proxy import Proxy, Refuse, address_in
from satchel_telegram import Persistence

Context = ContextTypes.DEFAULT_TYPE
Running = Callable[..., Coroutine[Any, Any, Any]]
NUMBERS = count(1)
OURS = "ptb:bot:42"


async def say(application: Any, text: str, *, chat: int = 7, user: int = 7) -> None:
    """Give an application a message, and let it save what came of it."""
    await handle(application, text, chat=chat, user=user)
    await application.update_persistence()


async def handle(application: Any, text: str, *, chat: int = 7, user: int = 7) -> None:
    number = next(NUMBERS)
    update = {
        "update_id": number,
        "message": {
            "message_id": number,
            "date": 1_700_000_000,
            "chat": {"id": chat, "type": "private" if chat == user else "group"},
            "from": {"id": user, "is_bot": False, "first_name": "Ann"},
            "text": text,
        },
    }
    await application.process_update(Update.de_json(update, application.bot))


async def remember(update: Update, context: Context) -> None:
    """Do as a message says: `chat a=1 b` sets a field of the chat's data, and removes another."""
    assert update.message is not None
    kind, *orders = str(update.message.text).split()
    data: Any = getattr(context, f"{kind}_data")
    for order in orders:
        name, is_set, value = order.partition("=")
        if is_set:
            data[name] = value
        else:
            data.pop(name, None)


def bot() -> Any:
    return MessageHandler(filters.TEXT, remember)


@pytest.fixture(params=[False, True], ids=["eager", "lazy"])
def lazy(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_a_new_process_remembers_chats_users_and_the_bot(storage: Any, lazy: bool, running: Running) -> None:
    first = await running(Persistence(storage, lazy=lazy), bot())
    await say(first, "chat pizza=1", chat=-1)
    await say(first, "user name=Ann", chat=-1)
    await say(first, "bot orders=1", chat=-1)
    second = await running(Persistence(storage, lazy=lazy), bot())
    await handle(second, "chat", chat=-1)
    assert second.chat_data[-1] == {"pizza": "1"}
    assert second.user_data[7] == {"name": "Ann"}
    assert second.bot_data == {"orders": "1"}


async def test_each_is_a_readable_record(storage: Any, lazy: bool, running: Running) -> None:
    application = await running(Persistence(storage, lazy=lazy), bot())
    await say(application, "chat pizza=1", chat=-1)
    assert await storage.read(f"{OURS}:chat_data:-1") == {"pizza": "1"}
    assert [key async for key in storage.keys()] == [f"{OURS}:chat_data:-1"]


async def test_eager_mode_knows_everybody_at_the_start(storage: Any, running: Running) -> None:
    first = await running(Persistence(storage), bot())
    for number in range(1, 251):
        await handle(first, "user here=1", user=number)
    await first.update_persistence()
    second = await running(Persistence(storage), bot())
    assert second.user_data.keys() == set(range(1, 251))


async def test_lazy_mode_reads_nobody_at_the_start(running: Running) -> None:
    class Unlisted(MemoryStorage[Any]):
        def pages(self, prefix: str) -> Any:
            raise AssertionError

    storage = Unlisted()
    await say(await running(Persistence(storage, lazy=True), bot()), "user name=Ann")
    second = await running(Persistence(storage, lazy=True), bot())
    assert second.user_data == {}
    await handle(second, "user")
    assert second.user_data[7] == {"name": "Ann"}


async def test_lazy_processes_see_each_other(storage: Any, running: Running) -> None:
    one, two = [await running(Persistence(storage, lazy=True), bot()) for _ in range(2)]
    await say(one, "chat a=1 b=1")
    await say(two, "chat b c=1")
    await say(one, "chat d=1")
    assert one.chat_data[7] == {"a": "1", "c": "1", "d": "1"}
    await handle(two, "chat")
    assert two.chat_data[7] == one.chat_data[7]


async def test_fields_that_processes_change_at_once_are_merged(storage: Any, lazy: bool, running: Running) -> None:
    one, two = [await running(Persistence(storage, lazy=lazy), bot()) for _ in range(2)]
    await say(one, "chat shared=0")
    await handle(one, "chat one=1 shared=1")
    await handle(two, "chat two=1")
    await asyncio.gather(one.update_persistence(), two.update_persistence())
    await say(one, "chat one=2")  # of what the other wrote, nothing is taken for removed
    await say(two, "chat two=2")
    assert await storage.read(f"{OURS}:chat_data:7") == {"one": "2", "shared": "1", "two": "2"}


async def test_a_field_that_both_changed_is_reported_by_its_name(storage: Any, lazy: bool, running: Running) -> None:
    errors: list[Any] = []

    async def note(_: object, context: Context) -> None:
        errors.append(context.error)

    one, two = [await running(Persistence(storage, lazy=lazy), bot()) for _ in range(2)]
    two.add_error_handler(note)
    await handle(one, "chat a=1")
    await handle(two, "chat a=2 b=2")
    await one.update_persistence()
    await two.update_persistence()
    assert await storage.read(f"{OURS}:chat_data:7") == {"a": "1", "b": "2"}
    assert [type(error) for error in errors] == [ConflictError]
    assert "in the same field: 'a'" in str(errors[0])
    await say(two, "chat c=2")
    assert len(errors) == 1
    if lazy:
        assert two.chat_data[7] == {"a": "1", "b": "2", "c": "2"}


async def test_what_did_not_change_costs_nothing(running: Running) -> None:
    class Counting(MemoryStorage[Any]):
        reads = writes = 0

        async def get(self, name: str) -> bytes | None:
            self.reads += 1
            return await super().get(name)

        async def put(self, name: str, payload: bytes, expected: Expected = ANY) -> str | None:
            self.writes += 1
            return await super().put(name, payload, expected)

    storage = Counting()
    application = await running(Persistence(storage), bot())
    await say(application, "chat a=1")
    before = storage.reads
    for _ in range(3):
        await say(application, "chat a=1")
    assert (storage.reads, storage.writes) == (before, 1)


async def test_data_that_is_empty_again_leaves_no_record(storage: Any, lazy: bool, running: Running) -> None:
    application = await running(Persistence(storage, lazy=lazy), bot())
    await say(application, "chat a=1")
    await say(application, "chat a")
    assert await storage.read(f"{OURS}:chat_data:7") is None


async def test_a_chat_may_be_dropped_and_may_move(storage: Any, lazy: bool, running: Running) -> None:
    application = await running(Persistence(storage, lazy=lazy), bot())
    for chat in (1, 2):
        await say(application, f"chat number={chat}", chat=chat)
        await say(application, f"user number={chat}", chat=chat)
    application.drop_chat_data(1)
    application.drop_user_data(7)
    application.migrate_chat_data(old_chat_id=2, new_chat_id=-2)
    await application.update_persistence()
    assert {key async for key in storage.keys()} == {f"{OURS}:chat_data:-2"}
    assert await storage.read(f"{OURS}:chat_data:-2") == {"number": "2"}


async def test_a_handler_that_raised_has_changed_what_it_changed(storage: Any, running: Running) -> None:
    """As the application has it: its data are live objects, with or without persistence."""

    async def fail(_: Update, context: Context) -> None:
        assert context.chat_data is not None
        context.chat_data["a"] = 1
        raise RuntimeError

    application = await running(Persistence(storage, lazy=True), MessageHandler(filters.TEXT, fail))
    await say(application, "go")
    assert await storage.read(f"{OURS}:chat_data:7") == {"a": 1}


async def test_what_is_not_json_is_refused_and_keeps_nobody_from_going_on(storage: Any, running: Running) -> None:
    errors: list[Any] = []

    async def note(_: object, context: Context) -> None:
        errors.append(context.error)

    async def join(_: Update, context: Context) -> None:
        assert context.chat_data is not None
        context.chat_data["joined"] = date(2026, 1, 1)

    handlers = MessageHandler(filters.Regex("^join$"), join), bot()
    application = await running(Persistence(storage, lazy=True), *handlers)
    application.add_error_handler(note)
    await say(application, "chat a=1")
    await say(application, "join")
    assert [type(error) for error in errors] == [UnsupportedValueError]
    assert str(errors[0]).startswith("$.joined is a date")
    assert errors[0].__notes__ == [f"in the value for '{OURS}:chat_data:7'"]
    assert await storage.read(f"{OURS}:chat_data:7") == {"a": "1"}
    await say(application, "chat joined b=1")
    assert await storage.read(f"{OURS}:chat_data:7") == {"a": "1", "b": "1"}
    assert len(errors) == 1


async def test_the_error_of_a_refused_value_says_once_whose_it_is(running: Running) -> None:
    class Small(MemoryStorage[Any]):
        capabilities = replace(MemoryStorage.capabilities, max_value_bytes=50)

    persistence = (await running(Persistence(Small(), lazy=True))).persistence
    for refused, kind, call in (
        (UnsupportedValueError, "user_data:7", persistence.update_user_data(7, {"a": {1, 2}})),
        (UnsupportedValueError, "bot_data", persistence.update_bot_data([])),
        (UnsupportedValueError, "conversation:form:[7, 7]", persistence.update_conversation("form", (7, 7), NUMBERS)),
        (ValueTooLargeError, "chat_data:7", persistence.update_chat_data(7, {"pad": "x" * 50})),
    ):
        with pytest.raises(refused) as error:
            await call
        said = "\n".join([str(error.value), *getattr(error.value, "__notes__", [])])
        assert said.count(f"for '{OURS}:{kind}'") == 1


async def test_what_could_not_be_saved_is_saved_later(redis_url: str, namespace: str, running: Running) -> None:
    with Proxy(*address_in(redis_url)) as proxy:
        async with open_storage(proxy.url(redis_url), namespace=namespace) as storage:
            errors: list[Any] = []

            async def note(_: object, context: Context) -> None:
                errors.append(context.error)

            application = await running(Persistence(storage), bot())
            application.add_error_handler(note)
            await say(application, "chat a=1", chat=1)
            proxy.arm(Refuse())
            await say(application, "chat b=1", chat=1)
            await say(application, "chat c=1", chat=1)
            assert {type(error) for error in errors} == {StorageUnavailableError}
            proxy.heal()
            await say(application, "chat a=1", chat=2)
            assert await storage.read(f"{OURS}:chat_data:1") == {"a": "1", "b": "1", "c": "1"}


async def test_an_application_that_starts_in_an_outage_does_not_start_empty(
    redis_url: str, namespace: str, running: Running
) -> None:
    with Proxy(*address_in(redis_url)) as proxy:
        proxy.arm(Refuse())
        storage = open_storage(proxy.url(redis_url), namespace=namespace)
        with pytest.raises(StorageUnavailableError):
            await running(Persistence(storage), bot())
        await storage.aclose()


async def test_a_record_of_somebody_else_is_not_taken_for_data(storage: Any, lazy: bool, running: Running) -> None:
    await storage.write(f"{OURS}:bot_data", [1])
    with pytest.raises(CorruptValueError, match="no data of python-telegram-bot"):
        await running(Persistence(storage, lazy=lazy), bot())


async def test_several_bots_share_a_storage(storage: Any, build: Any, running: Running) -> None:
    await say(await running(Persistence(storage, prefix="shop"), bot()), "chat a=1")
    assert (await running(Persistence(storage), bot())).chat_data == {}
    assert (await running(Persistence(storage, prefix="shop"), bot())).chat_data == {7: {"a": "1"}}


async def test_only_what_is_asked_for_is_stored(storage: Any, running: Running) -> None:
    only = PersistenceInput(bot_data=False, user_data=False, callback_data=False)
    application = await running(Persistence(storage, store_data=only), bot())
    for text in ("chat a=1", "user a=1", "bot a=1"):
        await say(application, text)
    assert [key async for key in storage.keys()] == [f"{OURS}:chat_data:7"]


class Unlisted:
    """Three methods, and nothing else."""

    def __init__(self) -> None:
        memory: MemoryStorage[Any] = MemoryStorage()
        self.read, self.write, self.delete = memory.read, memory.write, memory.delete


async def test_a_storage_that_cannot_list_is_for_lazy_mode(running: Running) -> None:
    storage = Unlisted()
    with pytest.raises(ConfigurationError, match="lazy=True"):
        Persistence(storage)
    await say(await running(Persistence(storage, lazy=True), bot()), "chat a=1")
    second = await running(Persistence(storage, lazy=True), bot())
    await handle(second, "chat")
    assert second.chat_data[7] == {"a": "1"}


def test_a_blocking_storage_is_refused(lazy: bool) -> None:
    wrong: Any = blocking.Storage(MemoryStorage())
    with pytest.raises(ConfigurationError, match="is for blocking callers"):
        Persistence(wrong, lazy=lazy)


async def test_an_empty_prefix_is_refused() -> None:
    with pytest.raises(InvalidKeyError):
        Persistence(MemoryStorage[Any](), prefix="")
