"""A bot that counts pizzas, for each chat. A restart forgets nothing: run it twice, and it goes on counting.

python examples/pizza_bot.py

Ada in chat 42: I want 🍕
Ada in chat 42: and more 🍕🍕
Bob in chat 43: /hunger
  bot: Your hunger level is 0!
Ada in chat 42: /hunger
  bot: Your hunger level is 3!
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from satchel import Sessions, open_storage, per_chat

Update = dict[str, Any]


async def on_message(sessions: Sessions[dict[str, int]], update: Update) -> None:
    """What you would give to your framework as the handler of messages."""
    text = update["message"]["text"]
    async with sessions.open(update) as session:  # loaded here
        if text == "/hunger":
            print(f"  bot: Your hunger level is {session.data['pizza']}!")
        session.data["pizza"] += text.count("🍕")  # saved at the end of the block, if it changed


async def updates() -> AsyncIterator[Update]:
    """Telegram's updates, as a framework hands them over."""
    messages = [("Ada", 42, "I want 🍕"), ("Ada", 42, "and more 🍕🍕"), ("Bob", 43, "/hunger"), ("Ada", 42, "/hunger")]
    for name, chat, text in messages:
        print(f"{name} in chat {chat}: {text}")
        yield {"message": {"text": text, "chat": {"id": chat}, "from": {"id": chat, "first_name": name}}}


async def main() -> None:
    async with open_storage("sqlite:///pizza.db") as storage:  # or redis://localhost, and nothing else changes
        sessions = Sessions(storage, initial=lambda: {"pizza": 0}, key=per_chat)
        async for update in updates():
            await on_message(sessions, update)


if __name__ == "__main__":
    asyncio.run(main())
