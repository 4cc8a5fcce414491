"""The command line, run as a person or a script runs it."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
PROGRAM = [sys.executable, "-c", "from satchel.cli import main; main()"]
INTERRUPTED_TWICE = """
import asyncio, os, signal
from satchel import MemoryStorage
from satchel.cli.chat import chat

signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts the tests may ignore it

class Storage(MemoryStorage):
    async def aclose(self):
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0)
        await super().aclose()
        print("closed")

chat(Storage(), "you")
"""


@pytest.fixture
def satchel(tmp_path: Path) -> Run:
    """Run `satchel` with its data folder in a fresh place."""
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path), "NO_COLOR": "1"}

    def run(*arguments: str, text: str | bytes = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            input=text.encode() if isinstance(text, str) else text,
            capture_output=True,
            env=environment,
            check=False,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def test_the_bot_still_knows_after_a_restart(satchel: Run) -> None:
    first = satchel("chat", text="hi\nhi\n")
    second = satchel("chat", text="hi\nhi\n")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines()[-1].endswith("2 messages so far.")
    assert second.stdout.splitlines()[-1].endswith("4 messages so far.")


def test_the_bot_counts_pizzas_and_remembers_names(satchel: Run) -> None:
    satchel("chat", text="My name is Zoë\nPizza, pizza!\n🍕\n")
    assert satchel("chat", text="hi\n").stdout == "Hello, Zoë! 4 messages and 3 pizzas so far.\n"


def test_each_user_has_a_conversation(satchel: Run) -> None:
    satchel("chat", text="hi\nhi\n")
    assert satchel("chat", "--as", "ada", text="hi\n").stdout.endswith("1 message so far.\n")


def test_commands_show_and_reset_the_session_without_counting(satchel: Run) -> None:
    done = satchel("chat", text="hi\n/state\n/session\n/help\n/reset\n/session\nhi\n/quit\nhi\n")
    assert '"messages": 1' in done.stdout
    assert "console:you in <SQLiteStorage sqlite:///" in done.stdout
    assert re.search(r"chat.db>, stored, last active \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d\n", done.stdout)
    assert "Forgotten." in done.stdout
    assert "not stored yet" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("1 message so far.")


def test_any_storage_will_do(satchel: Run) -> None:
    done = satchel("chat", "memory://", text="hi\n")
    assert done.stdout.endswith("1 message so far.\n")


def test_bytes_that_are_no_text_are_taken_as_they_are_shown(satchel: Run) -> None:
    done = satchel("chat", text=b"my name is \xff\xed\xa0\x80\nhi\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 messages" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["nonsense://x"], 1, "no storage is installed for nonsense://"),
        (["sqlite:////no/such/folder/bot.db"], 1, "folder /no/such/folder does not exist"),
        (["memory://", "--as", "x" * 600], 2, "the limit is 512"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(satchel: Run, arguments: list[str], code: int, reason: str) -> None:
    done = satchel("chat", *arguments, text="hi\n")
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith("satchel: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_person_at_a_terminal_gets_a_prompt(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    chat = subprocess.Popen(
        [*PROGRAM, "chat", "memory://"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "dumb"},
    )
    os.close(theirs)
    os.write(ours, b"hi\n\x04")  # end of input
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    assert chat.wait(10) == 0
    os.close(ours)
    assert b"/quit" in shown
    assert b"> " in shown
    assert b"1 message so far." in shown


def test_a_chat_that_is_interrupted_twice_closes_its_storage() -> None:
    chat = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED_TWICE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert chat.stdin is not None
    assert chat.stdout is not None
    chat.stdin.write("hi\n")
    chat.stdin.flush()
    assert "1 message so far." in chat.stdout.readline()
    chat.send_signal(signal.SIGINT)
    chat.wait(60)
    out, err = chat.communicate()
    assert out == "closed\n"
    assert "never awaited" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["keys"], ["get", "chat:1"], ["export"], ["chat"], ["--help"]])
def test_a_full_disk_is_said_in_one_line(tmp_path: Path, satchel: Run, arguments: list[str]) -> None:
    done = _printing_to("> /dev/full", tmp_path, satchel, arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("satchel: input or output failed: No space left on device\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["keys"], ["get", "chat:1"], ["export"], ["chat"], ["--help"]])
def test_standard_output_that_is_closed_is_said_in_one_line(tmp_path: Path, satchel: Run, arguments: list[str]) -> None:
    done = _printing_to(">&-", tmp_path, satchel, arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("satchel: input or output failed: Bad file descriptor\n")
    assert "Traceback" not in done.stderr


def test_what_prints_nothing_needs_no_standard_streams(tmp_path: Path, satchel: Run) -> None:
    db = f"sqlite:///{tmp_path / 'bot.db'}"
    assert _shell(">&- 2>&- <&-", "set", db, "chat:1", "1").returncode == 0
    assert satchel("get", db, "chat:1").stdout == "1\n"
    assert _shell("<&-", "delete", db, "chat:1").stderr.endswith("Nobody is here to ask: say --yes\n")


def test_the_schema_is_printed_without_connecting(satchel: Run, tmp_path: Path) -> None:
    done = satchel("schema", f"sqlite:///{tmp_path / 'bot.db'}")
    assert done.stdout.startswith("CREATE TABLE IF NOT EXISTS satchel_sessions")
    assert not (tmp_path / "bot.db").exists()
    assert "nothing to set up" in satchel("schema", "memory://").stdout


def test_help_and_version(satchel: Run) -> None:
    assert "chat" in satchel("--help").stdout
    assert "/reset" in satchel("chat", "--help").stdout
    assert satchel("--version").stdout.startswith("satchel 0.")
    assert satchel("nonsense").returncode == 2


def _printing_to(
    redirection: str, tmp_path: Path, satchel: Run, arguments: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run a command, on a storage with a record if it takes one."""
    db = f"sqlite:///{tmp_path / 'bot.db'}"
    command, *rest = arguments
    if command != "--help":
        satchel("set", db, "chat:1", "1")
        rest = [db, *rest]
    return _shell(redirection, command, *rest)


def _shell(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `satchel` as a shell does, with its streams elsewhere."""
    program = ["sh", "-c", f'exec "$@" {redirection}', "sh", *PROGRAM, *arguments]
    return subprocess.run(program, input="hi\n", capture_output=True, text=True, check=False)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1024)
    except OSError:  # how Linux says that the other side is gone
        return b""
