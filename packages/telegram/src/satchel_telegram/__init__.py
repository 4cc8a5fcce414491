"""Satchel in python-telegram-bot: its persistence on any storage."""

from satchel_telegram.persistence import Persistence

__all__ = ["Persistence"]
