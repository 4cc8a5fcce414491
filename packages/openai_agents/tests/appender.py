"""Two at a time, adds the items `NAME-0` to `NAME-N` to a conversation; as a program, in another process.

It says that it is ready, and begins when it is told to.
"""

import asyncio
import sys
from typing import Any

from satchel import Sessions, open_storage
from satchel_openai_agents import AgentSession


async def append(storage: Any, name: str, count: int) -> None:
    session = AgentSession("chat:42", Sessions(storage))
    for number in range(0, count, 2):
        contents = [f"{name}-{number}", f"{name}-{number + 1}"]
        await session.add_items([{"role": "user", "content": content} for content in contents])


async def main(url: str, namespace: str, name: str, count: str) -> None:
    async with open_storage(url, namespace=namespace) as storage:
        print("ready", flush=True)  # noqa: T201
        sys.stdin.readline()
        await append(storage, name, int(count))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
