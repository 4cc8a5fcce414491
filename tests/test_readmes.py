"""Every block of Python in a README or a page of docs/ runs as it stands, a program of its own in an empty folder.

Every command is one that there is, with arguments that it takes.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from satchel.cli.app import app as satchel
from satchel_conformance.cli.app import app as conformance
from tools import capabilities, workspace

ROOT = Path(__file__).parents[1]
# These have tests that ask for more: test_guide.py of satchel-memcached, test_flow_docs.py and test_moving_from_*.py.
ELSEWHERE = {"new-adapter.md", "flow.md", "moving.md"}
READMES = {ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("packages/*/README.md")}
PAGES = {*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")}
FENCE = re.compile(r"^```(\w+).*?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [
    pytest.param(block[2], id=f"{path.relative_to(ROOT)}-{number}")
    for path in sorted(READMES | {page for page in PAGES if page.name not in ELSEWHERE})
    for number, block in enumerate(found for found in FENCE.finditer(path.read_text()) if found[1] == "python")
]
PROGRAMS: dict[str, Any] = {"satchel": satchel, "satchel-conformance": conformance}
OTHERS = {"cd", "digest", "pytest", "tail"}  # whose arguments are not ours to know
SESSIONS = set(
    re.findall(r"^@nox\.session\b.*?^def (\w+?)_?\(", (ROOT / "noxfile.py").read_text(), re.DOTALL | re.MULTILINE)
)
MEMBERS = {member.name: member for member in workspace.members()}
SERVERS = {
    "dynamodb:///sessions?region=eu-west-1": "dynamodb_url",
    "firestore://my-project": "firestore_url",
    "mongodb://localhost": "mongodb_url",
    "postgresql://localhost/bot": "postgres_url",
    "redis://localhost": "redis_url",
    "s3://my-bucket/bots?region=eu-west-1": "moto_url",
    "supabase://PROJECT.supabase.co": "supabase_url",
}


@pytest.mark.parametrize("block", BLOCKS)
def test_the_python_of_a_readme_runs(block: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for address, fixture in SERVERS.items():
        if address in block and f"# or {address}" not in block:
            block = block.replace(address, request.getfixturevalue(fixture))
    program = [sys.executable, "-W", "error", "-c", block]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def commands() -> Iterator[Any]:
    """Every command of a page: the lines of `sh`, and those of `console` that are typed."""
    for path in sorted(READMES | PAGES):
        for kind, text in FENCE.findall(path.read_text()):
            typed = {"sh": r"(.+)", "console": r"\$ (.+)"}.get(kind, r"(?!)")
            for line in re.findall(rf"^{typed}$", text, re.MULTILINE):
                yield pytest.param(shlex.split(line, comments=True), id=f"{path.relative_to(ROOT)}: {line[:60]}")


@pytest.mark.parametrize("command", list(commands()))
def test_a_command_is_one_that_there_is(command: list[str]) -> None:
    match command:
        case ["pip", "install", *wanted]:
            for requirement in wanted:
                check_requirement(requirement)
        case ["./dev"]:
            pass
        case ["./dev", "nox", "--", "-s", name] | ["./dev", name, *_] | ["nox", "-s", name, *_]:
            assert name.partition("(")[0] in SESSIONS | {"test"}
        case [program, name, *arguments] if program in PROGRAMS:
            group: Any = typer.main.get_command(PROGRAMS[program])
            group.commands[name].make_context(name, arguments)  # raises, unless it can be called so
        case [program, *_]:
            assert program.partition("=")[0] in OTHERS


def check_requirement(text: str) -> None:
    name, _, extras = text.rstrip("]").partition("[")
    if name.startswith("satchel") and name != "satchel-memcached":
        assert set(filter(None, extras.split(","))) <= set(MEMBERS[name].extras)


def test_the_tables_of_storages_and_bridges_say_what_they_declare() -> None:
    assert capabilities.is_current(), "write it anew: ./dev capabilities"
