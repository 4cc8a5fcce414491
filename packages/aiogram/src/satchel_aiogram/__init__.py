"""Satchel in aiogram: states, locks and sessions on any storage."""

from satchel_aiogram.isolation import EventIsolation
from satchel_aiogram.middleware import SessionMiddleware
from satchel_aiogram.storage import FSMStorage, key_of

__all__ = ["EventIsolation", "FSMStorage", "SessionMiddleware", "key_of"]
