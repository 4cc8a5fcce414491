"""What must not be committed: a package registry's host (each machine has its own index), uv.lock, pins out of date.

Nor may a distribution have no changelog.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools import changelog, workspace

# Written so that this file does not match itself.
_HOSTS = ["pypi[.]org", "pythonhosted[.]org", "npmjs[.](org|com)", "registry[.]yarnpkg[.]com"]
_HOSTS += ["(deb|security|ftp|snapshot)[.][a-z.]*debian[.]org", "archive[.]ubuntu[.]com", "proxy[.]golang[.]org"]
HOST = re.compile("|".join(_HOSTS), re.IGNORECASE)


def problems(root: Path = workspace.ROOT) -> Iterator[str]:
    """Say what is wrong with the files of the tree, one line each."""
    for name in workspace.files(root):
        if Path(name).name == "uv.lock":
            yield f"{name}: names the registry's host in each entry; the pins are in requirements/"
        text = (root / name).read_bytes().decode(errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if found := HOST.search(line):
                yield f"{name}:{number}: names a package registry's host, {found[0]}"
    if (root / "requirements/inputs.sha256").read_text(encoding="utf-8").strip() != workspace.digest(root):
        yield "requirements: older than the pyproject.toml files; run ./dev lock"
    yield from changelog.problems(root)


if __name__ == "__main__":
    sys.exit("\n".join(problems()) or None)
