"""Storages that mix up absence, errors and empty values."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Alone, Correct, Each, Plain
from satchel import ANY, Change, CorruptValueError, Expected, Payload, Record
from satchel.keys import check_key


@planted("R1-absent-is-none", "R1-deleted-is-none", "R1-delete-absent", others=True)
class RaisesKeyError(Correct):
    """An absent key raises KeyError."""

    async def read(self, key: str) -> Any:
        value = await super().read(key)
        if value is None:
            raise KeyError(check_key(key))
        return value


@planted("R1-absent-is-none", others=True)
class ReadsDefault(Correct):
    """An absent key reads as an empty object."""

    async def read(self, key: str) -> Any:
        value = await super().read(key)
        return {} if value is None else value


@planted("R1-absent-is-none", shared=False)
class NoTableYet(Alone):
    """Before anything was written there is no table to read from."""

    capabilities = Plain.capabilities

    async def get(self, name: str) -> Payload | None:
        if not self.world.ever:
            raise LookupError("no such table")
        return await super().get(name)

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        return await super().get_versioned(name) if self.world.ever else None


@planted("R1-absent-version-is-none", "R1-falsy-has-version", others=True)
class EmptyRecord(Correct):
    """An absent key has a record without a value, and so has an empty one."""

    async def read_versioned(self, key: str) -> Any:
        record = await super().read_versioned(key)
        return record if record and record.value else Record(None, "0")


@planted("R1-absent-version-is-none", shared=False)
class FindsTheNext(Alone):
    """read_versioned gives the first record from its key on, as a query without an upper bound does."""

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        found = await super().get_versioned(name)
        following = sorted(other for other in self.rows if other > name and self.alive(other) is not None)
        return found if found is not None or not following else await super().get_versioned(following[0])


@planted("R1-falsy-has-version", shared=False)
class EmptyTextHasNoVersion(Alone):
    """An empty text, or array, has no version."""

    async def read_versioned(self, key: str) -> Any:
        record = await super().read_versioned(key)
        return record if record and record.value not in ("", []) else None


@planted("R1-deleted-is-none", others=True)
class Tombstone(Correct):
    """A deleted key reads as its tombstone."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        there = self.is_at(name, expected)
        if there and name in self.rows:
            self.rows[name] = (b"[]", None)
        return there


@planted("R1-deleted-is-none")
class DeletesParts(Correct):
    """Deleting a key deletes those that consist of it, a colon and a word, too."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        there = await super().drop(name, expected)
        for other in list(self.rows):
            start, _, word = other.rpartition(":")
            if start == name and len(word) > 1 and word.isalpha():
                del self.rows[other]
        return there


@planted("R1-delete-absent", others=True)
class DeleteRaises(Correct):
    """Deleting an absent key raises."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        there = await super().get(name)
        if there is None and expected is ANY:
            raise LookupError(name)
        return await super().drop(name, expected)


@planted("R1-delete-absent", shared=False)
class DeletesOnlyWhatWas(Alone):
    """Deleting a key that was never there raises."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        if expected is ANY and name not in self.world.ever:
            raise LookupError(name)
        return await super().drop(name, expected)


@planted("R1-falsy-is-present", others=True)
class FalsyIsAbsent(Correct):
    """Empty and falsy values read as None."""

    async def read(self, key: str) -> Any:
        return (await super().read(key)) or None


@planted("R1-falsy-is-present", shared=False)
class FalsyIsNotListed(Alone):
    """Empty and falsy values are not listed."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        async for page in super().pages(prefix):
            yield [name for name in page if self.codec.decode(self.alive(name) or b"1")]


class CatchesCorruption(Correct):
    """Looks whether a payload can be decoded."""

    def is_well(self, payload: Payload) -> bool:
        with suppress(CorruptValueError):
            return self.codec.decode(payload) is not None
        return False


@planted("R1-corrupt-raises")
class CorruptIsAbsent(CatchesCorruption):
    """What cannot be decoded reads as None, and the session layer writes over it."""

    async def get(self, name: str) -> Payload | None:
        payload = await super().get(name)
        return payload if payload is not None and self.is_well(payload) else None

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        payload = await super().get(name)
        return None if payload is None else (payload, self.version_of(payload))


@planted("R1-corrupt-raises")
class CorruptIsDeleted(Correct):
    """What cannot be decoded raises, and is deleted."""

    async def read(self, key: str) -> Any:
        try:
            return await super().read(key)
        except CorruptValueError:
            await self.delete(key)
            raise


@planted("R1-corrupt-raises-everywhere")
class CorruptIsLeftOut(Correct):
    """read_many leaves out what cannot be decoded."""

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        try:
            return await super().read_many(keys)
        except CorruptValueError:
            return {}


@planted("R1-corrupt-raises-everywhere")
class CorruptHasNoVersion(CatchesCorruption):
    """read_versioned gives None for what cannot be decoded."""

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        found = await super().get_versioned(name)
        return found if found is not None and self.is_well(found[0]) else None


@planted("R1-corrupt-raises-everywhere")
class CorruptIsNoRecord(Correct):
    """read_records leaves out what cannot be decoded."""

    async def read_records(self, keys: Iterable[str]) -> dict[str, Record[Any]]:
        try:
            return await super().read_records(keys)
        except CorruptValueError:
            return {}


@planted("R1-falsy-in-commit")
class CommitDeletesFalsy(Correct):
    """A commit takes a value that is empty or zero for None, which deletes."""

    async def commit(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        done = {key: Change(change.value or None, change.expected) for key, change in changes.items()}
        return await super().commit(done)


@planted("R1-falsy-in-each")
class EachDeletesFalsy(Each):
    """write_records takes a value that is empty or zero for None, which deletes."""

    async def write_records(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        done = {key: Change(change.value or None, change.expected) for key, change in changes.items()}
        return await super().write_records(done)
