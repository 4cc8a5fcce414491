"""The suite can fail: each planted bug is caught by the clauses that are there for it.

That no other clause catches it is for `nox -s matrix` to try, which takes minutes; here is looked at what came of that.
"""

import random
import re
from collections import defaultdict
from collections.abc import Mapping

import pytest

from conformance.matrix.page import PAGE, faults, page, recorded
from conformance.matrix.tries import Try, try_all
from conformance.tests.planted import INSEPARABLE, Bug, load, right
from conformance.tests.planted.wire import installed
from satchel_conformance import Result, Status, all_clauses, select

BUGS, RIGHT = load(), right()
CLAUSES = all_clauses()
RULES = sorted({clause.id.partition("-")[0] for clause in CLAUSES})

Results = Mapping[str, list[Result]]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> Results:
    """What came of the clauses, for each storage that is to be tested: most of the time goes by in waiting."""
    chosen = {spec.id for item in request.session.items if (spec := getattr(item, "callspec", None))}
    tries: list[Try] = [(storage.name, [rule]) for storage in RIGHT for rule in RULES if storage.name in chosen]
    tries += [(bug.name, bug.caught_by) for bug in BUGS if bug.name in chosen]
    found: dict[str, list[Result]] = defaultdict(list)
    for name, some, _ in try_all(tries, each=2):
        found[name] += some
    return found


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_is_caught_by_its_clauses(bug: Bug, results: Results) -> None:
    settled = [_settled(bug, result) for result in results[bug.name]]

    assert {result.clause: result.status for result in settled} == dict.fromkeys(bug.caught_by, Status.FAILED)
    assert all(result.expected and result.happened for result in settled)


def _settled(bug: Bug, result: Result) -> Result:
    """Return what comes of a clause, if need be of the third try: a busy machine may miss the end of a lifetime."""
    (clause,) = select([result.clause])
    for _ in range(2):
        if result.status is not Status.FAILED:
            random.seed(clause.id)
            with installed():
                result = bug.try_clause(clause)
    return result


@pytest.mark.parametrize("storage", RIGHT, ids=lambda storage: storage.name)
def test_what_is_right_passes_every_clause(storage: Bug, results: Results) -> None:
    found = {result.clause: result for result in results[storage.name]}

    assert set(found) == {clause.id for clause in CLAUSES}
    assert [result.explain() for result in found.values() if result.status is Status.FAILED] == []
    if storage.over_network:
        assert not [result for result in found.values() if "URL" in result.reason]
        own = [result for result in found.values() if re.match("R[0-9]+-each", result.clause)]
        passed = storage.declared.versioned_batch
        assert {result.status for result in own} == {Status.PASSED if passed else Status.NOT_APPLICABLE}
        assert len(own) >= 12


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
