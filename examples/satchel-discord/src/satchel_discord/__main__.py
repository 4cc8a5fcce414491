"""Run the bot: `DISCORD_TOKEN=… python -m satchel_discord [sqlite:///bot.db]`."""

import asyncio
import os
import sys

from satchel import open_storage
from satchel_discord.bot import PizzaBot


async def main(url: str = "sqlite:///bot.db") -> None:
    async with open_storage(url) as storage, PizzaBot(storage) as bot:
        await bot.start(os.environ["DISCORD_TOKEN"])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
