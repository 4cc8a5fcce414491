"""The servers that are struck: how, and how to tell that it was felt."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import psycopg
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from conformance.chaos.load import KEYS
from conformance.chaos.ride import Strike, Target
from satchel_conformance.backends import kill_server, run_in
from satchel_conformance.servers.mongodb import MONGODB_SET, signal_member
from satchel_conformance.servers.postgres import POSTGRES_RESTARTED, POSTGRES_STOPS
from satchel_conformance.servers.redis import REDIS_RESTARTED, redis_cluster


class Cluster:
    """A Redis Cluster whose nodes have no disk: what survives is what a replica has."""

    def __init__(self, url: str, *, wait_replicas: int) -> None:
        self.url = f"{url.replace('redis://', 'redis+cluster://')}?wait_replicas={wait_replicas}"
        self.faults: Mapping[str, Strike] = {
            "primary killed": self._kill,
            "primary killed, its replica 0.3 s behind": self._kill_before_its_replica_knows,
        }
        self._port = urlsplit(url).port or 0
        self._dead = 0

    async def incarnation(self) -> object:
        """Return the port of the node that the first session is at."""
        try:
            return (await self._nodes())[0]
        except (RedisError, OSError):
            return None

    async def mend(self) -> None:
        """Start the dead node again, as the replica of the one that took its place."""
        await asyncio.to_thread(run_in, self._dead, f"sh /tmp/start {self._dead}")
        async with asyncio.timeout(30):
            while True:
                async with _redis(self._dead) as node:
                    try:
                        if (await node.info("replication")).get("master_link_status") == "up":
                            return
                    except RedisError:
                        pass
                await asyncio.sleep(0.05)

    async def _kill(self) -> None:
        primary, replica = await self._nodes()
        await self._run(primary, replica, "")

    async def _kill_before_its_replica_knows(self) -> None:
        primary, replica = await self._nodes()
        behind = f"kill -STOP $(cat /tmp/{replica}.pid); redis-cli -p {primary} client kill type replica; sleep 0.3;"
        await self._run(primary, replica, behind)

    async def _run(self, primary: int, replica: int, before: str) -> None:
        self._port, self._dead = replica, primary
        script = f"set -e; {before} kill -9 $(cat /tmp/{primary}.pid); kill -CONT $(cat /tmp/{replica}.pid)"
        await asyncio.to_thread(run_in, primary, script)

    async def _nodes(self) -> tuple[int, int]:
        """Return the ports of the primary and the replica of the first session, as a node that is alive knows them."""
        async with _redis(self._port) as node:
            slot = await node.execute_command("CLUSTER KEYSLOT", f"satchel:{KEYS[0]}")  # type: ignore[no-untyped-call]
            for first, last, *nodes in await node.execute_command("CLUSTER SLOTS"):  # type: ignore[no-untyped-call]
                if first <= slot <= last:
                    ports = [each[1] for each in nodes]
                    return ports[0], ports[1] if len(ports) > 1 else 0
        raise RedisError("no node has the first session")


class OneRedis:
    """One Redis that writes each change to its disk before it acknowledges it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.faults: Mapping[str, Strike] = {"killed": self._kill}

    async def incarnation(self) -> object:
        """Return the id of the run of the server."""
        async with _redis(urlsplit(self.url).port or 0) as client:
            try:
                return (await client.info("server"))["run_id"]
            except RedisError:
                return None

    async def mend(self) -> None:
        """Do nothing: it starts by itself."""

    async def _kill(self) -> None:
        await asyncio.to_thread(kill_server, self.url, "redis-server")


class ReplicaSet:
    """A MongoDB replica set of three."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.faults: Mapping[str, Strike] = {"primary steps down": self._step_down, "primary killed": self._kill}

    async def incarnation(self) -> object:
        """Return the id of the election that made the primary one."""
        hello = await self._ask("hello")
        return hello and hello.get("electionId")

    async def mend(self) -> None:
        """Wait until all are members again."""
        async with asyncio.timeout(60):
            while True:
                status = await self._ask("replSetGetStatus")
                if status and all(member["stateStr"] in ("PRIMARY", "SECONDARY") for member in status["members"]):
                    return
                await asyncio.sleep(0.05)

    async def _step_down(self) -> None:
        async with AsyncMongoClient[Any](self.url) as client:
            await client.admin.command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=2)

    async def _kill(self) -> None:
        hello = await self._ask("hello")
        if hello is None:
            raise RuntimeError("the replica set has no primary to kill")
        await asyncio.to_thread(signal_member, int(hello["me"].rpartition(":")[2]), "KILL")

    async def _ask(self, command: str) -> dict[str, Any] | None:
        async with AsyncMongoClient[Any](self.url, serverSelectionTimeoutMS=500) as client:
            try:
                return await client.admin.command(command)
            except PyMongoError:
                return None


class OnePostgres:
    """One PostgreSQL that starts again when it ends."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.faults: Mapping[str, Strike] = {how: partial(self._stop, how) for how in POSTGRES_STOPS}

    async def incarnation(self) -> object:
        """Return when the server was started."""

        def ask() -> object:
            try:
                with closing(psycopg.connect(self.url, connect_timeout=2)) as connection:
                    return connection.execute("SELECT pg_postmaster_start_time()").fetchone()
            except psycopg.Error:
                return None

        return await asyncio.to_thread(ask)

    async def mend(self) -> None:
        """Do nothing: it starts by itself."""

    async def _stop(self, how: str) -> None:
        await asyncio.to_thread(run_in, urlsplit(self.url).port, POSTGRES_STOPS[how])


@contextmanager
def cluster(*, wait_replicas: int = 1) -> Iterator[Target]:
    """Start a Cluster whose nodes hold a silent one for dead after a second."""
    with redis_cluster(node_timeout=timedelta(seconds=1)) as url:
        yield Cluster(url, wait_replicas=wait_replicas)


@contextmanager
def one_redis(*, durable: bool = True) -> Iterator[Target]:
    """Start one Redis, which acknowledges what is on its disk; or else what is in its memory."""
    with REDIS_RESTARTED.server() as url:
        if not durable:
            run_in(urlsplit(url).port, "redis-cli config set appendonly no")
        yield OneRedis(url)


@contextmanager
def replica_set() -> Iterator[Target]:
    """Start a replica set."""
    with MONGODB_SET.server() as url:
        yield ReplicaSet(url)


@contextmanager
def postgres() -> Iterator[Target]:
    """Start one PostgreSQL."""
    with POSTGRES_RESTARTED.server() as url:
        yield OnePostgres(url)


def _redis(port: int) -> Redis:
    return Redis(host="127.0.0.1", port=port, socket_timeout=2, socket_connect_timeout=2)
