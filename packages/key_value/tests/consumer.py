"""Another process: deletes the entries `code0` to `codeN`, and prints those of which it is told that it did.

It says that it is ready, and begins when it is told to.
"""

import asyncio
import sys

from satchel import open_storage
from satchel_key_value import SatchelStore


async def main(url: str, namespace: str, count: str) -> None:
    async with open_storage(url, namespace=namespace) as storage:
        store = SatchelStore(storage)
        print("ready", flush=True)  # noqa: T201
        sys.stdin.readline()
        for number in range(int(count)):
            if await store.delete(f"code{number}"):
                sys.stdout.write(f"code{number}\n")


asyncio.run(main(*sys.argv[1:]))
