"""Sessions in a dispatcher's handlers."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiogram import Bot, Dispatcher, Router
from aiogram.types import Message

from satchel import (
    ConfigurationError,
    LazySession,
    MemoryStorage,
    NoSessionError,
    Parts,
    Session,
    SessionGroup,
    Sessions,
    blocking,
    per_chat,
    per_user,
    per_user_in_chat,
)
from satchel_aiogram import SessionMiddleware

Feed = Callable[..., Coroutine[Any, Any, Any]]


def counting(storage: Any) -> Dispatcher:
    dispatcher = Dispatcher()
    dispatcher.update.outer_middleware(SessionMiddleware(Sessions(storage, initial=lambda: {"n": 0}, key=per_chat)))

    @dispatcher.message()
    async def count(message: Message, session: Session[dict[str, int]]) -> None:
        session.data["n"] += 1
        if message.text == "fail":
            raise RuntimeError
        await message.answer(f"{session.data['n']} in {session.key}")

    return dispatcher


async def test_a_handler_has_the_session_of_its_chat(storage: Any, feed: Feed, sent: list[str]) -> None:
    await feed(counting(storage), "a", chat=1)
    await feed(counting(storage), "b", chat=2)
    await feed(counting(storage), "c", chat=1)
    assert sent == ["1 in chat:1", "1 in chat:2", "2 in chat:1"]
    assert await storage.read("chat:1") == {"n": 2}


async def test_a_handler_that_raises_saves_nothing(storage: Any, feed: Feed) -> None:
    dispatcher = counting(storage)
    await feed(dispatcher, "a")
    with pytest.raises(RuntimeError):
        await feed(dispatcher, "fail")
    assert await storage.read("chat:7") == {"n": 1}


async def test_an_error_that_is_handled_saves_nothing_either(storage: Any, feed: Feed) -> None:
    dispatcher = counting(storage)

    @dispatcher.errors()
    async def handled(_: object) -> None:
        pass

    await feed(dispatcher, "fail")
    assert await storage.read("chat:7") is None


async def test_a_lazy_session_that_nobody_awaits_costs_nothing(feed: Feed) -> None:
    class Unreadable(MemoryStorage[Any]):
        async def get(self, name: str) -> bytes | None:
            raise AssertionError

    dispatcher = Dispatcher()
    dispatcher.update.outer_middleware(SessionMiddleware(Sessions(Unreadable(), initial=dict), lazy=True))

    @dispatcher.message()
    async def ignore(_: Message, session: LazySession[Any]) -> None:
        assert session.key == "chat:7"

    await feed(dispatcher, "a")


async def test_a_lazy_session_is_read_when_it_is_awaited(storage: Any, feed: Feed) -> None:
    dispatcher = Dispatcher()
    dispatcher.update.outer_middleware(SessionMiddleware(Sessions(storage, initial=dict), lazy=True, name="memory"))

    @dispatcher.message()
    async def note(message: Message, memory: LazySession[dict[str, Any]]) -> None:
        (await memory)[str(message.text)] = True

    await feed(dispatcher, "a")
    await feed(dispatcher, "b")
    assert await storage.read("chat:7") == {"a": True, "b": True}


async def test_a_group_gives_all_of_its_parts(storage: Any, feed: Feed) -> None:
    group = SessionGroup(
        chat=Sessions(storage, initial=dict, key=per_chat), user=Sessions(storage, initial=dict, key=per_user)
    )
    dispatcher = Dispatcher()
    dispatcher.update.outer_middleware(SessionMiddleware(group, name="memory"))

    @dispatcher.message()
    async def note(message: Message, memory: Parts) -> None:
        memory.chat.data["last"] = memory.user.data["said"] = message.text

    await feed(dispatcher, "hi", chat=-1, user=2)
    assert await storage.read("chat:-1") == {"last": "hi"}
    assert await storage.read("user:2") == {"said": "hi"}


async def test_a_router_may_have_sessions_of_its_own(storage: Any, feed: Feed) -> None:
    router = Router()
    router.message.middleware(SessionMiddleware(Sessions(storage, initial=dict, key=per_user_in_chat)))

    @router.message()
    async def note(message: Message, session: Session[Any]) -> None:
        session.data["said"] = message.text

    dispatcher = Dispatcher()
    dispatcher.include_router(router)
    await feed(dispatcher, "hi", chat=-1, user=2)
    assert await storage.read("chat:-1:user:2") == {"said": "hi"}


async def test_an_update_of_no_chat_has_no_session(storage: Any, bot: Bot) -> None:
    dispatcher = Dispatcher()
    dispatcher.update.outer_middleware(SessionMiddleware(Sessions(storage, initial=dict)))

    @dispatcher.inline_query()
    async def query(_: object, session: Session[Any]) -> None:
        assert session.key is None
        _ = session.data

    user = {"id": 7, "is_bot": False, "first_name": "Ann"}
    update = {"update_id": 1, "inline_query": {"id": "1", "from": user, "query": "", "offset": ""}}
    with pytest.raises(NoSessionError):
        await dispatcher.feed_raw_update(bot, update)


def test_what_is_neither_sessions_nor_a_group_is_refused() -> None:
    theirs: Any = blocking.Sessions(blocking.Storage(MemoryStorage()))
    storage: Any = MemoryStorage()  # which has an open(), too
    for wrong in (theirs, storage):
        with pytest.raises(ConfigurationError, match="takes Sessions or a SessionGroup of satchel, not <class"):
            SessionMiddleware(wrong)
