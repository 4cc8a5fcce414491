"""A bot that counts pizzas: sessions in prefix commands, in slash commands and behind buttons."""

from contextlib import suppress
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from satchel import Session, Sessions, StorageAdapter, per_user_in_chat

Order = dict[str, int]


class Context(commands.Context["PizzaBot"]):
    """What prefix commands get, with the session of their author in the channel."""

    session: Session[Order]


class _FailedError(Exception):
    """The command failed, so its session is not to be saved. discord.py has told the error handlers already."""


class PizzaBot(commands.Bot):
    def __init__(self, storage: StorageAdapter[Any]) -> None:
        intents = discord.Intents.default()
        intents.message_content = True
        super().__init__(commands.when_mentioned_or("!"), intents=intents)
        self.sessions: Sessions[Order] = Sessions(storage, initial=lambda: {"pizza": 0}, key=per_user_in_chat)

    async def setup_hook(self) -> None:
        self.add_command(pizza)
        self.tree.add_command(order)
        self.add_view(Menu(self.sessions))  # so that buttons of messages from before a restart work
        await self.tree.sync()

    async def get_context(self, origin: Any, /, *, cls: Any = Context) -> Any:
        return await super().get_context(origin, cls=cls)

    async def invoke(self, ctx: commands.Context[Any], /) -> None:
        """Run a prefix command inside of its session: saved when the command returns, and not if it fails."""
        if ctx.command is None or not isinstance(ctx, Context):
            await super().invoke(ctx)
            return
        with suppress(_FailedError):
            async with self.sessions.open(ctx.message) as ctx.session:
                await super().invoke(ctx)
                if ctx.command_failed:
                    raise _FailedError


@commands.command()
async def pizza(ctx: Context, count: int = 1) -> None:
    """Order by `!pizza 2`."""
    ctx.session.data["pizza"] += count
    await ctx.session.save()  # before it is said that it was done
    await ctx.send(f"{ctx.session.data['pizza']} so far", view=Menu(ctx.bot.sessions))


@app_commands.command()
async def order(interaction: "discord.Interaction[PizzaBot]", count: int = 1) -> None:
    """Order by `/order`."""
    async with interaction.client.sessions.open(interaction) as session:
        session.data["pizza"] += count
        await session.save()
        await interaction.response.send_message(f"{session.data['pizza']} so far")


class Menu(discord.ui.View):
    """A button that outlives the process: what it does is in the session, not in the view."""

    def __init__(self, sessions: Sessions[Order]) -> None:
        super().__init__(timeout=None)
        self.sessions = sessions

    @discord.ui.button(label="One more", custom_id="satchel:more")
    async def more(self, interaction: discord.Interaction, _: "discord.ui.Button[Menu]") -> None:
        async with self.sessions.open(interaction) as session:
            session.data["pizza"] += 1
            await session.save()
            await interaction.response.edit_message(content=f"{session.data['pizza']} so far")
