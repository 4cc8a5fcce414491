"""An assistant that fills slots: it asks for what is missing, gives up politely, and knows its users again.

python examples/assistant_with_slots.py

session one: a large pizza please
  bot: Hello! Which topping?
session one: mumble
  bot: Which topping, please?
session one: mumble
  bot: I did not get that twice. A person will help you.
session one: with ham
  bot: One L pizza with ham is on its way.
session two: a pizza
  bot: Welcome back after 1 order! Which size?
"""

import asyncio
from typing import Any

from satchel import MemoryStorage
from satchel.assistant import Assistant, Turn

WORDS = {"large": ("size", "L"), "small": ("size", "S"), "ham": ("topping", "ham"), "olives": ("topping", "olives")}


def understood(text: str) -> dict[str, Any]:
    """Stand in for the service that understands what users say."""
    slots = dict(WORDS[word] for word in text.split() if word in WORDS)
    return {"slots": slots, "is_unknown": not slots and "pizza" not in text}


def order(turn: Turn) -> str:
    """Answer one input; all it has to say is in what it returns, which is sent only if it could be saved."""
    turn.current_handler = "order"
    if turn.unknown_inputs > 1:
        return "I did not get that twice. A person will help you."
    orders = turn.storage.get("orders", 0)
    hello = "" if not turn.is_new_session else "Hello! " if turn.new_user else f"Welcome back after {orders} order! "
    for slot in ("size", "topping"):
        if slot not in turn.slots:
            return f"{hello}Which {slot}{', please' if turn.unknown_inputs else ''}?"
    turn.storage["orders"] = orders + 1
    answer = f"One {turn.slots['size']} pizza with {turn.slots['topping']} is on its way."
    turn.slots.clear()
    return answer


async def main() -> None:
    async with MemoryStorage[Any]() as storage:
        assistant = Assistant(storage)
        for session, text in [
            ("one", "a large pizza please"),
            ("one", "mumble"),
            ("one", "mumble"),
            ("one", "with ham"),
            ("two", "a pizza"),
        ]:
            print(f"session {session}: {text}")
            request = {"user": {"id": 7}, "text": text}
            response = await assistant.respond(request, order, session_id=session, **understood(text))
            print(f"  bot: {response}")  # sent after it was saved


if __name__ == "__main__":
    asyncio.run(main())
