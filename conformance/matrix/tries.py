"""Trying bugs: several at once, each in a process, with every clause that applies."""

import io
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Final

from conformance.tests.planted import Bug, load
from conformance.tests.planted.wire import installed
from satchel_conformance import Status, select

_EACH: Final = 4  # processes for each core: most of the time goes by in waiting for lifetimes to end
_TRIES: Final = 5


def try_bugs(names: Sequence[str], *clauses: str) -> Iterator[tuple[str, frozenset[str], float]]:
    """Give each bug with the clauses (of these, or of all) that caught it, and the seconds that took."""
    # Those over a network take longest, so they come first, lest one is left alone at the end.
    ordered = sorted(names, key=lambda name: not _bug(name).over_network)
    workers = _EACH * (os.cpu_count() or 1)
    with (
        installed(),
        ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_be_quiet) as processes,
    ):
        for done in as_completed([processes.submit(_try, name, *clauses) for name in ordered]):
            yield done.result()


def happens(name: str, clause: str, *, caught: bool) -> bool:
    """Tell whether, in at least one of some tries, a clause catches a bug, or does not."""
    return any((_try(name, clause)[1] == {clause}) == caught for _ in range(_TRIES))


def _try(name: str, *clauses: str) -> tuple[str, frozenset[str], float]:
    start = time.monotonic()
    bug, found = _bug(name), set()
    for clause in select(clauses):
        random.seed(clause.id)
        if bug.try_clause(clause).status is Status.FAILED:
            found.add(clause.id)
    return name, frozenset(found), time.monotonic() - start


def _bug(name: str) -> Bug:
    return next(bug for bug in load() if bug.name == name)


def _be_quiet() -> None:
    """Let the bugs of this process print what they like."""
    sys.stdout = sys.stderr = io.StringIO()
