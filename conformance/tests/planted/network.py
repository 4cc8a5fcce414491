"""Storages that go wrong over a network, in another process, or under a lease."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Correct, World
from conformance.tests.planted.wire import Wire
from satchel import ANY, ConflictError, Expected, Payload, Record, StorageError


@planted("R15-refused", "R15-unopened")
class KnowsNoOutage(Wire):
    """An outage is just any error."""

    def translate(self, error: Exception) -> StorageError | None:
        return StorageError("it failed")


@planted("R15-silent")
class WaitsForEver(Wire):
    """There is no timeout."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._seconds = 3.0


@planted("R15-too-late")
class KeepsLateAnswers(Wire):
    """A connection whose answer was given up is used again, and gives that answer to the next who asks."""

    async def hang_up(self) -> None:
        if self._closed or not isinstance(sys.exception(), asyncio.CancelledError):
            await super().hang_up()


@planted("R15-unopened")
class OpensOnce(Wire):
    """What failed once has failed for good."""

    failed = False

    async def open(self) -> None:
        if self.failed:
            raise ConnectionError
        self.failed = True
        await super().open()
        self.failed = False


@planted("R15-restarted")
class NeverReconnects(Wire):
    """A connection that broke is not replaced."""

    lost = False

    async def ask(self, *request: Any) -> Any:
        if self.lost:
            raise ConnectionError
        try:
            return await super().ask(*request)
        except ConnectionError:
            self.lost = self._loop is not None
            raise


@planted("R15-slow")
class TakesWhatIsThere(Wire):
    """Whatever has arrived is the answer."""

    async def line(self, reader: asyncio.StreamReader) -> bytes:
        part = await reader.read(2**20)
        return part if part.endswith(b"\n") else json.dumps(part.decode()).encode()


@planted("R1-cut-answer")
class OutageIsAbsence(Wire):
    """A read that fails finds nothing."""

    async def get(self, name: str) -> Payload | None:
        try:
            return await super().get(name)
        except (OSError, EOFError):
            return None


@planted("R9-cut-write")
class ForgivesWrites(Wire):
    """A write that fails is taken for done."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        try:
            return await super().put(name, payload, expected)
        except (OSError, EOFError):
            return self.version_of(payload)


@planted("R9-cut-versioned-write")
class RepeatsWrites(Wire):
    """A conditional write whose answer was lost is sent again, and meets itself."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        try:
            return await super().put(name, payload, expected)
        except (OSError, EOFError):
            return await super().put(name, payload, expected)


@planted("R8-read")
class LooksBeforeReading(Wire):
    """A read asks first whether there is something to read."""

    async def get(self, name: str) -> Payload | None:
        return None if await self.ask("get", name) is None else await super().get(name)


@planted("R8-write")
class ReadsBeforeWriting(Wire):
    """A plain write reads first."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is ANY:
            await self.get(name)
        return await super().put(name, payload, expected)


@planted("R8-versioned")
class ReadsBeforeReplacing(Wire):
    """A conditional write reads first."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is not ANY:
            await self.get(name)
        return await super().put(name, payload, expected)


@planted("R8-delete")
class LooksBeforeDeleting(Wire):
    """A plain delete asks first whether there is something to delete."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        if expected is ANY and await self.ask("get", name) is None:
            return True
        return await super().drop(name, expected)


@planted("R8-touch")
class TouchesByRewriting(Wire):
    """A touch reads the record and writes it again."""

    async def renew(self, name: str) -> bool:
        payload = await self.get(name)
        return payload is not None and await self.put(name, payload) is not None


@planted("R8-batch")
class BatchesOneByOne(Wire):
    """A batch is a loop."""

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        return {name: payload for name in names if (payload := await self.get(name)) is not None}

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        for name, payload in payloads.items():
            await self.put(name, payload)


@planted("R7-increments-of-processes", "R7-one-creating-process")
class ComparesInProcess(Wire):
    """A conditional write reads and compares, under a lock that other processes do not have."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        found = await self.get(name)
        if expected is not ANY and (None if found is None else self.version_of(found)) != expected:
            return None
        await asyncio.sleep(0.005)
        return await super().put(name, payload)


@planted("R9-first-writes-of-processes")
class RecordPerProcess(Wire):
    """Each process has a record of its own, all of the same key, like rows without a unique index."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        await super().put(f"{name}#{os.getpid()}", payload)
        return await super().put(name, payload, expected)


@planted("R14-setup-of-processes")
class CreatesBlindly(Wire):
    """Setting up fails where somebody has set up already."""

    async def open(self) -> None:
        if not await self.ask("put", self._prefix + "table", "1", None, None):
            raise FileExistsError


@planted("R9-killed-writer")
class WritesBehind(Wire):
    """A write is acknowledged long before it is sent."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is not ANY:
            return await super().put(name, payload, expected)
        self.behind: dict[str, Payload] = getattr(self, "behind", {}) | {name: payload}
        return self.version_of(payload)


@planted("R9-killed-server")
class SyncsLater(Correct):
    """What is written is acknowledged before it is on disk, which is a little later."""

    @staticmethod
    def crash(world: World) -> None:
        for name in world.notes["unsynced"]:
            world.rows.pop(name, None)

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        self.world.notes["unsynced"] = [*self.world.notes.get("unsynced", ())[-9:], name]
        return await super().put(name, payload, expected)


@planted("R7-lease-excludes")
class LetsEverybodyIn(Correct):
    """A conditional write does not look at its condition."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return await super().put(name, payload)


@planted("R7-lease-is-renewed")
class CannotReplace(Correct):
    """A record can be created at a version, and not replaced."""

    async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
        if expected is not None:
            raise ConflictError("no")
        return await super().write_versioned(key, value, expected)


@planted("R7-lease-ends")
class ReleasesAnothers(Correct):
    """A conditional delete deletes whatever is there."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        return await super().drop(name)


@planted("R7-lease-fences")
class CutsIntegersOfRecords(Correct):
    """A versioned read keeps 32 bits of the integers in an object."""

    async def read_versioned(self, key: str) -> Record[Any] | None:
        record = await super().read_versioned(key)
        if record is None or not isinstance(record.value, dict):
            return record
        cut = {name: field & 0xFFFFFFFF if type(field) is int else field for name, field in record.value.items()}
        return Record(cut, record.version)


@planted("R8-commit")
class CommitsOneByOne(Wire):
    """A commit looks at every record first."""

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        for name in changes:
            await self.get(name)
        return await super().put_records(changes)
