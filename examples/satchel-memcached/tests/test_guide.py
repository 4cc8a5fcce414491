"""docs/new-adapter.md, done step by step: its code adds up to this package, and its commands print what it says."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest

from satchel_conformance import scaffold

PACKAGE = Path(__file__).parents[1]
GUIDE = PACKAGE.parents[1] / "docs" / "new-adapter.md"
STORAGE = "src/satchel_memcached/storage.py"
BLOCK = re.compile(
    r'^```(?P<language>python|console)(?: title="(?P<file>[^"]+)")?\n(?P<text>.*?)^```$', re.DOTALL | re.MULTILINE
)


@dataclass
class Module:
    """A module taken apart into the source of each import, each definition, and each member of its storage class."""

    imports: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    header: str = ""
    members: dict[str, str] = field(default_factory=dict)

    def add(self, source: str) -> "Module":
        """Put what `source` defines in the place of what had the same name."""
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and node.name == "MemcachedStorage":
                self.header = source.splitlines()[node.lineno - 1]
                self.members |= {_name(member): _text(source, member) for member in node.body}
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_method(node):
                self.members[node.name] = _text(source, node)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self.imports[_text(source, node)] = ""
            elif not isinstance(node, ast.Expr):
                self.definitions[_name(node)] = _text(source, node)
        return self

    def source(self) -> str:
        """Put it together again."""
        members = [f"    {line}" for member in self.members.values() for line in [*member.splitlines(), ""]]
        return "\n".join([*self.imports, *self.definitions.values(), self.header, *members])


def _text(source: str, node: ast.stmt) -> str:
    """Return the lines of a statement, with its decorators and comments."""
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return dedent("\n".join(source.splitlines()[first - 1 : node.end_lineno]))


def _name(node: ast.stmt) -> str:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name
        case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
            return ast.unparse(target)
        case _:
            return type(node).__name__


def _is_method(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return bool(node.args.args) and node.args.args[0].arg in ("self", "cls")


def blocks() -> Iterator[re.Match[str]]:
    yield from BLOCK.finditer(GUIDE.read_text(encoding="utf-8"))


def test_the_code_of_the_guide_adds_up_to_the_example(tmp_path: Path) -> None:
    scaffold.create("memcached", tmp_path)
    made = Module().add((tmp_path / "satchel-memcached" / STORAGE).read_text())
    for block in blocks():
        if block["language"] == "python" and not block["file"]:
            made.add(dedent(block["text"]))
    del made.definitions["HookMissing"]  # as it says itself
    finished = Module().add((PACKAGE / STORAGE).read_text())
    assert made.header == finished.header
    assert made.members == finished.members
    assert made.definitions == finished.definitions


def test_the_files_of_the_guide_are_those_of_the_example() -> None:
    for block in blocks():
        if file := block["file"]:
            assert block["text"] in (PACKAGE / file).read_text(), file


def test_the_commands_of_the_guide_print_what_it_says(tmp_path: Path, memcached_url: str) -> None:
    root = tmp_path / "satchel-memcached"
    files = scaffold.create("memcached", tmp_path)
    module = Module().add((root / STORAGE).read_text())
    module.imports |= Module().add((PACKAGE / STORAGE).read_text()).imports  # the guide leaves them out
    environment = os.environ | {"PYTHONPATH": str(root / "src"), "SATCHEL_TEST_MEMCACHED_URL": memcached_url}
    for block in blocks():
        if block["language"] == "python":
            if block["file"]:
                (root / block["file"]).write_text((PACKAGE / block["file"]).read_text())
            else:
                (root / STORAGE).write_text(module.add(dedent(block["text"])).source())
            continue
        command, _, said = block["text"].partition("\n")
        missing, printed = "", ""
        match command.removeprefix("$ ").split():
            case ["satchel-conformance", "new", "memcached"]:
                printed = "\n".join(str(file.relative_to(tmp_path)) for file in files)
                missing = first_missing(said, printed)
            case ["pytest", *arguments]:
                run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
                for _ in range(3):  # a lifetime may, rarely, end just in time even where nothing is done for that
                    done = subprocess.run(run, cwd=root, env=environment, capture_output=True, text=True, check=False)
                    printed = done.stdout
                    missing = first_missing(said, printed)
                    if not missing:
                        break
            case _:
                pytest.fail(f"the guide runs {command}")
        assert not missing, f"{command} does not print {missing!r}:\n{printed}"


def first_missing(said: str, printed: str) -> str:
    """Return the first line of the guide that is not printed, in its order, or ""; an ellipsis may be anything."""
    left = iter(printed.splitlines())
    for line in filter(None, said.splitlines()):
        pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
        if not any(pattern.fullmatch(each) for each in left):
            return line
    return ""
