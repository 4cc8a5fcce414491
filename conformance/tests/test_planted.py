"""The suite can fail: each planted bug is caught by the clauses that are there for it.

That no other clause catches it is for `nox -s matrix` to try, which takes minutes; here is looked at what came of that.
"""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from conformance.matrix.page import PAGE, faults, page, recorded
from conformance.tests.planted import INSEPARABLE, Bug, load
from conformance.tests.planted.correct import Alone, Correct, Each, World
from conformance.tests.planted.wire import installed, running
from satchel_conformance import Clause, Result, Status, all_clauses, select, validate

BUGS = load()
CLAUSES = all_clauses()


@pytest.fixture(scope="module", autouse=True)
def _wire_is_installed() -> Iterator[None]:
    with installed():
        yield


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_is_caught_by_its_clauses(bug: Bug) -> None:
    results = [_tried(bug, clause) for clause in select(bug.caught_by)]

    assert {result.clause: result.status for result in results} == dict.fromkeys(bug.caught_by, Status.FAILED)
    assert all(result.expected and result.happened for result in results)


def _tried(bug: Bug, clause: Clause) -> Result:
    """Return what comes of a clause, if need be of the third try: a busy machine may miss the end of a lifetime."""
    result = bug.try_clause(clause)
    for _ in range(2):
        if result.status is not Status.FAILED:
            result = bug.try_clause(clause)
    return result


def test_every_clause_has_a_bug_that_it_alone_catches() -> None:
    alone = {bug.only for bug in BUGS}

    assert [clause.id for clause in CLAUSES if clause.id not in alone | set(INSEPARABLE)] == []
    assert not alone & set(INSEPARABLE)


def test_bugs_differ_in_name() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS)


def test_the_matrix_is_of_these_bugs_and_clauses() -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = recorded(text)

    assert faults(CLAUSES, BUGS, found) == [], "run: nox -s matrix"
    assert text == page(CLAUSES, BUGS, found), "run: nox -s matrix"


@pytest.mark.parametrize(("kind", "shared"), [(Correct, True), (Each, True), (Alone, False)])
def test_what_is_right_passes_every_clause(kind: type[Correct], shared: bool) -> None:
    world = World()

    report = asyncio.run(validate(partial(kind, world), kill=partial(kind.crash, world), shared=shared))

    assert report.ok, report.summary()


def test_what_is_right_over_a_network_passes_every_clause() -> None:
    with running() as url:
        report = asyncio.run(validate(f"{url}?bug=Wire"))

    assert report.ok, report.summary()
    assert not [result for result in report.results if "URL" in result.reason]


def test_what_changes_each_record_by_itself_passes_over_a_network() -> None:
    with running() as url:
        report = asyncio.run(validate(f"{url}?bug=EachOverWire", clauses=["R?-each*"]))

    assert report.ok, report.summary()
    assert report.counts[Status.PASSED] >= 12
