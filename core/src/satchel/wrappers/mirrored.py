"""A storage whose records are written to a second one as well: for moving a live bot from one backend to another."""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

from satchel.codecs import JSON, Codec
from satchel.errors import StorageError, StorageUnavailableError
from satchel.storage import Batch, Change, Expiring, Lifecycle, StorageAdapter, V
from satchel.wrappers.base import Wrapper, checked

logger = logging.getLogger("satchel")

T = TypeVar("T")

_ROUNDS: Final = 10  # how often a record is copied that changes while it is copied


class Mirrored(Wrapper[V]):
    """Copies each record that is written, deleted or touched from `primary` to `secondary`, after it was.

        storage = Mirrored(open_storage("redis://old"), open_storage("postgresql://new/bot"))

    `primary` decides: reads, versions, conflicts and errors are its own, and its answer is the call's.

    What is guaranteed: once a change has returned and nobody changes the record any more, both hold the same, however
    many processes mirror it at once, if each of their copies succeeded. (Each looks at `primary` again after it has
    copied, and copies again if it finds something else.) What fails on the way is named: a key whose copy failed, or
    whose change has an outcome that is not known, is in `behind`, `failures` counts them, and the log says so once.
    `repair()` copies them. A process that is killed takes its list with it, so a move ends with `satchel copy`, which
    compares.

    To move a bot: run it with `Mirrored(old, new)` in every process; copy what is there with `satchel copy OLD NEW`;
    see that nothing is `behind`; then run it with `Mirrored(new, old)`, so that there is a way back, and last with
    `new`.

    A change costs three more round trips. Lifetimes are each storage's own, and start anew with the copy.

    Args:
        primary: the storage.
        secondary: the other one. It is set up and closed with the wrapper.
        strict: what fails in `secondary` raises. The change is done in `primary` all the same.
    """

    def __init__(self, primary: StorageAdapter[V], secondary: StorageAdapter[V], /, *, strict: bool = False) -> None:
        super().__init__(primary)
        self.secondary = checked(secondary)
        self.failures = 0
        self._strict = strict
        self._code: Codec[V] = getattr(primary, "codec", JSON).plain
        self._behind: dict[str, object] = {}

    @property
    def behind(self) -> frozenset[str]:
        """The keys that may differ in the two storages, as far as this process knows."""
        return frozenset(self._behind)

    async def repair(self) -> int:
        """Copy what is `behind`, and return how many keys still are."""
        for key in list(self._behind):
            with suppress(StorageError):
                await self._copy([key])
        return len(self._behind)

    async def write(self, key: str, value: V) -> None:
        await self._mirror([key], super().write(key, value))

    async def delete(self, key: str) -> None:
        await self._mirror([key], super().delete(key))

    async def write_versioned(self, key: str, value: V, expected: str | None) -> str:
        return await self._mirror([key], super().write_versioned(key, value, expected))

    async def delete_versioned(self, key: str, expected: str) -> None:
        await self._mirror([key], super().delete_versioned(key, expected))

    async def write_many(self, values: Mapping[str, V]) -> None:
        await self._mirror(values.keys(), super().write_many(values))

    async def delete_many(self, keys: Iterable[str]) -> None:
        gone = list(keys)
        await self._mirror(gone, super().delete_many(gone))

    async def commit(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        return await self._mirror(changes.keys(), super().commit(changes))

    async def write_records(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        return await self._mirror(changes.keys(), super().write_records(changes))

    async def touch(self, key: str) -> bool:
        return await self._mirror([key], super().touch(key), self._touch)

    async def purge_expired(self) -> int:
        if isinstance(self.secondary, Expiring):
            await self._noted([], self.secondary.purge_expired())
        return await super().purge_expired()

    async def setup(self) -> None:
        """Set up both; what fails raises, so that a move does not begin with a storage that is not there."""
        await super().setup()
        if isinstance(self.secondary, Lifecycle):
            await self.secondary.setup()

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            if isinstance(self.secondary, Lifecycle):
                await self.secondary.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.inner!r} {self.secondary!r}>"

    async def _mirror(
        self,
        keys: Collection[str],
        change: Awaitable[T],
        follow: Callable[[Collection[str]], Awaitable[None]] | None = None,
    ) -> T:
        """Await a change of the first storage, and have the second follow."""
        try:
            result = await change
        except BaseException as error:
            if not isinstance(error, StorageError) or isinstance(error, StorageUnavailableError):
                self._mark(keys)  # it may have been done
            raise
        await self._noted(keys, (follow or self._copy)(keys))
        return result

    async def _noted(self, keys: Collection[str], following: Awaitable[Any]) -> None:
        """Await what the second storage does, and take note if it fails."""
        try:
            await following
        except BaseException as error:
            self._mark(keys)
            if not isinstance(error, StorageError):
                raise
            if not self.failures:
                logger.warning("%r falls behind: %s", self.secondary, error)
            self.failures += 1
            if self._strict:
                raise

    def _mark(self, keys: Collection[str]) -> None:
        self._behind.update({key: object() for key in keys if isinstance(key, str)})

    async def _touch(self, keys: Collection[str]) -> None:
        for key in keys:
            if not isinstance(self.secondary, Expiring) or not await self.secondary.touch(key):
                await self._copy([key])

    async def _copy(self, keys: Collection[str]) -> None:
        """Make the second storage hold what the first one holds."""
        marks = {key: self._behind.get(key) for key in keys}
        found = await self._look(keys)
        for _ in range(_ROUNDS):
            await self._put(found)
            now = await self._look(found)
            for key, value in found.items():
                # Not if somebody marked it meanwhile: that change may have come after this look.
                if self._same(value, now[key]) and key in self._behind and self._behind[key] is marks[key]:
                    del self._behind[key]
            found = {key: value for key, value in now.items() if not self._same(value, found[key])}
            if not found:
                return
        raise StorageUnavailableError(f"{len(found)} records changed {_ROUNDS} times while they were copied")

    async def _look(self, keys: Collection[str]) -> dict[str, V | None]:
        """Return what the first storage holds under these keys."""
        if len(keys) > 1 and isinstance(self.inner, Batch):
            there = await self.inner.read_many(keys)
            return {key: there.get(key) for key in keys}
        return {key: await self.inner.read(key) for key in keys}

    async def _put(self, found: Mapping[str, V | None]) -> None:
        """Write to the second storage, and delete from it."""
        there = {key: value for key, value in found.items() if value is not None}
        gone = [key for key, value in found.items() if value is None]
        if len(found) > 1 and isinstance(self.secondary, Batch):
            await self.secondary.write_many(there)
            await self.secondary.delete_many(gone)
            return
        for key, value in there.items():
            await self.secondary.write(key, value)
        for key in gone:
            await self.secondary.delete(key)

    def _same(self, one: V | None, two: V | None) -> bool:
        if one is None or two is None:
            return one is two
        return self._code.encode(one) == self._code.encode(two)
