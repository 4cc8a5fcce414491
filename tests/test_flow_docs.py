"""What docs/flow.md and examples/checkout_flow.py say and do."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Talk = Callable[..., list[str]]

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/flow.md").read_text(), re.DOTALL | re.MULTILINE)


def run(folder: Path, *arguments: str, text: str = "") -> list[str]:
    program = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(program, cwd=folder, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    said = [run(tmp_path, "-c", block) for block in BLOCKS]
    assert said == [["Where to?", "Where to?", "Thank you!", "How was it, High Street ?"], []]


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    def say(*lines: str) -> list[str]:
        url = f"sqlite:///{tmp_path}/pizzeria.db"
        text = "".join(f"{line}\n" for line in lines)
        return [
            line.removeprefix("[chat:1] ")
            for line in run(tmp_path, str(ROOT / "examples/checkout_flow.py"), url, text=text)
        ]

    return say


def test_the_pizzeria_knows_where_an_order_was_when_it_was_stopped(talk: Talk) -> None:
    assert talk("hi", "Margherita", "nowhere") == [
        "Which pizza may it be?",
        "Margherita. Where to?",
        "A street and a number, please.",
    ]
    assert talk("/help", "ok", "High Street 4", "no", "Low Street 5", "yes", "hi again") == [
        "I take orders. Say anything to go on.",
        "Margherita. Where to?",
        "Margherita to High Street 4: is that right?",
        "Margherita. Where to?",
        "Margherita to Low Street 5: is that right?",
        "On its way!",
        "Which pizza may it be?",
    ]


def test_the_pizzeria_reminds_who_says_nothing(tmp_path: Path) -> None:
    program = [sys.executable, "-W", "error", str(ROOT / "examples/checkout_flow.py")]
    environment = os.environ | {"REMINDER_MINUTES": "0.001"}
    with subprocess.Popen(
        program, cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as pizzeria:
        assert pizzeria.stdin is not None
        assert pizzeria.stdout is not None
        pizzeria.stdin.write("hi\nMargherita\n")
        pizzeria.stdin.flush()
        said = [pizzeria.stdout.readline() for _ in range(3)]
        rest, _ = pizzeria.communicate("High Street 4\n")
    assert said[-1] == "[chat:1] Your pizza is getting cold. Where to?\n"
    assert rest == "[chat:1] Margherita to High Street 4: is that right?\n"
