"""The commands that look after what is stored: what they print where, what they ask, and how they exit."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from recording import Plain
from satchel import JSON, MemoryStorage
from satchel.blocking import open_storage as open_blocking
from satchel.cli.app import app
from satchel.codecs import Codec
from satchel.encryption import generate_key
from satchel.wrappers import ReadOnly
from satchel_sqlite import SQLiteStorage


class Done(NamedTuple):
    code: int
    out: str
    err: str


def call(*arguments: str, text: str | bytes | None = None, env: Mapping[str, str] | None = None) -> Done:
    result = CliRunner().invoke(app, arguments, input=text, env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def db(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'bot.db'}"


@pytest.fixture
def other(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'other.db'}"


def write(url: str, records: Mapping[str, Any], **options: Any) -> None:
    async def work() -> None:
        async with SQLiteStorage[Any].from_url(url, **options) as storage:
            await storage.write_many(records)

    asyncio.run(work())


def read(url: str, **options: Any) -> dict[str, Any]:
    async def work() -> dict[str, Any]:
        async with SQLiteStorage[Any].from_url(url, **options) as storage:
            return await storage.read_many([key async for key in storage.keys()])

    return asyncio.run(work())


def test_keys_are_listed_by_prefix_one_to_a_line(db: str) -> None:
    write(db, {"chat:1": 1, "chat:2": 1, "user:1": 1, "user:\n\x1b[2J": 1})
    assert sorted(call("keys", db, "--prefix", "chat:").out.splitlines()) == ["chat:1", "chat:2"]
    assert sorted(call("keys", db, "--prefix", "user:").out.splitlines()) == ["'user:\\n\\x1b[2J'", "user:1"]
    lines = call("keys", db, "--json").out.splitlines()
    assert {json.loads(line)["key"] for line in lines} == {"chat:1", "chat:2", "user:1", "user:\n\x1b[2J"}


def test_a_value_that_is_set_is_got_exactly(db: str) -> None:
    value = '{"z": 12345678901234567890123, "a": [1.0, -0.0, null, "\N{SLICE OF PIZZA}\\u0000"]}'
    assert call("set", db, "chat:1", value) == (0, "", "")
    found = call("get", db, "chat:1")
    assert (found.code, found.err) == (0, "")
    assert repr(json.loads(found.out)) == repr(json.loads(value))
    told = json.loads(call("get", db, "chat:1", "--json").out)
    assert (told["key"], repr(told["value"]), bool(told["version"])) == ("chat:1", repr(json.loads(value)), True)
    assert json.loads(call("set", db, "chat:1", "--json", text='{"from": "stdin"}').out) == {"key": "chat:1"}
    assert read(db) == {"chat:1": {"from": "stdin"}}


@pytest.mark.parametrize("value", ["{", "null", "NaN", '"\\ud800"', "", "\udcff", "[" * 300 + "]" * 300])
def test_a_value_that_is_no_json_is_refused_before_anything_is_opened(db: str, value: str) -> None:
    done = call("set", db, "chat:1", value)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("satchel: the value is ")
    assert not Path(db.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("1e999", "refused: $ is not a finite number"),
        ('{"a": 1, "b": [{"c": 1, "c": 2}]}', "ambiguous: an object has the name 'c' twice"),
    ],
)
def test_a_value_that_would_not_come_back_is_refused_with_the_reason(db: str, value: str, reason: str) -> None:
    assert call("set", db, "chat:1", value) == (2, "", f"satchel: the value is {reason}\n")


@pytest.mark.parametrize("command", ["get", "set", "export", "import", "migrate"])
def test_raw_is_only_where_no_value_is_shown_or_made(db: str, command: str) -> None:
    arguments = {"get": ["chat:1"], "set": ["chat:1", "1"], "migrate": ["--migrations", "test_cli_upkeep:migrations"]}
    done = call(command, db, *arguments.get(command, []), "--codec", "raw")
    assert (done.code, done.out) == (2, "")
    assert "'raw' is not one of" in done.err


def test_get_shows_a_value_of_another_codec_as_it_is_stored() -> None:
    assert call("get", "test_cli_upkeep:dated", "chat:1") == (0, '"2026-05-04"\n', "")


def test_set_if_absent_leaves_what_is_there(db: str) -> None:
    assert call("set", db, "chat:1", "1", "--if-absent").code == 0
    done = call("set", db, "chat:1", "2", "--if-absent")
    assert (done.code, done.out) == (4, "")
    assert "'chat:1' exists already" in done.err
    assert read(db) == {"chat:1": 1}


def test_what_is_not_there_is_said_by_the_exit_code(db: str) -> None:
    write(db, {"chat:1": 1})
    assert call("get", db, "chat:2") == (4, "", "satchel: there is no 'chat:2'\n")
    assert call("rename", db, "chat:2", "chat:3") == (4, "", "satchel: there is no 'chat:2'\n")


def test_delete_asks_and_without_a_terminal_takes_yes(db: str) -> None:
    write(db, {"chat:1": 1, "chat:2": 1, "chat:3": 1})
    refused = call("delete", db, "chat:1", "chat:2")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "satchel: Delete 2 records: 'chat:1', 'chat:2'? Nobody is here to ask: say --yes\n"
    assert len(read(db)) == 3
    done = call("delete", db, "chat:1", "chat:2", "nobody", "--yes", "--json")
    assert (done.code, json.loads(done.out)) == (0, {"deleted": ["chat:1", "chat:2", "nobody"]})
    assert read(db) == {"chat:3": 1}


@pytest.mark.parametrize(("answer", "code", "left"), [(b"y\n", 0, 0), (b"n\n", 2, 1), (b"\n", 2, 1)])
def test_at_a_terminal_a_person_is_asked(db: str, answer: bytes, code: int, left: int) -> None:
    write(db, {"chat:1": 1})
    ours, theirs = pty.openpty()
    program = [sys.executable, "-c", "from satchel.cli import main; main()", "delete", db, "chat:1"]
    asking = subprocess.Popen(program, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(theirs)
    os.write(ours, answer)
    _, err = asking.communicate(timeout=60)
    os.close(ours)
    assert b"Delete 1 record: 'chat:1'? [y/N]" in err
    assert (asking.returncode, len(read(db))) == (code, left)


def test_a_session_is_renamed_but_not_over_another(db: str) -> None:
    write(db, {"chat:1": {"n": 1}, "chat:2": {"n": 2}})
    assert call("rename", db, "chat:1", "chat:2").code == 4
    assert json.loads(call("rename", db, "chat:1", "chat:-100", "--json").out) == {
        "renamed": "chat:1",
        "to": "chat:-100",
    }
    assert read(db) == {"chat:-100": {"n": 1}, "chat:2": {"n": 2}}


def test_copy_sums_up_and_exits_with_3_where_records_differ(db: str, other: str) -> None:
    write(db, {f"chat:{number}": number for number in range(50)})
    assert call("copy", db, other).out.startswith("50 copied in ")
    write(other, {"chat:7": "secret"})
    done = call("copy", db, other, "--json")
    counts = json.loads(done.out)
    assert counts.pop("seconds") >= 0
    assert counts == {
        "copied": 0, "already_there": 49, "differing": 1, "failed": 0, "gone_meanwhile": 0, "pruned": 0
    }  # fmt: skip
    assert (done.code, done.err) == (3, "differing: chat:7\n")
    assert call("copy", db, other, "--overwrite").code == 2
    assert read(other)["chat:7"] == "secret"
    assert call("copy", db, other, "--overwrite", "--yes").out.startswith("1 copied, 49 already there in ")
    assert read(other) == read(db)


def test_copy_names_twenty_of_many_and_all_if_it_is_to(db: str, other: str) -> None:
    write(db, dict.fromkeys((f"chat:{number}" for number in range(30)), 1))
    write(other, dict.fromkeys((f"chat:{number}" for number in range(30)), 2))
    some = call("copy", db, other).err.splitlines()
    assert (len(some), some[-1]) == (21, "differing: more, which --verbose names")
    assert len(call("copy", db, other, "--verbose").err.splitlines()) == 30


def test_namespaces_and_prefixes_are_mapped(db: str) -> None:
    write(db, {"chat:1": 1, "user:1": 2})
    goal = f"{db}?namespace=shop"
    assert call("copy", db, goal, "--prefix", "chat:", "--to-prefix", "telegram:chat:").code == 0
    assert read(goal) == {"telegram:chat:1": 1}
    refused = call("copy", db, db, "--prefix", "chat:", "--to-prefix", "chat:old:")
    assert (refused.code, refused.out) == (1, "")
    assert "for ever" in refused.err


def test_records_are_encrypted_and_moved_with_their_keys_or_as_they_are(db: str, other: str, tmp_path: Path) -> None:
    keys = generate_key()
    write(db, {"chat:1": {"card": "4111"}})
    env = {"SATCHEL_KEYS": keys}
    assert call("copy", db, other, "--to-codec", "compressed+encrypted", env=env).code == 0
    assert read(other, codec=JSON.compressed().encrypted(keys)) == {"chat:1": {"card": "4111"}}
    assert b"4111" not in Path(other.removeprefix("sqlite:///")).read_bytes()

    third = f"sqlite:///{tmp_path / 'third.db'}"
    assert call("copy", other, third, "--codec", "raw").code == 0
    assert read(third, codec=JSON.encrypted(keys)) == {"chat:1": {"card": "4111"}}
    renamed = call("copy", other, third, "--codec", "raw", "--to-prefix", "other:")
    assert renamed.code == 3
    assert "takes the keys to move it" in renamed.err
    assert json.loads(call("get", third, "chat:1", "--codec", "encrypted", env=env).out) == {"card": "4111"}
    missing = call("get", third, "chat:1", "--codec", "encrypted", env={"SATCHEL_KEYS": ""})
    assert (missing.code, "SATCHEL_KEYS, which is not set" in missing.err) == (1, True)
    assert call("copy", db, other, "--codec", "raw", "--to-codec", "json").code == 2


def test_lines_go_out_and_come_in_by_files_and_pipes(db: str, other: str, tmp_path: Path) -> None:
    write(db, {f"chat:{number}": {"n": number} for number in range(50)})
    file = tmp_path / "x.jsonl"
    assert call("export", db, str(file)).out.startswith("50 exported in ")
    assert call("export", db, str(file)).code == 2
    assert call("export", db, str(file), "--overwrite", "--json").code == 0
    assert call("import", other, str(file)).out.startswith("50 imported in ")
    assert read(other) == read(db)
    piped = call("export", db, "-", "--prefix", "chat:1")
    assert [json.loads(line)["key"] for line in piped.out.splitlines()][:1] == ["chat:1"]
    assert piped.err.startswith("11 exported in ")
    write(other, {"chat:1": "changed"})
    done = call("import", other, "--json", text=piped.out)
    assert (done.code, json.loads(done.out)["differing"]) == (3, 1)
    assert call("import", other, "--overwrite", text=piped.out).code == 2
    assert call("import", other, "--overwrite", "--yes", text=piped.out).code == 0
    assert read(other) == read(db)


def test_a_link_is_followed_and_what_is_no_file_is_not_replaced(db: str, tmp_path: Path) -> None:
    write(db, {"chat:1": 1})
    (tmp_path / "folder").mkdir()
    file, link = tmp_path / "folder" / "x.jsonl", tmp_path / "link"
    link.symlink_to(file)
    for _ in range(2):  # the first time, what it leads to is not there
        assert call("export", db, str(link), "--overwrite").code == 0
        assert link.is_symlink()
        assert file.read_text() == '{"key":"chat:1","value":1}\n'
        file.write_text("")

    pipe, circle = tmp_path / "pipe", tmp_path / "circle"
    os.mkfifo(pipe)
    circle.symlink_to(circle)
    for place in (pipe, circle, tmp_path / "folder"):
        done = call("export", db, str(place), "--overwrite")
        assert (done.code, done.out) == (2, "")
        assert "is no regular file, and is not replaced: leave it out, and redirect standard output" in done.err
    assert pipe.is_fifo()


def test_a_broken_line_is_named_and_nothing_is_written(other: str, tmp_path: Path) -> None:
    done = call("import", other, text='{"key":"a","value":1}\n{"key":"b","value":secret}\n')
    assert (done.code, done.out) == (1, "")
    assert "line 2 is no record" in done.err
    assert "secret" not in done.err
    assert read(other) == {}
    assert call("import", other, str(tmp_path / "none")).code == 2


def test_erase_shows_asks_erases_in_all_storages_and_namespaces_and_looks_again(db: str, other: str) -> None:
    shop = f"{db}?namespace=shop"
    write(db, {"user:7": 1, "chat:42:user:7": 1, "chat:7": 1, "user:77": 1})
    write(shop, {"telegram:user:7": 1, "user:8": 1})
    write(other, {"user:7:draft": 1})
    shown = call("erase", db, shop, other, "--user", "7")
    assert (shown.code, shown.out) == (2, "")
    assert "chat:7 has the id elsewhere, and is kept" in shown.err
    assert "Erase 4 records of user 7? Nobody is here to ask" in shown.err
    assert len(read(db)) == 4

    done = call("erase", db, "--namespace", "satchel", "--namespace", "shop", "--user", "7", "--yes")
    assert (done.code, done.out) == (0, "3 records erased, 0 remaining\n")
    assert (set(read(db)), set(read(shop))) == ({"chat:7", "user:77"}, {"user:8"})
    report = json.loads(call("erase", db, other, "--user", "7", "--yes", "--everywhere", "--json").out)
    assert report["erased"] == 2
    assert [one["found"] for one in report["found"]] == [["chat:7"], ["user:7:draft"]]
    assert (read(db), read(other)) == ({"user:77": 1}, {})
    assert call("erase", db, "--user", "7").out == "nothing is there to erase\n"


plain = Plain()
migrations = {1: lambda data: data, 2: lambda data: {"count": data["n"]}}


class Reviving(MemoryStorage[Any]):
    """A bot that writes its user's record again as soon as it is gone."""

    def __init__(self) -> None:
        super().__init__()
        self._records["satchel:user:7"] = (b"1", None)

    async def aclose(self) -> None:
        """Stay open for the next look."""

    async def drop_many(self, names: Any) -> None:
        await super().drop_many(names)
        await self.put("satchel:user:7", b"1")


reviving = Reviving()


def test_erase_says_where_it_cannot_look_and_what_came_back(db: str) -> None:
    write(db, {"user:7": 1})
    done = call("erase", "test_cli_upkeep:plain", "test_cli_upkeep:reviving", db, "--user", "7", "--yes")
    assert done.code == 3
    assert "Plain: cannot list its keys" in done.err
    assert "user:7 is in memory:// again" in done.err
    assert done.out == "2 records erased, 1 remaining\n"
    assert read(db) == {}


def test_a_storage_without_listing_is_named_by_a_clear_error() -> None:
    for command in (["keys"], ["export"], ["migrate", "--migrations", "test_cli_upkeep:migrations", "--yes"]):
        done = call(command[0], "test_cli_upkeep:plain", *command[1:])
        assert (done.code, done.out) == (1, "")
        assert "cannot list its keys" in done.err


async def later() -> MemoryStorage[Any]:
    return MemoryStorage()


async def failing() -> MemoryStorage[Any]:
    raise LookupError("no token for\nredis://bot:hunter2@host")


def blocking() -> Any:
    return open_blocking("memory://")


def dated() -> MemoryStorage[Any]:
    class Dates(Codec[date]):
        def encode(self, value: date) -> bytes:
            return JSON.encode(value.isoformat())

        def decode(self, payload: bytes) -> date:
            return date.fromisoformat(JSON.decode(payload))

    storage = MemoryStorage[Any](codec=Dates())
    storage._records["satchel:chat:1"] = (b'"2026-05-04"', None)
    return storage


def test_a_factory_may_be_async() -> None:
    assert call("keys", "test_cli_upkeep:later") == (0, "", "")
    assert call("schema", "test_cli_upkeep:later").out == "test_cli_upkeep: there is nothing to set up\n"
    assert call("doctor", "test_cli_upkeep:later", "--rounds", "1").code == 0


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("test_cli_upkeep:failing", "test_cli_upkeep:failing raised LookupError: no token for redis://…"),
        ("test_cli_upkeep:blocking", "<blocking <MemoryStorage memory://>> is for blocking callers"),
        ("broken_bot:make", "broken_bot:make cannot be imported: SyntaxError: "),
        ("raising_bot:make", "raising_bot:make cannot be imported: ValueError: early"),
    ],
)
def test_a_factory_that_makes_no_storage_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str, reason: str
) -> None:
    (tmp_path / "broken_bot.py").write_text("def make(:\n")
    (tmp_path / "raising_bot.py").write_text("raise ValueError('early')\n")
    monkeypatch.chdir(tmp_path)
    for command in (["keys"], ["schema"], ["doctor"], ["export"], ["erase", "--user", "7"]):
        done = call(command[0], factory, *command[1:])
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
        assert done.err.startswith(f"satchel: {reason}")


def test_a_url_without_its_slashes_is_shown_how_it_is_written() -> None:
    assert call("keys", "sqlite:bot.db") == (1, "", "satchel: a URL for sqlite is written sqlite:///…\n")


def test_purge_removes_what_has_ended(db: str) -> None:
    write(f"{db}?ttl=1ms", {"chat:1": 1, "chat:2": 1})
    write(db, {"chat:3": 1})

    async def wait_until_gone() -> None:
        async with SQLiteStorage[Any].from_url(db) as storage:
            while [key async for key in storage.keys()] != ["chat:3"]:
                await asyncio.sleep(0.001)

    asyncio.run(wait_until_gone())
    assert json.loads(call("purge", db, "--json").out) == {"purged": 2}
    assert call("purge", db).out == "0 records purged\n"
    assert call("purge", "test_cli_upkeep:plain").code == 1


def test_migrate_stores_all_sessions_in_todays_layout(db: str) -> None:
    write(db, {**{f"chat:{number}": {"n": number} for number in range(30)}, "chat:bad": "text"})
    command = ("migrate", db, "--migrations", "test_cli_upkeep:migrations")
    assert call(*command).code == 2
    done = call(*command, "--yes")
    assert done.code == 3
    assert done.out.startswith("30 migrated, 1 failed in ")
    assert done.err == "failed: chat:bad: its migration raised TypeError\n"
    again = json.loads(call(*command, "--yes", "--json").out)
    assert (again["migrated"], again["up_to_date"], again["failed"]) == (0, 30, 1)
    assert read(db)["chat:7"]["data"] == {"count": 7}
    assert call("migrate", db, "--migrations", "test_cli_upkeep:nothing", "--yes").code == 1
    assert call("migrate", db, "--migrations", "test_cli_upkeep:plain", "--yes").code == 1


def test_migrate_asks_only_for_migrations_that_are_there(db: str) -> None:
    done = call("migrate", db, "--migrations", "nomod:M")
    assert done == (1, "", "satchel: nomod:M is not there: No module named 'nomod'\n")


def test_doctor_tries_everything_and_leaves_nothing(db: str) -> None:
    write(db, {"chat:1": 1})
    done = call("doctor", db, "--rounds", "2")
    assert (done.code, done.err) == (0, "")
    for word in ("SQLite 3.", "satchel-sqlite ", "write_versioned", " ms\n", "transactional       yes"):
        assert word in done.out
    report = json.loads(call("doctor", db, "--json", "--rounds", "1").out)
    assert report["fine"]
    assert report["capabilities"]["max_value_bytes"] == 999_000_000
    assert {step["name"] for step in report["steps"]} >= {"connect", "read", "write", "touch", "keys", "delete"}
    assert read(f"{db}?namespace=satchel-doctor") == {}
    assert read(db) == {"chat:1": 1}


def test_doctor_says_why_and_creates_nothing_unless_it_is_to(db: str) -> None:
    done = call("doctor", db)
    assert done.code == 1
    assert "connect: " in done.err
    assert "does not exist, and create=False" in done.err
    assert not Path(db.removeprefix("sqlite:///")).exists()
    assert call("doctor", db, "--create").code == 0


readonly = ReadOnly(MemoryStorage[Any]())


def test_doctor_says_that_a_storage_is_read_only(tmp_path: Path) -> None:
    for storage in ("test_cli_upkeep:readonly", f"grammy+file://{tmp_path}"):
        done = call("doctor", storage)
        assert (done.code, done.out) == (1, "")
        assert done.err.endswith("is read-only, and to try a storage out is to write to it\n")


@pytest.mark.parametrize("command", ["keys", "export", "copy", "purge"])
def test_a_wrong_name_creates_no_empty_storage(db: str, other: str, command: str) -> None:
    done = call(command, db, *([other] if command == "copy" else []))
    assert (done.code, done.out) == (1, "")
    assert "does not exist" in done.err
    assert not Path(db.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "redis://bot:hunter2@127.0.0.1:1/0?timeout=1s&sentinel_password=hunter2"],
        ["keys", "redis://bot:hunter2@127.0.0.1:1/0?timeout=1s"],
        ["keys", "redis://bot:hunter2@127.0.0.1:99999/0"],
        ["keys", "nonsense://bot:hunter2@host"],
        ["keys", "redis:bot:hunter2@host"],
        ["keys", "redis:/bot:hunter2@host"],
        ["keys", "memory://", "redis://bot:hunter2@host"],
        ["redis://bot:hunter2@host", "keys"],
        ["copy", "memory://", "redis://bot:hunter2@127.0.0.1:1/0?timeout=1s"],
        ["get", "redis://bot:hunter2@127.0.0.1:1/0?timeout=1s", "chat:1"],
        ["doctor", "redis://bot:hunter2@127.0.0.1:1/0?timeout=1s"],
        ["schema", "redis://bot:hunter2@host/nonsense"],
        ["erase", "redis://bot:hunter2@127.0.0.1:1/0?timeout=1s", "--user", "7"],
        ["migrate", "redis://bot:hunter2@host", "--migrations", "redis://bot:hunter2@host", "--yes"],
    ],
)
def test_no_password_is_ever_shown(arguments: list[str]) -> None:
    done = call(*arguments)
    assert done.code in (1, 2)
    assert done.err
    assert "hunter2" not in done.out + done.err


def test_a_bar_is_drawn_on_a_terminal_and_none_in_a_pipe(db: str, other: str) -> None:
    write(db, {f"chat:{number}": number for number in range(3000)})
    program = [sys.executable, "-c", "from satchel.cli import main; main()", "copy", db, other]
    ours, theirs = pty.openpty()
    copying = subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):
        while chunk := os.read(ours, 4096):
            shown += chunk
    assert copying.stdout is not None
    out = copying.stdout.read()
    copying.stdout.close()
    assert copying.wait(60) == 0
    os.close(ours)
    assert out.startswith(b"3 000 copied in ")
    assert b"/s" in shown
    piped = subprocess.run(program, capture_output=True, check=True)
    assert (piped.stdout.startswith(b"0 copied, 3 000 already there in "), piped.stderr) == (True, b"")


def test_the_help_documents_the_exit_codes() -> None:
    shown = " ".join(call("--help").out.replace("│", " ").split())
    for code in ("0 all is done", "1 a storage failed", "2 wrong usage", "3 done, but", "4 the record", "130"):
        assert code in shown
