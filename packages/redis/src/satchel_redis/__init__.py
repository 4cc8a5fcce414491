"""Satchel sessions in Redis or Valkey."""

from satchel_redis.storage import RedisStorage

__all__ = ["RedisStorage"]
