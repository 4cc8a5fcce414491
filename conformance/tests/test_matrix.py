"""The matrix, of what is made up here: trying all bugs with all clauses is for `nox -s matrix`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from conformance.matrix import matrix
from conformance.matrix.page import Caught, faults, page, recorded
from conformance.tests.planted import load
from satchel_conformance import all_clauses

BUGS = load()
CLAUSES = all_clauses()


def caught(**changes: tuple[str, ...]) -> Caught:
    """Return a matrix in which each bug is caught as declared, and where others do, by one more; but for changes."""
    whole: Mapping[str, tuple[str, ...]] = {
        bug.name: (*bug.caught_by, *(("R16-quiet",) if bug.others else ())) for bug in BUGS
    }
    return {name: frozenset(by) for name, by in {**whole, **changes}.items()}


@pytest.mark.parametrize(
    ("bug", "by", "fault"),
    [
        ("NoTableYet", (), "nothing catches NoTableYet"),
        ("NoTableYet", (), "R1-absent-is-none alone catches nothing"),
        ("NoTableYet", ("R1-absent-is-none", "R1-model"), "R1-model catches NoTableYet, too"),
        ("DeclaresLess", ("R16-quiet",), "R0-capabilities-agree catches nothing"),
        ("ReadsDefault", ("R1-absent-is-none",), "no others catch ReadsDefault"),
        ("ReadsDefault", ("R1-model",), "R1-absent-is-none does not catch ReadsDefault"),
    ],
)
def test_what_is_wrong_with_a_matrix_is_named(bug: str, by: tuple[str, ...], fault: str) -> None:
    assert faults(CLAUSES, BUGS, caught()) == []
    assert fault in faults(CLAUSES, BUGS, caught(**{bug: by}))


def test_a_matrix_can_be_read_back_from_its_page() -> None:
    assert recorded(page(CLAUSES, BUGS, caught())) == caught()


def test_the_page_is_written_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tried(names: Sequence[str], *_clauses: str) -> Iterator[tuple[str, frozenset[str], float]]:
        yield from ((name, by, 0.1) for name, by in caught().items() if name in names)

    file = tmp_path / "matrix.md"
    monkeypatch.setattr(matrix, "PAGE", file)
    monkeypatch.setattr(matrix, "try_bugs", tried)

    assert matrix.main(["--check"]) == 1
    assert "docs/matrix.md is out of date" in capsys.readouterr().err
    assert matrix.main([]) == 0
    assert recorded(file.read_text(encoding="utf-8")) == caught()
    assert matrix.main(["--check"]) == 0
    file.write_text("something else", encoding="utf-8")
    assert matrix.main(["--check"]) == 1


def test_what_catches_a_bug_by_chance_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(names: Sequence[str], *_clauses: str) -> Iterator[tuple[str, frozenset[str], float]]:
        changed = caught(ReadsDefault=("R1-absent-is-none",), NoTableYet=("R1-absent-is-none", "R1-model"))
        yield from ((name, changed[name], 0.1) for name in names)

    def as_it_was(name: str, clause: str, *, caught: bool) -> bool:
        return {"R16-quiet": caught, "R1-model": not caught}[clause]

    file = tmp_path / "matrix.md"
    file.write_text(page(CLAUSES, BUGS, caught()), encoding="utf-8")
    monkeypatch.setattr(matrix, "PAGE", file)
    monkeypatch.setattr(matrix, "try_bugs", tried)
    monkeypatch.setattr(matrix, "happens", as_it_was)

    assert matrix.main(["--check"]) == 0


def test_only_what_a_page_does_not_know_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[tuple[str, ...], list[str]] = {}

    def tried(names: Sequence[str], *clauses: str) -> Iterator[tuple[str, frozenset[str], float]]:
        asked[clauses] = list(names)
        yield from ((name, caught()[name] & set(clauses or caught()[name]), 0.1) for name in names)

    text = page(CLAUSES, BUGS, caught())
    known = "\n".join(line for line in text.split("\n") if not line.startswith(("- `R16-quiet`", "- `R5-")))
    file = tmp_path / "matrix.md"
    file.write_text(known.replace("NoTableYet", ""), encoding="utf-8")
    monkeypatch.setattr(matrix, "PAGE", file)
    monkeypatch.setattr(matrix, "try_bugs", tried)

    assert matrix.main(["--new"]) == 0
    assert file.read_text(encoding="utf-8") == text
    fresh = {clause.id for clause in CLAUSES if clause.id.startswith("R5-")} | {"R16-quiet"}
    bugs = {bug.name for bug in BUGS} - set(recorded(known.replace("NoTableYet", "")))
    assert {frozenset(clauses): sorted(names) for clauses, names in asked.items()} == {
        frozenset(fresh): sorted({bug.name for bug in BUGS} - bugs),
        frozenset(): sorted(bugs),
    }
