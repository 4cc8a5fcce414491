"""Commands: sent to a primary, once, and confirmed by replicas where that is asked for."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis import exceptions as driver
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode, PipelineCommand
from redis.client import NEVER_DECODE

from satchel import StorageUnavailableError

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
        if answer and confirmed < self._replicas:  # an empty answer says that nothing was changed
            raise StorageUnavailableError(
                f"{self._where}: a change was made, but {confirmed} of {self._replicas} replicas confirmed it in time"
            )
        return answer

    async def ask_by(self, script: bytes, names: Sequence[str], *rest: bytes) -> Any:
        """Run a script that only reads."""
        return await self._run(self.ask, script, names, rest)

    async def change_by(self, script: bytes, names: Sequence[str], *rest: bytes) -> Any:
        """Run a script that changes something."""
        return await self._run(self.change, script, names, rest)

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
        digest = hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()
        try:
            return await send(keys[0], "EVALSHA", digest, *arguments)
        except driver.NoScriptError:  # nothing was run: the server was started, or its scripts flushed, since
            return await send(keys[0], "EVAL", script, *arguments)

    async def _send(self, name: Any, *command: Any, node: ClusterNode | None = None) -> Any:
        async with self._slots:
            if isinstance(self._redis, RedisCluster):
                await self._redis.initialize()
                # A command with a node is not sent again, and neither are its strings decoded with this option.
                node = node or self._redis.get_node_from_key(name)
                with _lost_connections():
                    return await self._redis.execute_command(*command, target_nodes=node, **{NEVER_DECODE: True})
            (answer,) = await self._exchange(self._redis, command)
            return answer

    async def _exchange(self, redis: Redis, *commands: Sequence[Any]) -> list[Any]:
        """Send commands together on one connection, and return their answers, if none is an error."""
        pool = redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            # The pool of redis-py 8 lends connections that the server has closed, if they speak RESP3.
            if hasattr(connection, "can_read") and await connection.can_read():
                await connection.disconnect()
                await connection.connect()
            with _lost_connections():
                await connection.send_packed_command(connection.pack_commands(commands))
            answers: list[Any] = []
            errors: list[Exception] = []
            for _ in commands:  # all are read, so that the connection can be used again
                try:
                    answers.append(await connection.read_response(disable_decoding=True))
                except driver.ResponseError as error:
                    errors.append(error)
            if errors:
                raise errors[0]
            return answers
        finally:
            await pool.release(connection)

    async def _confirm_on_cluster(self, cluster: RedisCluster, name: Any, command: Sequence[Any]) -> tuple[Any, Any]:
        await cluster.initialize()
        node, asking = cluster.get_node_from_key(name), False
        for _ in range(_REDIRECTIONS):
            to = _Confirming(node, self._wait, asking=asking)
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


class _Confirming:
    """A node for redis-py to send a command to, with all that it does when a node fails; WAIT goes with the command.

    WAIT is about the connection that it is sent on (https://redis.io/docs/latest/commands/wait/), and the client itself
    would send it on another.

    Attributes:
        confirmed: what WAIT answered.
        redirected: says that the command was not done, as another node has the slot.
    """

    def __init__(self, node: Any, wait: Sequence[Any], *, asking: bool) -> None:
        self._node = node
        self._wait = wait
        self._asking = asking
        self.confirmed: Any = None
        self.redirected: driver.AskError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    async def execute_command(self, *command: Any, **_: Any) -> Any:
        """Send the command and WAIT together on one connection, and return or raise what comes of the command."""
        sent = [("ASKING",), command, self._wait] if self._asking else [command, self._wait]
        together = [PipelineCommand(number, *each, **{NEVER_DECODE: True}) for number, each in enumerate(sent)]
        with _lost_connections():
            await self._node.execute_pipeline(together)
        answer, self.confirmed = (each.result for each in together[-2:])
        if isinstance(answer, driver.AskError):  # or MovedError, which is one
            self.redirected = answer
            return None
        for each in (answer, self.confirmed):
            if isinstance(each, Exception):
                raise each
        return answer


@contextmanager
def _lost_connections() -> Iterator[None]:
    """Call a connection lost that is: from Python 3.12 on, asyncio stumbles when it is written to.

    https://github.com/python/cpython/issues/136234, https://github.com/redis/redis-py/issues/3546. Nothing was sent.
    """
    try:
        yield
    except (TypeError, AttributeError) as error:
        raise driver.ConnectionError("the connection is closed") from error
