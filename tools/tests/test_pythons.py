"""Which Pythons are found on a machine."""

import os
from pathlib import Path

import pytest

from tools import pythons


def command(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path.parent


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and nothing on PATH yet but a broken Python 3.13."""
    broken = command(tmp_path / "broken/python3.13", "exit 127")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(broken))
    monkeypatch.setattr("sys.executable", "/nowhere/bin/python")
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    return tmp_path


def test_a_python_that_fails_is_none(machine: Path) -> None:
    assert pythons.find() == []


def test_a_python_on_the_path_is_found_and_the_path_stays(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = command(machine / "bin/python3.11", "exit 0")
    monkeypatch.setenv("PATH", str(usual))
    assert pythons.find() == ["3.11"]
    assert os.environ["PATH"] == str(usual)


def test_what_only_pyenv_has_is_put_on_the_path(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shims = command(machine / "tools/pyenv/shims/python3.12", "exit 127")
    hidden = command(machine / "tools/pyenv/versions/3.12.1/bin/python3.12", "exit 0")
    monkeypatch.setenv("PATH", str(shims))
    assert pythons.find() == ["3.12"]
    assert os.environ["PATH"].split(os.pathsep) == [str(hidden), str(shims)]
