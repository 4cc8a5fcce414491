"""Conversations, and buttons that stand for objects."""

from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

import pytest
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.ext import (
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    ConversationHandler,
    InvalidCallbackData,
    MessageHandler,
    filters,
)

from satchel import CorruptValueError, MemoryStorage
from satchel_telegram import Persistence

Context = ContextTypes.DEFAULT_TYPE
Running = Callable[..., Coroutine[Any, Any, Any]]
NUMBERS = count(1)
NAME, AGE = range(2)
USER = {"id": 7, "is_bot": False, "first_name": "Ann"}
CHAT = {"id": 7, "type": "private"}


async def say(application: Any, text: str) -> None:
    number = next(NUMBERS)
    message = {"message_id": number, "date": 1_700_000_000, "chat": CHAT, "from": USER, "text": text}
    if text.startswith("/"):
        message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text)}]
    await application.process_update(Update.de_json({"update_id": number, "message": message}, application.bot))
    await application.update_persistence()


def form(name: str = "form") -> ConversationHandler[Any]:
    async def start(update: Update, _: Context) -> int:
        assert update.message is not None
        await update.message.reply_text("Your name?")
        return NAME

    async def named(update: Update, context: Context) -> int:
        assert update.message is not None
        assert context.user_data is not None
        context.user_data["name"] = update.message.text
        await update.message.reply_text("And your age?")
        return AGE

    async def aged(update: Update, context: Context) -> int:
        assert update.message is not None
        assert context.user_data is not None
        await update.message.reply_text(f"{context.user_data['name']} is {update.message.text}")
        return ConversationHandler.END

    text = filters.TEXT & ~filters.COMMAND
    return ConversationHandler(
        entry_points=[CommandHandler("start", start)],
        states={NAME: [MessageHandler(text, named)], AGE: [MessageHandler(text, aged)]},
        fallbacks=[],
        name=name,
        persistent=True,
    )


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
async def test_a_conversation_goes_on_in_the_next_process(
    storage: Any, lazy: bool, running: Running, sent: list[dict[str, Any]]
) -> None:
    for text in ("/start", "Ann", "33", "nobody listens any more"):
        await say(await running(Persistence(storage, lazy=lazy), form()), text)
    assert [one["text"] for one in sent] == ["Your name?", "And your age?", "Ann is 33"]


async def test_its_state_is_a_record_until_it_ends(storage: Any, running: Running) -> None:
    application = await running(Persistence(storage), form("to:order"))
    await say(application, "/start")
    await say(application, "Ann")
    assert await storage.read("ptb:bot:42:conversation:to%3Aorder:[7, 7]") == {"state": AGE}
    await say(application, "33")
    assert [key async for key in storage.keys("ptb:bot:42:conversation")] == []


async def test_conversations_of_handlers_with_alike_names_are_kept_apart(storage: Any, running: Running) -> None:
    await say(await running(Persistence(storage), form("a:b")), "/start")
    persistence = (await running(Persistence(storage), form("a"))).persistence
    assert await persistence.get_conversations("a") == {}
    assert await persistence.get_conversations("a:b") == {(7, 7): NAME}


async def test_keys_of_inline_messages_come_back_as_they_were(storage: Any, running: Running) -> None:
    persistence = (await running(Persistence(storage))).persistence
    keys = [(7, 7), (7,), (7, "7"), (-7, 7, "AgA:%[\n"), ("7",)]
    for number, key in enumerate(keys):
        await persistence.update_conversation("form", key, number)
    assert await persistence.get_conversations("form") == {key: number for number, key in enumerate(keys)}


async def test_a_record_of_somebody_else_is_not_taken_for_a_state(storage: Any, running: Running) -> None:
    await storage.write("ptb:bot:42:conversation:form:[7, 7]", {"status": 1})
    with pytest.raises(CorruptValueError, match="no conversation"):
        await running(Persistence(storage), form())


async def menu(update: Update, _: Context) -> None:
    assert update.message is not None
    button = InlineKeyboardButton("Margherita", callback_data={"pizza": 1})
    await update.message.reply_text("Which?", reply_markup=InlineKeyboardMarkup([[button]]))


def shop(build: Any, storage: Any, pressed: list[Any]) -> Any:
    async def press(update: Update, _: Context) -> None:
        assert update.callback_query is not None
        pressed.append(update.callback_query.data)

    application = build().persistence(Persistence(storage)).arbitrary_callback_data(True).build()
    application.add_handlers([CommandHandler("menu", menu), CallbackQueryHandler(press)])
    return application


async def press(application: Any, data: str) -> None:
    number = next(NUMBERS)
    query = {"id": str(number), "from": USER, "chat_instance": "1", "data": data}
    update = Update.de_json({"update_id": number, "callback_query": query}, application.bot)
    application.bot.insert_callback_data(update)  # as the updater does
    await application.process_update(update)
    await application.update_persistence()


def button(sent: list[dict[str, Any]], index: int = -1) -> str:
    """Return what stands for the object in a keyboard that was sent."""
    markup = sent[index]["reply_markup"]
    return str(markup["inline_keyboard"][0][0]["callback_data"])


async def test_a_button_stands_for_its_object_in_the_next_process(
    storage: Any, build: Any, sent: list[dict[str, Any]]
) -> None:
    pressed: list[Any] = []
    async with shop(build, storage, pressed) as application:
        await say(application, "/menu")
    async with shop(build, storage, pressed) as application:
        await press(application, button(sent))
    assert pressed == [{"pizza": 1}]


async def test_keyboards_of_two_processes_are_both_kept(storage: Any, build: Any, sent: list[dict[str, Any]]) -> None:
    pressed: list[Any] = []
    async with shop(build, storage, pressed) as one, shop(build, storage, pressed) as two:
        await say(one, "/menu")
        await say(two, "/menu")
        await press(two, button(sent, 0))
        assert isinstance(pressed.pop(), InvalidCallbackData)  # made by the other after this one started
    async with shop(build, storage, pressed) as three:
        await press(three, button(sent, 0))
        await press(three, button(sent, 1))
    assert pressed == [{"pizza": 1}] * 2


async def test_nothing_is_stored_of_buttons_that_nobody_made(running: Running) -> None:
    storage: MemoryStorage[Any] = MemoryStorage()
    application = await running(Persistence(storage), form())
    await application.update_persistence()
    assert [key async for key in storage.keys()] == []
