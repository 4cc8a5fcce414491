"""A counter in a busy group: with a lazy session, only the messages that are for the bot touch the storage.

python examples/lazy_counter.py

Count: 1
Count: 2
Count: 3
500 messages, 6 visits of the storage
"""

import asyncio
from typing import Any

from satchel import ANY, Expected, MemoryStorage, Payload, Sessions, per_chat


class Counted(MemoryStorage[Any]):
    """Memory that counts how often it is read and written."""

    visits = 0

    async def get(self, name: str) -> Payload | None:
        self.visits += 1
        return await super().get(name)

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        self.visits += 1
        return await super().put(name, payload, expected)


async def on_message(sessions: Sessions[dict[str, int]], update: dict[str, Any]) -> None:
    """What you would give to your framework as the handler of messages."""
    async with sessions.lazy(update) as session:  # nothing is read here
        if update["message"]["text"] == "/count":
            data = await session  # but here
            data["count"] += 1
            print(f"Count: {data['count']}")


async def main() -> None:
    messages = ["/count" if number % 200 == 0 else "chatter" for number in range(500)]
    async with Counted() as storage:
        sessions = Sessions(storage, initial=lambda: {"count": 0}, key=per_chat)
        for text in messages:
            await on_message(sessions, {"message": {"text": text, "chat": {"id": -100}, "from": {"id": 7}}})
    print(f"{len(messages)} messages, {storage.visits} visits of the storage")


if __name__ == "__main__":
    asyncio.run(main())
