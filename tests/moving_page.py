"""Doing what docs/moving.md says, word for word, but for where the server is."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/moving.md"
SATCHEL = str(Path(sys.executable).parent / "satchel")


def follow(chapter: str, folder: Path, server: str, prefix: str) -> Iterator[str]:
    """Carry out the commands and programs of a chapter, one after the other, and give what each prints."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"## {chapter}\n")
    text = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    for kind, block in re.findall(r"^```(console|python)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if kind == "python":
            yield _output([sys.executable, "-W", "error", "-c", block], folder)
            continue
        for line in block.splitlines():
            _, satchel, *arguments = shlex.split(line)
            assert satchel == "satchel"
            yield _output([SATCHEL, *(_elsewhere(argument, server, prefix) for argument in arguments)], folder)


def _elsewhere(argument: str, server: str, prefix: str) -> str:
    found = re.fullmatch(r"(\w+\+)redis://localhost(?:\?(.*))?", argument)
    return f"{found[1]}{server}?prefix={prefix}&{found[2] or ''}".rstrip("&") if found else argument


def _output(program: list[str], folder: Path) -> str:
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
