"""What lint finds in files that should not be committed so."""

import subprocess
from pathlib import Path

import pytest

from tools import workspace
from tools.check_tree import problems


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a workspace of one package, and nothing wrong."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "root"\n[tool.uv.workspace]\nmembers = ["core"]\n')
    (tmp_path / "core").mkdir()
    (tmp_path / "core/pyproject.toml").write_text('[project]\nname = "core"\nversion = "1"\ndependencies = ["a>=1"]\n')
    (tmp_path / "core/CHANGELOG.md").touch()
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/inputs.sha256").write_text(workspace.digest(tmp_path))
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def test_a_tree_with_nothing_wrong(tree: Path) -> None:
    assert list(problems(tree)) == []


@pytest.mark.parametrize("host", [("files.python", "hosted.org"), ("registry.npm", "js.org"), ("deb.", "debian.org")])
def test_the_host_of_a_registry_is_found(tree: Path, host: tuple[str, str]) -> None:
    (tree / "pins.txt").write_text(f"one\ntwo @ https://{''.join(host)}/two.whl\n")
    (found,) = problems(tree)
    assert found.startswith("pins.txt:2: ")


def test_uv_lock_is_found(tree: Path) -> None:
    (tree / "uv.lock").touch()
    (found,) = problems(tree)
    assert found.startswith("uv.lock: ")


def test_what_git_ignores_is_left_alone(tree: Path) -> None:
    (tree / ".gitignore").write_text("uv.lock\n")
    (tree / "uv.lock").touch()
    assert list(problems(tree)) == []


def test_pins_older_than_the_dependencies_are_found(tree: Path) -> None:
    file = tree / "core/pyproject.toml"
    file.write_text(file.read_text().replace("a>=1", "a>=2"))
    (found,) = problems(tree)
    assert "./dev lock" in found


def test_a_distribution_without_a_changelog_is_found(tree: Path) -> None:
    (tree / "core/CHANGELOG.md").unlink()
    (found,) = problems(tree)
    assert found.startswith("core: ")
    (tree / "core/changelog.d").mkdir()
    (tree / "core/changelog.d/+first.added.md").write_text("The first release.")
    assert list(problems(tree)) == []
