"""Satchel sessions in PostgreSQL."""

from satchel_postgres.storage import PostgresStorage

__all__ = ["PostgresStorage"]
