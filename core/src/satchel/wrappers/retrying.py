"""Retries: what a backend that was away for a moment did not do is asked of it again."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from satchel.adapter import milliseconds
from satchel.errors import ConfigurationError, ConflictError, StorageUnavailableError
from satchel.keys import show
from satchel.storage import StorageAdapter, V
from satchel.threads import positive
from satchel.wrappers.base import Wrapper, closing

T = TypeVar("T")


class Retrying(Wrapper[V]):
    """Repeats calls that raise `StorageUnavailableError`, after random waits that become longer.

        storage = Retrying(open_storage("redis://localhost"))

    No other error is retried. A write whose answer was lost may have been done, so

    - `write`, `delete` and their batches may be done twice; what somebody else wrote in between is overwritten then, as
      it could have been by one that took long;
    - conditional writes and deletes are repeated too, and never overwrite what somebody else wrote: they find the
      record at the version that they expect, or it has changed. Then nobody can tell whether the first attempt changed
      it or somebody else, and as it would be as wrong to report a conflict as to report success, the call raises
      `StorageUnavailableError`, as without retries. (Where versions are digests, a record that was changed and changed
      back, byte for byte, between two attempts is not told from one that never was.)

    `keys()` is repeated until it has given a key, and not after that.

    Args:
        storage: the storage inside.
        attempts: how often a call is tried, at most.
        timeout: so long after the first attempt has failed no other one begins. Each is bounded by the storage's own
        timeout.
        first_wait: the longest wait before the second attempt; it doubles with each attempt.
        longest_wait: the longest wait of all.

    Raises:
        ConfigurationError: an option is not right, or tenacity is missing: pip install "satchel[retry]".
    """

    def __init__(
        self,
        storage: StorageAdapter[V],
        /,
        *,
        attempts: int = 5,
        timeout: timedelta = timedelta(seconds=30),
        first_wait: timedelta = timedelta(milliseconds=100),
        longest_wait: timedelta = timedelta(seconds=5),
    ) -> None:
        super().__init__(storage)
        try:
            import tenacity
        except ImportError as error:
            raise ConfigurationError('Retrying needs tenacity: pip install "satchel[retry]"') from error
        seconds, first, longest = (
            milliseconds(name, duration) / 1000
            for name, duration in (("timeout", timeout), ("first_wait", first_wait), ("longest_wait", longest_wait))
        )
        self._policy = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(StorageUnavailableError),
            wait=tenacity.wait_random_exponential(multiplier=first, max=longest),
            stop=tenacity.stop_after_attempt(positive("attempts", attempts)) | tenacity.stop_before_delay(seconds),
            reraise=True,
        )

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        async def begun() -> tuple[AsyncIterator[str], str | None]:
            keys = self.inner.keys(prefix)
            return keys, await anext(keys, None)

        keys, first = await self._pass("keys", begun)
        async with closing(keys):
            if first is not None:
                yield first
                async for key in keys:
                    yield key

    async def _pass(self, operation: str, call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        try:
            return await super()._pass(operation, call, *arguments)  # by itself, as mostly nothing is to be repeated
        except StorageUnavailableError as error:
            lost = error
        is_counted = False

        async def attempt() -> T:
            nonlocal is_counted
            if not is_counted:  # the first attempt, which has been made
                is_counted = True
                raise lost
            return await super(Retrying, self)._pass(operation, call, *arguments)

        doubt = "has changed since; by this call, or by somebody else"
        try:
            # A copy, as tenacity's own decorator makes one for each call.
            result: T = await self._policy.copy()(attempt)
        except ConflictError as conflict:
            raise StorageUnavailableError(f"{lost}, and the record {doubt}") from conflict
        done: Any = result
        if operation == "write_records" and (left := [key for key in arguments[0] if key not in done]):
            raise StorageUnavailableError(f"{lost}, and {show(left[0])} {doubt}") from lost
        return result
