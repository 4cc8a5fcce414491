"""Find the Pythons of this machine."""

import os
import subprocess
import sys
from pathlib import Path

SUPPORTED: tuple[str, ...] = ("3.11", "3.12", "3.13", "3.14", "3.15")


def find() -> list[str]:
    """Return those of SUPPORTED that are installed, and put on PATH those that only pyenv, or nox itself, knows of.

    A name on PATH proves nothing (pyenv leaves shims there that fail when run), so each candidate is run.
    """
    path = [Path(one) for one in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    pyenvs = {Path.home() / ".pyenv", *(one.parent for one in path if one.name == "shims")}
    if "PYENV_ROOT" in os.environ:
        pyenvs.add(Path(os.environ["PYENV_ROOT"]))
    hidden = [folder for pyenv in pyenvs for folder in sorted(pyenv.glob("versions/*/bin"), reverse=True)]
    hidden.append(Path(sys.executable).parent)
    visible = [one for one in path if one.name != "shims"]
    where = {version: _first(f"python{version}", [*visible, *hidden]) for version in SUPPORTED}
    extra = dict.fromkeys(folder for folder in where.values() if folder in hidden)
    os.environ["PATH"] = os.pathsep.join(str(one) for one in [*extra, *path])
    return [version for version in SUPPORTED if where[version]]


def _first(name: str, folders: list[Path]) -> Path | None:
    return next((folder for folder in folders if _runs(folder / name)), None)


def _runs(python: Path) -> bool:
    return python.is_file() and subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0
