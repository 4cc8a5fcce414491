"""Trying bugs: several at once, each in a process, with every clause that applies."""

import io
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Final

from conformance.tests.planted import Bug, load, right
from conformance.tests.planted.wire import installed
from satchel_conformance import Result, Status, select

_EACH: Final = 4  # processes for each core: most of the time goes by in waiting for lifetimes to end
_TRIES: Final = 5

Try = tuple[str, Sequence[str]]
"""The name of a bug, or of a storage that is right, and the clauses to try on it; all, if there are none."""


def try_bugs(names: Sequence[str], *clauses: str) -> Iterator[tuple[str, frozenset[str], float]]:
    """Give each bug with the clauses (of these, or of all) that caught it, and the seconds that took."""
    for name, results, seconds in try_all([(name, clauses) for name in names], _EACH):
        yield name, _caught(results), seconds


def try_all(tries: Iterable[Try], each: int) -> Iterator[tuple[str, list[Result], float]]:
    """Try in so many processes for each core, and give for each name what came of the clauses, and the seconds."""
    # Those over a network take longest, so they come first, lest one is left alone at the end.
    ordered = sorted(tries, key=lambda one: not _bug(one[0]).over_network)
    workers = each * (os.cpu_count() or 1)
    with (
        installed(),
        ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_be_quiet) as processes,
    ):
        for done in as_completed([processes.submit(_try, name, *clauses) for name, clauses in ordered]):
            yield done.result()


def happens(name: str, clause: str, *, caught: bool) -> bool:
    """Tell whether, in at least one of some tries, a clause catches a bug, or does not."""
    return any((_caught(_try(name, clause)[1]) == {clause}) == caught for _ in range(_TRIES))


def _try(name: str, *clauses: str) -> tuple[str, list[Result], float]:
    start = time.monotonic()
    bug, results = _bug(name), []
    for clause in select(clauses):
        random.seed(clause.id)
        results.append(bug.try_clause(clause))
    return name, results, time.monotonic() - start


def _caught(results: Iterable[Result]) -> frozenset[str]:
    return frozenset(result.clause for result in results if result.status is Status.FAILED)


def _bug(name: str) -> Bug:
    return next(bug for bug in (*load(), *right()) if bug.name == name)


def _be_quiet() -> None:
    """Let the bugs of this process print what they like."""
    sys.stdout = sys.stderr = io.StringIO()
