"""Clients of redis-py: made from a URL, described, and checked."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis, RedisCluster, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from satchel import ConfigurationError, StorageURL
from satchel.adapter import milliseconds
from satchel.urls import boolean

_SCHEMES: Final = (
    "redis", "rediss", "redis+unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel",
)  # fmt: skip
_LOGIN: Final = ("username", "password")
_TLS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_DRIVER: Final[dict[str, Callable[[str], Any]]] = {
    "client_name": str,
    "health_check_interval": int,
    "protocol": int,
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_check_hostname": boolean,
}


Numbers = dict[str, int | None]


def connect(url: str, numbers: Numbers, given: Any) -> tuple[Redis | RedisCluster, Numbers, Any]:
    """Return a client for a URL, the numbers that were given or else are in it, and the options of all storages."""
    parsed = StorageURL(url)
    base, _, kind = parsed.scheme.partition("+")
    if parsed.scheme not in _SCHEMES:
        raise ConfigurationError(f"a Redis URL starts with one of {', '.join(_SCHEMES)}, not with {parsed.scheme}")
    if len(parsed.hosts) > 1 and kind not in ("cluster", "sentinel"):
        raise ConfigurationError(f"{parsed.scheme}:// takes one host; redis+cluster and redis+sentinel take several")
    driver_options = _driver_options(parsed, tls=base == "rediss")
    sentinel_login = {name: parsed.take(f"sentinel_{name}", str) for name in _LOGIN} if kind == "sentinel" else {}
    service, database = _path(parsed, kind)
    in_url = {name: parsed.take(name, int) for name in numbers}
    numbers = {name: in_url[name] if number is None else number for name, number in numbers.items()}
    options = parsed.options(given)
    seconds = milliseconds("timeout", options.get("timeout", timedelta(seconds=10))) / 1000

    # The storage's timeout bounds every call; a node that cannot be reached leaves time to try another.
    network: dict[str, Any] = {"socket_connect_timeout": seconds / 4, "socket_keepalive": True}
    if base == "rediss":
        network |= {"ssl": True, "ssl_check_hostname": True}  # redis-py 5 did not check names by itself
        network |= {name: driver_options.pop(name) for name in _TLS if name in driver_options}
    # RESP3 brings nothing here, and the storage itself bounds the connections.
    server = network | {
        "username": parsed.username,
        "password": parsed.password,
        "protocol": 2,
        "max_connections": 2**31,
    }
    if kind == "cluster":
        # A node that accepts and then is silent has to be given up in time to ask another.
        server |= {"socket_timeout": seconds / 2, **driver_options}
        nodes = [ClusterNode(host or "localhost", port or 6379) for host, port in parsed.hosts]
        return RedisCluster(startup_nodes=nodes, **server), numbers, options
    # A connection that was idle is tried with a PING before a command is sent, and replaced if that fails.
    server |= {"socket_timeout": None, "health_check_interval": 30, "retry": Retry(NoBackoff(), 1), "db": database}
    server |= driver_options
    if kind == "sentinel":
        addresses = [(host or "localhost", port or 26379) for host, port in parsed.hosts]
        asking = {
            **network,
            **sentinel_login,
            "socket_timeout": seconds / 4,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        found = Sentinel(addresses, sentinel_kwargs=asking, **server)  # type: ignore[no-untyped-call]
        return found.master_for(service), numbers, options
    if kind == "unix":
        return Redis(unix_socket_path=parsed.path, **server), numbers, options
    return Redis(host=parsed.host or "localhost", port=parsed.port or 6379, **server), numbers, options


def _path(parsed: StorageURL, kind: str) -> tuple[str, int]:
    """Return the name of the master, for Sentinel, and the number of the database."""
    if kind == "unix":
        return "", parsed.take("db", int) or 0
    service, _, path = parsed.path.strip("/").partition("/") if kind == "sentinel" else ("", "", parsed.path[1:])
    if kind == "sentinel" and not service:
        raise ConfigurationError("a Sentinel URL names the master, as in redis+sentinel://host:26379/mymaster/0")
    if not re.fullmatch("[0-9]*", path):
        raise ConfigurationError(f"{parsed.scheme}:// ends with the number of a database, not with {path!r}")
    if kind == "cluster" and int(path or 0):
        raise ConfigurationError("a Cluster has only database 0")
    return service, int(path or 0)


def _driver_options(parsed: StorageURL, tls: bool) -> dict[str, Any]:
    """Take what goes to redis-py as it is, if it makes sense."""
    taken: dict[str, Any] = {name: parsed.take(name, convert) for name, convert in _DRIVER.items()}
    options = {name: value for name, value in taken.items() if value is not None}
    if options.get("protocol", 2) not in (2, 3):
        raise ConfigurationError(f"protocol is {options['protocol']}; it is 2 or 3")
    for name in options.keys() & set(_TLS):
        if not tls:
            raise ConfigurationError(f"option {name} is for rediss://, not for {parsed.scheme}://")
        if name != "ssl_check_hostname" and not Path(options[name]).is_file():
            raise ConfigurationError(f"{name} is {options[name]!r}, which is no file")
    return options


def where(redis: Redis | RedisCluster) -> str:
    """Name the server of a client, without secrets."""
    if isinstance(redis, RedisCluster):
        return f"redis+cluster://{','.join(redis.nodes_manager.startup_nodes)}"
    pool = redis.connection_pool
    said = pool.connection_kwargs
    database = said.get("db") or 0
    if isinstance(pool, SentinelConnectionPool):
        return f"redis+sentinel:///{pool.service_name}/{database}"
    if "path" in said:
        return f"redis+unix://{said['path']}?db={database}"
    scheme = "rediss" if issubclass(pool.connection_class, SSLConnection) else "redis"
    host = said.get("host", "localhost")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{said.get('port', 6379)}/{database}"


def bound(redis: Redis | RedisCluster) -> int:
    """Return how many connections a client makes, having checked that it can be worked with."""
    if isinstance(redis, RedisCluster):
        said, most = redis.connection_kwargs, redis.connection_kwargs["max_connections"]
    else:
        said, most = redis.connection_pool.connection_kwargs, redis.connection_pool.max_connections
        if not getattr(redis.connection_pool, "is_master", True):
            raise ConfigurationError("a storage writes: give it what master_for() of a Sentinel returns")
    encoding = said.get("encoding", "utf-8")
    if "OK".encode(encoding) != b"OK":
        raise ConfigurationError(f"redis-py cannot talk to a server in {encoding}: the protocol is ASCII")
    return int(most)
