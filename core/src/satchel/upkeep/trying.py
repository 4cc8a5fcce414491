"""Trying a storage out: whether it can be reached, what its user may do there, and how long each operation takes."""

import asyncio
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from satchel.errors import CorruptValueError, SatchelError, StorageError
from satchel.storage import Batch, Expiring, Lifecycle, Listing, StorageAdapter, Versioned
from satchel.wrappers.base import checked, closing

_LISTING: Final = 5.0  # seconds after which looking for a key among others is given up


@dataclass(frozen=True)
class Step:
    """One thing that was tried.

    Attributes:
        name: of the method, or `connect`.
        milliseconds: how long it took, the median of all times; None if it failed.
        why: it failed; "" if it did not.
    """

    name: str
    milliseconds: float | None
    why: str = ""


@dataclass
class Report:
    """What came out of it.

    Attributes:
        steps: in the order in which they were tried.
        server: what the backend says it is, with its version; "" if it does not say.
    """

    steps: list[Step] = field(default_factory=list)
    server: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether everything worked."""
        return not any(step.why for step in self.steps)


async def try_out(storage: StorageAdapter[Any], *, rounds: int = 11) -> Report:
    """Set a storage up, and write, read, list and delete a record of random key, with whatever methods it has.

    Nothing that fails raises: the report says it. Give the storage a namespace of its own.

    Args:
        storage: one of JSON objects.
        rounds: how often each operation is timed.
    """
    trying = _Trying(checked(storage), rounds)
    await trying.run()
    return trying.report


class _Trying:
    def __init__(self, storage: Any, rounds: int) -> None:
        self.report = Report()
        self._storage = storage
        self._rounds = rounds
        self._key = f"probe:{secrets.token_hex(8)}"
        self._others = [f"{self._key}:{number}" for number in range(2)]
        self._value = {"probe": secrets.token_hex(8)}

    async def run(self) -> None:
        if isinstance(self._storage, Lifecycle) and not await self._step("connect", self._storage.setup, rounds=1):
            return
        server_version: Any = getattr(self._storage, "server_version", None)
        if server_version is not None:
            with suppress(SatchelError):  # not everybody may ask
                self.report.server = await server_version()
        await self._step("read", self._absent)
        try:
            if await self._step("write", lambda: self._storage.write(self._key, self._value)):
                await self._written()
        finally:
            if await self._step("delete", lambda: self._storage.delete(self._key)):
                await self._step("read after delete", self._absent, rounds=1)

    async def _written(self) -> None:
        storage = self._storage
        await self._step("read back", self._present)
        if isinstance(storage, Versioned):
            await self._step("read_versioned", lambda: storage.read_versioned(self._key))
            await self._step("write_versioned", self._compare_and_set)
        if isinstance(storage, Expiring):
            await self._step("touch", lambda: storage.touch(self._key))
        if isinstance(storage, Batch):
            await self._step("write_many", lambda: storage.write_many(dict.fromkeys(self._others, self._value)))
            await self._step("read_many", lambda: storage.read_many(self._others))
            await self._step("delete_many", lambda: storage.delete_many(self._others))
        if isinstance(storage, Listing):
            await self._step("keys", self._listed, rounds=1)

    async def _step(self, name: str, call: Callable[[], Awaitable[Any]], rounds: int | None = None) -> bool:
        times: list[float] = []
        try:
            for _ in range(rounds or self._rounds):
                start = time.perf_counter()
                await call()
                times.append(time.perf_counter() - start)
        except SatchelError as error:
            self.report.steps.append(Step(name, None, str(error)))
            return False
        self.report.steps.append(Step(name, round(statistics.median(times) * 1000, 3)))
        return True

    async def _absent(self) -> None:
        if await self._storage.read(self._key) is not None:
            raise CorruptValueError("what was never written, or was deleted, is read")

    async def _present(self) -> None:
        if await self._storage.read(self._key) != self._value:
            raise CorruptValueError("what was written is not read back")

    async def _compare_and_set(self) -> None:
        record = await self._storage.read_versioned(self._key)
        await self._storage.write_versioned(self._key, self._value, record and record.version)

    async def _listed(self) -> None:
        try:
            async with asyncio.timeout(_LISTING), closing(self._storage.keys(self._key)) as keys:
                async for key in keys:
                    if key == self._key:
                        return
        except TimeoutError:
            raise StorageError(f"not found among all keys of the backend within {_LISTING:g} s") from None
        raise CorruptValueError("the key that was written is not listed")
