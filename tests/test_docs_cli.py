"""docs/cli.md has every command, argument, option and exit code that there is, and no others; its session runs."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from satchel.cli.app import app
from satchel.cli.common import CODES
from satchel.cli.storages import AnyStored

PAGE = (Path(__file__).parents[1] / "docs/cli.md").read_text()
SECTIONS = {
    title.split()[1]: (title, text)
    for title, text in re.findall(r"^## `(.*?)`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_every_command_has_its_section_and_no_other_has() -> None:
    assert list(SECTIONS) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_names_the_arguments_and_options_that_the_command_has(name: str) -> None:
    title, text = SECTIONS[name]
    options = {
        option for row in re.findall(r"^\| (`-.*?) \|", text, re.MULTILINE) for option in re.findall(r"`(-\S+)`", row)
    }
    parameters = [parameter for parameter in COMMANDS[name].params if parameter.name != "help"]
    assert options == {
        option for parameter in parameters if parameter.param_type_name == "option" for option in parameter.opts
    }
    said = [word.strip("[].").lower() for word in title.split()[2:]]
    arguments = [parameter for parameter in parameters if parameter.param_type_name == "argument"]
    assert said == [(argument.metavar or argument.name).strip("[].").lower() for argument in arguments]
    optional = [word.startswith("[") for word in title.split()[2:]]
    assert optional == [not argument.required for argument in arguments]


def test_the_exit_codes_and_codecs_are_those_that_there_are() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows == [(str(code.value), meaning) for code, meaning in CODES.items()]
    assert all(f"`{stored}`" in PAGE for stored in get_args(AnyStored))


def test_the_session_at_the_beginning_runs_as_it_is_printed(tmp_path: Path) -> None:
    session = re.search(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert session is not None
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    steps = re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", session[1], re.MULTILINE)
    assert len(steps) == 6
    for command, expected in steps:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, text=True, check=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        pattern = ".*?".join(map(re.escape, expected.split("…")))
        assert re.fullmatch(pattern, done.stdout), (command, done.stdout)
