"""Plan the jobs of GitHub's matrix: each touched package on each Python, and at the ends of its dependencies' bounds.

python -m tools.matrix [BASE]      BASE: the commit to compare with; without it, or if unknown, everything is tested
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator

from tools import pythons, workspace
from tools.workspace import Member

UNRELEASED = {"3.15"}  # of Python: its failures are shown, and fail nothing
STABLE = [one for one in pythons.SUPPORTED if one not in UNRELEASED]
PROSE = ("docs/", "examples/", "benchmarks/")  # not what the packages' own tests look at


def touched(changed: Iterable[str], members: list[Member]) -> list[Member]:
    """Return the members that a change of these files may break."""
    names: set[str] = set()
    for file in changed:
        owner = next((member for member in members if file.startswith(f"{member.folder}/")), None)
        if owner is None and (file.startswith(PROSE) or ("/" not in file and file.endswith(".md"))):
            continue
        if owner is None or owner.name == "satchel-conformance":  # every package's tests are made of it
            return members
        names.add(owner.name)
    for _ in members:  # at most so many steps from any member to the last one that depends on it
        names |= {member.name for member in members if member.requires & names}
    return [member for member in members if member.name in names]


def jobs(members: Iterable[Member]) -> Iterator[dict[str, object]]:
    """Plan the jobs of each member."""
    for member in members:
        cases = [(python, "pinned") for python in member.pythons]
        for python, resolution in [*cases, (STABLE[0], "lowest"), (STABLE[-1], "newest")]:
            unreleased = python in UNRELEASED
            yield {"package": member.short, "python": python, "resolution": resolution, "unreleased": unreleased}


def changed_since(base: str) -> list[str] | None:
    """Return the files that differ from BASE, or None if there is no such commit."""
    command = ["git", "diff", "--name-only", "-z", base, "HEAD", "--"]
    done = subprocess.run(command, cwd=workspace.ROOT, capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout.split("\0")[:-1]


if __name__ == "__main__":
    everything = workspace.members()
    files = changed_since(sys.argv[1]) if sys.argv[1:] and sys.argv[1] else None
    print(json.dumps(list(jobs(everything if files is None else touched(files, everything)))))
