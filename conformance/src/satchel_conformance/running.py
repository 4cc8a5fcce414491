"""Running clauses: one, one after the other, or in several processes at once."""

import asyncio
import inspect
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import replace
from importlib.metadata import entry_points
from multiprocessing import active_children, forkserver, get_context, parent_process
from multiprocessing.context import BaseContext
from multiprocessing.queues import SimpleQueue
from operator import itemgetter
from pathlib import Path
from typing import Final

from satchel.urls import GROUP
from satchel_conformance import forking
from satchel_conformance.bench import SETTING, Factory, Setting, open_bench
from satchel_conformance.checks import ClauseFailure, NotApplicable
from satchel_conformance.declared import Declared
from satchel_conformance.registry import Clause, modules, select
from satchel_conformance.results import Result, Status

LONGEST: Final = 180.0
"""The seconds after which a clause that is still running has failed; of them, the profile's part."""

_ATTEMPTS: Final = 20  # at a clause in `races`, as a race may be lost more often than won

_WAITING: Final = {"network", "expiring"}  # what clauses need that mostly wait
_LONG: Final = {"model", "processes", "properties"}  # the themes of those that take longest

_told: Final[list[SimpleQueue[str]]] = []
"""In a process that tries clauses: the one queue for their ids."""


async def run_clause(clause: Clause, factory: Factory, declared: Declared, setting: Setting = SETTING) -> Result:
    """Try one clause; one that is a race, so often that it is sure. Whatever goes wrong is in the result."""
    race, attempt = setting.races.get(clause.id, ""), 1
    result = await _attempt(clause, factory, declared, setting)
    while race and result.status is Status.FAILED and attempt < _ATTEMPTS:
        attempt += 1
        result = await _attempt(clause, factory, declared, setting)
    return result if attempt == 1 else replace(result, reason=f"attempt {attempt}: {race}")


async def _attempt(clause: Clause, factory: Factory, declared: Declared, setting: Setting) -> Result:
    exception = setting.exceptions.get(clause.id, "")
    if missing := declared.missing(clause.needs):
        return Result(clause.id, clause.statement, clause.rule, Status.NOT_APPLICABLE, reason=missing)
    status, expected, happened, where, trace, reason = Status.FAILED, "", "", "", "", exception
    start = time.perf_counter()
    longest = LONGEST * setting.profile.part
    limit = asyncio.timeout(longest)
    try:
        async with limit, open_bench(factory, declared, setting, opened=clause.opened) as bench:
            await clause.check(bench)
        status, reason = Status.PASSED, ""
        if exception:
            status, expected = Status.FAILED, f"it fails, as excepted: {exception}"
            happened = f"{clause.id} passes: take it out of `exceptions`"
            exception = ""
    except NotApplicable as error:
        status, reason = Status.NOT_APPLICABLE, str(error)
    except ClauseFailure as error:
        expected, happened, where = error.expected, error.happened, _where(clause, error)
    except Exception as error:
        said = f"it had not ended after {longest:g} s" if limit.expired() else f"{type(error).__name__}: {error}"
        expected, happened, where = clause.statement, said, _where(clause, error)
        trace = "".join(traceback.format_exception(error, limit=-8))
    if status is Status.FAILED and exception:
        status = Status.EXCEPTED
    seconds = round(time.perf_counter() - start, 4)
    where = where or f"{clause.theme}.py"
    return Result(clause.id, clause.statement, clause.rule, status, expected, happened, where, trace, reason, seconds)


async def in_turn(
    chosen: Iterable[Clause], factory: Factory, declared: Declared, setting: Setting
) -> AsyncIterator[Result]:
    """Run one clause after the other."""
    for clause in chosen:
        yield await run_clause(clause, factory, declared, setting)


async def at_once(
    chosen: Iterable[Clause],
    factory: Factory,
    declared: Declared,
    setting: Setting,
    jobs: int,
    context: BaseContext,
) -> AsyncIterator[Result]:
    """Run clauses in so many processes, each in an event loop of its own; results come as they are there.

    Args:
        chosen: the clauses.
        factory: makes the storages.
        declared: of the storage.
        setting: of the run.
        jobs: the number of processes.
        context: what `prepare` returned for this factory and this setting.

    Raises:
        BrokenProcessPool: one of the processes has ended. The message names the clauses that were tried then.
    """
    loop, others = asyncio.get_running_loop(), {*active_children()}
    begun = context.SimpleQueue()
    with ProcessPoolExecutor(jobs, context, _begin, (dict(os.environ), begun)) as processes, closing(begun):
        started = {
            one.id: loop.run_in_executor(processes, _run, one.id, factory, declared, setting) for one in _spread(chosen)
        }
        tried, ended = set[str](), set[str]()
        try:
            for coming in asyncio.as_completed(started.values()):
                result = await coming
                tried |= {*_all_of(begun)}  # each time, as a pipe does not hold many
                ended.add(result.clause)
                yield result
        except BaseException as error:
            for one in started.values():
                one.cancel()  # so that nobody misses their results
            for process in {*active_children()} - others:
                process.terminate()  # a clause may take long
            if isinstance(error, BrokenProcessPool):
                under_way = ", ".join(sorted((tried | {*_all_of(begun)}) - ended))
                when = f"while these clauses were tried: {under_way}" if under_way else "before it tried a clause"
                raise BrokenProcessPool(f"a process has ended {when}") from error
            raise
        finally:
            processes.shutdown(wait=False, cancel_futures=True)


def _all_of(queue: SimpleQueue[str]) -> Iterator[str]:
    while not queue.empty():
        yield queue.get()


def check_portable(*things: object) -> None:
    """See that other processes can be handed these.

    Raises:
        ValueError: one of them is such as a lambda, which no other process can import.
    """
    try:
        pickle.dumps(things)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ValueError(f"several jobs need what other processes can import: {error}") from error


def _run(clause: str, factory: Factory, declared: Declared, setting: Setting) -> Result:
    _told[0].put(clause)
    return asyncio.run(run_clause(select([clause])[0], factory, declared, setting))


def prepare(factory: Factory, setting: Setting) -> BaseContext:
    """Return how to start processes that try clauses, once it is seen that they can.

    Raises:
        ValueError: what makes storages, or kills the server, cannot be handed to another process.
    """
    check_portable(factory, setting)
    return warm_up(setting.url)


def warm_up(url: str) -> BaseContext:
    """Return how to start processes that try clauses; on Linux, begin to import what takes them time.

    There they are forked from a process that has imported it, and done nothing else. Elsewhere to fork is not safe.
    """
    if sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    adapter = [entry.module for entry in entry_points(group=GROUP, name=url.partition(":")[0].lower())]
    context.set_forkserver_preload([__name__, *modules(), *adapter])
    forkserver.ensure_running()
    return context


def _spread(chosen: Iterable[Clause]) -> list[Clause]:
    """Return clauses in an order that keeps processors busy, and leaves nothing long for the end.

    Those that wait, for time-outs and for ends of lifetimes, come between others; first those for time-outs, which are
    longest where a driver does not see at once that nobody is there.
    """
    every = sorted(chosen, key=lambda one: one.theme not in _LONG)
    waiting = [one for one in every if one.theme not in _LONG and not _WAITING.isdisjoint(one.needs)]
    waiting.sort(key=lambda one: "network" not in one.needs)
    working = [one for one in every if one not in waiting]
    places = [(place / len(some), one) for some in (waiting, working) for place, one in enumerate(some)]
    return [one for _, one in sorted(places, key=itemgetter(0))]


def _begin(environment: dict[str, str], begun: SimpleQueue[str]) -> None:
    """Take over an environment, as a process may be forked from one that knows an older one.

    `begun` is told each clause before it is tried. An interrupt is to end the process without a word: what started it
    says it. When that has been killed, it ends as well.
    """
    _told.append(begun)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        forking.begin()
    threading.Thread(target=_end_with_parent, name="satchel-conformance-parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this process with the one that wants its results; it is not the one that it was forked from."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _where(clause: Clause, error: BaseException) -> str:
    """Return the last line of the clause itself that the error came through, not one of what it shares with others."""
    own = inspect.unwrap(clause.check).__code__
    inside = f"{own.co_qualname}.<locals>."
    lines = [
        line
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code is own
        or (frame.f_code.co_filename == own.co_filename and frame.f_code.co_qualname.startswith(inside))
    ]
    return f"{Path(own.co_filename).name}:{lines[-1]}" if lines else ""
