"""Sessions in Redis or Valkey: a string per session, expired by the server; one server, Sentinel or Cluster."""

import hashlib
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any, ClassVar, Final, Self, TypeVar, Unpack

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool

from satchel import (
    ANY,
    Capabilities,
    ConfigurationError,
    EncodedStorage,
    Expected,
    Payload,
    StorageError,
    StorageOptions,
)
from satchel.adapter import kind_of, milliseconds
from satchel.settling import together
from satchel.storage import V
from satchel.threads import positive
from satchel_redis.clients import bound, connect, where
from satchel_redis.commands import Commands
from satchel_redis.errors import translate

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

# Each script takes the record's name and then its arguments; an empty lifetime is none.
_REPLACE: Final = b"""
local payload = redis.call('GET', KEYS[1])
if not payload or redis.sha1hex(payload) ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""
_DROP: Final = b"""
local payload = redis.call('GET', KEYS[1])
if not payload or redis.sha1hex(payload) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])
"""
_PERSIST: Final = b"""
redis.call('PERSIST', KEYS[1])
return redis.call('EXISTS', KEYS[1])
"""
# MGET would call a record of another type missing, and MSET knows no lifetime.
_GET_MANY: Final = b"""
local payloads = {}
for i, name in ipairs(KEYS) do payloads[i] = redis.call('GET', name) end
return payloads
"""
_PUT_MANY: Final = b"""
for i, name in ipairs(KEYS) do
  if ARGV[1] == '' then redis.call('SET', name, ARGV[i + 1])
  else redis.call('SET', name, ARGV[i + 1], 'PX', ARGV[1]) end
end
return 1
"""
# The lifetime; then for each record its digest after a =, or nothing for none; what is done; the payload.
_PUT_RECORDS: Final = b"""
for i, name in ipairs(KEYS) do
  local payload = redis.call('GET', name)
  if (payload and '=' .. redis.sha1hex(payload) or '') ~= ARGV[3 * i - 1] then return 0 end
end
for i, name in ipairs(KEYS) do
  if ARGV[3 * i] == 'drop' then redis.call('UNLINK', name)
  elseif ARGV[1] == '' then redis.call('SET', name, ARGV[3 * i + 1])
  else redis.call('SET', name, ARGV[3 * i + 1], 'PX', ARGV[1]) end
end
return 1
"""
_GLOB: Final = re.compile(rb"[*?\[\]\\^]")
_PAGE: Final = 500  # names that the server looks at in one SCAN


class RedisStorage(EncodedStorage[V]):
    """One string per session under `namespace:key`, through a client of redis-py's.

    Every command is sent to a primary, and a change exactly once: sent again after its answer was lost, a conditional
    write would meet its own traces and report a conflict that there was not.

    Args:
        redis: a URL, or a client of `redis.asyncio`: Redis, RedisCluster, or what `Sentinel.master_for` returns. A
            client is used with whatever options it has, and not closed.
        max_connections: how many calls are at the server at once, each on a connection of its own; others wait. 50 by
            default.
        wait_replicas: how many replicas have to have a change before it counts as made, so that it is not lost when
            its primary is; 0 by default. A change that they do not confirm in a quarter of `timeout` raises
            `StorageUnavailableError`, and may be there or not.
        options: see `satchel.StorageOptions`. `create` does nothing, as there is nothing to create.
    """

    capabilities = Capabilities(
        versioned=True,
        conditional_delete=True,
        expiring=True,
        ttl_resolution=timedelta(milliseconds=1),
        listing=True,
        batch=True,
        atomic_batch=True,  # but not on a Cluster
        transactional=True,  # the same
        versioned_batch=True,
        durable=False,  # unless the server has `appendonly yes` and `appendfsync always`
        max_value_bytes=512 * 1024 * 1024,  # https://redis.io/docs/latest/develop/data-types/strings/#limits
    )
    loop_bound = True
    _scan: ClassVar[tuple[bytes, ...]] = ()  # what else SCAN is told

    def __init__(
        self,
        redis: str | Redis | RedisCluster,
        *,
        max_connections: int | None = None,
        wait_replicas: int | None = None,
        **options: Unpack[StorageOptions[V]],
    ) -> None:
        self._owned = isinstance(redis, str)
        numbers = {"max_connections": max_connections, "wait_replicas": wait_replicas}
        if isinstance(redis, str):
            redis, numbers, options = connect(redis, numbers, options)
        elif not isinstance(redis, Redis | RedisCluster):
            raise ConfigurationError(f"RedisStorage takes a URL or a client of redis.asyncio, not {kind_of(redis)}")
        connections = numbers["max_connections"]
        most = positive("max_connections", 50 if connections is None else connections)
        self._wait_replicas = _count("wait_replicas", numbers["wait_replicas"] or 0)
        super().__init__(where=where(redis), **options)
        self._redis = redis
        patience_ms = max(1, milliseconds("timeout", self.timeout) // 4)
        self._commands = Commands(
            redis, self.where, most=min(most, bound(redis)), replicas=self._wait_replicas, patience_ms=patience_ms
        )
        if isinstance(redis, RedisCluster):
            self.lacks(atomic_batch=False, transactional=False)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open `redis://user:password@host:port/database`; for TLS, Cluster, Sentinel and the query see the README."""
        return cls(url, **options)

    async def open(self) -> None:
        """Connect and log in."""
        await self._commands.greet()

    async def close(self) -> None:
        """Close the client, unless it was passed in."""
        await self._commands.close()
        if self._owned:
            await self._redis.aclose()
            if isinstance(self._redis, Redis) and isinstance(self._redis.connection_pool, SentinelConnectionPool):
                for sentinel in self._redis.connection_pool.sentinel_manager.sentinels:
                    await sentinel.aclose()

    async def get(self, name: str) -> Payload | None:
        """GET."""
        payload: Payload | None = await self._commands.ask(name.encode(), "GET", name.encode())
        return payload

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """SET, or a script that compares digests first."""
        if isinstance(expected, str):
            written = await self._commands.change_by(
                _REPLACE, [name], expected.encode(errors="replace"), payload, self._lifetime
            )
        else:
            condition = [] if expected is ANY else [b"NX"]
            lifetime = [] if self.ttl_ms is None else [b"PX", self.ttl_ms]
            written = await self._commands.change(name.encode(), "SET", name.encode(), payload, *condition, *lifetime)
        if expected is ANY:
            return ""  # nobody asks for the version
        return self.version_of(payload) if written else None

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """UNLINK, which frees a large value in the background, or a script that compares digests first."""
        if isinstance(expected, str):
            return bool(await self._commands.change_by(_DROP, [name], expected.encode(errors="replace")))
        await self._commands.change(name.encode(), "UNLINK", name.encode())
        return True

    async def renew(self, name: str) -> bool:
        """PEXPIRE, or a script with PERSIST, which alone does not tell a record without an end from none."""
        if self.ttl_ms is None:
            return bool(await self._commands.change_by(_PERSIST, [name]))
        return bool(await self._commands.change(name.encode(), "PEXPIRE", name.encode(), self.ttl_ms))

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """SCAN every primary to the end."""
        scan = self._commands.scan(b"MATCH", starting(prefix), b"COUNT", _PAGE, *self._scan)
        async with aclosing(scan) as pages:
            async for names in pages:
                yield [name.decode() for name in names if _is_utf8(name)]

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """GET all in one script; on a Cluster, where a script has one slot, in one request to each node."""
        if isinstance(self._redis, RedisCluster):
            payloads = list((await self._commands.ask_each("GET", names)).values())
        else:
            payloads = await self._commands.ask_by(_GET_MANY, names)
        return {name: payload for name, payload in zip(names, payloads, strict=True) if payload is not None}

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        """SET all in one script; on a Cluster side by side."""
        if isinstance(self._redis, RedisCluster):
            await together(self.put(name, payload) for name, payload in payloads.items())
        else:
            await self._commands.change_by(_PUT_MANY, list(payloads), self._lifetime, *payloads.values())

    async def drop_many(self, names: Sequence[str]) -> None:
        """UNLINK all; on a Cluster side by side."""
        if isinstance(self._redis, RedisCluster):
            await together(self.drop(name) for name in names)
        else:
            await self._commands.change(b"", "UNLINK", *(name.encode() for name in names))

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        """Compare all digests, then SET and UNLINK, in one script."""
        arguments: list[bytes] = [self._lifetime]
        for change in changes.values():
            arguments += _said(change)
        if not await self._commands.change_by(_PUT_RECORDS, list(changes), *arguments):
            return None
        return {name: self.version_of(payload) for name, (payload, _) in changes.items() if payload is not None}

    async def put_each(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str]:
        """Run the script of `put_records` once for each record, together; on a Cluster, one request to each node."""
        rest = {name: (self._lifetime, *_said(change)) for name, change in changes.items()}
        done = await self._commands.change_each(_PUT_RECORDS, rest)
        return {
            name: "" if payload is None else self.version_of(payload)
            for name, (payload, _) in changes.items()
            if done[name]
        }

    async def about(self) -> str:
        """INFO of one primary, which a user with the rights of `schema` may not ask for."""
        answer = await self._commands.ask(b"", "INFO", "server")
        lines = answer.decode().splitlines() if isinstance(answer, bytes) else [f"{k}:{v}" for k, v in answer.items()]
        said = dict(line.split(":", 1) for line in lines if ":" in line)
        return f"Valkey {said['valkey_version']}" if "valkey_version" in said else f"Redis {said['redis_version']}"

    def version_of(self, payload: Payload) -> str:
        """Return the SHA-1 of the payload, the only digest that a script on the server can compute.

        It tells apart all payloads but those that somebody made to collide, at great expense, and in their own session.
        """
        return hashlib.sha1(payload, usedforsecurity=False).hexdigest()

    def schema(self) -> str:
        """Return the rule for a user that may do what the storage does, and no more, as redis-cli takes it."""
        commands = "+get +set +unlink +pexpire +persist +exists +evalsha +eval +scan +ping +select"
        if isinstance(self._redis, RedisCluster):
            commands += " +cluster|slots +command +asking"
        if self._wait_replicas:
            commands += " +wait"
        if _options(self._redis).get("client_name"):
            commands += " +client|setname"
        return f"ACL SETUSER satchel on >PASSWORD {quoted(self._prefix)} {commands}\n"

    def translate(self, error: Exception) -> StorageError | None:
        """Say what an error of the driver's, or the code that starts an error of the server's, means."""
        return translate(error, self.where)

    @property
    def _lifetime(self) -> bytes:
        return b"" if self.ttl_ms is None else b"%d" % self.ttl_ms


def _said(change: tuple[Payload | None, str | None]) -> list[bytes]:
    """Return what `_PUT_RECORDS` is told of one record."""
    payload, expected = change
    digest = b"" if expected is None else b"=" + expected.encode(errors="replace")
    return [digest, b"drop" if payload is None else b"put", payload or b""]


def _count(name: str, number: int) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ConfigurationError(f"{name} is {number!r}; it has to be an integer of at least 0")
    return number


def starting(text: str) -> bytes:
    """Return the pattern of all names that start with `text`."""
    return _GLOB.sub(rb"\\\g<0>", text.encode()) + b"*"


def quoted(prefix: str) -> str:
    """Return the rule for all names that start with `prefix`, in the quotes of redis-cli, where backslashes escape.

    Redis takes no space in a pattern, so that instead of one any character is allowed there.
    """
    pattern = starting(prefix).decode().replace(" ", "?")
    return '"~' + pattern.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _options(redis: Redis | RedisCluster) -> dict[str, Any]:
    """Return what a client tells its connections."""
    return redis.connection_kwargs if isinstance(redis, RedisCluster) else redis.connection_pool.connection_kwargs


def _is_utf8(name: bytes) -> bool:
    """Tell names of ours from what others may have put into the namespace."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
