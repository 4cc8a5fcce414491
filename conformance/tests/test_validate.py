"""validate(): on a storage of strangers, on what is not declared, and what its report holds."""

import asyncio
import inspect
import json
import os
import re
import select
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from multiprocessing.context import BaseContext
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import pytest

from satchel import (
    ANY,
    Capabilities,
    Expected,
    MemoryStorage,
    Payload,
    StorageUnavailableError,
    open_storage,
)
from satchel.codecs import JSON, JSONCodec
from satchel.keys import check_key
from satchel_conformance import Report, Result, Status, bench, registry, runner, validate

README = Path(__file__).parents[1] / "README.md"


class Minimal:
    """Three methods over a dict: no options, no lifecycle, nothing from Satchel's base class."""

    def __init__(self, records: dict[str, bytes]) -> None:
        self._records = records

    async def read(self, key: str) -> Any:
        payload = self._records.get(check_key(key))
        return None if payload is None else JSON.decode(payload)

    async def write(self, key: str, value: Any) -> None:
        self._records[check_key(key)] = JSON.encode(value)

    async def delete(self, key: str) -> None:
        self._records.pop(check_key(key), None)


def _validate(factory: Any, **options: Any) -> Report:
    return asyncio.run(validate(factory, **options))


def test_three_methods_are_enough() -> None:
    records: dict[str, bytes] = {}

    report = _validate(lambda: Minimal(records))

    assert report.ok, report.summary()
    assert report.storage == "Minimal"
    assert report.counts[Status.PASSED] > 40
    assert {result.reason for result in report.results if result.clause == "R4-namespace-refused"} == {
        "the factory takes no namespace"
    }


def test_a_key_is_refused_by_the_storage_itself_also_behind_a_prefix() -> None:
    class TakesAll(Minimal):
        async def write(self, key: str, value: Any) -> None:
            self._records[key] = JSON.encode(value)

    report = _validate(lambda: TakesAll({}), shared=False, clauses=["R4-refuses-*"])

    assert [result.status for result in report.results] == [Status.FAILED] * 4


def test_a_server_that_is_not_there_is_said_once_and_not_for_every_clause() -> None:
    class Away(MemoryStorage[Any]):
        async def open(self) -> None:
            raise StorageUnavailableError("away:// cannot be reached")

    with pytest.raises(StorageUnavailableError, match="cannot be reached"):
        _validate(Away)


def test_a_factory_may_be_async() -> None:
    async def make(**options: Any) -> MemoryStorage[Any]:
        return MemoryStorage(**options)

    assert _validate(make, shared=False, clauses=["R1"]).ok


def test_an_error_that_was_not_expected_is_in_the_result() -> None:
    class Breaks(MemoryStorage[Any]):
        capabilities = MemoryStorage.capabilities

        async def read(self, key: str) -> Any:
            raise ZeroDivisionError("oh")

    [result] = _validate(Breaks, shared=False, clauses=["R1-absent-is-none"]).results

    assert result.status is Status.FAILED
    assert result.expected == "A key that was never written reads as None."
    assert result.happened == "ZeroDivisionError: oh"
    assert result.where.startswith("absence.py:")
    assert "ZeroDivisionError" in result.trace


def test_a_failure_names_the_line_of_its_clause_not_of_what_clauses_share() -> None:
    class Overwrites(MemoryStorage[Any]):
        capabilities = MemoryStorage.capabilities

        async def write_versioned(self, key: str, value: Any, expected: str | None) -> str:
            await self.write(key, value)
            return "1"

    (clause,) = registry.select(["R7-create-only"])
    (result,) = _validate(Overwrites, shared=False, clauses=[clause.id]).results
    lines, first = inspect.getsourcelines(clause.check)
    file, line = result.where.split(":")
    assert file == "versions.py"
    assert "_conflicts(" in lines[int(line) - first]


def test_a_clause_that_does_not_end_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hangs(MemoryStorage[Any]):
        capabilities = MemoryStorage.capabilities

        async def read(self, key: str) -> Any:
            await asyncio.sleep(60)

    monkeypatch.setattr("satchel_conformance.running.LONGEST", 0.15)

    [result] = _validate(Hangs, shared=False, clauses=["R1-absent-is-none"]).results

    assert (result.status, result.happened) == (Status.FAILED, "it had not ended after 0.05 s")


@pytest.mark.parametrize("method", ["setup", "aclose"])
def test_a_storage_that_does_not_open_or_close_is_said_to(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(runner, "_TO_MEET", 0.02)
    storage = type("Hangs", (MemoryStorage,), {method: hang})
    with pytest.raises(StorageUnavailableError, match=r"setup\(\) and aclose\(\) had not ended after 0.02 s"):
        _validate(storage, shared=False)


def test_storages_that_do_not_close_end_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hangs(MemoryStorage[Any]):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)

        async def aclose(self) -> None:
            if self is not made[0]:  # the one that validate() looks at
                await asyncio.Event().wait()

    made: list[object] = []
    monkeypatch.setattr(bench, "_TO_CLOSE", 0.02)
    assert _validate(Hangs, shared=False, clauses=["R4-namespaces-apart", "R1-absent-is-none"]).ok


@pytest.mark.parametrize(("made", "why"), [(None, "no storage: it has"), (7, "no storage: it has"), (dict, "a class")])
def test_what_is_no_storage_is_said_at_once(made: object, why: str) -> None:
    with pytest.raises(ValueError, match=f"the factory made {made}, which is {why}"):
        _validate(lambda: made)


def test_a_factory_that_gives_one_storage_again_and_again_is_told() -> None:
    storage = MemoryStorage[Any]()
    with pytest.raises(ValueError, match="the factory gave the same storage twice"):
        _validate(lambda: storage)


@pytest.mark.parametrize(("fails", "status"), [(2, Status.PASSED), (20, Status.FAILED)])
def test_a_race_is_tried_again_and_the_result_says_so(fails: int, status: Status) -> None:
    class Emulator(MemoryStorage[Any]):
        capabilities = MemoryStorage.capabilities

        async def delete(self, key: str) -> None:
            failed.append(key)
            if len(failed) <= fails:
                raise ZeroDivisionError
            await super().delete(key)

    failed: list[str] = []
    races = {"R1-delete-absent": "deletes end on Mondays"}
    report = _validate(Emulator, shared=False, clauses=["R1-delete-absent"], races=races)
    (result,) = report.results
    assert result.status is status
    assert result.reason.endswith(": deletes end on Mondays")
    assert (result.reason in report.to_markdown()) == (status is Status.PASSED)
    assert (result.reason in report.summary()) == (status is Status.PASSED)


def test_a_clause_is_no_exception_and_race_at_once() -> None:
    both = {"R1-delete-absent": "deletes end on Mondays"}
    with pytest.raises(ValueError, match="R1-delete-absent is in exceptions and in races"):
        _validate("memory://", exceptions=both, races=both)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a pipe's size cannot be set")
def test_a_run_does_not_stand_still_where_pipes_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(context: BaseContext) -> SimpleQueue[str]:
        queue = SimpleQueue[str](ctx=context)
        fcntl.fcntl(vars(queue)["_reader"].fileno(), fcntl.F_SETPIPE_SZ, 4096)
        return queue

    fcntl = pytest.importorskip("fcntl")

    monkeypatch.setattr(BaseContext, "SimpleQueue", small)
    report = asyncio.run(asyncio.wait_for(validate("memory://", clauses=["R0", "R1", "R2", "R4", "R7"], jobs=2), 60))
    assert len(report.results) > 111  # whose ids such a pipe can hold
    assert report.ok


def test_a_factory_that_hangs_when_the_limit_is_over_does_not_hold_up_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def make(**options: Any) -> MemoryStorage[Any]:
        made.append(options)
        if len(made) > 3:
            await asyncio.Event().wait()
        return MemoryStorage(**options)

    made: list[object] = []
    monkeypatch.setattr("satchel_conformance.running.LONGEST", 0.15)
    monkeypatch.setattr(bench, "_TO_CLOSE", 0.02)
    (result,) = asyncio.run(asyncio.wait_for(validate(make, clauses=["R4-namespaces-apart"]), 20)).results
    assert result.happened == "it had not ended after 0.05 s"


@pytest.mark.parametrize(
    ("races", "message"),
    [({"R1-none": "why"}, "there is no clause 'R1-none'"), ({"R1-delete-absent": " "}, "needs a reason")],
)
def test_a_race_names_a_clause_and_says_what_was_seen(races: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=f"races: .*{message}"):
        _validate("memory://", races=races)


def test_nothing_is_left_of_clauses_that_open_and_close_storages_themselves(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    assert _validate(url, clauses=["R11", "R13", "R14"]).ok
    with closing(sqlite3.connect(tmp_path / "bot.db")) as raw:
        assert raw.execute("SELECT count(*) FROM satchel_sessions").fetchone() == (0,)


def test_threads_that_an_open_storage_begins_late_are_no_leak() -> None:
    class Grows(MemoryStorage[Any]):
        capabilities = MemoryStorage.capabilities

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.pool, self.ended = list[threading.Thread](), threading.Event()

        async def open(self) -> None:
            self.grow()

        async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
            self.grow()
            return await super().put(name, payload, expected)

        async def close(self) -> None:
            self.ended.set()

        def grow(self) -> None:
            if len(self.pool) < 2:
                self.pool.append(threading.Thread(target=self.ended.wait))
                self.pool[-1].start()

    assert _validate(Grows, shared=False, clauses=["R11"]).ok


def test_each_storage_of_memory_has_its_records_to_itself() -> None:
    (result,) = _validate("memory://", clauses=["R0-read-your-writes"]).results
    assert result.reason == "each storage keeps its records to itself"


def test_processes_end_when_the_one_that_started_them_is_killed() -> None:
    run = "from satchel_conformance.worker import run_workers; run_workers('memory://', 'n', 'forever', processes=2)"
    with subprocess.Popen([sys.executable, "-c", run], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"1\n"
        parent.kill()
        parent.communicate(timeout=20)  # which ends with the last that holds the pipe


_FORKED = """
import asyncio, sys
from satchel_conformance import forking

async def main():
    process = await forking.start(sys.argv[1:])
    print("started", flush=True)
    out, errors = await process.communicate()
    print(process.returncode, out, errors.decode().splitlines()[-1:])

forking.begin()
asyncio.run(main())
"""
_forks = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere to fork is not safe")


@_forks
@pytest.mark.parametrize(
    ("url", "end"),
    [
        ("memory://", "0 b'0\\n1\\n2\\n' []\n"),
        (
            "nowhere",
            "1 b'' ['satchel.errors.ConfigurationError: a storage URL starts with its scheme, as in sqlite:///bot.db']\n",
        ),
    ],
)
def test_a_forked_process_tells_what_it_printed_and_how_it_ended(url: str, end: str) -> None:
    command = [sys.executable, "-c", _FORKED, "1", url, "n", "create", "3"]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout == f"started\n{end}"


@_forks
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_processes_are_forked_also_where_there_is_no_stdout_or_stderr(closed: str, tmp_path: Path) -> None:
    code = (
        "from satchel_conformance import validate; import asyncio, sys;"
        "clauses = ['*-of-processes', 'R7-one-creating-process', 'R9-killed-writer'];"
        "report = asyncio.run(validate(sys.argv[1], clauses=clauses, jobs=2));"
        "sys.exit(any(result.status != 'passed' for result in report.results))"
    )
    url = f"sqlite:///{tmp_path}/sessions.db"
    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", code, url], check=False)
    assert done.returncode == 0


_FORKER_IS_GONE = """
import asyncio, os, signal
from pathlib import Path
from satchel_conformance import forking

def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

async def main():
    (forker,) = children(os.getpid())
    for turns in range(30):
        task = asyncio.create_task(forking.start(["1", "memory://", "n", "forever"]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            os.killpg(task.result().pid, signal.SIGKILL)
            await task.result().communicate()
    async with asyncio.timeout(20):
        while children(forker):
            await asyncio.sleep(0.01)
    opened = len([*Path("/proc/self/fd").iterdir()])
    os.kill(int(forker), signal.SIGKILL)
    for _ in range(2):
        assert await forking.start(["1", "memory://", "n", "write"]) is None
    assert len([*Path("/proc/self/fd").iterdir()]) == opened - 1

forking.begin()
asyncio.run(main())
"""


@_forks
def test_what_is_forked_for_nobody_ends_and_without_a_forker_none_is_forked() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", _FORKER_IS_GONE], check=True)


_THREADS = """
import threading
from satchel_conformance import forking
threading.Thread(target=threading.Event().wait, daemon=True).start()
forking.begin()
assert not forking._FORKER
"""


@_forks
def test_a_process_with_threads_is_not_forked() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", _THREADS], check=True)


_DIES = """
import multiprocessing, os, signal, sys
from satchel_conformance import worker

def dies(*arguments, **options):
    if multiprocessing.current_process().name.endswith("-1"):
        os.kill(os.getpid(), signal.SIGKILL)
    return opens(*arguments, **options)

opens, worker.open_storage = worker.open_storage, dies
sys.exit(worker.main(os.getppid(), 3, "memory://", "n", "write"))
"""


@_forks
def test_a_process_that_ends_without_a_word_is_said_and_waited_for_by_no_other() -> None:
    done = subprocess.run([sys.executable, "-c", _DIES], stderr=subprocess.PIPE, text=True, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (3, "ForkProcess-1 has ended with -9\n")


class _Backwards(JSONCodec):
    def encode(self, value: object) -> bytes:
        return super().encode(value)[::-1]

    def decode(self, payload: bytes) -> Any:
        return super().decode(payload[::-1])


def test_a_factory_may_have_a_codec_of_its_own(tmp_path: Path) -> None:
    def make(**options: Any) -> Any:
        return open_storage(f"sqlite:///{tmp_path}/sessions.db", **({"codec": _Backwards()} | options))

    report = _validate(make, clauses=["R2-codec-everywhere", "R1-corrupt-*"])
    assert [result.explain() for result in report.results if result.status is not Status.PASSED] == []


@_forks
def test_forked_processes_end_when_the_one_that_asked_for_them_is_killed() -> None:
    ours, theirs = os.pipe()  # which they all inherit
    with os.fdopen(ours, "rb") as all_ended:
        command = [sys.executable, "-c", _FORKED, "2", "memory://", "n", "increment", str(10**9)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[theirs]) as parent:
            os.close(theirs)
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"started\n"
            parent.kill()
        assert select.select([all_ended], [], [], 20) == ([all_ended], [], [])
        assert all_ended.read() == b""


def test_several_jobs_start_processes_too(tmp_path: Path) -> None:
    report = _validate(f"sqlite:///{tmp_path}/sessions.db", clauses=["*-of-processes", "R9-killed-writer"], jobs=2)

    assert report.ok, report.summary()
    assert report.counts[Status.PASSED] == 4


@pytest.mark.parametrize("clause", ["R2-any-value", "R1-model"])
def test_a_search_that_takes_too_long_leaves_no_thread(clause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hangs(Minimal):
        async def write(self, key: str, value: Any) -> None:
            await asyncio.sleep(60)

        read = delete = write  # type: ignore[assignment]

    monkeypatch.setattr("satchel_conformance.running.LONGEST", 0.6)
    start = time.monotonic()

    [result] = _validate(lambda: Hangs({}), clauses=[clause]).results  # which waits for the threads of its event loop

    assert (result.status, result.happened) == (Status.FAILED, "it had not ended after 0.2 s")
    assert time.monotonic() - start < 30


class Folds(Minimal):
    """Takes keys that differ in case for the same."""

    async def read(self, key: str) -> Any:
        return await super().read(key.lower() if isinstance(key, str) else key)

    async def write(self, key: str, value: Any) -> None:
        await super().write(key.lower() if isinstance(key, str) else key, value)


def test_a_failure_reads_as_the_readme_shows() -> None:
    shown = README.read_text().partition("```text\n")[2].partition("```")[0]

    [result] = _validate(lambda: Folds({}), clauses=["R4-injective-case"]).results

    line = re.compile(r"(?<=\.py:)\d+")
    assert line.sub("…", result.explain("MODULE:FACTORY")).strip() == line.sub("…", shown).strip()


def test_an_exception_is_in_the_report_and_does_not_fail_it() -> None:
    records: dict[str, bytes] = {}
    excepted = {"R4-injective-case": "the backend folds case"}

    report = _validate(lambda: Folds(records), clauses=["R4-injective-case"], exceptions=excepted)

    assert report.ok
    assert [(result.status, result.reason) for result in report.results] == [
        (Status.EXCEPTED, "the backend folds case")
    ]
    assert not _validate(lambda: Folds(records), clauses=["R4-injective-case"]).ok


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clauses": ["R99"]}, "no clause is called 'R99'"),
        ({"exceptions": {"R4-injective-case": " "}}, "R4-injective-case needs a reason"),
        ({"exceptions": {"R4": "all of it"}}, "there is no clause 'R4'"),
    ],
)
def test_what_is_not_there_cannot_be_chosen_or_excepted(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _validate(MemoryStorage, **options)


def test_what_is_declared_holds_over_what_the_storage_says() -> None:
    report = _validate(MemoryStorage, capabilities=Capabilities(), shared=False, clauses=["R0-*declared", "R0-cap*"])

    assert {result.clause for result in report.failed} >= {"R0-protocols-declared", "R0-capabilities-agree"}


def test_progress_is_told_and_the_report_is_json() -> None:
    told: list[Result] = []

    report = _validate(MemoryStorage, shared=False, clauses=["R1"], progress=told.append)

    assert tuple(told) == report.results
    read = json.loads(report.to_json())
    assert read["ok"] is True
    assert read["storage"] == "MemoryStorage"
    assert [one["clause"] for one in read["results"]] == [result.clause for result in told]
    assert {one["status"] for one in read["results"]} == {"passed", "not applicable"}


def test_the_table_has_a_line_for_each_clause_and_what_failed() -> None:
    class Forgets(Minimal):
        async def write(self, key: str, value: Any) -> None:
            check_key(key)
            JSON.encode(value)

    table = _validate(lambda: Forgets({}), clauses=["R1-absent-is-none", "R2-nul"]).table()

    assert "passed          R1-absent-is-none" in table
    assert "failed          R2-nul" in table
    assert "  expected  read of what was written gives '\\x00'\n  happened  None\n" in table
    assert table.splitlines()[-1].startswith("Forgets: 1 passed, 1 failed in ")
