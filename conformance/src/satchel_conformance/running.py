"""Running clauses: one, one after the other, or in several processes at once."""

import asyncio
import pickle
import signal
import time
import traceback
from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from satchel_conformance.bench import SETTING, Factory, Setting, open_bench
from satchel_conformance.checks import ClauseFailure, NotApplicable
from satchel_conformance.declared import Declared
from satchel_conformance.registry import Clause, select
from satchel_conformance.results import Result, Status

LONGEST: Final = 60.0
"""The seconds after which a clause that is still running has failed."""

_CLAUSES: Final = Path(__file__).parent / "clauses"


async def run_clause(
    clause: Clause, factory: Factory, declared: Declared, setting: Setting = SETTING, exception: str = ""
) -> Result:
    """Try one clause. Whatever goes wrong is in the result."""
    if missing := declared.missing(clause.needs):
        return Result(clause.id, clause.statement, clause.rule, Status.NOT_APPLICABLE, reason=missing)
    status, expected, happened, where, trace, reason = Status.FAILED, "", "", "", "", exception
    start = time.perf_counter()
    limit = asyncio.timeout(LONGEST)
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
        expected, happened, where = error.expected, error.happened, _where(error)
    except Exception as error:
        said = f"it had not ended after {LONGEST:g} s" if limit.expired() else f"{type(error).__name__}: {error}"
        expected, happened, where = clause.statement, said, _where(error)
        trace = "".join(traceback.format_exception(error, limit=-8))
    if status is Status.FAILED and exception:
        status = Status.EXCEPTED
    seconds = round(time.perf_counter() - start, 4)
    where = where or f"{clause.theme}.py"
    return Result(clause.id, clause.statement, clause.rule, status, expected, happened, where, trace, reason, seconds)


async def in_turn(
    chosen: Iterable[Clause], factory: Factory, declared: Declared, setting: Setting, excepted: Mapping[str, str]
) -> AsyncIterator[Result]:
    """Run one clause after the other."""
    for clause in chosen:
        yield await run_clause(clause, factory, declared, setting, excepted.get(clause.id, ""))


async def at_once(
    chosen: Iterable[Clause],
    factory: Factory,
    declared: Declared,
    setting: Setting,
    excepted: Mapping[str, str],
    jobs: int,
) -> AsyncIterator[Result]:
    """Run clauses in so many processes, each in an event loop of its own; results come as they are there.

    Raises:
        ValueError: what makes storages, or kills the server, cannot be handed to another process.
    """
    check_portable(factory, setting)
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_end_quietly) as processes:
        try:
            # Those that wait for time-outs take longest, so they come first, lest one is left alone at the end.
            started = [
                loop.run_in_executor(processes, _run, one.id, factory, declared, setting, excepted.get(one.id, ""))
                for one in sorted(chosen, key=lambda one: "network" not in one.needs)
            ]
            for result in asyncio.as_completed(started):
                yield await result
        finally:
            processes.shutdown(wait=False, cancel_futures=True)


def check_portable(*things: object) -> None:
    """See that other processes can be handed these.

    Raises:
        ValueError: one of them is such as a lambda, which no other process can import.
    """
    try:
        pickle.dumps(things)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ValueError(f"several jobs need what other processes can import: {error}") from error


def _run(clause: str, factory: Factory, declared: Declared, setting: Setting, exception: str) -> Result:
    return asyncio.run(run_clause(select([clause])[0], factory, declared, setting, exception))


def _end_quietly() -> None:
    """Let an interrupt end a process without a word: what started it says it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _where(error: BaseException) -> str:
    """Return the last line of a clause that the error came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == _CLAUSES]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
