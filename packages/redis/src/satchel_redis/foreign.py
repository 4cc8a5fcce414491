"""Sessions of grammY's and states of aiogram's in Redis or Valkey, read where their own storages left them."""

from typing import Any

from redis.asyncio import RedisCluster

from satchel.foreign.aiogram import Aiogram
from satchel.foreign.grammy import Grammy
from satchel_redis.storage import RedisStorage, quoted


class _Reading(RedisStorage[Any]):
    """Both keep strings, so that what is of another type is neither's."""

    _scan = (b"TYPE", b"string")  # since Redis 6.0
    start: str  # of the names of all records

    def schema(self) -> str:
        """Return the rule for a user that may read this, and no more. The scripts that it runs only read."""
        commands = "+get +evalsha +eval +scan +ping +select"
        if isinstance(self._redis, RedisCluster):
            commands = "+get +scan +cluster|slots +command +asking"
        return f"ACL SETUSER satchel on >PASSWORD {quoted(self.start)} {commands}\n"


class GrammyRedisStorage(Grammy, _Reading):
    """What @grammyjs/storage-redis keeps: a string of JSON under the key, which Redis ends if the adapter has a `ttl`.

    Takes what `Grammy` and `RedisStorage` take.
    """


class AiogramRedisStorage(Aiogram, _Reading):
    """What aiogram's `RedisStorage` keeps: a string for the state, and one of JSON for the data.

    Takes what `Aiogram` and `RedisStorage` take.
    """
