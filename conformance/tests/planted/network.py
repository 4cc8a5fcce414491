"""Storages that go wrong over a network, in another process, or under a lease."""

import asyncio
import json
import logging
import math
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, ClassVar

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Correct, Plain, World
from conformance.tests.planted.wire import Wire
from satchel import ANY, Change, ConflictError, Expected, Payload, Record, StorageError, StorageUnavailableError
from satchel.deadlines import Deadlines

_BEGUN: ContextVar[float] = ContextVar("begun")
"""When this task began with a request, by its loop's clock."""


@planted("R12-outage-has-cause")
class HidesCause(Wire):
    """What is raised in an outage does not say what the driver said."""

    async def read(self, key: str) -> Any:
        try:
            return await super().read(key)
        except StorageUnavailableError as error:
            raise StorageUnavailableError(str(error)) from None


@planted("R15-refused", "R15-unopened", others=True)
class KnowsNoOutage(Wire):
    """An outage is just any error."""

    def translate(self, error: Exception) -> StorageError | None:
        return StorageError("it failed")


@planted("R15-refused")
class ReadsNothingRefused(Wire):
    """Where connections are refused, read_many finds nothing."""

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        try:
            return await super().get_many(names)
        except ConnectionError:
            return {}


@planted("R15-silent", "R15-too-late", "R15-slow", "R15-setup-unreachable")
class WaitsForEver(Wire):
    """There is no timeout."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadlines = Deadlines(3.0)


@planted("R15-silent")
class ListsForEver(Wire):
    """There is no timeout for a listing."""

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        deadlines, self._deadlines = self._deadlines, Deadlines(3.0)
        try:
            async for key in super().keys(prefix):
                yield key
        finally:
            self._deadlines = deadlines


@planted("R15-too-late")
class KeepsLateAnswers(Wire):
    """A connection on which a lone read was given up is used again, and gives that answer to the next who asks."""

    reading_since = math.inf
    asking = 0

    async def ask(self, *request: Any) -> Any:
        self.asking += 1
        try:
            return await super().ask(*request)
        finally:
            self.asking -= 1

    async def get(self, name: str) -> Payload | None:
        self.reading_since = time.monotonic()
        try:
            return await super().get(name)
        finally:
            self.reading_since = math.inf

    async def hang_up(self) -> None:
        in_vain = self.asking == 1 and time.monotonic() - self.reading_since >= self._seconds
        if self._closed or not (in_vain and isinstance(sys.exception(), asyncio.CancelledError)):
            await super().hang_up()


@planted("R15-unopened")
class OpensOnce(Wire):
    """What failed once has failed for good, unless it is set up."""

    failed = False

    async def setup(self) -> None:
        self.failed = False
        await super().setup()

    async def open(self) -> None:
        if self.failed:
            raise ConnectionError
        self.failed = True
        await super().open()
        self.failed = False


@planted("R15-restarted", others=True)
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


@planted("R15-restarted")
class ReconnectsToNothing(Wire):
    """A read that finds its connection lost makes another, and gives nothing."""

    async def get(self, name: str) -> Payload | None:
        for _ in range(2):  # until it is known what became of the connection
            await asyncio.sleep(0)
        lost = self.streams is not None and self.streams[1].is_closing()
        if lost:
            await self.hang_up()
        found = await super().get(name)
        return None if lost else found


@planted("R15-slow", others=True)
class TakesWhatIsThere(Wire):
    """Whatever has arrived is the answer."""

    async def line(self, reader: asyncio.StreamReader) -> bytes:
        part = await reader.read(2**20)
        return part if part.endswith(b"\n") else json.dumps(part.decode()).encode()


@planted("R15-slow")
class WaitsForEachPart(Wire):
    """The timeout is for each part of an answer."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.patience, self._deadlines = self._seconds, Deadlines(max(3.0, self._seconds))

    async def ask(self, *request: Any) -> Any:
        _BEGUN.set(asyncio.get_running_loop().time())
        return await super().ask(*request)

    async def line(self, reader: asyncio.StreamReader) -> bytes:
        answer = b""
        until = _BEGUN.get()  # of the first part, for which others may have been waited, too
        while not answer.endswith(b"\n"):
            async with asyncio.timeout_at(until + self.patience):
                part = await reader.read(2**16)
            if not part:
                raise EOFError
            answer += part
            until = asyncio.get_running_loop().time()
        return answer


@planted("R1-cut-answer", others=True)
class OutageIsAbsence(Wire):
    """A read that fails finds nothing."""

    async def get(self, name: str) -> Payload | None:
        try:
            return await super().get(name)
        except (OSError, EOFError):
            return None


@planted("R1-cut-answer")
class PartIsAbsence(Wire):
    """A read of which only a part arrives finds nothing."""

    async def get(self, name: str) -> Payload | None:
        try:
            return await super().get(name)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                return None
            raise


@planted("R9-cut-write")
class ForgivesWrites(Wire):
    """A write whose connection is lost is taken for done."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        try:
            return await super().put(name, payload, expected)
        except (ConnectionResetError, EOFError):
            if expected is ANY:
                return ""
            raise


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
    """A plain read asks first whether there is something to read."""

    async def get(self, name: str) -> Payload | None:
        return None if await self.ask("get", name) is None else await super().get(name)

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        payload = await super().get(name)
        return None if payload is None else (payload, self.version_of(payload))


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
class LooksBeforeTouching(Wire):
    """A touch asks first whether there is something to touch."""

    async def renew(self, name: str) -> bool:
        return await self.get(name) is not None and await super().renew(name)


@planted("R8-batch")
class ReadsOneByOne(Wire):
    """read_many is a loop."""

    capabilities = Plain.capabilities

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        return {name: payload for name in names if (payload := await self.get(name)) is not None}


@planted("R7-increments-of-processes")
class ComparesIntegersInProcess(Wire):
    """An integer that this process wrote last is compared with what it remembers, and not where it is."""

    known: ClassVar[dict[tuple[int, str], Payload]] = {}
    writing: ClassVar[set[tuple[int, str]]] = set()

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        place = (self.port, name)
        if place in self.known and isinstance(expected, str):
            if self.version_of(self.known[place]) != expected:
                if place not in self.writing:
                    del self.known[place]
                return None
            expected = ANY
        elif place in self.writing:
            return await super().put(name, payload, expected)
        if expected is ANY and payload.isdigit() and self.ttl is None:
            return await self.put_known(place, payload)
        self.known.pop(place, None)
        version = await super().put(name, payload, expected)
        if version is not None and payload.isdigit() and self.ttl is None:
            self.known[place] = payload
        return version

    async def put_known(self, place: tuple[int, str], payload: Payload) -> str | None:
        self.known[place] = payload
        self.writing.add(place)
        try:
            return await super().put(place[1], payload)
        except BaseException:
            self.known.pop(place, None)
            raise
        finally:
            self.writing.discard(place)

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        self.known.pop((self.port, name), None)
        return await super().drop(name, expected)

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        for name in payloads:
            self.known.pop((self.port, name), None)
        await super().put_many(payloads)

    async def drop_many(self, names: Sequence[str]) -> None:
        for name in names:
            self.known.pop((self.port, name), None)
        await super().drop_many(names)


@planted("R7-one-creating-process")
class CreatesWhatItDoesNotKnow(Wire):
    """A text can be created where this process has not seen a record."""

    seen: ClassVar[set[tuple[int, str]]] = set()
    locks: ClassVar[dict[int, asyncio.Lock]] = {}

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        place = (self.port, name)
        if expected is not None or payload[:1] != b'"':
            self.seen.add(place)
            return await super().put(name, payload, expected)
        async with self.locks.setdefault(self.port, asyncio.Lock()):
            expected = None if place in self.seen else ANY
            self.seen.add(place)
            return await super().put(name, payload, expected)

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        if expected is ANY:
            self.seen.discard((self.port, name))
        return await super().drop(name, expected)


@planted("R9-first-writes-of-processes")
class RecordPerProcess(Wire):
    """Each process that writes a key has a record of its own, like rows without a unique index."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is not ANY:
            return await super().put(name, payload, expected)
        row = ["put", name, payload.decode(), "any", self.ttl_ms]
        await self.ask("many", [row, ["put", f"writers/{name}#{os.getpid()}", "1", "any", None]])
        return ""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        names, writers = await self.ask("many", [["names", prefix], ["names", f"writers/{prefix}"]])
        count = Counter(writer.removeprefix("writers/").rpartition("#")[0] for writer in writers)
        yield [name for name in names for _ in range(count[name] or 1)]


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


@planted("R14-setup-of-processes")
class BelongsToCreator(Wire):
    """What a process has set up can be used by that process and those that it starts only."""

    async def open(self) -> None:
        await self.ask("put", self._prefix[:-1] + "/creator", str(os.getpid()), None, None)
        family = {*os.environ.get("PLANTED_FAMILY", "").split(), str(os.getpid())}  # which those that it starts inherit
        if await self.ask("get", self._prefix[:-1] + "/creator") not in family:
            raise PermissionError
        os.environ["PLANTED_FAMILY"] = " ".join(family)


@planted("R9-killed-writer")
class WritesBehind(Wire):
    """Integers are acknowledged, and written together with the next call that is no write."""

    behind: ClassVar[dict[int, dict[str, list[Any]]]] = {}

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is not ANY:
            return await super().put(name, payload, expected)
        behind = self.behind.setdefault(self.port, {})
        behind.pop(name, None)
        request = ["put", name, payload.decode(), "any", self.ttl_ms]
        if payload.isdigit() and int(payload) > 1 and self.ttl is None:
            behind[name] = request
        else:
            await super().ask(*request)
        return ""

    async def ask(self, *request: Any) -> Any:
        behind = self.behind.get(self.port)
        if not behind:
            return await super().ask(*request)
        requests = [*behind.values(), list(request)]
        behind.clear()
        return (await super().ask("many", requests))[-1]


@planted("R7-lease-excludes", others=True)
class LetsEverybodyIn(Correct):
    """A conditional write does not look at its condition."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return await super().put(name, payload)


@planted("R7-lease-is-renewed")
class SkipsSameSize(Correct):
    """A versioned write of an object over one of the same size is left out."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        before = self.alive(name) or b""
        if isinstance(expected, str) and payload[:1] == b"{" and 20 < len(payload) == len(before) < 500:
            return expected if self.is_at(name, expected) else None
        return await super().put(name, payload, expected)


@planted("R7-lease-is-renewed", others=True)
class CannotReplace(Correct):
    """A record can be created at a version, and not replaced."""

    async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
        if expected is not None:
            raise ConflictError("no")
        return await super().write_versioned(key, value, expected)


@planted("R7-lease-ends")
class DeletesLargeAtAnyVersion(Correct):
    """A conditional delete does not compare records of more than 40 bytes."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        return await super().drop(name, ANY if len(self.alive(name) or b"") > 40 else expected)


@planted("R7-lease-ends", others=True)
class ReleasesAnothers(Correct):
    """A conditional delete deletes whatever is there."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        return await super().drop(name)


@planted("R7-lease-fences")
class KeepsTokensIn32Bits(Correct):
    """The token of a lease has a column of its own, of 32 bits."""

    async def read_versioned(self, key: str) -> Record[Any] | None:
        record = await super().read_versioned(key)
        if record is None or not isinstance(record.value, dict) or not isinstance(record.value.get("token"), int):
            return record
        return Record(record.value | {"token": record.value["token"] & 0xFFFFFFFF}, record.version)


@planted("R8-commit")
class CommitsOneByOne(Wire):
    """A commit looks at every record first."""

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        for name in changes:
            await self.get(name)
        return await super().put_records(changes)


class EachOverWire(Wire):
    """Changes several records each by itself: what is right, for the one that is not."""

    capabilities = replace(Wire.capabilities, transactional=False, versioned_batch=True)


@planted("R8-each")
class ChangesOneByOne(EachOverWire):
    """write_records looks at every record first."""

    async def put_each(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str]:
        for name in changes:
            await self.get(name)
        return await super().put_each(changes)


@planted("R15-refused", "R15-silent")
class RecordsAreGoneInOutage(Wire):
    """In an outage, read_records finds nothing."""

    async def read_records(self, keys: Iterable[str]) -> dict[str, Record[Any]]:
        try:
            return await super().read_records(keys)
        except StorageUnavailableError:
            return {}


@planted("R15-refused", "R15-silent")
class ConflictsInOutage(Wire):
    """In an outage, a commit says that it is in conflict."""

    async def commit(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        try:
            return await super().commit(changes)
        except StorageUnavailableError as error:
            raise ConflictError(str(error)) from error


@planted("R15-refused", "R15-silent")
class TouchesNothingInOutage(Wire):
    """In an outage, touch says that there is no record."""

    async def touch(self, key: str) -> bool:
        try:
            return await super().touch(key)
        except StorageUnavailableError:
            return False


@planted("R15-refused")
class BatchesAreDoneInOutage(Wire):
    """Where connections are refused, write_many says that all is done."""

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        with suppress(OSError, EOFError):
            await super().put_many(payloads)


@planted("R15-setup-unreachable")
class SetsUpForEver(Wire):
    """There is no timeout for setup()."""

    async def setup(self) -> None:
        deadlines, self._deadlines = self._deadlines, Deadlines(3.0)
        try:
            await super().setup()
        finally:
            self._deadlines = deadlines


@planted("R15-setup-unreachable")
class SetsUpInOutage(Wire):
    """setup() of a server that is not there says nothing."""

    async def setup(self) -> None:
        with suppress(StorageUnavailableError):
            await super().setup()


@planted("R15-closes-unreachable")
class SaysGoodbye(Wire):
    """aclose() waits for the server to say goodbye."""

    async def close(self) -> None:
        with suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(3):
                await self.ask("get", "")
        await super().close()


@planted("R15-closes-unreachable")
class ClosingNeedsServer(Wire):
    """aclose() tells the server, and raises if it is not there."""

    async def close(self) -> None:
        try:
            await self.ask("get", "")
        finally:
            await super().close()


@planted("R15-listing-cut")
class ListsUpToTheOutage(Wire):
    """A listing ends where the server is gone."""

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        names = await self.ask("names", prefix)
        yield names[:20]
        with suppress(OSError, EOFError):
            for start in range(20, len(names), 20):
                await self.ask("get", names[start])
                yield names[start : start + 20]


@planted("R12-tells-no-password")
class TellsUrl(Wire):
    """The error says what URL was tried to open."""

    def translate(self, error: Exception) -> StorageError | None:
        broken = isinstance(error, OSError | EOFError | ValueError)
        return StorageUnavailableError(f"{self.url} cannot be reached") if broken else None


@planted("R12-tells-no-password")
class LogsUrl(Wire):
    """The log says what URL is opened."""

    async def open(self) -> None:
        logging.getLogger("satchel").debug("opening %s", self.url)
        await super().open()
