"""Satchel sessions in one SQLite file."""

from satchel_sqlite.storage import SQLiteStorage

__all__ = ["SQLiteStorage"]
