"""Commands: sent to a primary, once, and confirmed by replicas where that is asked for."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from redis import exceptions as driver
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.client import NEVER_DECODE

from satchel import StorageUnavailableError
from satchel.settling import together
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

    async def ask(self, name: Any, *command: Any, node: ClusterNode | None = None) -> Any:
        """Send a command that only reads, and if the connection is lost send it once more."""
        try:
            return await self._send(name, *command, node=node)
        except (driver.ConnectionError, driver.TimeoutError):
            return await self._send(name, *command, node=node)

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

    async def _send(self, name: Any, *command: Any, node: ClusterNode | None = None) -> Any:
        async with self._slots:
            if isinstance(self._redis, RedisCluster):
                await self._redis.initialize()
                # A command with a node is not sent again, and neither are its strings decoded with this option.
                to: Any = node or [Following(self._redis.get_node_from_key(name), self._redis)]
                with lost_connections():
                    return await self._redis.execute_command(*command, target_nodes=to, **{NEVER_DECODE: True})
            (answer,) = await self._exchange(self._redis, command)
            return answer

    async def _each(self, commands: Mapping[str, Sequence[Any]], *, changing: bool = False) -> dict[str, Any]:
        """Send commands, by name, in one request to each node, once, and return the answers to those that were done.

        One that is left out met a node that has no such slot or script, and was not done there.
        """
        waits = [self._wait] if changing and self._replicas else []
        if isinstance(self._redis, RedisCluster):
            await self._redis.initialize()
            by_node: dict[Any, dict[str, Sequence[Any]]] = {}
            for name, command in commands.items():
                key: Any = name.encode()  # text would be encoded as the client's options say
                by_node.setdefault(self._redis.get_node_from_key(key), {})[name] = command
            parts = list(by_node.values())
            requests = [Together(node, [*part.values(), *waits]) for node, part in by_node.items()]
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
            await cluster.execute_command(*request.first, target_nodes=[request])

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
            if hasattr(connection, "can_read") and await connection.can_read():
                await connection.disconnect()
                await connection.connect()
            with lost_connections():
                await connection.send_packed_command(connection.pack_commands(commands))
            answers: list[Any] = []
            for _ in commands:  # all are read, so that the connection can be used again
                try:
                    answers.append(await connection.read_response(disable_decoding=True))
                except driver.ResponseError as error:
                    answers.append(error)
            return answers
        finally:
            await pool.release(connection)

    async def _confirm_on_cluster(self, cluster: RedisCluster, name: Any, command: Sequence[Any]) -> tuple[Any, Any]:
        await cluster.initialize()
        node, asking = cluster.get_node_from_key(name), False
        for _ in range(_REDIRECTIONS):
            to = Confirming(node, self._wait, asking=asking)
            answer = await cluster.execute_command(*command, target_nodes=[to])
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
