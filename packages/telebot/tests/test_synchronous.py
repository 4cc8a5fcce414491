"""A real TeleBot, and its threads, fed real updates."""

from itertools import count
from typing import Any

import pytest
from telebot import TeleBot
from telebot.custom_filters import StateFilter
from telebot.states import State, StatesGroup
from telebot.types import Update

from satchel import ConfigurationError, ConflictError, MemoryStorage
from satchel_telebot import NoStateError, StateStorage

NUMBERS = count(1)
RECORD = "telebot:bot:42:chat:7:user:7"


class Form(StatesGroup):
    name = State()
    age = State()


def message(text: str) -> Any:
    number = next(NUMBERS)
    fields = {
        "message_id": number,
        "date": 1_700_000_000,
        "chat": {"id": 7, "type": "private"},
        "from": {"id": 7, "is_bot": False, "first_name": "Ann"},
        "text": text,
    }
    return Update.de_json({"update_id": number, "message": fields})


def form(storage: Any, said: list[str]) -> Any:
    """Make a bot that asks for a name and an age."""
    bot: Any = TeleBot("42:TEST", threaded=False, state_storage=StateStorage(storage))
    bot.add_custom_filter(StateFilter(bot))

    def name(message: Any) -> None:
        with bot.retrieve_data(message.from_user.id, message.chat.id) as data:
            data["name"] = message.text
        bot.set_state(message.from_user.id, Form.age, message.chat.id)
        said.append("And your age?")

    bot.register_message_handler(name, state=Form.name)

    def age(message: Any) -> None:
        with bot.retrieve_data(message.from_user.id, message.chat.id) as data:
            said.append(f"{data['name']} is {message.text}")
        bot.delete_state(message.from_user.id, message.chat.id)

    bot.register_message_handler(age, state=Form.age)

    def start(message: Any) -> None:
        bot.set_state(message.from_user.id, Form.name, message.chat.id)
        said.append("Your name?")

    bot.register_message_handler(start, func=lambda _: True)

    return bot


def test_a_conversation_goes_on_in_another_process(blocked: Any) -> None:
    said: list[str] = []
    for text in ("hello", "Ann", "33"):
        form(blocked, said).process_new_updates([message(text)])
    assert said == ["Your name?", "And your age?", "Ann is 33"]


def test_state_and_data_are_one_readable_record(blocked: Any) -> None:
    bot = form(blocked, [])
    bot.process_new_updates([message("hello")])
    assert blocked.read(RECORD) == {"state": "Form:name", "data": {}}
    bot.process_new_updates([message("Ann")])
    assert blocked.read(RECORD) == {"state": "Form:age", "data": {"name": "Ann"}}
    bot.process_new_updates([message("33")])
    assert blocked.read(RECORD) is None


def test_every_method_does_what_the_asynchronous_one_does(blocked: Any) -> None:
    states = StateStorage(blocked)
    with pytest.raises(NoStateError):
        states.set_data(7, 7, "a", 1)
    assert not states.save(7, 7, {"a": 1})
    assert states.set_state(7, 7, Form.name)
    assert states.set_data(7, 7, "a", 1)
    assert states.get_data(7, 7) == {"a": 1}
    assert states.save(7, 7, {"b": 1})
    assert states.reset_data(7, 7)
    assert (states.get_state(7, 7), states.get_data(7, 7)) == ("Form:name", {})
    assert states.delete_state(7, 7)
    assert not states.delete_state(7, 7)


def test_a_block_saves_what_it_changed_and_nothing_if_it_raises(blocked: Any) -> None:
    states = StateStorage(blocked)
    states.set_state(7, 7, "on")
    with states.get_interactive_data(7, 7) as data:
        data["a"] = 1
        states.set_data(7, 7, "b", 1)
    with pytest.raises(RuntimeError), states.get_interactive_data(7, 7) as data:
        data["a"] = 2
        raise RuntimeError
    assert states.get_data(7, 7) == {"a": 1, "b": 1}
    with pytest.raises(ConflictError, match="same field: 'a'"), states.get_interactive_data(7, 7) as data:
        data["a"] = 3
        states.set_data(7, 7, "a", 4)
    assert states.get_data(7, 7) == {"a": 4, "b": 1}


def test_an_asynchronous_storage_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"satchel\.blocking"):
        StateStorage(MemoryStorage())  # type: ignore[arg-type]
