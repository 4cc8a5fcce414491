"""The changelog of each distribution: towncrier writes it, from the fragments in the distribution's changelog.d/."""

import re
from collections.abc import Iterator
from pathlib import Path

from tools import workspace
from tools.workspace import Member

FRAGMENTS = "changelog.d"
CHANGELOG = "CHANGELOG.md"


def towncrier(member: Member, *options: str) -> list[str]:
    """Return the command that makes the next release's part; `--draft` prints it, `--yes` writes it."""
    named = ["--name", member.name, "--version", member.version]
    return ["towncrier", "build", "--config", "pyproject.toml", "--dir", member.folder, *named, *options]


def unwritten(member: Member, root: Path = workspace.ROOT) -> str | None:
    """Say why a distribution cannot be released as it is: its changelog does not have its version."""
    file = root / member.folder / CHANGELOG
    title = re.compile(rf"^## {re.escape(member.version)} ", re.MULTILINE)
    if file.exists() and title.search(file.read_text(encoding="utf-8")):
        return None
    return f"{member.folder}/{CHANGELOG} has no {member.version}: run ./dev changelog --build {member.name}"


def problems(root: Path = workspace.ROOT) -> Iterator[str]:
    """Name each published distribution that says nowhere what it brings."""
    for member in workspace.members(root):
        folder = root / member.folder
        if member.published and not (folder / CHANGELOG).exists() and not any(folder.glob(f"{FRAGMENTS}/*.md")):
            yield f"{member.folder}: says in no changelog what it brings; see CONTRIBUTING.md"
