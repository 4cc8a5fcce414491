"""Commands: sent to a primary, once, and confirmed by replicas where that is asked for."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from weakref import WeakSet

from redis import exceptions as driver
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.client import NEVER_DECODE

from satchel import StorageUnavailableError
from satchel.settling import together
from satchel_redis.errors import read_only
from satchel_redis.nodes import NOT_DONE, Confirming, Following, Together, lost_connections

_REDIRECTIONS: Final = 5  # at the most, to follow a slot that moves


class Commands:
    """What a storage sends through a client, whatever options that has.

    Arguments are bytes and numbers: text would be encoded as the client's options say. All strings in answers are
    bytes.

    Args:
        redis: the client.
        where: the server, as messages name it.
        most: how many commands are at the server at once; others wait.
        replicas: how many replicas have to have a change before it counts as made.
        patience_ms: how long they have for it.
    """

    def __init__(self, redis: Redis | RedisCluster, where: str, *, most: int, replicas: int, patience_ms: int) -> None:
        self._redis = redis
        self._where = where
        self._slots = asyncio.Semaphore(most)
        self._replicas = replicas
        self._wait = ("WAIT", replicas, patience_ms)
        self._renewed: WeakSet[Any] | None = None
        self._listing: set[Any] = set()

    async def close(self) -> None:
        """Close the connections of listings that nobody has ended."""
        for connection in list(self._listing):
            await connection.disconnect(nowait=True)

    async def ask(self, name: Any, *command: Any) -> Any:
        """Send a command that only reads, and if the connection is lost send it once more."""
        try:
            return await self._send(name, *command)
        except (driver.ConnectionError, driver.TimeoutError):
            return await self._send(name, *command)

    async def scan(self, *how: Any) -> AsyncGenerator[list[bytes], None]:
        """SCAN every primary to the end, and return each name once.

        A cursor belongs to the process that gave it. Another one, restarted or promoted behind the same address, takes
        it as well, and leaves names out without a word. So a cursor is only sent on the connection that it came on: no
        INFO has to name the process, which users would need a right for. The connection is the listing's own, as one
        of the pool's would be missing there while the caller works. When it is lost, its primary is listed anew.
        """
        seen: set[bytes] = set()
        listed: dict[Any, set[int]] = {}
        futile = False  # to go on: nothing new was found since a connection was lost
        while True:
            primaries = await self._primaries()
            # One that was given slots meanwhile is listed again.
            left = [address for address, slots in primaries.items() if slots - listed.get(address, set())]
            if not left:
                return
            address = left[0]
            connection = self._connection_to(address)
            self._listing.add(connection)
            cursor = None
            try:
                while cursor != 0:
                    cursor, names = await self._page(connection, cursor, how)
                    fresh = set(names) - seen
                    seen |= fresh
                    futile = futile and not fresh
                    yield list(fresh)
                listed[address] = primaries[address]
            except (driver.ConnectionError, driver.TimeoutError):
                if futile:
                    raise
                futile = True
            finally:
                self._listing.discard(connection)
                await connection.disconnect(nowait=True)

    async def change(self, name: Any, *command: Any) -> Any:
        """Send a command that changes something once, to the primary that has `name`.

        Raises:
            StorageUnavailableError: it is done, but not as many replicas as there should be have confirmed it in time.
        """
        if not self._replicas:
            return await self._send(name, *command)
        async with self._slots:
            if isinstance(self._redis, RedisCluster):
                answer, confirmed = await self._confirm_on_cluster(self._redis, name, command)
            else:
                answer, confirmed = await self._exchange(self._redis, command, self._wait)
        if answer:  # an empty one says that nothing was changed
            self._confirm(confirmed)
        return answer

    async def ask_by(self, script: bytes, names: Sequence[str], *rest: bytes) -> Any:
        """Run a script that only reads."""
        return await self._run(self.ask, script, names, rest)

    async def change_by(self, script: bytes, names: Sequence[str], *rest: bytes) -> Any:
        """Run a script that changes something."""
        return await self._run(self.change, script, names, rest)

    async def ask_each(self, command: str, names: Sequence[str]) -> dict[str, Any]:
        """Send a command that only reads for each name, in one request to each node."""
        commands = {name: (command, name.encode()) for name in names}
        try:
            answers = await self._each(commands)
        except (driver.ConnectionError, driver.TimeoutError):
            answers = await self._each(commands)
        left = [name for name in names if name not in answers]
        again = await together(self.ask(name.encode(), *commands[name]) for name in left)
        answers.update(zip(left, again, strict=True))
        return {name: answers[name] for name in names}

    async def change_each(self, script: bytes, rest: Mapping[str, Sequence[bytes]]) -> dict[str, Any]:
        """Run a script that changes something for each name, with the arguments under it, in one request to each node.

        Raises:
            StorageUnavailableError: the changes are made, but replicas have not confirmed them in time.
        """
        commands = {name: ("EVALSHA", _digest(script), 1, name.encode(), *more) for name, more in rest.items()}
        answers = await self._each(commands, changing=True)
        left = [name for name in rest if name not in answers]
        again = await together(self.change_by(script, [name], *rest[name]) for name in left)
        return answers | dict(zip(left, again, strict=True))

    async def greet(self) -> None:
        """Connect, log in, and try what a change will need."""
        if isinstance(self._redis, RedisCluster):
            await self._redis.initialize()
            if self._replicas:
                await self._redis.execute_command("WAIT", 0, 1, target_nodes=self._redis.get_primaries()[0])
        else:
            await self.ask(b"", *(("WAIT", 0, 1) if self._replicas else ("PING",)))

    async def _run(
        self, send: Callable[..., Awaitable[Any]], script: bytes, names: Sequence[str], rest: Sequence[bytes]
    ) -> Any:
        """Send a script, which the server knows by its digest from the first time on."""
        keys = [name.encode() for name in names]
        arguments = (len(keys), *keys, *rest)
        try:
            return await send(keys[0], "EVALSHA", _digest(script), *arguments)
        except driver.NoScriptError:  # nothing was run: the server was started, or its scripts flushed, since
            return await send(keys[0], "EVAL", script, *arguments)

    async def _primaries(self) -> dict[Any, set[int]]:
        """Return the address and slots of each primary, as a Cluster says now.

        What the client knows may be old: no node tells those who SCAN that a slot is elsewhere.
        """
        if not isinstance(self._redis, RedisCluster):
            return {None: {0}}
        found: dict[Any, set[int]] = {}
        anything: Any = b""
        ranges = await self.ask(anything, "CLUSTER SLOTS")
        asked: Any = self._redis.get_node_from_key(anything)
        for (first, last), nodes in ranges.items():
            host, port = nodes["primary"]
            address = self._redis.nodes_manager.remap_host_port(host or asked.host, int(port))
            found.setdefault(address, set()).update(range(int(first), int(last) + 1))
        return found

    def _connection_to(self, address: Any) -> Any:
        """Make a connection that is in no pool."""
        if isinstance(self._redis, RedisCluster):
            return ClusterNode(*address, **self._redis.nodes_manager.connection_kwargs).acquire_connection()
        return self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]

    async def _page(self, connection: Any, cursor: Any, how: Sequence[Any]) -> tuple[int, list[bytes]]:
        async with self._slots:
            if cursor is None:
                await connection.connect()
            elif not connection.is_connected:  # it would connect by itself, to whatever is there now
                raise driver.ConnectionError("the connection of a listing is lost")
            command = connection.pack_command("SCAN", cursor or 0, *how)
            with lost_connections():
                await connection.send_packed_command(command, check_health=False)  # which would connect, too
            found, names = await connection.read_response(disable_decoding=True)
            return int(found), names

    async def _send(self, name: Any, *command: Any) -> Any:
        async with self._slots:
            if isinstance(self._redis, RedisCluster):
                await self._redis.initialize()
                # A command with a node is not sent again, and neither are its strings decoded with this option.
                to = Following(self._redis.get_node_from_key(name), self._redis)
                with lost_connections():
                    return await self._execute(self._redis, to, *command, **{NEVER_DECODE: True})
            (answer,) = await self._exchange(self._redis, command)
            return answer

    async def _each(self, commands: Mapping[str, Sequence[Any]], *, changing: bool = False) -> dict[str, Any]:
        """Send commands, by name, in one request to each node, once, and return the answers to those that were done.

        One that is left out met a node that has no such slot or script, and was not done there.
        """
        waits = [self._wait] if changing and self._replicas else []
        if isinstance(self._redis, RedisCluster):
            await self._redis.initialize()
            by_node: dict[str, tuple[Any, dict[str, Sequence[Any]]]] = {}  # the nodes of redis-py 6.0 have no hash
            for name, command in commands.items():
                key: Any = name.encode()  # text would be encoded as the client's options say
                node: Any = self._redis.get_node_from_key(key)
                by_node.setdefault(node.name, (node, {}))[1][name] = command
            parts = [part for _, part in by_node.values()]
            requests = [Together(node, [*part.values(), *waits]) for node, part in by_node.values()]
            await together(self._request(self._redis, request) for request in requests)
            found = [request.answers for request in requests]
        else:
            parts = [dict(commands)]
            async with self._slots:
                found = [await self._answers(self._redis, *commands.values(), *waits)]
        done: dict[str, Any] = {}
        for part, answers in zip(parts, found, strict=True):
            for answer in answers:
                if isinstance(answer, Exception) and not isinstance(answer, NOT_DONE):
                    raise answer
            each = zip(part, answers[: len(part)], strict=True)
            changed = {name: answer for name, answer in each if not isinstance(answer, Exception)}
            if waits and any(changed.values()):
                self._confirm(answers[-1])
            done |= changed
        return done

    async def _request(self, cluster: RedisCluster, request: Together) -> None:
        async with self._slots:
            await self._execute(cluster, request, *request.first)

    async def _execute(self, cluster: RedisCluster, to: Any, *command: Any, **options: Any) -> Any:
        try:
            return await cluster.execute_command(*command, target_nodes=[to], **options)
        except driver.ResponseError as error:
            # A primary that has become a replica sends no script on from a client that reads from replicas.
            if read_only(error):
                await cluster.nodes_manager.initialize()
            raise

    def _confirm(self, confirmed: int) -> None:
        if confirmed < self._replicas:
            raise StorageUnavailableError(
                f"{self._where}: a change was made, but {confirmed} of {self._replicas} replicas confirmed it in time"
            )

    async def _exchange(self, redis: Redis, *commands: Sequence[Any]) -> list[Any]:
        """Send commands together on one connection, and return their answers, if none is an error."""
        answers = await self._answers(redis, *commands)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _answers(self, redis: Redis, *commands: Sequence[Any]) -> list[Any]:
        """Send commands together on one connection, and return their answers, some of which may be errors."""
        pool = redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            # The pool of redis-py 8 lends connections that the server has closed, if they speak RESP3.
            closed = hasattr(connection, "can_read") and await connection.can_read()
            if closed or (self._renewed is not None and connection not in self._renewed):
                await connection.disconnect()
                await connection.connect()
            if self._renewed is not None:
                self._renewed.add(connection)
            with lost_connections():
                await connection.send_packed_command(connection.pack_commands(commands))
            answers: list[Any] = []
            for _ in commands:  # all are read, so that the connection can be used again
                try:
                    answers.append(await connection.read_response(disable_decoding=True))
                except driver.ResponseError as error:
                    answers.append(error)
            if any(read_only(answer) for answer in answers):
                # Another server may take writes behind this address by now, and all connections of the pool lead to
                # the old one. Those in use cannot be closed here, so that each is renewed when it is taken next.
                self._renewed = WeakSet()
            return answers
        finally:
            await pool.release(connection)

    async def _confirm_on_cluster(self, cluster: RedisCluster, name: Any, command: Sequence[Any]) -> tuple[Any, Any]:
        await cluster.initialize()
        node, asking = cluster.get_node_from_key(name), False
        for _ in range(_REDIRECTIONS):
            to = Confirming(node, self._wait, asking=asking)
            answer = await self._execute(cluster, to, *command)
            if to.redirected is None:
                return answer, to.confirmed
            if asking := not isinstance(to.redirected, driver.MovedError):
                node = cluster.get_node(to.redirected.host, to.redirected.port)
            else:
                # The client follows a command that changes nothing, and takes note of where the slot is.
                await cluster.execute_command("EXISTS", name, target_nodes=node)
                await cluster.initialize()
                node = cluster.get_node_from_key(name)
        raise driver.ClusterError("TTL exhausted.")


def _digest(script: bytes) -> bytes:
    """Return what the server knows a script by."""
    return hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()
