"""R1, R9, R12 and R15: what a storage does when the network, or its server, does not do its part."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from satchel import Change, SatchelError, StorageClosedError, StorageUnavailableError
from satchel_conformance.bench import Bench, Everything
from satchel_conformance.checks import NotApplicable, expect, expect_error, expect_same, outcome, shown
from satchel_conformance.clauses.lifecycle import need_lifecycle
from satchel_conformance.clauses.listing import fill
from satchel_conformance.proxy import BlackHole, Cut, Delay, Drip, Fault, Proxy, Refuse, Truncate
from satchel_conformance.registry import clause

T = TypeVar("T")

_TIMEOUT: Final = timedelta(milliseconds=400)
_SLACK: Final = 0.6  # seconds for a busy machine to notice that the timeout is over
_ATTEMPTS: Final = 8  # a busy machine may take longer than that where nothing is wrong, but not every time
_OLD: Final = {"value": "old", "pad": "x" * 2000}
_NEW: Final = {"value": "new", "pad": "y" * 2000}


async def _behind(bench: Bench) -> tuple[Proxy, Everything]:
    """Return a storage behind a proxy, with a record under "key" and warm connections."""
    proxy, storage = await bench.behind_proxy(opened=False, timeout=_TIMEOUT)
    await _works(lambda: storage.write("key", _OLD))
    await _works(lambda: storage.read("key"))
    return proxy, storage


async def _works(call: Callable[[], Awaitable[T]]) -> T:
    """Return what a call gives while nothing is wrong; it may be made again if it took the whole timeout."""
    for _ in range(_ATTEMPTS - 1):
        start = time.monotonic()
        try:
            return await call()
        except StorageUnavailableError:
            if time.monotonic() - start < _TIMEOUT.total_seconds():
                raise
    return await call()


def _calls(bench: Bench, storage: Everything) -> dict[str, Callable[[], Awaitable[Any]]]:
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "read": lambda: storage.read("key"),
        "write": lambda: storage.write("other", _NEW),
        "delete": lambda: storage.delete("absent"),
    }
    if bench.capabilities.versioned:
        calls["read_versioned"] = lambda: storage.read_versioned("key")
        calls["write_versioned"] = lambda: storage.write_versioned("third", _NEW, None)
    if bench.capabilities.expiring:
        calls["touch"] = lambda: storage.touch("key")
    if bench.capabilities.batch:
        calls["read_many"] = lambda: storage.read_many(["key", "absent"])
        calls["write_many"] = lambda: storage.write_many({"other": _NEW, "fourth": _NEW})
        calls["delete_many"] = lambda: storage.delete_many(["absent", "nobody"])
    new = {"fifth": Change(_NEW, None), "sixth": Change(_NEW, None)}
    if bench.capabilities.transactional or bench.capabilities.versioned_batch:
        calls["read_records"] = lambda: storage.read_records(["key", "absent"])
    if bench.capabilities.transactional:
        calls["commit"] = lambda: storage.commit(new)
    if bench.capabilities.versioned_batch:
        calls["write_records"] = lambda: storage.write_records(new)
    if bench.capabilities.listing:
        calls["keys"] = lambda: anext(aiter(storage.keys()))
    return calls


async def _is_unavailable(name: str, call: Callable[[], Awaitable[Any]], how: str) -> None:
    """See that a call raises StorageUnavailableError, and in time."""
    start = time.monotonic()
    result = await outcome(call(), Exception)
    seconds = time.monotonic() - start
    expect(
        isinstance(result, StorageUnavailableError),
        f"{name} raises StorageUnavailableError when {how}",
        f"{type(result).__name__}: {result}" if isinstance(result, Exception) else f"it gives {shown(result)}",
    )
    expect(seconds < _TIMEOUT.total_seconds() + _SLACK, f"{name} ends within the timeout", f"{seconds:.2f} s")


async def _is_well(storage: Everything) -> None:
    """See that the same storage works, now that all is well again."""
    await outcome(storage.read("key"), StorageUnavailableError)  # which may find the connection that broke
    expect_same(await _works(lambda: storage.read("key")), _OLD, "read, once all is well again,")


async def _outage(bench: Bench, fault: Fault, how: str) -> None:
    proxy, storage = await _behind(bench)
    for name, call in _calls(bench, storage).items():
        proxy.arm(fault)
        await _is_unavailable(name, call, how)
        proxy.heal()
    await _is_well(storage)


@clause("R15-refused", "network")
async def refused(bench: Bench) -> None:
    """While the server refuses connections, every call raises StorageUnavailableError in time; afterwards all works."""
    await _outage(bench, Refuse(), "connections are refused")


@clause("R12-outage-has-cause", "network")
async def outage_has_cause(bench: Bench) -> None:
    """What is raised in an outage has the driver's exception, or the time-out, as its cause."""
    proxy, storage = await _behind(bench)
    proxy.arm(Refuse())
    error: object = await outcome(storage.read("key"), StorageUnavailableError)
    if not isinstance(error, StorageUnavailableError):
        raise NotApplicable("a refused connection raises no StorageUnavailableError")
    cause = error.__cause__
    expect(
        isinstance(cause, Exception) and not isinstance(cause, SatchelError),
        "the __cause__ of the error is the driver's exception",
        "there is none" if cause is None else type(cause).__name__,
    )


@clause("R15-silent", "network")
async def silent(bench: Bench) -> None:
    """While the server accepts and then is silent, every call raises StorageUnavailableError in time."""
    proxy, storage = await _behind(bench)
    proxy.arm(BlackHole())
    # At once, as each waits for its whole timeout.
    calls = [_is_unavailable(name, call, "nothing answers") for name, call in _calls(bench, storage).items()]
    failures = await asyncio.gather(*calls, return_exceptions=True)
    proxy.heal()
    for failure in failures:
        if failure is not None:
            raise failure
    await _is_well(storage)


@clause("R15-too-late", "network")
async def too_late(bench: Bench) -> None:
    """While answers are held, calls raise StorageUnavailableError in time, and no later call gets such an answer."""
    proxy, storage = await _behind(bench)
    await _works(lambda: storage.write("second", "another value"))
    proxy.arm(Delay())
    await _is_unavailable("read", lambda: storage.read("key"), "the answer does not come")
    proxy.heal()
    for _ in range(3):
        value = await _works(lambda: storage.read("second"))
        expect_same(value, "another value", "read, after the late answer of another key,")
    await _is_well(storage)


@clause("R15-unopened", "network", opened=False)
async def unopened(bench: Bench) -> None:
    """A storage whose server is not there raises on first use, and works without being rebuilt once it is."""
    proxy, storage = await bench.behind_proxy(opened=False, timeout=_TIMEOUT)
    proxy.arm(Refuse())
    await _is_unavailable("the first call", lambda: storage.write("key", _OLD), "connections are refused")
    proxy.heal()
    await _works(lambda: storage.write("key", _OLD))
    await _is_well(storage)


@clause("R15-setup-unreachable", "network", opened=False)
async def setup_unreachable(bench: Bench) -> None:
    """setup() raises StorageUnavailableError in time where the server is silent or not there, and can be repeated."""
    for fault, how in ((BlackHole(), "nothing answers"), (Refuse(), "connections are refused")):
        proxy, storage = await bench.behind_proxy(opened=False, timeout=_TIMEOUT)
        need_lifecycle(storage)
        proxy.arm(fault)
        await _is_unavailable("setup()", storage.setup, how)
        proxy.heal()
        await outcome(storage.setup(), StorageUnavailableError)  # which may find a connection that fell silent
        await _works(storage.setup)
        await _works(partial(storage.write, "key", _OLD))
        await _is_well(storage)


@clause("R15-closes-unreachable", "network")
async def closes_unreachable(bench: Bench) -> None:
    """aclose() raises nothing and ends in time where the server is silent or gone, and the storage is closed then."""
    for fault, how in ((BlackHole(), "nothing answers"), (Refuse(), "connections are refused")):
        proxy, storage = await _behind(bench)
        need_lifecycle(storage)
        proxy.arm(fault)
        start = time.monotonic()
        error: object = await outcome(storage.aclose(), Exception)
        seconds = time.monotonic() - start
        proxy.heal()
        said = f"{type(error).__name__}: {error}"
        expect(error is None, f"aclose() raises nothing when {how}", said)
        expect(seconds < _TIMEOUT.total_seconds() + _SLACK, "aclose() ends within the timeout", f"{seconds:.2f} s")
        with expect_error(StorageClosedError, f"read after aclose() when {how}"):
            await storage.read("key")


@clause("R15-listing-cut", "network", "listing")
async def listing_cut(bench: Bench) -> None:
    """A listing that loses its server on the way raises StorageUnavailableError, or gives all: it never ends early."""
    wanted = {f"key:{number}" for number in range(bench.many if bench.capabilities.batch else bench.many // 3)}
    await fill(bench, wanted)
    proxy, storage = await _behind(bench)
    wanted.add("key")
    for before in (1, len(wanted) // 2):
        listed: list[str] = []

        async def list_all(listed: list[str] = listed, before: int = before) -> None:
            async for key in storage.keys():
                listed.append(key)
                if len(listed) == before:
                    proxy.arm(Refuse())

        error: object = await outcome(list_all(), Exception)
        proxy.heal()
        what = f"keys(), whose server was lost after {before} of {len(wanted)} keys,"
        if error is None:
            expect(set(listed) == wanted, f"{what} raises, or gives all", f"it ended after {len(set(listed))} keys")
        else:
            expect(
                isinstance(error, StorageUnavailableError),
                f"{what} raises StorageUnavailableError, or gives all",
                f"{type(error).__name__}: {error}",
            )
        await _is_well(storage)


@clause("R15-restarted", "network")
async def restarted(bench: Bench) -> None:
    """After the server was restarted between two calls, the first may raise; the next ones do not, and are right."""
    proxy, storage = await _behind(bench)
    await asyncio.gather(*(storage.read("key") for _ in range(8)))  # so that several connections are warm
    for _ in range(3):
        proxy.restart()
        reads = [await outcome(storage.read("key"), StorageUnavailableError) for _ in range(10)]
        expect_same(reads[-1], _OLD, "the tenth read after the server was restarted")
        wrong = [read for read in reads if not isinstance(read, StorageUnavailableError) and read != _OLD]
        expect(not wrong, "a read after a restart raises or gives the value", shown(wrong))


@clause("R15-slow", "network")
async def slow(bench: Bench) -> None:
    """An answer that comes byte by byte is given whole, or raises in time."""
    proxy, storage = await _behind(bench)
    for drip in (Drip(size=500, pause=0.002), Drip(size=1, pause=0.01)):
        proxy.arm(drip)
        start = time.monotonic()
        result = await outcome(storage.read("key"), StorageUnavailableError)
        seconds = time.monotonic() - start
        proxy.heal()
        if not isinstance(result, StorageUnavailableError):
            expect_same(result, _OLD, "read of an answer that comes slowly")
        expect(seconds < _TIMEOUT.total_seconds() + _SLACK, "the read ends within the timeout", f"{seconds:.2f} s")
    await _is_well(storage)


@clause("R1-cut-answer", "network")
async def cut_answer(bench: Bench) -> None:
    """A read whose answer is lost, whole or in part, raises or gives the value: never nothing, never a part of it."""
    proxy, storage = await _behind(bench)
    cuts: list[Fault] = [Cut("request"), Cut("answer")]
    cuts += [Truncate(size) for size in (1, 5, 100, 1500)] + [Truncate(size, "hang") for size in (1, 100)]
    for fault in cuts:
        proxy.arm(fault, times=1)
        for read in (storage.read, storage.read_versioned) if bench.capabilities.versioned else (storage.read,):
            result: Any = await outcome(read("key"), StorageUnavailableError)
            if not isinstance(result, StorageUnavailableError):
                value = getattr(result, "value", result)
                expect_same(value, _OLD, f"read, with {fault},")
        proxy.heal()
    await _is_well(storage)


@clause("R9-cut-write", "network")
async def cut_write(bench: Bench) -> None:
    """A write whose request or answer is lost raises StorageUnavailableError or is done; the record is old or new."""
    proxy, storage = await _behind(bench)
    faults: list[Fault] = [Cut("request"), Cut("answer"), Truncate(1)]
    for fault in faults:
        await _works(lambda: storage.write("key", _OLD))
        proxy.arm(fault, times=1)
        result = await outcome(storage.write("key", _NEW), StorageUnavailableError)
        proxy.heal()
        await outcome(storage.read("key"), StorageUnavailableError)
        value = await _works(lambda: storage.read("key"))
        if isinstance(result, StorageUnavailableError):
            expect(value in (_OLD, _NEW), f"the old value or the new one is there after {fault}", shown(value))
        else:
            expect_same(value, _NEW, f"read, after a write that was acknowledged in spite of {fault},")


@clause("R9-cut-versioned-write", "network", "versioned")
async def cut_versioned_write(bench: Bench) -> None:
    """A versioned write whose answer is lost raises StorageUnavailableError, not ConflictError, or is done."""
    proxy, storage = await _behind(bench)
    faults: list[Fault] = [Cut("request"), Cut("answer"), Truncate(1)]
    for number, fault in enumerate(faults):
        key = f"versioned:{number}"
        version = await storage.write_versioned(key, "old", None)
        proxy.arm(fault, times=1)
        result = await outcome(storage.write_versioned(key, "new", version), Exception)
        proxy.heal()
        expect(
            isinstance(result, str | StorageUnavailableError),
            f"write_versioned gives a version or raises StorageUnavailableError with {fault}",
            f"{type(result).__name__}: {result}",
        )
        await outcome(storage.read(key), StorageUnavailableError)
        record = await _works(partial(storage.read_versioned, key))
        expect(record is not None and record.value in ("old", "new"), "the record is old or new", shown(record))
        if isinstance(result, str):
            expect_same(
                record and (record.value, record.version), ("new", result), "read_versioned, once acknowledged,"
            )
