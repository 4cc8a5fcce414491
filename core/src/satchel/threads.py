"""Threads for drivers that have no asyncio: a bounded executor of an adapter's own, which blocks no event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from satchel.errors import ConfigurationError

T = TypeVar("T")


class Call:
    """What work in a thread is told about the call that it is done for; an `Event` takes much longer to make.

    Attributes:
        given_up: nobody waits for it any more.
    """

    given_up = False

    def check(self) -> None:
        """Raise `TimeoutError` if it was given up."""
        if self.given_up:
            raise TimeoutError


class Threads:
    """At most `size` calls of a driver at once; others wait. Threads start as they are needed.

    Args:
        size: how many threads there may be.
        name: what they are called, and a number.
        option: what users know the size by, for the message when it is not positive.

    Raises:
        ConfigurationError: the size is not positive.
    """

    def __init__(self, size: int, name: str, *, option: str = "max_connections") -> None:
        self._pool = ThreadPoolExecutor(positive(option, size), thread_name_prefix=name)

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Await what `work` returns. If the waiting is cancelled, the work, once begun, goes on to its end."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def call(self, work: Callable[..., T], *arguments: object) -> T:
        """Await what `work` returns, which is given a `Call` first, to see whether it is still waited for."""
        call = Call()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, call, *arguments)
        except asyncio.CancelledError:
            call.given_up = True
            raise

    def start(self, work: Callable[..., T], *arguments: object) -> Future[T]:
        """Have `work` done in its turn, whether or not anybody waits for it."""
        return self._pool.submit(work, *arguments)

    def close(self) -> None:
        """Let the threads end as soon as they are idle; wait for none of them."""
        self._pool.shutdown(wait=False)


def positive(name: str, number: int) -> int:
    """Return `number`.

    Raises:
        ConfigurationError: it is not a positive integer; the message calls it `name`.
    """
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ConfigurationError(f"{name} is {number!r}; it has to be a positive integer")
    return number
