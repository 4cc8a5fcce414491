"""A quiz in group chats: each user has points, in any chat, and each chat has a question, for all of its users.

python examples/group_chat.py

chat 42, Bob: 5    No. What is 1 + 1?
chat 42, Ada: 2    Right! 1 point for Ada. What is 2 + 2?
chat 42, Bob: 4    Right! 1 point for Bob. What is 3 + 3?
chat 43, Ada: 2    Right! 2 points for Ada. What is 2 + 2?
chat 42, Ada: 6    Right! 3 points for Ada. What is 4 + 4?
"""

import asyncio
from typing import Any

from satchel import MemoryStorage, SessionGroup, Sessions, per_chat, per_user


async def on_message(group: SessionGroup, update: dict[str, Any]) -> str:
    """What you would give to your framework as the handler of messages."""
    message = update["message"]
    async with group.open(update) as parts:  # one read of both parts
        chat, user = parts.chat.data, parts.user.data
        if message["text"] != str(chat["number"] * 2):
            return f"No. What is {chat['number']} + {chat['number']}?"
        chat["number"] += 1
        user["points"] += 1
        points = "1 point" if user["points"] == 1 else f"{user['points']} points"
        name = message["from"]["first_name"]
        return f"Right! {points} for {name}. What is {chat['number']} + {chat['number']}?"
        # one write of both, all or nothing


async def main() -> None:
    async with MemoryStorage[Any]() as storage:
        group = SessionGroup(
            chat=Sessions(storage, key=per_chat, initial=lambda: {"number": 1}),
            user=Sessions(storage, key=per_user, initial=lambda: {"points": 0}),
        )
        users = {"Ada": 7, "Bob": 8}
        for chat, name, text in [
            (42, "Bob", "5"),
            (42, "Ada", "2"),
            (42, "Bob", "4"),
            (43, "Ada", "2"),
            (42, "Ada", "6"),
        ]:
            user = {"id": users[name], "first_name": name}
            answer = await on_message(group, {"message": {"text": text, "chat": {"id": chat}, "from": user}})
            print(f"chat {chat}, {name}: {text}    {answer}")


if __name__ == "__main__":
    asyncio.run(main())
