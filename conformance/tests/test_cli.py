"""The command line: what it prints, and how it exits."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from satchel_conformance.cli.app import app
from satchel_conformance.mistakes import MISTAKES
from satchel_conformance.registry import RULES, all_clauses


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


def test_run_takes_a_url_and_then_tries_other_processes_too(tmp_path: Path) -> None:
    code, _, err = _call("run", f"sqlite:///{tmp_path}/bot.db", "-c", "R14-setup-of-processes", "-c", "R8-read")

    assert code == 0
    assert "passed          R14-setup-of-processes" in err
    assert "not applicable  R8-read  no URL is given of a server that a proxy can stand before" in err


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "satchel"], "'satchel' is not MODULE:NAME"),
        (["run", "no_such_module:make"], "no_such_module:make is not there"),
        (["run", "satchel:Nothing"], "satchel:Nothing is not there"),
        (["run", "satchel:__doc__"], "satchel:__doc__ cannot be called"),
        (["run", "satchel:MemoryStorage", "-c", "R99"], "no clause is called 'R99'"),
        (["run", "satchel:MemoryStorage", "--capabilities", "satchel:JSON"], "satchel:JSON is no satchel.Capabilities"),
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
