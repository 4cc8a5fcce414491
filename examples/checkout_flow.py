"""A pizzeria that takes orders on the console. Stop it in the middle of one, start it again: it knows where it was.

python examples/checkout_flow.py                         # forgets when it ends
python examples/checkout_flow.py sqlite:///pizzeria.db

Who is asked for an address and says nothing is reminded after a while, once, also by a process that was started later.
"""

import asyncio
import os
import sys
from datetime import timedelta
from typing import Any

from satchel import Sessions, open_storage
from satchel.flow import Conversations, Flow, FlowMap, State, StorageScheduler, Turn

REMINDER = timedelta(minutes=float(os.environ.get("REMINDER_MINUTES", "10")))


async def reply(turn: Turn[Any], text: str) -> None:
    """Send a message: here a bot calls its framework. A scheduled step has no update, but the session's key."""
    print(f"[{turn.key}] {text}", flush=True)


async def ask_pizza(turn: Turn[Any]) -> None:
    await reply(turn, "Which pizza may it be?")
    turn.update_session_to(state="get_pizza")


async def get_pizza(turn: Turn[Any]) -> None:
    turn.data.setdefault("pizzas", []).append(turn.update["text"])
    await turn.step_to(flow="checkout")


async def ask_address(turn: Turn[Any]) -> None:
    await reply(turn, f"{' and '.join(turn.data['pizzas'])}. Where to?")
    turn.update_session_to(state="get_address")
    forget_reminder(turn)
    turn.data["reminder"] = turn.step_to_in(REMINDER, state="remind", if_still_here=True)


def forget_reminder(turn: Turn[Any]) -> None:
    if "reminder" in turn.data:
        turn.cancel(turn.data.pop("reminder"))


async def remind(turn: Turn[Any]) -> None:
    await reply(turn, "Your pizza is getting cold. Where to?")
    turn.update_session_to(state="get_address")


async def get_address(turn: Turn[Any]) -> None:
    street, number = turn.update["text"].rsplit(maxsplit=1)
    turn.data["address"] = {"street": street, "number": int(number)}
    forget_reminder(turn)
    await turn.step_to(turn.current + 1)


async def confirm(turn: Turn[Any]) -> None:
    address = turn.data["address"]
    await reply(turn, f"{' and '.join(turn.data['pizzas'])} to {address['street']} {address['number']}: is that right?")
    turn.update_session_to(state="get_answer")


async def get_answer(turn: Turn[Any]) -> None:
    if turn.update["text"].lower().startswith("y"):
        await reply(turn, "On its way!")
        turn.delete()
    else:
        await turn.step_to(flow="checkout")


async def ask_address_again(turn: Turn[Any]) -> None:
    await reply(turn, "A street and a number, please.")
    turn.update_session_to(state="get_address")


async def say_help(turn: Turn[Any]) -> None:
    await reply(turn, "I take orders. Say anything to go on.")
    turn.update_session_to(state="go_back")


async def go_back(turn: Turn[Any]) -> None:
    await turn.step_back()


async def help_whenever_asked_for(turn: Turn[Any]) -> None:
    """Take over what is a question for help, wherever the session is, and remember where that was."""
    if turn.update["text"] == "/help" and turn.places.current is not None:
        turn.set_back_to(turn.current - 1)  # from an answer to its question
        await turn.step_to(flow="help")


PIZZERIA = FlowMap(
    Flow("order", State("ask_pizza", ask_pizza), State("get_pizza", get_pizza)),
    Flow(
        "checkout",
        State("ask_address", ask_address),
        State("get_address", get_address, fails_to="ask_address_again"),
        State("confirm", confirm),
        State("get_answer", get_answer),
        State("ask_address_again", ask_address_again),
        State("remind", remind),
        State("ask_street", redirects_to="ask_address"),  # as it was called in the first version
    ),
    Flow("help", State("say_help", say_help), State("go_back", go_back)),
)


async def main(url: str = "memory://", chat: str = "1") -> None:
    async with open_storage(url) as storage:
        bot = Conversations(
            PIZZERIA,
            Sessions(storage, initial=dict),
            start="order",
            interrupt=help_whenever_asked_for,
            scheduler=StorageScheduler(storage),
        )
        async with bot.running():  # reminders
            if sys.stdin.isatty():
                print('Say "hi", and then what you are asked for; /help helps, Ctrl-D ends this.')
            while line := await asyncio.to_thread(sys.stdin.readline):
                await bot.handle({"chat": {"id": chat}, "text": line.strip()})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
