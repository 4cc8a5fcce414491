"""Storages that mix up absence, errors and empty values."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Correct
from satchel import ANY, CorruptValueError, Expected, Payload, Record
from satchel.keys import check_key


@planted("R1-absent-is-none", "R1-deleted-is-none", "R1-delete-absent")
class RaisesKeyError(Correct):
    """An absent key raises KeyError."""

    async def read(self, key: str) -> Any:
        value = await super().read(key)
        if value is None:
            raise KeyError(check_key(key))
        return value


@planted("R1-absent-is-none")
class ReadsDefault(Correct):
    """An absent key reads as an empty object."""

    async def read(self, key: str) -> Any:
        value = await super().read(key)
        return {} if value is None else value


@planted("R1-absent-version-is-none", "R1-falsy-has-version")
class EmptyRecord(Correct):
    """An absent key has a record without a value, and so has an empty one."""

    async def read_versioned(self, key: str) -> Any:
        record = await super().read_versioned(key)
        return record if record and record.value else Record(None, "0")


@planted("R1-deleted-is-none")
class Tombstone(Correct):
    """A deleted key reads as its tombstone."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        there = self.is_at(name, expected)
        if there and name in self.rows:
            self.rows[name] = (b"[]", None)
        return there


@planted("R1-deleted-is-none")
class DeletesByPrefix(Correct):
    """Deleting a key removes those that start with it."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        there = await super().drop(name, expected)
        for other in [other for other in self.rows if other.startswith(name + ":")]:
            del self.rows[other]
        return there


@planted("R1-delete-absent")
class DeleteRaises(Correct):
    """Deleting an absent key raises."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        there = await super().get(name)
        if there is None and expected is ANY:
            raise LookupError(name)
        return await super().drop(name, expected)


@planted("R1-falsy-is-present")
class FalsyIsAbsent(Correct):
    """Empty and falsy values read as None."""

    async def read(self, key: str) -> Any:
        return (await super().read(key)) or None


@planted("R1-corrupt-raises")
class CorruptIsAbsent(Correct):
    """What cannot be decoded reads as None, and the session layer writes over it."""

    async def read(self, key: str) -> Any:
        try:
            return await super().read(key)
        except CorruptValueError:
            return None


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
class CorruptHasNoVersion(Correct):
    """read_versioned gives None for what cannot be decoded."""

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        found = await super().get_versioned(name)
        with suppress(CorruptValueError):
            if found is not None and self.codec.decode(found[0]) is not None:
                return found
        return None
