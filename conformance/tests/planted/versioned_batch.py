"""Storages that go wrong when several records are changed at their versions, each by itself."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Each
from satchel import Change, Payload, Record, UnsupportedValueError

Changes = Mapping[str, tuple[Payload | None, str | None]]


@planted("R7-each-read")
class ReadsNoRepeats(Each):
    """read_records of a key that is named twice raises, as a request for several items does in some databases."""

    async def read_records(self, keys: Iterable[str]) -> dict[str, Record[Any]]:
        wanted = list(keys)
        if len(set(wanted)) < len(wanted):
            raise ValueError("duplicates")
        return await super().read_records(wanted)


@planted("R7-each-changes")
class SaysItIsGone(Each):
    """write_records says that what it is to delete is gone, and leaves it there."""

    def change(self, name: str, payload: Payload | None, expected: str | None) -> str:
        return "" if payload is None else super().change(name, payload, expected)


@planted("R7-each-empty")
class NeedsChanges(Each):
    """write_records of nothing is an error, as an empty request is in some databases."""

    async def write_records(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        if not changes:
            raise ValueError("no changes")
        return await super().write_records(changes)


@planted("R7-each-conflict", "R7-each-create-conflict", "R7-each-delete-conflict", "R7-each-absent", others=True)
class StopsAtTheFirst(Each):
    """write_records goes record by record, and stops at the first conflict."""

    async def put_each(self, changes: Changes) -> dict[str, str]:
        done: dict[str, str] = {}
        for name, change in changes.items():
            if not (one := await super().put_each({name: change})):
                break
            done |= one
        return done


@planted("R7-each-conflict")
class TakesNoVersionForAny(Each):
    """write_records takes an empty version for any."""

    async def put_each(self, changes: Changes) -> dict[str, str]:
        done = await super().put_each(changes)
        forced = {name: what for name, what in changes.items() if what[1] == ""}
        return done | {name: self.change(name, *what) for name, what in forced.items()}


@planted("R7-each-create-conflict")
class TakesTheSameForItsOwn(Each):
    """A creation that finds the very value that it brings counts as done."""

    async def put_each(self, changes: Changes) -> dict[str, str]:
        done = await super().put_each(changes)
        for name, (payload, expected) in changes.items():
            if payload is not None and expected is None and self.alive(name) == payload:
                done[name] = self.version_of(payload)
        return done


@planted("R7-each-delete-conflict")
class DeletesWhateverIsThere(Each):
    """write_records deletes what is there, at whatever version."""

    async def put_each(self, changes: Changes) -> dict[str, str]:
        done = await super().put_each(changes)
        for name, (payload, expected) in changes.items():
            if payload is None and expected is not None and self.alive(name) is not None:
                done[name] = self.change(name, None, expected)
        return done


@planted("R7-each-absent")
class GrantsAbsence(Each):
    """A demand that a record be absent is always met."""

    async def put_each(self, changes: Changes) -> dict[str, str]:
        return await super().put_each(changes) | {name: "" for name, what in changes.items() if what == (None, None)}


@planted("R7-each-refuses")
class ChangesWhatItCan(Each):
    """A value that is refused is left out, and the rest is written."""

    async def write_records(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        try:
            return await super().write_records(changes)
        except UnsupportedValueError:
            await super().write_records({key: change for key, change in changes.items() if type(change.value) is int})
            raise


@planted("R7-each-large")
class TakesAHundred(Each):
    """Of more than a hundred changes only the first hundred are made."""

    async def put_each(self, changes: Changes) -> dict[str, str]:
        return await super().put_each(dict(list(changes.items())[:100]))


@planted("R7-each-concurrent")
class LooksThenChanges(Each):
    """Versions are compared, and written a moment later."""

    async def put_each(self, changes: Changes) -> dict[str, str]:
        there = {name: what for name, what in changes.items() if self.is_at(name, what[1])}
        await asyncio.sleep(0)
        return {name: self.change(name, *what) for name, what in there.items()}


@planted("R6-each-expires")
class ChangesForEver(Each):
    """What write_records writes has no end."""

    async def put_each(self, changes: Changes) -> dict[str, str]:
        done = await super().put_each(changes)
        for name, version in done.items():
            if version:
                self.rows[name] = (self.rows[name][0], None)
        return done
