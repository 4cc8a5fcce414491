"""Placing records in a storage that others may be writing to: created, read back and compared, one batch at a time."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from satchel.codecs import JSON, Codec
from satchel.errors import ConflictError, InvalidKeyError, StorageError
from satchel.keys import check_key
from satchel.storage import Change, Record, StorageAdapter, Transactional, Versioned
from satchel.upkeep.batches import ENDS_READING, ENDS_WRITING, Batches
from satchel.upkeep.outcomes import Outcome, Progress, Result
from satchel.wrappers.base import capabilities_of

Look = Callable[[Sequence[str]], Awaitable[tuple[Mapping[str, Any], Mapping[str, StorageError]]]]
"""Returns the values of those keys that exist where records come from, and why others could not be read."""

_ROUNDS: Final = 10  # looks at a record that changes while it is placed
_PAUSE: Final = 0.01  # seconds between two of them, at first


class Placing:
    """Places records in a target.

    Args:
        target: where they go.
        batches: how many are worked on at once.
        tell: is told what became of each.
        prefix: what keys start with where they come from.
        to_prefix: what takes its place in the target.
        overwrite: whether what differs is written over.
    """

    def __init__(
        self,
        target: StorageAdapter[Any],
        batches: Batches,
        tell: Progress,
        prefix: str,
        to_prefix: str,
        *,
        overwrite: bool,
    ) -> None:
        self._target = target
        self._batches = batches
        self._tell = tell
        self._prefix = prefix
        self._to_prefix = to_prefix
        self._overwrite = overwrite
        self._code: Codec[Any] = getattr(target, "codec", JSON).plain

    async def place(self, keys: Sequence[str], look: Look) -> None:
        """Place what `look` finds under a batch of keys."""
        names = self._named(keys)
        # The target before the source: what the target is then found to lack was not there before the source was read.
        there, unreadable = await self._batches.read(self._target, list(names.values()))
        here, failed = await look(list(names))
        encoded = self._encoded(names, here)
        self._batches.weigh(len(names), sum(map(len, encoded.values())))
        new: list[str] = []
        others: list[str] = []
        for key, name in names.items():
            if (error := failed.get(key) or unreadable.get(name)) is not None:
                self._tell(Outcome(key, Result.FAILED, str(error)))
            elif key not in here:
                self._tell(Outcome(key, Result.GONE))
            elif key in encoded:
                if name not in there:
                    new.append(key)
                elif self._is(there[name], encoded[key]):
                    self._tell(Outcome(key, Result.SAME))
                else:
                    others.append(key)
        versions = await self._create({key: names[key] for key in new}, here)
        wrong = await self._verify({key: names[key] for key in versions}, encoded, look)

        async def settle(key: str) -> None:
            await self._settle(key, names[key], look, versions.get(key))

        await self._batches.singly(settle, [*others, *wrong, *(key for key in new if key not in versions)])

    async def prune(self, names: Sequence[str], look: Look) -> None:
        """Delete those of a batch of the target's keys under which `look` finds nothing."""
        keys = {key: name for name in names if (key := self._prefix + name[len(self._to_prefix) :])}
        here, failed = await look(list(keys))
        only_there = [key for key in keys if key not in here and key not in failed]

        async def prune(key: str) -> None:
            await self._prune(key, keys[key], look)

        await self._batches.singly(prune, only_there)

    def _named(self, keys: Sequence[str]) -> dict[str, str]:
        """Return what the target calls each key; one that it cannot is told to have failed."""
        names: dict[str, str] = {}
        for key in keys:
            try:
                names[key] = check_key(self._to_prefix + key[len(self._prefix) :])
            except InvalidKeyError as error:
                self._tell(Outcome(key, Result.FAILED, str(error)))
        return names

    def _encoded(self, names: Mapping[str, str], here: Mapping[str, Any]) -> dict[str, bytes]:
        """Return what each value is compared by; one that the target's codec does not take is told to have failed."""
        encoded: dict[str, bytes] = {}
        for key in names:
            if key in here:
                try:
                    encoded[key] = self._code.encode(here[key])
                except StorageError as error:
                    self._tell(Outcome(key, Result.FAILED, str(error)))
        return encoded

    async def _create(self, names: Mapping[str, str], here: Mapping[str, Any]) -> dict[str, str]:
        """Create records where there are none, and return the versions of those that were."""
        if len(names) > 1 and isinstance(self._target, Transactional):
            try:
                versions = await self._target.commit({name: Change(here[key], None) for key, name in names.items()})
            except ENDS_WRITING:
                raise
            except StorageError:
                pass  # one of them cannot be written, or is there by now: find out which
            else:
                return {key: versions[name] for key, name in names.items()}
        made: dict[str, str] = {}

        async def create(key: str) -> None:
            try:
                made[key] = await self._write(names[key], here[key], None)
            except ENDS_WRITING:
                raise
            except StorageError:
                pass  # told when it is looked at alone

        await self._batches.singly(create, names)
        return made

    async def _verify(self, names: Mapping[str, str], encoded: Mapping[str, bytes], look: Look) -> list[str]:
        """Tell of records that were just created that they are done, and return those that are not what they should."""
        if not names:
            return []
        there, _ = await self._batches.read(self._target, list(names.values()))
        here, _ = await look(list(names))
        wrong: list[str] = []
        for key, name in names.items():
            if self._is(there.get(name), encoded[key]) and self._is(here.get(key), encoded[key]):
                self._tell(Outcome(key, Result.DONE))
            else:
                wrong.append(key)
        return wrong

    async def _settle(self, key: str, name: str, look: Look, ours: str | None) -> None:
        """Place one record, whatever happens to it meanwhile; `ours` is the version that was written already."""
        try:
            outcome = await self._settled(key, name, look, ours)
        except ENDS_WRITING:
            raise
        except StorageError as error:
            outcome = Outcome(key, Result.FAILED, str(error))
        self._tell(outcome)

    async def _settled(self, key: str, name: str, look: Look, ours: str | None) -> Outcome:
        seen: tuple[str, bytes] | None = None
        for number in range(_ROUNDS):
            try:
                record = await self._read(name)  # before the source, as in `place`
            except ENDS_READING:
                raise
            except StorageError as error:
                return Outcome(key, Result.FAILED, str(error))
            here, failed = await look([key])
            if key in failed:
                return Outcome(key, Result.FAILED, str(failed[key]))
            if key not in here:
                # Nobody takes back what was copied just before it was deleted, if not we.
                if record is None or record.version != ours or await self._delete(name, record.version):
                    return Outcome(key, Result.GONE)
                continue
            encoded = self._code.encode(here[key])
            if record is not None and self._is(record.value, encoded):
                return Outcome(key, Result.SAME if ours is None else Result.DONE)
            if record is not None and record.version != ours and not self._overwrite:
                if seen == (record.version, encoded):
                    break
                seen = (record.version, encoded)
                await asyncio.sleep(_PAUSE * (number + 1))  # somebody may be about to copy it, too
                continue
            try:
                ours = await self._write(name, here[key], None if record is None else record.version)
            except ConflictError:
                await asyncio.sleep(_PAUSE * number)
        return Outcome(key, Result.DIFFERING)

    async def _prune(self, key: str, name: str, look: Look) -> None:
        try:
            record = await self._read(name)
            here, failed = await look([key])
            if record is None or here or failed or not await self._delete(name, record.version):
                return  # somebody deleted it there, or wrote it here or there
            here, failed = await look([key])
        except ENDS_WRITING:
            raise
        except StorageError as error:
            self._tell(Outcome(key, Result.FAILED, str(error)))
            return
        if here or failed:  # it came back
            await self._settle(key, name, look, None)
        else:
            self._tell(Outcome(key, Result.PRUNED))

    async def _read(self, name: str) -> Record[Any] | None:
        """Return the target's record; where it has no versions, a digest is one."""
        if isinstance(self._target, Versioned):
            return await self._target.read_versioned(name)
        value = await self._target.read(name)
        return None if value is None else Record(value, self._digest(value))

    async def _write(self, name: str, value: Any, expected: str | None) -> str:
        if isinstance(self._target, Versioned):
            return await self._target.write_versioned(name, value, expected)
        await self._target.write(name, value)
        return self._digest(value)

    async def _delete(self, name: str, version: str) -> bool:
        """Delete the target's record at a version, and tell whether it was at it."""
        if not isinstance(self._target, Versioned) or not capabilities_of(self._target).conditional_delete:
            await self._target.delete(name)
            return True
        try:
            await self._target.delete_versioned(name, version)
        except ConflictError:
            return False
        return True

    def _is(self, value: Any, encoded: bytes) -> bool:
        return value is not None and self._code.encode(value) == encoded

    def _digest(self, value: Any) -> str:
        return hashlib.sha256(self._code.encode(value)).hexdigest()
