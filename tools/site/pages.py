"""What pages take from the code: rules and clauses, the packages, the reference, links to folders."""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

import satchel_conformance.registry as suite
from tools import capabilities, workspace
from tools.workspace import Member

_MARK: Final = re.compile(r"^<!-- site: (?P<what>\w+)(?: (?P<of>.*?))? -->$", re.MULTILINE)
_LINK: Final = re.compile(r"(?<!!)\[(?P<text>[^][]*)\]\((?P<to>[^():#\s]+)(?P<anchor>#[^)\s]*)?\)")
_PACKAGE: Final = re.compile(r"\]\(((?:examples|packages)/[\w-]+)\)")
_FENCE: Final = re.compile(r"^(```+).*?^\1`*$", re.DOTALL | re.MULTILINE)


def page(name: str, text: str, root: Path = workspace.ROOT) -> str:
    """Return a page's Markdown with what its marks `<!-- site: WHAT OF -->` stand for, and links that lead somewhere.

    Raises:
        ValueError: a mark stands for nothing.
    """
    member = next((one for one in workspace.members(root) if name == f"{one.folder}/README"), None)
    text = _MARK.sub(_made, _relinked(text, (root / name).parent, root))
    return text + _reference_of(member) if member and member.folder.startswith("packages/") else text


def _made(found: re.Match[str]) -> str:
    if found["what"] not in _MAKERS:
        raise ValueError(f"{found[0]} stands for nothing")
    return _MAKERS[found["what"]](found["of"] or "")


def _relinked(text: str, folder: Path, root: Path) -> str:
    """Let links to a folder lead to its README, and those to the project's README to the site's first page."""

    def to_page(found: re.Match[str]) -> str:
        target = (folder / found["to"]).resolve()
        to = found["to"]
        if target == root / "README.md":
            to = _to(root / "docs/index.md", folder)
        elif target.is_dir() and (target / "README.md").exists():
            to = f"{to.rstrip('/')}/README.md"
        return f"[{found['text']}]({to}{found['anchor'] or ''})"

    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_LINK.sub(to_page, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join(parts) + _LINK.sub(to_page, text[end:])


def _to(target: Path, folder: Path) -> str:
    up = len(folder.relative_to(workspace.ROOT).parts)
    return "../" * up + target.relative_to(workspace.ROOT).as_posix()


def _rule(of: str) -> str:
    """One rule of the contract, in the suite's own words."""
    number = int(of.removeprefix("R"))
    title, sentence = re.fullmatch(r"(.*?[.]) (.*)", suite.RULES[number]).groups()  # type: ignore[union-attr]
    return f"## R{number} {title.rstrip('.')}\n\n> {sentence}\n"


def _clauses(of: str) -> str:
    """The clauses that try a rule."""
    clauses = suite.select([of])
    listed = "\n".join(f"- `{clause.id}`: {clause.statement}" for clause in clauses)
    return f"<details><summary>{len(clauses)} clauses try it</summary>\n\n{listed}\n\n</details>\n"


def _table(_: str) -> str:
    """What each storage declares, as the README has it."""
    return _PACKAGE.sub(r"](/\1/README.md)", capabilities.table())


def _bridges(_: str) -> str:
    """What each bridge plugs in, as the README has it."""
    return _PACKAGE.sub(r"](/\1/README.md)", capabilities.bridges())


def _counts(_: str) -> str:
    return f"The suite has {len(suite.all_clauses())} clauses in {len(suite.RULES)} rules."


def _packages(of: str) -> str:
    """The table of contents of the adapters, or of the bridges, for the margin."""
    entries = [f"/{member.folder}/README" for member in workspace.members() if _kind(member) == of]
    return "\n".join(["```{toctree}", ":hidden:", *entries, "```"])


def _list(of: str) -> str:
    """What each adapter, or bridge, says of itself."""
    chosen = [member for member in workspace.members() if _kind(member) == of]
    projects = [(member, workspace.load(workspace.ROOT / member.folder)["project"]) for member in chosen]
    return "\n".join(f"- [{one.name}](/{one.folder}/README.md): {project['description']}" for one, project in projects)


def _kind(member: Member) -> str:
    if not member.folder.startswith("packages/"):
        return ""
    entry_points = workspace.load(workspace.ROOT / member.folder)["project"].get("entry-points", {})
    return "adapters" if "satchel.storages" in entry_points else "bridges"


def _reference(of: str) -> str:
    """The reference of what a module is for; or, after a colon, of the names given."""
    module, _, names = of.partition(":")
    if not names.strip():
        passed_on = ", ".join(_passed_on(module))
        options = f"\n   :exclude-members: {passed_on}" if passed_on else ""
        return f"```{{eval-rst}}\n.. automodule:: {module}{options}\n```"
    lines = [f".. currentmodule:: {module}", ""]
    for name in names.split():
        directive = _directive(module, name)
        lines += [f".. {directive}:: {module}.{name}", *["   :show-inheritance:"] * (directive == "autoexception"), ""]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def _passed_on(module: str) -> list[str]:
    """Return the classes that a module only passes on: they are described where they are from."""
    found = import_module(module)
    things = {name: getattr(found, name) for name in getattr(found, "__all__", ())}
    return [
        name for name, thing in things.items() if isinstance(thing, type) and not thing.__module__.startswith(module)
    ]


def _directive(module: str, name: str) -> str:
    thing = getattr(import_module(module), name)
    if isinstance(thing, type):
        return "autoexception" if issubclass(thing, BaseException) else "autoclass"
    return "autofunction" if callable(thing) and hasattr(thing, "__code__") else "autodata"


def _reference_of(member: Member) -> str:
    return f"\n\n## Reference\n\n{_reference(member.name.replace('-', '_'))}\n"


_MAKERS: Final[Mapping[str, Callable[[str], str]]] = {
    "bridges": _bridges,
    "clauses": _clauses,
    "counts": _counts,
    "list": _list,
    "packages": _packages,
    "reference": _reference,
    "rule": _rule,
    "table": _table,
}
