"""The command line: what it prints, and how it exits."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from satchel_conformance.cli import main
from satchel_conformance.cli.app import app
from satchel_conformance.mistakes import MISTAKES
from satchel_conformance.registry import RULES, all_clauses, select


def _call(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_run_tells_progress_and_a_summary() -> None:
    code, out, err = _call("run", "satchel:MemoryStorage", "--private", "--clause", "R1-a*", "--clause", "R4-refuses-*")

    assert code == 0
    assert "passed          R1-absent-is-none" in err
    assert out.strip().startswith("MemoryStorage: 6 passed in ")


def test_run_prints_json_and_nothing_else_on_stdout() -> None:
    code, out, _ = _call("run", "satchel:MemoryStorage", "--private", "-c", "R1-absent-is-none", "--json")

    assert code == 0
    assert [result["status"] for result in json.loads(out)["results"]] == ["passed"]


def test_run_fails_where_a_clause_does() -> None:
    code, out, _ = _call("run", "satchel:MemoryStorage", "-c", "R0-read-your-writes")

    assert code == 1
    assert "R0-read-your-writes: What one storage wrote or deleted, another over the same backend sees at once." in out
    assert "  happened  None" in out


def test_every_storage_of_memory_is_known_to_have_its_records_to_itself() -> None:
    code, _, err = _call("run", "memory://", "-c", "R0-read-your-writes")

    assert code == 0
    assert "not applicable  R0-read-your-writes" in err


def test_the_command_to_repeat_has_the_url_as_it_was_given() -> None:
    _, out, _ = _call("run", "memory://", "-c", "R1-absent-is-none", "-x", "R1-absent-is-none=never")

    assert "satchel-conformance run memory:// --clause R1-absent-is-none" in out


def test_the_command_to_repeat_has_the_options_that_decide() -> None:
    tried = "satchel:MemoryStorage", "-c", "R1-absent-is-none", "-x", "R1-absent-is-none=never"
    _, out, _ = _call("run", *tried, "--private", "--profile", "thorough")

    assert "run satchel:MemoryStorage --private --profile thorough --clause R1-absent-is-none" in out


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("def make(**options): raise KeyError('no')", "the factory raised KeyError: 'no'"),
        ("def make(url, **options): pass", "the factory raised TypeError: make() missing 1 required"),
        ("async def make(**options): raise OSError(5, 'broken')", "the factory raised OSError: [Errno 5] broken"),
        ("def make(:", "wrong cannot be imported: SyntaxError: "),
        ("raise RuntimeError('here')", "wrong cannot be imported: RuntimeError: here"),
    ],
)
def test_what_makes_no_storage_is_said_in_a_line(
    program: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "wrong", raising=False)
    code, _, err = _call("run", "wrong:make", "-c", "R1-absent-is-none")
    sys.modules.pop("wrong", None)

    assert code == 2
    assert err.startswith(f"satchel-conformance: {said}")
    assert err.count("\n") == 1


def test_a_report_that_cannot_be_written_is_printed_all_the_same(tmp_path: Path) -> None:
    tried = "run", "memory://", "-c", "R1-absent-is-none"
    code, out, err = _call(*tried, "--junit", str(tmp_path))
    assert (code, out, err) == (2, "", f"satchel-conformance: {tmp_path} cannot be written: it is a folder\n")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere" / "badge.json")
    code, out, err = _call(*tried, "--badge", str(link))
    assert code == 2
    assert "1 passed" in out
    assert err.endswith(f"satchel-conformance: {link} cannot be written: No such file or directory\n")


def test_help_and_version() -> None:
    assert _call("-h")[1] == _call("--help")[1]
    assert _call("run", "-h")[0] == 0
    assert _call("--version")[1].startswith("satchel-conformance 0.")


def test_run_takes_a_url_and_then_tries_other_processes_too(tmp_path: Path) -> None:
    code, _, err = _call("run", f"sqlite:///{tmp_path}/bot.db", "-c", "R14-setup-of-processes", "-c", "R8-read")

    assert code == 0
    assert "passed          R14-setup-of-processes" in err
    assert "not applicable  R8-read  no URL is given of a server that a proxy can stand before" in err


def test_run_makes_exceptions_that_have_a_reason_and_are_needed() -> None:
    known = "R0-read-your-writes"

    assert _call("run", "satchel:MemoryStorage", "-c", known, "-x", f"{known}=each has its own")[0] == 0
    code, out, _ = _call("run", "satchel:MemoryStorage", "--private", "-c", "R1-a*", "-x", "R1-absent-is-none=never")
    assert code == 1
    assert "R1-absent-is-none passes: take it out of `exceptions`" in out


def test_run_writes_junit_markdown_and_a_badge_with_all_that_a_failure_says(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("junit", "markdown", "badge")}
    options = [f"--{name}={file}" for name, file in files.items()]

    code, out, _ = _call("run", "satchel:MemoryStorage", "-c", "R0-read-your-writes", "-c", "R3", *options)

    assert code == 1
    suite = ET.fromstring(files["junit"].read_text())[0]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("MemoryStorage", "5", "1")
    [failure] = suite.iter("failure")
    explained = failure.text or ""
    assert "  expected  " in explained
    assert "  happened  None" in explained
    assert "  rule      R0 " in explained
    assert "satchel-conformance run satchel:MemoryStorage --clause R0-read-your-writes" in explained
    assert explained in out
    page = files["markdown"].read_text()
    assert explained in page
    assert f"| R3 {RULES[3]} | 4 |" in page
    badge = json.loads(files["badge"].read_text())
    assert badge == {
        "schemaVersion": 1,
        "label": "satchel conformance",
        "message": "4 of 5 clauses",
        "color": "red",
    }


def test_a_report_shows_no_secret_of_the_url(tmp_path: Path) -> None:
    _, out, err = _call(
        "run", "redis://bot:hunter2@127.0.0.1:1/0?timeout=1s&sentinel_password=swordfish", "-c", "R1-a*"
    )

    assert "hunter2" not in out + err
    assert "swordfish" not in out + err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nonsense://x"], "no storage is installed for nonsense://"),
        (["memory://", "--profile", "sloppy"], "there is no profile 'sloppy'; there are quick, thorough"),
    ],
)
def test_run_stops_with_one_line_where_nothing_can_be_tried(arguments: list[str], reason: str) -> None:
    code, out, err = _call("run", *arguments, "-c", "R1-absent-is-none")

    assert (code, out) == (2, "")
    assert reason in err
    assert err.count("\n") == 1


def test_run_finds_a_factory_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_storage.py").write_text(
        "from satchel import Capabilities, MemoryStorage\n"
        "class Factories:\n    make = MemoryStorage\n"
        "declared = MemoryStorage.capabilities\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])

    code, out, _ = _call(
        "run", "shop_storage:Factories.make", "--capabilities", "shop_storage:declared", "--private", "-c", "R3"
    )

    assert (code, out.strip().split(" in ")[0]) == (0, "MemoryStorage: 4 passed")


def test_run_tries_clauses_in_several_processes_and_reports_them_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pids.py").write_text(
        "import os\nfrom pathlib import Path\nfrom satchel import MemoryStorage\n"
        "def make():\n    Path(f'{os.getpid()}.pid').touch()\n    return MemoryStorage()\n"
    )
    monkeypatch.chdir(tmp_path)

    code, out, err = _call("run", "pids:make", "--private", "-c", "R4-injective-*", "-c", "R0-read-*", "-j2", "--json")

    assert code == 0
    tried = [result["clause"] for result in json.loads(out)["results"]]
    assert tried == [one.id for one in select(["R4-injective-*", "R0-read-*"])]
    assert err.count("passed  ") == len([one for one in tried if one.startswith("R4")])
    assert f"{os.getpid()}.pid" in {file.name for file in tmp_path.glob("*.pid")}  # which has asked what is declared
    assert len(list(tmp_path.glob("*.pid"))) > 1


def test_run_says_what_other_processes_cannot_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unnamed.py").write_text("from satchel import MemoryStorage\nmake = lambda: MemoryStorage()\n")
    monkeypatch.chdir(tmp_path)

    code, out, err = _call("run", "unnamed:make", "--private", "-c", "R3", "-j2")
    assert (code, out) == (2, "")
    assert "several jobs need what other processes can import" in err

    assert _call("run", "unnamed:make", "--private", "-c", "R4", "-c", "R2")[0] == 0


def test_processes_of_a_run_have_the_environment_of_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "knowing.py").write_text(
        "import os\nfrom pathlib import Path\nfrom satchel import MemoryStorage\n"
        "def make():\n    assert os.environ['BOT'] == Path('bot').read_text()\n    return MemoryStorage()\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        monkeypatch.setenv("BOT", name)
        (tmp_path / "bot").write_text(name)
        assert _call("run", "knowing:make", "--private", "-c", "R3", "-j2")[0] == 0


def test_run_says_that_a_process_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ending.py").write_text(
        "import os\nfrom satchel import MemoryStorage\n"
        "def make():\n    return MemoryStorage() if os.environ['HERE'] == str(os.getpid()) else os._exit(1)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HERE", str(os.getpid()))

    code, out, err = _call("run", "ending:make", "--private", "-c", "R3", "-j2")

    assert (code, out) == (2, "")
    assert "a process has ended while these clauses were tried: R3-after-" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "satchel"], "'satchel' is not MODULE:NAME"),
        (["run", "no_such_module:make"], "no_such_module:make is not there"),
        (["run", "satchel:Nothing"], "satchel:Nothing is not there"),
        (["run", "satchel:__doc__"], "satchel:__doc__ cannot be called"),
        (["run", "satchel:MemoryStorage", "--exception", "R1-absent-is-none"], "R1-absent-is-none needs a reason"),
        (["run", "satchel:MemoryStorage", "--exception", "R1-none=why"], "there is no clause 'R1-none'"),
        (["run", "satchel:MemoryStorage", "--race", "R1-none=why"], "races: there is no clause 'R1-none'"),
        (["run", "satchel:MemoryStorage", "--junit", "/no/such/folder/x"], "/no/such/folder/x cannot be written"),
        (["run", "satchel:MemoryStorage", "-c", "R99"], "no clause is called 'R99'"),
        (["run", "satchel:MemoryStorage", "--capabilities", "satchel:JSON"], "satchel:JSON is no satchel.Capabilities"),
        (["run", "redis://[::1"], "Invalid IPv6 URL"),
        (["run", "nothing://here"], "no storage is installed for nothing://"),
        (["clauses", "-c", "R99"], "no clause is called 'R99'"),
    ],
)
def test_what_cannot_be_tried_exits_with_2(arguments: list[str], message: str) -> None:
    code, out, err = _call(*arguments)

    assert (code, out) == (2, "")
    assert message in err


def test_clauses_are_listed_under_their_rules() -> None:
    code, out, _ = _call("clauses", "-c", "R5")

    assert code == 0
    assert out.startswith("R5 Sizes. A value over the limit is refused with both sizes, and the old value stays.\n")
    assert "    R5-over-limit-batch (where limit, batch)\n        write_many with one value too large" in out


def test_every_rule_has_clauses_and_every_known_mistake_is_caught_or_accounted_for() -> None:
    code, out, _ = _call("clauses", "--mistakes")

    assert code == 0
    assert out.count("\n") == 2 * len(MISTAKES)
    assert all(bool(mistake.clauses) != bool(mistake.elsewhere) for mistake in MISTAKES)
    assert {clause.number for clause in all_clauses()} == set(RULES)


def test_mistakes_are_listed_that_some_clauses_catch() -> None:
    code, out, _ = _call("clauses", "--mistakes", "-c", "R13", "-c", "R10")

    assert code == 0
    assert [line[4:] for line in out.splitlines()[::2]] == [
        "A synchronous driver blocks the event loop.",
        "A client is used from another event loop.",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
def test_no_process_is_left_when_the_command_is_killed() -> None:
    mark = f"SATCHEL_TEST_MARK={uuid4()}"

    def left() -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended
                if mark.encode() in (process / "environ").read_bytes():
                    found.append(process.name)
        return found

    program = "from satchel_conformance.cli import main; main()"
    command = [sys.executable, "-c", program, "run", "memory://", "--jobs", "2"]
    environment = os.environ | {mark.partition("=")[0]: mark.partition("=")[2]}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as run:
        assert run.stderr is not None
        assert run.stderr.readline()  # the first result
        assert len(left()) > 2
        run.kill()
    deadline = time.monotonic() + 20
    while left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left() == []


def test_an_interrupt_while_the_command_is_imported_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "satchel_conformance.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "satchel_conformance.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


@pytest.mark.skipif(os.name != "posix", reason="there is no such signal")
def test_an_interrupt_of_the_command_alone_ends_it_at_once(tmp_path: Path) -> None:
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell may have it ignored
    program = f"{hear}; from satchel_conformance.cli import main; main()"
    url = f"sqlite:///{tmp_path}/bot.db"
    command = [sys.executable, "-c", program, "run", url, "--jobs", "2", "--profile", "thorough"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        assert run.stderr is not None
        assert run.stderr.readline()  # the first result
        run.send_signal(signal.SIGINT)
        rest = run.stderr.read()  # to the end of the last process that has it
    assert run.returncode == 130
    assert "Traceback" not in rest
    assert len(rest.splitlines()) < 100  # of some two hundred clauses
