"""A Discord bot that remembers: the pattern for discord.py, which has no plug point for storage."""

from satchel_discord.bot import Context, PizzaBot

__all__ = ["Context", "PizzaBot"]
