"""What a clause works with: an open storage in a namespace of its own, and the means to make more."""

import asyncio
import math
import os
import secrets
import signal
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from inspect import Parameter, isawaitable, signature
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

from satchel import (
    Batch,
    Capabilities,
    Expiring,
    Lifecycle,
    Listing,
    StorageAdapter,
    Transactional,
    Versioned,
    VersionedBatch,
    open_storage,
)
from satchel_conformance import forking
from satchel_conformance.checks import NotApplicable
from satchel_conformance.declared import Declared
from satchel_conformance.forking import Forked
from satchel_conformance.prefixed import prefixed
from satchel_conformance.proxy import Proxy, address_in
from satchel_conformance.worker import PROGRAM

Factory = Callable[..., Any]
"""Makes a new storage over one and the same backend, or an awaitable of one; takes options such as namespace."""


@dataclass(frozen=True)
class Profile:
    """How much is tried of what could be tried for ever.

    Attributes:
        examples: on how many examples a property is tried.
        programs: on how many of those that take many requests each, such as sequences of calls.
        part: of all that is repeated, the part that is.
    """

    examples: int
    programs: int
    part: float

    def times(self, most: int) -> int:
        """Return how often to repeat what a thorough run repeats so many times."""
        return math.ceil(most * self.part)


QUICK: Final = Profile(examples=25, programs=8, part=1 / 3)
"""For a loop of work: seconds, where a request takes less than a millisecond."""

THOROUGH: Final = Profile(examples=500, programs=500, part=1)
"""For a release."""

_MANY: Final = 1200
_TO_CLOSE: Final = 20.0  # seconds

PREFIX: Final = 9
"""The bytes that stand before each key where a storage has no namespaces."""


class Everything(  # a clause uses what it needs
    StorageAdapter[Any],
    Versioned[Any],
    Expiring,
    Listing,
    Batch[Any],
    Transactional[Any],
    VersionedBatch[Any],
    Lifecycle,
    Protocol,
):
    """All that a storage can have."""


class Bench:
    """The working place of one clause.

    Attributes:
        storage: a storage in a random namespace, open unless the clause opens it itself.
        namespace: the start of the namespaces that belong to this bench.
        capabilities: what the storage declares.
        shared: whether the storages made here see the same records.
        profile: how much is tried.
        url: what other processes open, in the namespace of the bench; "" if there is nothing.
    """

    storage: Everything

    def __init__(self, factory: Factory, declared: Declared, setting: "Setting", stack: AsyncExitStack) -> None:
        self.capabilities: Capabilities = declared.capabilities
        self.shared = declared.shared
        self.profile = setting.profile
        self.url = setting.url
        self._kill = setting.kill
        self.namespace = "t" + secrets.token_hex(PREFIX // 2 - 1) + "z"
        self._factory = factory
        self._stack = stack
        self._swept: dict[str, bool] = {}

    async def another(self, namespace: str = "", **options: Any) -> Everything:
        """Open one more storage: in the bench's own namespace, or in one whose name goes on with `namespace`."""
        storage = await self.make(namespace, **options)
        if isinstance(storage, Lifecycle):
            await storage.setup()
        if self.capabilities.listing:
            self._stack.push_async_callback(self._sweep, storage, namespace)
        return storage

    async def _sweep(self, storage: Everything, namespace: str) -> None:
        """Leave nothing behind on a server that others use too; one storage does so for all of a namespace."""
        if self._swept.get(namespace):
            return
        with suppress(Exception):  # it may be closed, and what keys() and delete() do wrong is for their clauses to say
            with suppress(TimeoutError):  # it would not end the next time either
                async with asyncio.timeout(_TO_CLOSE):
                    keys = [key async for key in storage.keys()]
                    if isinstance(storage, Batch):  # a thousand deletes, one by one, take a server seconds
                        await storage.delete_many(keys)
                    else:
                        left = iter(keys)
                        await asyncio.gather(*(_delete(storage, left) for _ in range(16)))
            self._swept[namespace] = True

    async def sweep_rest(self) -> None:
        """Leave nothing behind where all storages were closed by their clause, or opened by it."""
        if self.capabilities.listing and self.shared:
            for namespace in [one for one, swept in self._swept.items() if not swept]:
                with suppress(Exception):
                    async with asyncio.timeout(_TO_CLOSE):
                        storage = await self.make(namespace)
                        if isinstance(storage, Lifecycle):
                            await storage.setup()
                    await self._sweep(storage, namespace)

    async def make(self, namespace: str = "", **options: Any) -> Everything:
        """Make one more storage as `another` does, but leave it to the clause to open it.

        Raises:
            NotApplicable: the factory does not take one of the options.
        """
        for option in options:
            self.need_option(option)
        self._swept.setdefault(namespace, False)
        if namespaced := self.takes("namespace"):
            options["namespace"] = self.namespace + namespace
        elif namespace:
            self.need_option("namespace")
        storage = await self.build(**options)
        return storage if namespaced else cast("Everything", prefixed(storage, self.namespace + ":"))

    async def build(self, **options: Any) -> Everything:
        """Call the factory with just these options; what it makes is closed with the bench."""
        made = self._factory(**options)
        storage = await made if isawaitable(made) else made
        if isinstance(storage, Lifecycle):
            self._stack.push_async_callback(close, storage)
        return cast("Everything", storage)

    async def behind_proxy(
        self, *, opened: bool = True, password: str = "", **options: Any
    ) -> tuple[Proxy, Everything]:
        """Return a proxy before the server, and one more storage in the bench's namespace that goes through it.

        With a password, that one takes the place of what the URL has.
        """
        proxy = self._stack.enter_context(Proxy(*address_in(self.url)))
        url = _with_password(proxy.url(self.url), password) if password else proxy.url(self.url)
        storage = open_storage(url, namespace=self.namespace, **options)
        self._stack.push_async_callback(close, storage)
        if opened:
            await storage.setup()
        return proxy, cast("Everything", storage)

    async def start(self, job: str, *arguments: object, processes: int) -> Process | Forked:
        """Start processes that open the storage by its URL, for a job of `satchel_conformance.worker`.

        What is returned ends with the last of them, and with 0 if all went well.
        """
        given = list(map(str, (processes, self.url, self.namespace, job, *arguments)))
        process: Process | Forked | None = await forking.start(given)
        if process is None:
            process = await create_subprocess_exec(*PROGRAM, *given, stdout=PIPE, stderr=PIPE, start_new_session=True)
        self._stack.push_async_callback(_end, process)
        return process

    async def kill_server(self) -> None:
        """End the server with SIGKILL; it comes back by itself."""
        assert self._kill is not None
        await asyncio.to_thread(self._kill)

    def takes(self, option: str) -> bool:
        """Tell whether the factory takes an option."""
        parameters = signature(self._factory).parameters
        return option in parameters or any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())

    def need_option(self, option: str) -> None:
        """Leave the clause out if the factory does not take `option`."""
        self.need(self.takes(option), f"the factory takes no {option}")

    def need(self, holds: bool, why_not: str) -> None:
        """Leave the clause out unless `holds`."""
        if not holds:
            raise NotApplicable(why_not)

    @property
    def many(self) -> int:
        """How many keys are more than a backend takes at once; in a quick run fewer, above all without batches."""
        if self.profile == QUICK:
            return _MANY // 2 if self.capabilities.batch else _MANY // 40
        return _MANY

    @property
    def longest_key(self) -> int:
        """The most UTF-8 bytes that a key may have."""
        limit = self.capabilities.max_key_bytes
        return limit if self.takes("namespace") else limit - len(self.namespace) - 1


@dataclass(frozen=True)
class Setting:
    """What holds for all clauses of a run.

    Attributes:
        profile: how much is tried.
        url: what other processes open; "" if there is nothing.
        kill: ends the server with SIGKILL, if there is such a thing.
        exceptions: the reasons of clauses that may fail.
        races: what was seen of clauses that the server breaks once in a while; they are tried again.
    """

    profile: Profile = QUICK
    url: str = ""
    kill: Callable[[], object] | None = None
    exceptions: Mapping[str, str] = field(default_factory=dict[str, str])
    races: Mapping[str, str] = field(default_factory=dict[str, str])


SETTING: Final = Setting()


@asynccontextmanager
async def open_bench(
    factory: Factory, declared: Declared, setting: Setting = SETTING, *, opened: bool = True
) -> AsyncIterator[Bench]:
    """Give a bench, and close what was made on it when the block ends. Unless `opened`, `storage` is not set up."""
    async with AsyncExitStack() as stack:
        bench = Bench(factory, declared, setting, stack)
        stack.push_async_callback(bench.sweep_rest)  # when all else has ended
        bench.storage = await (bench.another() if opened else bench.make())
        yield bench


async def _delete(storage: Everything, keys: Iterator[str]) -> None:
    for key in keys:
        await storage.delete(key)


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"someone:{password}@{parts.netloc.rpartition('@')[2]}").geturl()


async def _end(process: Process | Forked) -> None:
    with suppress(ProcessLookupError):  # of which there are none if all have ended
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.send_signal(signal.SIGTERM)
    await process.communicate()


async def close(storage: Lifecycle) -> None:
    """Close a storage, whatever comes of it, within a time."""
    with suppress(Exception):  # closing has clauses of its own
        async with asyncio.timeout(_TO_CLOSE):  # each, as the limit of a clause ends only what it waits for first
            await storage.aclose()
