"""The suite can fail: each planted bug is caught by the clauses that are there for it."""

import asyncio
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from conformance.tests.planted import BUGS, Bug, load
from conformance.tests.planted.correct import Correct, World
from conformance.tests.planted.wire import running
from satchel_conformance import Status, all_clauses, validate

load()


@pytest.fixture(scope="module", autouse=True)
def _wire_is_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Register the scheme wire:// as an installed distribution does, here and in the processes that clauses start."""
    folder = tmp_path_factory.mktemp("site")
    metadata = folder / "satchel_planted-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: satchel-planted\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text("[satchel.storages]\nwire = conformance.tests.planted.wire:Wire\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path(__file__).parents[2])]))
        yield


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.kind.__name__)
def test_a_bug_is_caught_by_its_clauses(bug: Bug) -> None:
    with bug.storage() as storage:
        trying = validate(
            storage,
            capabilities=bug.declared,
            shared=bug.shared,
            kill=bug.kill(storage),
            clauses=bug.caught_by,
        )
        report = asyncio.run(trying)

    assert {result.clause: result.status for result in report.results} == dict.fromkeys(bug.caught_by, Status.FAILED)
    assert all(result.expected and result.happened for result in report.results)


def test_every_clause_has_a_bug_that_it_catches() -> None:
    caught = {name for bug in BUGS for name in bug.caught_by}

    assert {clause.id for clause in all_clauses()} - caught == set()


def test_what_is_right_passes_every_clause() -> None:
    world = World()

    report = asyncio.run(validate(partial(Correct, world), kill=partial(Correct.crash, world)))

    assert report.ok, report.summary()


def test_what_is_right_over_a_network_passes_every_clause() -> None:
    with running() as url:
        report = asyncio.run(validate(url))

    assert report.ok, report.summary()
    assert not [result for result in report.results if "URL" in result.reason]
