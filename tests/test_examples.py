"""Each example runs as a program, offline, in an empty folder, and prints what its docstring says."""

import ast
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
ALONE = ["assistant_with_slots", "group_chat", "lazy_counter", "pizza_bot", "webhook_bot"]  # nobody talks to them


def run(name: str, folder: Path, *arguments: str) -> str:
    program = [sys.executable, "-W", "error", "-X", "utf8", str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(program, cwd=folder, capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def printed(name: str) -> str:
    """Return the last paragraph of an example's docstring."""
    text = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[-1] + "\n"


@pytest.mark.parametrize("name", ALONE)
def test_an_example_prints_what_it_says(name: str, tmp_path: Path) -> None:
    assert run(name, tmp_path) == printed(name)


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_every_example_is_run_by_a_test(name: str) -> None:
    tests = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    assert any(f'"{name}"' in test or f"examples/{name}.py" in test for test in tests)


def test_a_restart_forgets_no_pizza(tmp_path: Path) -> None:
    run("pizza_bot", tmp_path)
    assert run("pizza_bot", tmp_path).endswith("bot: Your hunger level is 6!\n")


def test_processes_on_redis_lose_no_message_either(tmp_path: Path, redis_url: str) -> None:
    assert run("webhook_bot", tmp_path, f"{redis_url}?namespace=t{secrets.token_hex(4)}") == printed("webhook_bot")
