"""What the workspace consists of, read from its pyproject.toml files."""

import hashlib
import json
import re
import subprocess
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Member:
    """One distribution of the workspace."""

    folder: str  # "packages/redis", from the root
    name: str  # "satchel-redis"
    version: str
    pythons: tuple[str, ...]  # that its classifiers name
    images: tuple[str, ...]  # the containers that its tests want, as folders of tools/offline/images
    extras: tuple[str, ...]
    groups: tuple[str, ...]  # of dependencies that its development needs: "test"
    requires: frozenset[str]  # names of the distributions that it declares, those of its extras included
    tried_with: frozenset[str]  # names of the distributions that its groups declare

    @property
    def short(self) -> str:
        """The folder's own name: "redis"."""
        return Path(self.folder).name.removeprefix("satchel-")

    @property
    def published(self) -> bool:
        """Whether it is for users: an example is not."""
        return not self.folder.startswith("examples/")


def load(path: Path) -> dict[str, Any]:
    """Return the pyproject.toml of a folder."""
    return tomllib.loads((path / "pyproject.toml").read_text(encoding="utf-8"))


def members(root: Path = ROOT) -> list[Member]:
    """Every distribution, those that others stand on first."""
    patterns = load(root)["tool"]["uv"]["workspace"]["members"]
    folders = [file.parent for pattern in patterns for file in sorted(root.glob(f"{pattern}/pyproject.toml"))]
    return [_member(root, folder) for folder in folders]


def _member(root: Path, folder: Path) -> Member:
    data = load(folder)
    project = data["project"]
    extras = project.get("optional-dependencies", {})
    groups = data.get("dependency-groups", {})
    return Member(
        folder=folder.relative_to(root).as_posix(),
        name=project["name"],
        version=project["version"],
        pythons=tuple(re.findall(r"Python :: (3\.\d+)", "\n".join(project.get("classifiers", ())))),
        images=tuple(data.get("tool", {}).get("satchel", {}).get("images", ())),
        extras=tuple(extras),
        groups=tuple(groups),
        requires=_names([project.get("dependencies", ()), *extras.values()]),
        tried_with=_names(groups.values()),
    )


def _names(lists: Iterable[Iterable[str]]) -> frozenset[str]:
    return frozenset(re.split(r"[^\w.-]", one, maxsplit=1)[0] for requirements in lists for one in requirements)


def released_by(tag: str, root: Path = ROOT) -> Member:
    """Return the member that a tag such as "satchel-redis/v1.2.3", or its name alone, releases.

    Raises:
        ValueError: there is none, or its version is another.
    """
    name, _, version = tag.partition("/v")
    member = next((member for member in members(root) if member.published and member.name == name), None)
    if member is None:
        raise ValueError(f"no distribution is called {name}")
    if version not in ("", member.version):
        raise ValueError(f"the tag says {version}, {member.folder}/pyproject.toml says {member.version}")
    return member


def tag_of(image: str, root: Path = ROOT) -> str:
    """Return the official tag of one of tools/offline's images: "redis" is "redis:7"."""
    first = (root / "tools/offline/images" / image / "Dockerfile").read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("# tags:").split()[0]


def digest(root: Path = ROOT) -> str:
    """Return a digest of all that the pins in requirements/ are made from."""
    inputs: list[Any] = []
    for folder in [root, *(root / member.folder for member in members(root))]:
        data = load(folder)
        project = data["project"]
        keys = ("name", "requires-python", "dependencies", "optional-dependencies")
        inputs.append([project.get(key) for key in keys])
        inputs.append(data.get("dependency-groups"))
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def files(root: Path = ROOT) -> list[str]:
    """Return every file that is committed, or would be by `git add --all`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({name for name in listed if name and (root / name).is_file()})


def shell_scripts(names: list[str], root: Path = ROOT) -> list[str]:
    """Return those that start with a shell's name."""
    return [name for name in names if re.match(rb"#!.*\b(ba)?sh\b", (root / name).read_bytes()[:80])]
