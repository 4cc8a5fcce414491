"""Nodes of a Cluster to send several commands to, on one connection, with all that redis-py does when a node fails."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis import exceptions as driver
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import PipelineCommand
from redis.client import NEVER_DECODE

NOT_DONE: Final = (driver.AskError, driver.TryAgainError, driver.NoScriptError)
"""What a node answers that has not even begun with a command; a MovedError is an AskError, too."""


class _Node:
    """A node for redis-py to send a command to, which sends others, or more."""

    def __init__(self, node: Any) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    async def sent(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands on one connection, and return their answers, some of which may be errors."""
        together = [PipelineCommand(number, *each, **{NEVER_DECODE: True}) for number, each in enumerate(commands)]
        with lost_connections():
            await self._node.execute_pipeline(together)
        return [each.result for each in together]


class Following(_Node):
    """Follows a slot that is half-way to another node.

    redis-py would send ASKING on one connection and the command on another, if there are several, and be sent back and
    forth until it gives up.

    Args:
        node: that has the slot, as far as the client knows.
        cluster: the client.
    """

    def __init__(self, node: Any, cluster: RedisCluster) -> None:
        super().__init__(node)
        self._cluster = cluster

    async def execute_command(self, *command: Any, **options: Any) -> Any:
        """Send the command, and if the record is at another node already, there; return or raise what comes of it."""
        try:
            return await self._node.execute_command(*command, **options)
        except driver.AskError as error:  # or MovedError, which is one
            there = self._cluster.get_node(error.host, error.port)
            if isinstance(error, driver.MovedError) or there is None:
                raise
        answer = (await _Node(there).sent([("ASKING",), command]))[-1]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Confirming(_Node):
    """Sends WAIT with the command.

    WAIT is about the connection that it is sent on (https://redis.io/docs/latest/commands/wait/), and the client itself
    would send it on another.

    Attributes:
        confirmed: what WAIT answered.
        redirected: says that the command was not done, as another node has the slot.
    """

    def __init__(self, node: Any, wait: Sequence[Any], *, asking: bool) -> None:
        super().__init__(node)
        self._wait = wait
        self._asking = asking
        self.confirmed: Any = None
        self.redirected: driver.AskError | None = None

    async def execute_command(self, *command: Any, **_: Any) -> Any:
        """Send the command and WAIT, and return or raise what comes of the command."""
        sent = [("ASKING",), command, self._wait] if self._asking else [command, self._wait]
        answer, self.confirmed = (await self.sent(sent))[-2:]
        if isinstance(answer, driver.AskError):  # or MovedError, which is one
            self.redirected = answer
            return None
        for each in (answer, self.confirmed):
            if isinstance(each, Exception):
                raise each
        return answer


class Together(_Node):
    """Sends commands about several records.

    Args:
        node: which has them all, as far as the client knows.
        commands: what is sent, whatever redis-py is told to.

    Attributes:
        first: the first command, to tell redis-py.
        answers: what came of each; of one that was not done, the error that says so.
    """

    def __init__(self, node: Any, commands: Sequence[Sequence[Any]]) -> None:
        super().__init__(node)
        self._commands = commands
        self.first = commands[0]
        self.answers: list[Any] = []

    async def execute_command(self, *_: Any, **__: Any) -> None:
        """Send the commands, and raise what came of one of them, unless that says that it was not done."""
        self.answers = await self.sent(self._commands)
        for each in self.answers:
            if isinstance(each, Exception) and not isinstance(each, NOT_DONE):
                raise each


@contextmanager
def lost_connections() -> Iterator[None]:
    """Call a connection lost that is: from Python 3.12 on, asyncio stumbles when it is written to.

    https://github.com/python/cpython/issues/136234, https://github.com/redis/redis-py/issues/3546. Nothing was sent.
    """
    try:
        yield
    except (TypeError, AttributeError) as error:
        raise driver.ConnectionError("the connection is closed") from error
