"""The scoreboard's page, of results made up here: trying the peers is for `nox -s scoreboard`."""

import pytest

from conformance.peers.page import Peer, Score, excused, page
from satchel_conformance import Report, Result, Status


def written(*results: Result) -> str:
    return page([Score(Peer("Some Store", "satchel", object), Report("Store", results))])


def result(status: Status, clause: str = "R1-absent-is-none", **more: str) -> Result:
    return Result(clause, "Something holds.", "R1 Missing.", status, seconds=0.123, **more)


def test_each_kind_of_outcome_is_counted_in_its_column() -> None:
    statuses = [Status.PASSED] * 4 + [Status.FAILED] * 3 + [Status.EXCEPTED] * 2 + [Status.NOT_APPLICABLE]
    row = next(line for line in written(*map(result, statuses)).splitlines() if line.startswith("| [Some Store]"))
    assert row.endswith("| 4 | 3 | 2 | 1 |")


def test_a_failure_says_what_was_expected_and_what_happened() -> None:
    text = written(result(Status.FAILED, expected="read gives 1", happened="None"))
    assert "- `R1-absent-is-none`: expected read gives 1; happened: None" in text


def test_a_reason_stands_once_for_all_its_clauses() -> None:
    excepted = [result(Status.EXCEPTED, clause, reason="nobody said so") for clause in ("R2-nul", "R2-floats")]
    assert "- `R2-nul`, `R2-floats`: nobody said so" in written(*excepted)


def test_what_fails_and_was_not_promised_is_excused_and_what_holds_all_the_same_has_passed() -> None:
    results = (result(Status.FAILED, "R2-nul"), result(Status.PASSED, "R2-floats"), result(Status.FAILED, "R1-absent"))
    found = excused(Report("Store", results), {"R2-nul": "nobody said so", "R2-floats": "nobody said so"})
    assert [each.status for each in found.results] == [Status.EXCEPTED, Status.PASSED, Status.FAILED]
    assert found.results[0].reason == "nobody said so"


def test_what_does_not_apply_is_counted_by_why() -> None:
    assert "Not applicable: no listing (2)." in written(*[result(Status.NOT_APPLICABLE, reason="no listing")] * 2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("namespace t12ab34z:a", "namespace tffff00z:a"),
        ("gone after 1.0112 s", "gone after 1.0398 s"),
        ("<object at 0x7f00aa>", "<object at 0x7f11bb>"),
    ],
)
def test_what_differs_from_run_to_run_is_not_shown(one: str, other: str) -> None:
    failed = [written(result(Status.FAILED, expected="nothing", happened=text)) for text in (one, other)]
    assert failed[0] == failed[1]


def test_text_is_no_markup() -> None:
    text = written(result(Status.FAILED, expected="a*b|c", happened="`x`\n[y]"))
    assert r"expected a\*b\|c; happened: \`x\` \[y\]" in text
