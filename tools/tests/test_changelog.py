"""Whether a release says what it brings."""

from dataclasses import replace
from pathlib import Path

import pytest

from tools import changelog, workspace

CORE = workspace.members()[0]


@pytest.fixture
def changes(tmp_path: Path) -> Path:
    """The changelog of a release 1.2.3, in a tree of its own."""
    file = tmp_path / CORE.folder / "CHANGELOG.md"
    file.parent.mkdir()
    file.write_text("# Changelog\n\n## 1.2.3 (2026-11-21)\n\n### Added\n\n- Memory.\n")
    return file


def test_a_release_that_is_written_down_is_built(changes: Path) -> None:
    assert changelog.unwritten(replace(CORE, version="1.2.3"), changes.parents[1]) is None


@pytest.mark.parametrize("version", ["1.2.4", "1.2", "1.2.3.4", "10203"])
def test_a_release_that_is_not_is_not_built(changes: Path, version: str) -> None:
    why = changelog.unwritten(replace(CORE, version=version), changes.parents[1])
    assert why is not None
    assert "./dev changelog --build satchel" in why


def test_a_distribution_without_a_changelog_is_not_released(tmp_path: Path) -> None:
    assert changelog.unwritten(CORE, tmp_path)
