"""What is particular to files: their layout, what is damaged or planted, locks, and what is wrong with a folder."""

import asyncio
import hashlib
import json
import logging
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, aclosing, contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final
from unicodedata import normalize

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from satchel import (
    ANY,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    StorageError,
    StorageUnavailableError,
    open_storage,
)
from satchel_file import FileStorage
from satchel_file.files import Files

VALUE: Final = {"name": "Zoë", "pizza": 1}
TEXT: Final = '{"name":"Zoë","pizza":1}'
DIGEST: Final = hashlib.sha256(TEXT.encode()).hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


def file_of(path: Path, name: str) -> Path:
    """The README says so."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return path / digest[:2] / f"{digest}.json"


def files_in(path: Path, pattern: str = "*.json") -> list[Path]:
    return sorted(path.rglob(pattern))


def neighbour(name: str) -> str:
    """Another name of which the file is in the same folder."""
    fan = file_of(Path(), name).parent
    return next(other for number in count() if file_of(Path(), other := f"satchel:neighbour:{number}").parent == fan)


def open_files() -> set[int]:
    found = {int(each.name) for each in Path("/dev/fd").iterdir()}
    return {fd for fd in found if Path(f"/dev/fd/{fd}").exists()}  # without that of the listing itself


async def listed(storage: FileStorage[Any]) -> list[str]:
    return sorted([key async for key in storage.keys()])


async def test_at_rest_a_session_is_a_file_of_readable_json(path: Path) -> None:
    async with FileStorage[Any](path, namespace="my bot") as storage:
        await storage.write("telegram:42", VALUE)
    header = f'{{"satchel":1,"key":"my bot:telegram:42","expires_at":null,"sha256":"{DIGEST}"}}'
    assert files_in(path) == [file_of(path, "my bot:telegram:42")]
    assert file_of(path, "my bot:telegram:42").read_text() == f"{header}\n{TEXT}\n"


async def test_the_commands_of_the_readme_find_a_session(path: Path) -> None:
    readme = Path(__file__).parents[1] / "README.md"
    (commands,) = re.findall(r"^```sh\n(digest=.*?)^```$", readme.read_text(), re.DOTALL | re.MULTILINE)
    async with FileStorage[Any](path) as storage:
        await storage.write("telegram:42", VALUE)
    printed = subprocess.run(["sh", "-ec", commands], cwd=path.parent, capture_output=True, text=True, check=True)
    assert printed.stdout == f"{TEXT}\n"


async def test_a_lifetime_is_in_the_header_and_touch_changes_nothing_else(path: Path) -> None:
    file = file_of(path, "satchel:chat:1")
    async with FileStorage[Any](path, ttl=timedelta(hours=1)) as storage:
        await storage.write("chat:1", VALUE)
        header, payload = file.read_text().splitlines()
        first = json.loads(header)["expires_at"]
        await asyncio.sleep(0.002)
        assert await storage.touch("chat:1")
        again, same = file.read_text().splitlines()
    assert same == payload == TEXT
    assert json.loads(again)["expires_at"] > first
    assert json.loads(again) | {"expires_at": first} == json.loads(header)


async def test_what_an_earlier_release_laid_down_is_read(path: Path) -> None:
    file = path / "0f" / "0f199331b8ce2f6fac063e2543ec8fd6cc842a55aaf1a84a7c075f700f607d80.json"
    assert file == file_of(path, "satchel:chat:1")
    file.parent.mkdir(parents=True)
    digest = "12a9167fc1af4fe3fec87a1de40f1f0cd498c69ce3596b90d7eaf31159e51a2d"
    assert digest == hashlib.sha256(b'{"pizza":1}').hexdigest()
    file.write_text(f'{{"satchel":1,"key":"satchel:chat:1","expires_at":null,"sha256":"{digest}"}}\n{{"pizza":1}}\n')
    async with FileStorage[Any](path) as storage:
        assert await storage.read("chat:1") == {"pizza": 1}
        assert await listed(storage) == ["chat:1"]


async def test_what_a_later_release_laid_down_is_neither_misread_nor_replaced(path: Path) -> None:
    file = file_of(path, "satchel:chat:1")
    file.parent.mkdir(parents=True)
    later = '{"satchel":2,"key":"satchel:chat:1","something":"new"}\n...'
    file.write_text(later)
    async with FileStorage[Any](path) as storage:
        for call in (storage.read("chat:1"), storage.write("chat:1", 1), storage.delete("chat:1"), listed(storage)):
            with pytest.raises(StorageError, match="is of format 2"):
                await call
    assert files_in(path) == [file]
    assert file.read_text() == later


async def test_an_edit_by_hand_counts_as_a_new_version_once_the_digest_is_taken_out(path: Path) -> None:
    file = file_of(path, "satchel:chat:1")
    async with FileStorage[Any](path) as storage:
        version = await storage.write_versioned("chat:1", VALUE, None)
        header, _, _ = file.read_text().partition("\n")
        file.write_text(f'{header}\n{{"pizza": 2}}\n')
        with pytest.raises(CorruptValueError, match='if you edited it, take "sha256" out of its first line'):
            await storage.read("chat:1")
        file.write_text('{"satchel": 1, "key": "satchel:chat:1"}\n{\n  "pizza": 2\n}\n')
        assert await storage.read("chat:1") == {"pizza": 2}
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", 9, version)
        record = await storage.read_versioned("chat:1")
        assert record is not None
        await storage.write_versioned("chat:1", 3, record.version)
        assert await storage.read("chat:1") == 3


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sets(st.text(min_size=1, max_size=60).filter(str.isprintable), max_size=8))
async def test_no_file_system_takes_two_sessions_for_one(tmp_path: Path, keys: set[str]) -> None:
    """Whether it knows cases, composes accents, has short names, or reserves CON and trailing dots."""
    keys |= {
        "a",
        "A",
        "é",
        "e\u0301",
        "ß",
        "ss",
        "CON",
        "nul.json",
        "a.",
        "a ",
        "../../a",
        "/a",
        "a\\b",
        "a:b",
        "x" * 500,
    }
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        async with FileStorage[Any](folder, fsync=False) as storage:
            await storage.write_many({key: key for key in keys})
        names = [str(file.relative_to(folder)) for file in files_in(Path(folder))]
        assert len({normalize("NFC", name).casefold() for name in names}) == len(keys)
        assert all(name.isascii() and name.lower() == name and len(name) == 72 for name in names)


async def test_keys_lead_nowhere_else(path: Path, tmp_path: Path) -> None:
    async with FileStorage[Any](path, namespace="../..") as storage:
        for key in ("../../../escaped", "/escaped", "..", "a/../../b", "a\0b", "damaged/x", "lock"):
            await storage.write(key, 1)
            await storage.delete(key)
            await storage.write(key, 2)
    assert [each.name for each in tmp_path.iterdir()] == ["sessions"]
    assert {len(each.name) for each in path.iterdir()} == {2}


async def test_files_and_folders_are_for_their_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        async with FileStorage[Any](path) as storage:
            await storage.write("chat:1", 1)
            file_of(path, "satchel:chat:1").write_text("")
            await storage.write("chat:1", 2)
    finally:
        os.umask(before)
    assert {each.stat().st_mode & 0o777 for each in [path, *path.rglob("*")] if each.is_dir()} == {0o700}
    assert {each.stat().st_mode & 0o777 for each in path.rglob("*") if each.is_file()} == {0o600}
    assert files_in(path / "damaged")


async def test_what_is_deleted_leaves_a_lock_for_each_folder_and_nothing_for_each_session(path: Path) -> None:
    async with FileStorage[Any](path, fsync=False) as storage:
        for _ in range(2):
            keys = [f"chat:{number}" for number in range(600)]
            await storage.write_many(dict.fromkeys(keys, 1))
            await storage.delete_many(keys)
    assert {file.name for file in path.rglob("*") if file.is_file()} == {"lock"}
    assert len(files_in(path, "lock")) <= 256


def calls_of(storage: FileStorage[Any]) -> dict[str, Callable[[], Awaitable[object]]]:
    """All but those that put something in the place of whatever is there."""
    return {
        "read": lambda: storage.read("chat:1"),
        "read_versioned": lambda: storage.read_versioned("chat:1"),
        "read_many": lambda: storage.read_many(["nobody", "chat:1"]),
        "touch": lambda: storage.touch("chat:1"),
        "create": lambda: storage.write_versioned("chat:1", 2, None),
        "replace": lambda: storage.write_versioned("chat:1", 2, DIGEST),
        "delete": lambda: storage.delete_versioned("chat:1", DIGEST),
    }


def damage(kind: str, content: bytes) -> bytes:
    header, _, payload = content.partition(b"\n")
    return {
        "empty": b"",
        "zeros": bytes(len(content)),
        "half a header": header[: len(header) // 2],
        "a header alone": header + b"\n",
        "half a payload": header + b"\n" + payload[: len(payload) // 2],
        "another payload": header + b"\n" + payload.replace(b"1", b"2"),
        "more": content + b"x",
        "not UTF-8": b"\xff" + content,
        "another session's": content.replace(b'"satchel:chat:1"', b'"satchel:chat:2"'),
        "another namespace's": content.replace(b'"satchel:chat:1"', b'"other:chat:1"'),
        "a bad end": content.replace(b"null", b'"soon"'),
        "no object": b"[]\n" + payload,
        "deeply nested": b"[" * 100_000 + b"\n",
        "a letter": b"Dear mother,\n...",
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "empty", "zeros", "half a header", "a header alone", "half a payload", "another payload", "more", "not UTF-8",
        "another session's", "another namespace's", "a bad end", "no object", "deeply nested", "a letter",
    ],
)  # fmt: skip
async def test_what_is_damaged_raises_and_stays_and_is_kept_aside_by_a_write(
    path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = file_of(path, "satchel:chat:1")
    async with FileStorage[Any](path) as storage:
        await storage.write("chat:1", VALUE)
        content = damage(kind, file.read_bytes())
        file.write_bytes(content)
        for _ in range(2):
            for call in calls_of(storage).values():
                with pytest.raises(CorruptValueError, match=r"chat:1' in file:///.*\.json .*") as caught:
                    await call()
                assert "Zo" not in str(caught.value)
                assert "\n" not in str(caught.value)
        assert files_in(path) == [file]
        assert file.read_bytes() == content
        assert not caplog.records
        await storage.write("chat:1", 2)
        await storage.write("chat:1", 3)
        assert await storage.read("chat:1") == 3
    (kept,) = files_in(path / "damaged")
    assert kept.read_bytes() == content
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("satchel", logging.WARNING)
    assert f"satchel:chat:1' in file:///{path}, kept as damaged/{kept.name}" in record.getMessage()


async def test_a_file_that_is_cut_short_anywhere_is_noticed(path: Path) -> None:
    file = file_of(path, "satchel:chat:1")
    async with FileStorage[Any](path) as storage:
        await storage.write("chat:1", VALUE)
        content = file.read_bytes()
        for length in range(len(content) - 1):
            file.write_bytes(content[:length])
            with pytest.raises(CorruptValueError):
                await storage.read("chat:1")
        file.write_bytes(content[:-1])  # only the last line feed
        assert await storage.read("chat:1") == VALUE


async def test_deleting_what_is_damaged_keeps_it_aside_too(path: Path) -> None:
    async with FileStorage[Any](path) as storage:
        await storage.write_many({"chat:1": 1, "chat:2": 2})
        for key in ("chat:1", "chat:2"):
            file_of(path, f"satchel:{key}").write_text("half")
        await storage.delete("chat:1")
        await storage.delete_many(["chat:2"])
        assert await storage.read_many(["chat:1", "chat:2"]) == {}
    assert [kept.read_text() for kept in files_in(path / "damaged")] == ["half", "half"]


async def test_listing_gives_all_keys_that_can_be_told_and_then_says_which_files_tell_none(path: Path) -> None:
    async with FileStorage[Any](path) as storage:
        keys = [f"chat:{number}" for number in range(20)]
        await storage.write_many(dict.fromkeys(keys, VALUE))
        file_of(path, "satchel:chat:3").write_bytes(file_of(path, "satchel:chat:3").read_bytes()[:-9])
        file_of(path, "satchel:chat:4").write_text("")
        file_of(path, "satchel:chat:5").write_bytes(file_of(path, "satchel:chat:6").read_bytes())
        found = []
        with pytest.raises(CorruptValueError, match=r"tell whose they are: ../\w{64}\.json and 1 more"):
            async for key in storage.keys():
                found.append(key)  # noqa: PERF401 - what was found before it raises is the point
        # Of chat:3 the payload is damaged, so reading it raises: it is there.
        assert sorted(found) == sorted(set(keys) - {"chat:4", "chat:5"})
        assert await storage.purge_expired() == 0


async def test_files_of_other_names_do_not_count(path: Path) -> None:
    async with FileStorage[Any](path) as storage:
        await storage.write("chat:1", 1)
        file = file_of(path, "satchel:chat:1")
        content = file.read_bytes()
        for stray in (
            f".{file.name}.swp",
            f"{file.name}~",
            "x.tmp",
            file.name.upper(),
            f"Copy of {file.name}",
            "notes",
        ):
            (file.parent / stray).write_bytes(content)
        (path / "README").write_text("sessions of the bot")
        (path / "backup").mkdir()
        assert await listed(storage) == ["chat:1"]
        await storage.delete("chat:1")
        assert await listed(storage) == []
        assert await storage.read("chat:1") is None


@pytest.mark.parametrize("what", ["file", "dangling", "folder", "fifo", "directory"])
async def test_what_is_no_file_of_ours_is_neither_followed_nor_replaced(path: Path, tmp_path: Path, what: str) -> None:
    file, precious = file_of(path, "satchel:chat:1"), tmp_path / "precious"
    async with FileStorage[Any](path, timeout=timedelta(seconds=2)) as storage:
        await storage.write("chat:1", VALUE)
        precious.mkdir()
        file.rename(precious / file.name)
        if what == "file":
            file.symlink_to(precious / file.name)
        elif what == "dangling":
            file.symlink_to(precious / "nothing")
        elif what == "folder":
            (file.parent / "lock").unlink()
            file.parent.rmdir()
            file.parent.symlink_to(precious)
        elif what == "fifo":
            os.mkfifo(file)
        else:
            file.mkdir()
        before = sorted((each, each.lstat().st_mtime_ns) for each in [*precious.iterdir(), precious])
        calls = calls_of(storage) | {
            "write": lambda: storage.write("chat:1", 2),
            "write_many": lambda: storage.write_many({"chat:1": 2}),
            "drop": lambda: storage.delete("chat:1"),
            "delete_many": lambda: storage.delete_many(["chat:1"]),
            "keys": lambda: listed(storage),
            "purge": storage.purge_expired,
        }
        if what != "folder":
            del calls["purge"]  # which looks for what has ended, and leaves the rest to those who read it
        for call in calls.values():
            with pytest.raises(ConfigurationError, match="a link or a stranger's file at") as caught:
                await call()
            assert "\n" not in str(caught.value)
    assert sorted((each, each.lstat().st_mtime_ns) for each in [*precious.iterdir(), precious]) == before


async def test_a_lock_that_leads_elsewhere_is_refused(path: Path, tmp_path: Path) -> None:
    async with FileStorage[Any](path) as storage:
        await storage.write("chat:1", 1)
        lock = file_of(path, "satchel:chat:1").parent / "lock"
        lock.unlink()
        lock.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ConfigurationError, match="'lock'"):
            await storage.write("chat:1", 2)
        assert await storage.read("chat:1") == 1
    assert not (tmp_path / "elsewhere").exists()


@contextmanager
def locked(path: Path, name: str) -> Iterator[None]:
    """Hold what a writer in another process would hold."""
    with FileLock(file_of(path, name).parent / "lock", timeout=10):
        yield


async def test_a_folder_that_stays_locked_raises_within_the_timeout_and_works_again_after(path: Path) -> None:
    hurried = FileStorage[Any](path, timeout=timedelta(milliseconds=100))
    async with FileStorage[Any](path) as storage, aclosing(hurried):
        await storage.write("chat:1", 1)
        with locked(path, "satchel:chat:1"):
            for call in (hurried.write("chat:1", 2), hurried.delete("chat:1"), hurried.touch("chat:1")):
                with pytest.raises(StorageUnavailableError, match="locked by another process, or slow, for too long"):
                    await call
            assert await storage.read("chat:1") == 1
            with pytest.raises(ConflictError):  # which is known without the lock
                await storage.write_versioned("chat:1", 2, None)
        assert await storage.read("chat:1") == 1
        async with asyncio.timeout(10):
            while await storage.read("chat:1") == 1:
                with suppress(StorageUnavailableError):  # by a busy machine
                    await hurried.write("chat:1", 3)
        assert await storage.read("chat:1") == 3


async def test_what_was_given_up_while_it_waited_changes_nothing_later(path: Path) -> None:
    async with FileStorage[Any](path) as storage:
        await storage.write("chat:1", 1)
        with locked(path, "satchel:chat:1"):
            calls = [storage.write("chat:1", 2), storage.delete("chat:1"), storage.write_many({"chat:1": 3})]
            tasks = [asyncio.ensure_future(call) for call in calls]
            while len(files_in(path, "*.tmp")) < 2:  # both writes wait for the lock
                await asyncio.sleep(0.001)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            while files_in(path, "*.tmp"):  # neither waits any more, although the lock is still held
                await asyncio.sleep(0.001)
        await storage.touch("chat:1")
        assert await storage.read("chat:1") == 1


def test_a_change_that_was_given_up_before_it_had_the_lock_is_not_made(path: Path) -> None:
    files = Files(path, "here", fsync=False, version_of=lambda payload: payload.hex())
    files.create()
    given_up = threading.Event()
    assert files.write(given_up, {"chat:1": b"1"}, None, ANY)
    given_up.set()
    with pytest.raises(TimeoutError):
        files.write(given_up, {"chat:1": b"2"}, None, ANY)
    with pytest.raises(TimeoutError):
        files.remove(given_up, ["chat:1"], ANY)
    stored = files.find("chat:1")
    assert stored is not None
    assert stored.payload == b"1"
    assert not files_in(path, "*.tmp")


async def test_who_waits_for_a_lock_that_somebody_removed_waits_for_the_next_one(path: Path) -> None:
    async with FileStorage[Any](path) as storage:
        await storage.write("chat:1", 1)
        with ExitStack() as later:
            with locked(path, "satchel:chat:1"):
                task = asyncio.create_task(storage.write("chat:1", 2))
                while not files_in(path, "*.tmp"):
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.01)  # until it has most likely opened the lock
                files_in(path, "lock")[0].unlink()
                later.enter_context(locked(path, "satchel:chat:1"))
            await asyncio.sleep(0.05)
            assert await storage.read("chat:1") == 1
        await task
        assert await storage.read("chat:1") == 2


async def test_calls_that_wait_for_a_thread_and_are_given_up_do_nothing(path: Path) -> None:
    async with FileStorage[Any](path, threads=1) as storage:
        await storage.write_many({"chat:1": 1, "chat:2": 1})
        with locked(path, "satchel:chat:1"):
            first = asyncio.create_task(storage.write("chat:1", 2))
            while not files_in(path, "*.tmp"):
                await asyncio.sleep(0.001)
            second = asyncio.create_task(storage.write("chat:2", 2))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
        await first
        assert await storage.read_many(["chat:1", "chat:2"]) == {"chat:1": 2, "chat:2": 1}


async def test_expired_files_are_removed_by_later_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("satchel_file.storage._SWEEP_EVERY", 0.0)
    monkeypatch.setattr("satchel_file.files.PAGE", 2)
    async with FileStorage[Any](path) as storage:
        await storage.write_many({f"stays:{number}": 1 for number in range(5)})
    async with FileStorage[Any](path, ttl=timedelta(milliseconds=1)) as storage:
        await storage.write_many({f"ends:{number}": 1 for number in range(5)})
    await asyncio.sleep(0.005)
    async with FileStorage[Any](path, ttl=timedelta(hours=1)) as storage:
        for _ in range(8):  # 11 files, two at a time, and once around
            await storage.write("new", 2)
    assert files_in(path) == sorted(
        file_of(path, f"satchel:{key}") for key in ["new", *(f"stays:{i}" for i in range(5))]
    )


async def test_a_sweep_that_fails_or_would_have_to_wait_does_not_fail_the_write(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("satchel_file.storage._SWEEP_EVERY", 0.0)
    async with FileStorage[Any](path, ttl=timedelta(hours=1), timeout=timedelta(seconds=2)) as storage:
        await storage.write_many({f"chat:{number}": 1 for number in range(9)})
        with locked(path, "satchel:chat:1"):
            await storage.write("chat:2", 2)
            assert await storage.read("chat:2") == 2
        (path / "00").rmdir() if (path / "00").exists() else None
        (path / "00").write_text("no folder")
        await storage.write("chat:2", 3)
        assert await storage.read("chat:2") == 3


async def test_purging_counts_what_has_ended_once_whoever_does_it(path: Path) -> None:
    async with FileStorage[Any](path, ttl=timedelta(milliseconds=1), fsync=False) as storage:
        await storage.write_many({f"chat:{number}": 1 for number in range(700)})
        await asyncio.sleep(0.005)
        async with FileStorage[Any](path) as other:
            await other.write_many({f"stays:{number}": 1 for number in range(10)})
            assert sum(await asyncio.gather(storage.purge_expired(), other.purge_expired())) == 700
    assert len(files_in(path)) == 10


async def test_temporary_files_never_count_and_old_ones_are_removed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FileStorage[Any](path) as storage:
        await storage.write("chat:1", 1)
        folder, other = file_of(path, "satchel:chat:1").parent, path / "zz"
        left, fresh, lonely = folder / f"{'0' * 32}.tmp", folder / f"{'1' * 32}.tmp", path / "00" / f"{'2' * 32}.tmp"
        other.mkdir()
        lonely.parent.mkdir(exist_ok=True)
        for each in (left, fresh, lonely):
            each.write_bytes(file_of(path, "satchel:chat:1").read_bytes())
        for each in (left, lonely):
            os.utime(each, (0, 0))
        assert await listed(storage) == ["chat:1"]
        monkeypatch.setattr("satchel_file.storage._SWEEP_EVERY", 0.0)
        await storage.write(neighbour("satchel:chat:1").removeprefix("satchel:"), 1)
        assert (left.exists(), fresh.exists(), lonely.exists()) == (False, True, True)
        await storage.purge_expired()
        assert (fresh.exists(), lonely.exists()) == (True, False)


async def test_the_url_names_a_relative_or_an_absolute_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    for url in ("file:///a%20b?fsync=false&threads=2&ttl=1h", "file:///bots@home%231", f"file:///{path}"):
        async with open_storage(url) as storage:
            await storage.write("chat:1", 1)
    assert sorted(each.name for each in path.parent.iterdir()) == ["a b", "bots@home#1", "sessions"]


async def test_a_relative_path_stays_the_same_folder_when_the_process_moves(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(path.parent)
    storage = FileStorage[Any]("sessions")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    async with storage:
        await storage.write("chat:1", 1)
    assert path.exists()


@pytest.mark.parametrize(("url", "line"), [
    ("file://sessions", "file:///relative/folder or file:////absolute/folder"),
    ("file://localhost/sessions", "file:///relative/folder or file:////absolute/folder"),
    ("file://", "file:///relative/folder or file:////absolute/folder"),
    ("file:///", "file:///relative/folder or file:////absolute/folder"),
    ("file:sessions", "starts with its scheme"),
    ("file:///my#sessions", "write '#' as %23"),
    ("file:///sessions?namespace=a&namespace=b", "has option namespace more than once"),
    ("file:///sessions?mode=ro", "no option mode"),
    ("file:///sessions?fsync=perhaps", "fsync is not true or false"),
    ("file:///sessions?threads=many", "threads is not an integer"),
    ("file:///sessions?threads=0", "threads is 0; it has to be a positive integer"),
    ("file:///sessions?ttl=0s", "has to be positive"),
    ("file:///a%00b", "is no folder for sessions"),
])  # fmt: skip
def test_a_wrong_url_is_refused_before_anything_is_opened(url: str, line: str) -> None:
    with pytest.raises(ConfigurationError, match=line) as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a\0b", b"sessions"])
def test_what_is_no_folder_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no folder for sessions"):
        FileStorage(name)


def test_options_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="fsync is 'no'; it is True or False"):
        FileStorage("sessions", fsync="no")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="threads is 2.5"):
        FileStorage("sessions", threads=2.5)  # type: ignore[arg-type]


async def test_a_folder_that_the_new_one_would_be_in_is_named_if_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"folder {tmp_path}/missing does not exist .*four slashes"):
        await FileStorage[Any](tmp_path / "missing" / "sessions").read("chat:1")


async def test_a_file_is_not_a_folder_and_is_left_as_it_is(path: Path) -> None:
    path.write_text("a letter to my mother")
    with pytest.raises(ConfigurationError, match="is not a folder"):
        await FileStorage[Any](path).write("chat:1", 1)
    assert path.read_text() == "a letter to my mother"
    with pytest.raises(ConfigurationError, match="does not exist"):
        await FileStorage[Any](path / "below").write("chat:1", 1)


async def test_a_folder_that_another_process_makes_while_it_is_looked_for_is_used(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_dir = Path.is_dir

    def just_too_early(here: Path) -> bool:
        found = is_dir(here)
        with suppress(FileExistsError):
            path.mkdir()
        return found

    monkeypatch.setattr(Path, "is_dir", just_too_early)
    async with FileStorage[Any](path) as storage:
        await storage.write("chat:1", 1)
        assert await storage.read("chat:1") == 1


async def test_a_name_that_is_too_long_for_the_file_system_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="too long"):
        await FileStorage[Any](tmp_path / ("x" * 300)).write("chat:1", 1)


async def test_without_create_nothing_is_created_and_the_schema_says_how_to(tmp_path: Path) -> None:
    path = tmp_path / "the bot's sessions"
    storage = FileStorage[Any](path, create=False)
    with pytest.raises(ConfigurationError, match="does not exist, and create=False"):
        await storage.read("chat:1")
    assert not path.exists()
    subprocess.run(["sh", "-c", storage.schema()], check=True)
    assert path.stat().st_mode & 0o777 == 0o700
    async with storage:
        await storage.write("chat:1", 1)
        assert await storage.read("chat:1") == 1


async def test_a_folder_that_vanishes_does_not_look_empty(path: Path, tmp_path: Path) -> None:
    async with FileStorage[Any](path) as storage:
        await storage.write("chat:1", 1)
        path.rename(tmp_path / "unmounted")
        for call in (storage.read("chat:1"), storage.write("chat:1", 2), storage.delete("chat:1"), listed(storage)):
            with pytest.raises(StorageUnavailableError, match="is not there any more"):
                await call
        assert not path.exists()
        (tmp_path / "unmounted").rename(path)
        assert await storage.read("chat:1") == 1
        await storage.write("chat:1", 2)


async def test_sessions_that_somebody_removed_are_gone_and_can_be_written_again(path: Path) -> None:
    async with FileStorage[Any](path) as storage:
        await storage.write("chat:1", 1)
        for file in sorted(path.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        assert await storage.read("chat:1") is None
        await storage.write("chat:1", 2)
        assert await storage.read("chat:1") == 2


async def test_a_folder_without_the_right_to_write_is_refused_and_says_so() -> None:
    with unprivileged_folder() as folder:
        async with FileStorage[Any](folder / "sessions") as storage:
            await storage.write("chat:1", 1)
        fan = file_of(folder / "sessions", "satchel:chat:1").parent
        fan.chmod(0o500)
        async with FileStorage[Any](folder / "sessions") as storage:
            for call in (storage.write("chat:1", 2), storage.delete("chat:1")):
                with pytest.raises(ConfigurationError, match="is not for this process to read and write"):
                    await call
            assert await storage.read("chat:1") == 1
        fan.chmod(0o700)
        folder.chmod(0o500)
        with pytest.raises(ConfigurationError, match="is not for this process to read and write"):
            await FileStorage[Any](folder / "other").write("chat:1", 1)


@pytest.mark.parametrize("part", ["file", "fan", "folder"])
async def test_what_may_not_be_read_is_not_missing(part: str) -> None:
    with unprivileged_folder() as folder:
        path = folder / "sessions"
        async with FileStorage[Any](path) as storage:
            await storage.write("chat:1", 1)
            file = file_of(path, "satchel:chat:1")
            closed = {"file": file, "fan": file.parent, "folder": path}[part]
            mode = closed.stat().st_mode
            closed.chmod(0)
            calls = [storage.read("chat:1"), storage.read_many(["chat:1"]), storage.touch("chat:1"), listed(storage)]
            for call in [*calls, storage.write("chat:1", 2), storage.delete("chat:1")]:
                with pytest.raises(ConfigurationError, match="is not for this process to read and write"):
                    await call
            closed.chmod(mode)
            assert await storage.read("chat:1") == 1


async def test_the_rights_that_the_readme_names_are_enough() -> None:
    with unprivileged_folder() as folder:
        (folder / "sessions").mkdir(mode=0o700)
        folder.chmod(0o500)
        async with FileStorage[Any](folder / "sessions", create=False, ttl=timedelta(hours=1)) as storage:
            version = await storage.write_versioned("chat:1", 1, None)
            await storage.touch("chat:1")
            assert await listed(storage) == ["chat:1"]
            assert await storage.purge_expired() == 0
            await storage.delete_versioned("chat:1", version)


async def test_closing_leaves_no_thread_and_no_open_file(path: Path) -> None:
    threads, files = set(threading.enumerate()), open_files()
    async with FileStorage[Any](path, ttl=timedelta(hours=1)) as storage:
        await asyncio.gather(*(storage.write(f"chat:{number}", number) for number in range(40)))
        async for _ in storage.keys():
            break
        await storage.purge_expired()
        file_of(path, "satchel:chat:1").write_text("")
        with pytest.raises(CorruptValueError):
            await storage.read("chat:1")
        started = set(threading.enumerate()) - threads
        assert len(started) == 8
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()
    assert open_files() == files


async def test_too_many_open_files_raise_and_leak_none(path: Path) -> None:
    import resource

    async with FileStorage[Any](path, threads=1) as storage:
        await storage.write("chat:1", 1)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(open_files())
        for spare in range(5):
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + spare, before[1]))
            try:
                calls = (storage.read("chat:1"), storage.write("chat:1", 1), storage.delete("nobody"))
                results = await asyncio.gather(*calls, return_exceptions=True)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            assert all(not isinstance(r, BaseException) or type(r) is StorageUnavailableError for r in results)
            assert await storage.read("chat:1") == 1
        assert max(open_files()) <= highest + 1


@contextmanager
def unprivileged_folder() -> Iterator[Path]:
    """Make a folder that belongs to the user the block runs as, which is never root: permissions mean nothing to it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
            folder.chmod(0o755)
