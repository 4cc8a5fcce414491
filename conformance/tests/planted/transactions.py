"""Storages that go wrong when several records are read or changed at their versions."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Correct
from satchel import ANY, Change, Expected, Payload, Record, UnsupportedValueError

Changes = Mapping[str, tuple[Payload | None, str | None]]


@planted("R7-records-read")
class RefusesRepeats(Correct):
    """read_records of a key that is named twice raises, as a request for several items does in some databases."""

    async def read_records(self, keys: Iterable[str]) -> dict[str, Record[Any]]:
        wanted = list(keys)
        if len(set(wanted)) < len(wanted):
            raise ValueError("duplicates")
        return await super().read_records(wanted)


@planted("R7-records-read", "R7-commit-all-or-none")
class GivesStaleVersions(Correct):
    """read_records gives versions of its own, which no other call understands."""

    async def read_records(self, keys: Iterable[str]) -> dict[str, Record[Any]]:
        found = await super().read_records(keys)
        return {key: Record(record.value, record.version[:8]) for key, record in found.items()}

    async def put_records(self, changes: Changes) -> dict[str, str] | None:
        whole = {
            name: (payload, expected if expected is None or len(expected) > 8 else self.whole(name, expected))
            for name, (payload, expected) in changes.items()
        }
        return await super().put_records(whole)

    def whole(self, name: str, start: str) -> str:
        payload = self.alive(name)
        version = "" if payload is None else self.version_of(payload)
        return version if start and version.startswith(start) else start


@planted("R7-commit-changes", "R7-commit-all-or-none")
class CommitsNoDeletes(Correct):
    """A commit leaves out what it is to delete."""

    async def put_records(self, changes: Changes) -> dict[str, str] | None:
        kept = {name: change for name, change in changes.items() if change[0] is not None or change[1] is None}
        return await super().put_records(kept)


@planted("R7-commit-changes")
class ComparesAndKeeps(Correct):
    """A commit compares the version of what it is to delete, and leaves it there."""

    async def put_records(self, changes: Changes) -> dict[str, str] | None:
        before = {
            name: self.rows[name] for name, (payload, _) in changes.items() if payload is None and self.alive(name)
        }
        versions = await super().put_records(changes)
        self.rows.update(before)
        return versions


@planted("R7-commit-all-or-none", "R7-commit-absent")
class CommitsUpToTheConflict(Correct):
    """A commit goes record by record, and stops at the first conflict."""

    async def put_records(self, changes: Changes) -> dict[str, str] | None:
        for name, change in changes.items():
            if await super().put_records({name: change}) is None:
                return None
        return {name: self.version_of(payload) for name, (payload, _) in changes.items() if payload is not None}


@planted("R7-commit-all-or-none")
class ComparesAbsenceFirst(Correct):
    """A commit sees that what is to be absent is; then it goes record by record, and stops at the first conflict."""

    async def put_records(self, changes: Changes) -> dict[str, str] | None:
        if any(change == (None, None) and self.alive(name) is not None for name, change in changes.items()):
            return None
        for name, change in changes.items():
            if await super().put_records({name: change}) is None:
                return None
        return {name: self.version_of(payload) for name, (payload, _) in changes.items() if payload is not None}


@planted("R7-commit-absent")
class IgnoresAbsence(Correct):
    """A demand that a record be absent is forgotten where nothing is to be written."""

    async def put_records(self, changes: Changes) -> dict[str, str] | None:
        return await super().put_records({name: change for name, change in changes.items() if change != (None, None)})


@planted("R7-commit-refuses")
class CommitsWhatItCan(Correct):
    """A value that is refused is left out, and the rest of its commit is written."""

    async def commit(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        try:
            return await super().commit(changes)
        except UnsupportedValueError:
            await super().commit({key: change for key, change in changes.items() if type(change.value) is int})
            raise


@planted("R7-commit-concurrent")
class ComparesThenCommits(Correct):
    """Versions are compared, and written a moment later, also over what another commit has changed since."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        version = await super().put(name, payload, expected)
        if version is not None:
            self.world.notes[f"{name} was put"] = version
        return version

    async def put_records(self, changes: Changes) -> dict[str, str] | None:
        if not all(self.is_at(name, expected) for name, (_, expected) in changes.items()):
            return None
        await asyncio.sleep(0)
        if not all(self.is_as_committed(name, expected) for name, (_, expected) in changes.items()):
            return None
        for name, (payload, _) in changes.items():
            if payload is None:
                self.rows.pop(name, None)
            else:
                self.rows[name] = (payload, self.end())
        return {name: self.version_of(payload) for name, (payload, _) in changes.items() if payload is not None}

    def is_as_committed(self, name: str, expected: str | None) -> bool:
        """Tell whether a record is as expected, or as a commit has left it."""
        payload = self.alive(name)
        return self.is_at(name, expected) or (
            payload is not None
            and expected is not None
            and self.version_of(payload) != self.world.notes.get(f"{name} was put")
        )


@planted("R6-commit-expires")
class CommitsForEver(Correct):
    """What a commit writes has no end."""

    async def put_records(self, changes: Changes) -> dict[str, str] | None:
        versions = await super().put_records(changes)
        for name in versions or ():
            self.rows[name] = (self.rows[name][0], None)
        return versions
