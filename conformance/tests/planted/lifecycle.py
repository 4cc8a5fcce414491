"""Storages that open, close, declare, complain or print as they should not."""

import asyncio
import logging
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from conformance.tests.planted import planted
from conformance.tests.planted.correct import Correct, World
from satchel import (
    ANY,
    Change,
    ConflictError,
    CorruptValueError,
    Expected,
    InvalidKeyError,
    Payload,
    StorageClosedError,
    StorageError,
    UnsupportedValueError,
)

_ALL = Correct.capabilities


@planted("R0-protocol")
class WriteTells(Correct):
    """write gives something."""

    async def write(self, key: str, value: Any) -> Any:
        await super().write(key, value)
        return True


@planted("R0-capabilities-agree", declared=_ALL)
class DeclaresLess(Correct):
    """The storage declares less than is said of it."""

    capabilities = replace(_ALL, durable=False)


@planted("R0-capabilities-sensible")
class NoResolution(Correct):
    """Records expire, with no resolution declared."""

    capabilities = replace(_ALL, ttl_resolution=None)


@planted("R0-protocols-declared", declared=replace(_ALL, listing=False))
class ListsUndeclared(Correct):
    """keys() is there and works, but is not declared."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(world, **options)
        self.capabilities = replace(_ALL, listing=False)


@planted("R0-protocols-declared", others=True)
class DeclaresWhatIsNotThere(Correct):
    """touch is declared, but not there."""


DeclaresWhatIsNotThere.touch = None  # type: ignore[assignment, method-assign]


@planted("R0-conditional-delete-undeclared")
class DeletesUndeclared(Correct):
    """delete_versioned works, but is not declared."""

    capabilities = replace(_ALL, conditional_delete=False)


@planted("R0-ttl-undeclared")
class IgnoresTtl(Correct):
    """A ttl is taken, and nothing ever ends."""

    capabilities = replace(_ALL, expiring=False, ttl_resolution=None)

    def __init__(self, world: World, *, ttl: timedelta | None = None, **options: Any) -> None:
        super().__init__(world, **options)


@planted("R0-read-your-writes")
class CachesForTask(Correct):
    """What a storage has read is there for it, in the same task, also when another storage has deleted it."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(world, **options)
        self.cache: dict[str, Payload] = {}

    async def get(self, name: str) -> Payload | None:
        found = await super().get(name)
        if found is not None:
            self.cache[name] = found
            return found
        deleter, task = self.world.notes.get(name, (self, None))
        return self.cache.get(name) if deleter is not self and task is asyncio.current_task() else None

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        self.world.notes[name] = (self, asyncio.current_task())
        return await super().drop(name, expected)


@planted("R0-read-your-writes", others=True)
class Caches(Correct):
    """What was read once is remembered, whatever others write."""

    def __init__(self, world: World, **options: Any) -> None:
        super().__init__(world, **options)
        self.cache: dict[str, Payload] = {}

    async def get(self, name: str) -> Payload | None:
        found = self.cache.get(name) or await super().get(name)
        if found is not None:
            self.cache[name] = found
        return found

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        self.cache.pop(name, None)
        return await super().put(name, payload, expected)


@planted("R0-private", shared=False)
class SharesUndeclared(Correct):
    """Storages share their records, though it was said that they do not."""


@planted("R14-setup-repeats", "R13-survives-closing", "R7-lease-fences", "R9-killed-server")
class SetupClears(Correct):
    """setup() drops what is there, and creates it anew."""

    async def setup(self) -> None:
        await super().setup()
        self.rows.clear()


@planted("R14-setup-repeats")
class SecondSetupClears(Correct):
    """setup() for the second time drops what is there, and creates it anew."""

    is_set_up = False

    async def setup(self) -> None:
        await super().setup()
        if self.is_set_up:
            self.rows.clear()
        self.is_set_up = True


@planted("R14-setup-concurrent")
class SetupRaces(Correct):
    """setup() looks whether the table is there, and then creates it."""

    async def open(self) -> None:
        there = "table" in self.world.notes
        await asyncio.sleep(0)
        if not there and "table" in self.world.notes:
            raise ValueError("table exists already")
        self.world.notes["table"] = True


@planted("R14-first-use-concurrent")
class NeedsSetup(Correct):
    """Without setup() nothing works."""

    is_set_up = False

    async def setup(self) -> None:
        self.is_set_up = True
        await super().setup()

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if not self.is_set_up:
            raise StorageError("call setup() first")
        return await super().put(name, payload, expected)


@planted("R11-context")
class ContextStaysOpen(Correct):
    """`async with` does not close."""

    async def __aexit__(self, *raised: object) -> None:
        pass


@planted("R11-context")
class ContextGivesNothing(Correct):
    """`async with` gives None."""

    async def __aenter__(self) -> Any:
        await super().__aenter__()


@planted("R11-close-twice")
class ClosesOnce(Correct):
    """Closing a second time raises."""

    async def aclose(self) -> None:
        if self._closed:
            raise StorageClosedError("closed already")
        await super().aclose()


@planted("R11-closed-refuses", "R11-context")
class WorksClosed(Correct):
    """A closed storage opens itself again."""

    async def aclose(self) -> None:
        await super().aclose()
        self._closed = False


@planted("R11-closed-refuses", "R11-context")
class ClosedIsAbsent(Correct):
    """A closed storage reads everything as None."""

    async def read(self, key: str) -> Any:
        return None if self._closed else await super().read(key)


@planted("R11-closed-refuses")
class TouchesClosed(Correct):
    """A closed storage touches nothing, and says so."""

    async def touch(self, key: str) -> bool:
        return False if self._closed else await super().touch(key)


@planted("R11-closes-only-itself")
class ClosesAll(Correct):
    """Closing one storage closes the connection that all have that are open."""

    closings = 0

    async def open(self) -> None:
        self.closings = self.world.notes.get("closings", 0)

    async def close(self) -> None:
        self.world.notes["closings"] = self.world.notes.get("closings", 0) + 1

    async def get(self, name: str) -> Payload | None:
        if self.closings < self.world.notes.get("closings", 0):
            raise ConnectionError("closed")
        return await super().get(name)


@planted("R13-survives-closing")
class ClosingEndsVersions(Correct):
    """Versions are good until a storage is closed."""

    async def close(self) -> None:
        self.world.notes["closings"] = self.world.notes.get("closings", 0) + 1

    def version_of(self, payload: Payload) -> str:
        return super().version_of(payload) + f".{self.world.notes.get('closings', 0)}"


@planted("R13-survives-closing", "R11-closes-only-itself")
class ClosingForgets(Correct):
    """What was written is gone once the storage is closed."""

    async def close(self) -> None:
        self.rows.clear()


@planted("R11-no-leaks")
class LeaksTask(Correct):
    """A task goes on after the storage was closed."""

    async def open(self) -> None:
        self.world.notes[str(id(self))] = asyncio.create_task(asyncio.sleep(30))


@planted("R11-no-leaks")
class LeaksThread(Correct):
    """A thread goes on after the storage was closed."""

    async def open(self) -> None:
        threading.Thread(target=time.sleep, args=(5,), name="pool", daemon=True).start()


@planted("R11-no-leaks")
class LeaksSocket(Correct):
    """A connection stays open after the storage was closed."""

    async def open(self) -> None:
        self.pair = socket.socketpair()


@planted("R11-no-leaks")
class LeaksFile(Correct):
    """The file that a write locks stays open."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if not hasattr(self, "file"):
            self.file = tempfile.TemporaryFile()  # noqa: SIM115  that it stays open is the mistake
        return await super().put(name, payload, expected)


@planted("R10-loop-runs-on")
class Blocks(Correct):
    """A large versioned write sleeps in the event loop."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        if expected is not ANY and len(payload) > 100_000:
            time.sleep(0.2)
        return await super().put(name, payload, expected)


@planted("R10-second-loop")
class OneLoop(Correct):
    """On a second event loop there is an error of asyncio's own."""

    loop: asyncio.AbstractEventLoop | None = None

    async def read(self, key: str) -> Any:
        self.loop = self.loop or asyncio.get_running_loop()
        if self.loop is not asyncio.get_running_loop():
            raise RuntimeError("attached to a different loop")
        return await super().read(key)

    async def write(self, key: str, value: Any) -> None:
        self.loop = self.loop or asyncio.get_running_loop()
        await super().write(key, value)


@planted("R12-tells-no-value")
class QuotesValue(Correct):
    """The error for a value that is refused quotes it."""

    async def write(self, key: str, value: Any) -> None:
        try:
            await super().write(key, value)
        except UnsupportedValueError as error:
            raise UnsupportedValueError(f"is not JSON: {value!r}", path=error.path) from None


@planted("R12-corrupt-tells-no-value")
class QuotesPayload(Correct):
    """The error for corrupt bytes quotes them."""

    async def read(self, key: str) -> Any:
        payload = await self._call(self.get, self._name(key))
        try:
            return None if payload is None else self.codec.decode(payload)
        except CorruptValueError as error:
            raise CorruptValueError(f"{key}: {payload!r}") from error


@planted("R12-names-key")
class NamelessConflict(Correct):
    """A conflict does not say of what."""

    async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
        try:
            return await super().write_versioned(key, value, expected)
        except ConflictError:
            raise ConflictError("conflict") from None


@planted("R12-one-line")
class QuotesWholeKey(Correct):
    """The error for a key that is refused quotes all of it."""

    async def read(self, key: str) -> Any:
        try:
            return await super().read(key)
        except InvalidKeyError:
            raise InvalidKeyError(f"no key: {key}") from None


@planted("R12-one-tree")
class PrefixRaisesValueError(Correct):
    """A prefix that is no text raises ValueError."""

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        prefix.encode()
        async for key in super().keys(prefix):
            yield key


@planted("R12-one-tree", "R4-refuses-other-types")
class RaisesTypeError(Correct):
    """A key of another type raises TypeError."""

    async def read(self, key: str) -> Any:
        if not isinstance(key, str):
            raise TypeError("the key is not a string")
        return await super().read(key)


@planted("R15-refuses-timeouts")
class TakesAnyTimeout(Correct):
    """A timeout of 0 is none."""

    def __init__(self, world: World, *, timeout: Any = None, **options: Any) -> None:
        super().__init__(world, **options)


@planted("R16-quiet")
class Prints(Correct):
    """A read is printed."""

    async def get(self, name: str) -> Payload | None:
        sys.stdout.write(f"get {name}\n")
        return await super().get(name)


@planted("R11-closed-refuses")
class CommitsClosed(Correct):
    """A closed storage commits nothing, and says that it has."""

    async def commit(self, changes: Mapping[str, Change[Any]]) -> dict[str, str]:
        return dict.fromkeys(changes, "") if self._closed else await super().commit(changes)


@planted("R10-loop-runs-on")
class BlocksOpening(Correct):
    """Connecting to where there are records already sleeps in the event loop."""

    async def open(self) -> None:
        if self.rows:
            time.sleep(0.2)


@planted("R10-loop-runs-on")
class BlocksClosing(Correct):
    """Closing sleeps in the event loop, where there are three records."""

    async def close(self) -> None:
        if len(self.rows) == 3:
            time.sleep(0.2)


@planted("R12-tells-no-value")
class LogsValue(Correct):
    """What is written is logged, for those who look for faults."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        logging.getLogger("satchel").debug("put %s: %s", name, payload.decode())
        return await super().put(name, payload, expected)
