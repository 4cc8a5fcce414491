"""Commits of several rows: one statement, all or none, whatever others do to the rows at any moment."""

import asyncio
import multiprocessing
import random
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from satchel import JSON, Change, Codec, ConflictError, SessionGroup, Sessions, UnsupportedValueError, open_storage
from satchel_conformance.proxy import Proxy
from satchel_postgres import PostgresStorage

Raw = AsyncConnection[Any]

ACCOUNTS = [f"account:{number}" for number in range(5)]
EACH = 20


@pytest.fixture
async def storage(postgres_url: str, namespace: str) -> AsyncIterator[PostgresStorage[Any]]:
    url = f"{postgres_url}?application_name={namespace}"
    async with PostgresStorage[Any](url, namespace=namespace) as opened:
        yield opened


async def all_rows(raw: Raw, namespace: str) -> dict[str, Any]:
    """Return what is in the table, ended or not."""
    cursor = await raw.execute(
        "SELECT key, payload FROM satchel_sessions WHERE starts_with(key, %s)", (f"{namespace}:",)
    )
    return {key.removeprefix(f"{namespace}:"): payload for key, payload in await cursor.fetchall()}


async def until_it_waits(url: str, namespace: str) -> None:
    """Wait until a statement of the storage's waits for a lock."""
    async with await AsyncConnection.connect(url, autocommit=True) as raw, asyncio.timeout(10):
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
        while await (await raw.execute(sql, (namespace,))).fetchone() == (0,):
            await asyncio.sleep(0.01)


async def test_three_parts_are_loaded_in_one_round_trip_and_saved_in_another(postgres_url: str, namespace: str) -> None:
    with Proxy(*address(postgres_url)) as proxy:
        async with open_storage(proxy.url(postgres_url), namespace=namespace) as storage:
            parts = {name: Sessions(storage, initial=lambda: {"n": 0}) for name in ("user", "chat", "both")}
            group = SessionGroup(**parts)
            keys = {name: f"{name}:1" for name in parts}
            for number in range(3):
                with proxy.counting() as loaded:
                    opened = group.open(keys)
                    sessions = await opened.__aenter__()
                for name in parts:
                    sessions[name].data["n"] += 1
                with proxy.counting() as saved:
                    await opened.__aexit__(None, None, None)
                if number:  # by then it is connected
                    assert (loaded.round_trips, saved.round_trips) == (1, 1)
            assert [await storage.read(key) for key in keys.values()] == [{"n": 3}] * 3


def address(url: str) -> tuple[str, int]:
    said = conninfo_to_dict(url)
    return str(said["host"]), int(said["port"] or 0)


@pytest.mark.parametrize("wrong", [
    Change(2, "f" * 64), Change(2, "no digest"), Change(2, None), Change(None, "f" * 64), Change(None, None),
])  # fmt: skip
async def test_a_conflict_names_the_key_and_nothing_is_left_of_the_rest(
    storage: PostgresStorage[Any], raw: Raw, namespace: str, wrong: Change[Any]
) -> None:
    version = await storage.write_versioned("b", 1, None)
    gone = await storage.write_versioned("gone", 1, None)
    await storage.write("wrong:\n1", 1)
    changes = {"a": Change(2, None), "b": Change(2, version), "gone": Change(None, gone), "wrong:\n1": wrong}
    with pytest.raises(ConflictError, match=r"^'wrong:\\n1' is not at the expected version in postgresql://"):
        await storage.commit(changes)
    assert await all_rows(raw, namespace) == {"b": 1, "gone": 1, "wrong:%0A1": 1}


@pytest.mark.parametrize("change", [Change("x", "f" * 64), Change(None, "f" * 64)])
async def test_what_is_not_there_is_not_at_a_version(
    storage: PostgresStorage[Any], raw: Raw, namespace: str, change: Change[Any]
) -> None:
    with pytest.raises(ConflictError, match="'b' is not at the expected version"):
        await storage.commit({"a": Change(1, None), "b": change})
    assert await all_rows(raw, namespace) == {}


RACES = {
    "replaced by another, to be replaced": ("UPDATE {table} SET payload = '9'", Change(2, "old")),
    "replaced by another, to be deleted": ("UPDATE {table} SET payload = '9'", Change(None, "old")),
    "deleted by another, to be replaced": ("DELETE FROM {table}", Change(2, "old")),
    "deleted by another, to be deleted": ("DELETE FROM {table}", Change(None, "old")),
    "ended by another, to be replaced": ("UPDATE {table} SET expires_at = clock_timestamp()", Change(2, "old")),
    "ended by another, to be deleted": ("UPDATE {table} SET expires_at = clock_timestamp()", Change(None, "old")),
    "created by another, to be created": ("INSERT INTO {table} (key, payload) SELECT {key}, '9'", Change(2, None)),
    "created by another, to be absent": ("INSERT INTO {table} (key, payload) SELECT {key}, '9'", Change(None, None)),
}


@pytest.mark.parametrize("race", RACES)
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
async def test_a_change_that_the_snapshot_of_a_commit_does_not_show_counts(
    storage: PostgresStorage[Any], postgres_url: str, raw: Raw, namespace: str, race: str, end: str
) -> None:
    """The commit has looked, and waits for the row; only when it gets it can it know."""
    statement, change = RACES[race]
    key = f"{namespace}:m"
    versions = {key: await storage.write_versioned(key, 1, None) for key in ("b", "y")}
    if change.expected is not None:
        change = Change(change.value, await storage.write_versioned("m", 1, None))
    before = await all_rows(raw, namespace)
    changes: dict[str, Change[Any]] = {
        "z": Change(2, None), "y": Change(2, versions["y"]), "m": change, "b": Change(None, versions["b"]),
        "a": Change(2, None),
    }  # fmt: skip
    where = "" if "INSERT" in statement else "WHERE key = {key}"
    await raw.execute("BEGIN")
    sql = (statement + " " + where).format(table="satchel_sessions", key="%(key)s::text")
    await raw.execute(sql.encode(), {"key": key})
    commit = asyncio.create_task(storage.commit(changes))
    await until_it_waits(postgres_url, namespace)
    await raw.execute(end.encode())
    if end == "ROLLBACK":
        assert sorted(await commit) == sorted(key for key, found in changes.items() if found.value is not None)
        assert await storage.read_many(["a", "b", "m", "y", "z"]) == {
            key: 2 for key, found in changes.items() if found.value is not None
        }
    else:
        with pytest.raises(ConflictError, match="'m' is not at the expected version"):
            await commit
        found = await all_rows(raw, namespace)
        assert {key: value for key, value in found.items() if key != "m"} == {
            key: value for key, value in before.items() if key != "m"
        }
        if "DELETE" in statement:
            assert "m" not in found
        else:
            assert found["m"] == (before["m"] if "expires_at" in statement else 9)


async def test_a_row_that_came_and_went_after_the_look_is_no_conflict(
    storage: PostgresStorage[Any], postgres_url: str, raw: Raw, namespace: str
) -> None:
    """The first of two rows keeps the commit waiting, behind a look that showed the second."""
    versions = {key: await storage.write_versioned(key, 1, None) for key in ("a", "b")}
    async with raw.transaction():
        await raw.execute("SELECT 1 FROM satchel_sessions WHERE key = %s FOR UPDATE", (f"{namespace}:a",))
        commit = asyncio.create_task(storage.commit({key: Change(2, version) for key, version in versions.items()}))
        await until_it_waits(postgres_url, namespace)
        await storage.delete("b")
        await storage.write("b", 1)
    assert await commit == dict.fromkeys(["a", "b"], storage.version_of(b"2"))
    assert await all_rows(raw, namespace) == {"a": 2, "b": 2}


async def test_a_demand_for_absence_leaves_no_row_for_long(
    storage: PostgresStorage[Any], raw: Raw, namespace: str
) -> None:
    assert await storage.commit({"nobody": Change(None, None)}) == {}
    assert await storage.read("nobody") is None
    assert [key async for key in storage.keys()] == []
    async with asyncio.timeout(10):
        while await all_rows(raw, namespace):
            await asyncio.sleep(0.01)


async def test_two_that_each_demand_the_absence_of_what_the_other_creates_do_not_both_succeed(
    storage: PostgresStorage[Any],
) -> None:
    for number in range(30):
        one, other = f"one:{number}", f"other:{number}"
        results = await asyncio.gather(
            storage.commit({one: Change(1, None), other: Change(None, None)}),
            storage.commit({other: Change(1, None), one: Change(None, None)}),
            return_exceptions=True,
        )
        found = await storage.read_many([one, other])
        conflicts = sum(isinstance(result, ConflictError) for result in results)
        assert (conflicts, len(found)) in [(1, 1), (2, 0)], results


async def test_what_is_no_json_is_committed_as_bytes(postgres_url: str, namespace: str) -> None:
    codec = JSON.compressed()
    async with PostgresStorage[Any](postgres_url, namespace=namespace, codec=codec) as storage:
        versions = await storage.commit({"a": Change({"n": 1}, None), "b": Change("x" * 5000, None)})
        await storage.commit({"a": Change({"n": 2}, versions["a"]), "b": Change(None, versions["b"])})
        assert await storage.read_many(["a", "b"]) == {"a": {"n": 2}}


class Lines(Codec[list[str]]):
    """Stores text that is no JSON."""

    def encode(self, value: list[str]) -> bytes:
        return "\n".join(value).encode()

    def decode(self, payload: bytes) -> list[str]:
        return payload.decode().split("\n")


async def test_text_of_which_the_server_finds_that_it_is_no_json_is_committed_too(
    postgres_url: str, namespace: str
) -> None:
    async with PostgresStorage[list[str]](postgres_url, namespace=namespace, codec=Lines()) as storage:
        versions = await storage.commit({"a": Change(["a", "b"], None), "b": Change(["1"], None)})
        await storage.commit({"a": Change(["c"], versions["a"]), "b": Change(None, versions["b"])})
        assert await storage.read_many(["a", "b"]) == {"a": ["c"]}


async def test_what_jsonb_cannot_hold_keeps_the_rest_from_being_written(
    postgres_url: str, table: str, raw: Raw
) -> None:
    async with open_storage(f"{postgres_url}?table={table}&jsonb=true") as storage:
        assert isinstance(storage, PostgresStorage)
        versions = await storage.commit({"a": Change({"n": 1}, None), "b": Change(1, None)})
        with pytest.raises(UnsupportedValueError):
            await storage.commit({"a": Change({"n": 2}, versions["a"]), "b": Change("\0", versions["b"])})
        await storage.commit({"a": Change({"n": 3}, versions["a"]), "b": Change(None, versions["b"])})
    cursor = await raw.execute(f"SELECT key, payload_jsonb FROM {table}".encode())
    assert await cursor.fetchall() == [("satchel:a", {"n": 3})]


async def transfer(storage: Any, times: int) -> None:
    """Move between two to four accounts at a time: what is empty is deleted, so that rows come and go."""
    for _ in range(times):
        while True:
            keys = random.sample(ACCOUNTS, random.randint(2, 4))
            found = await storage.read_records(keys)
            values = {key: found[key].value if key in found else 0 for key in keys}
            for _ in range(3):
                giver, taker = random.sample(keys, 2)
                amount = random.randint(0, values[giver])
                values[giver] -= amount
                values[taker] += amount
            changes = {
                key: Change(value or None, found[key].version if key in found else None)
                for key, value in values.items()
            }
            try:
                await storage.commit(changes)
            except ConflictError:
                continue
            break


def in_a_process(url: str, namespace: str, tasks: int, times: int) -> None:
    async def work() -> None:
        async with open_storage(url, namespace=namespace) as storage:
            await asyncio.gather(*(transfer(storage, times) for _ in range(tasks)))

    asyncio.run(work())


@pytest.mark.parametrize("isolation", ["read%20committed", "serializable"])
async def test_between_few_rows_and_many_tasks_and_processes_nothing_is_lost_or_made(
    postgres_url: str, namespace: str, isolation: str
) -> None:
    url = f"{postgres_url}?options=-c%20default_transaction_isolation%3D{isolation.replace('%20', '%5C%20')}"
    async with open_storage(url, namespace=namespace) as storage:
        assert isinstance(storage, PostgresStorage)
        await storage.commit({key: Change(EACH, None) for key in ACCOUNTS})
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as processes:
            working = [loop.run_in_executor(processes, in_a_process, url, namespace, 4, 25) for _ in range(3)]
            await asyncio.gather(*working)
        assert sum((await storage.read_many(ACCOUNTS)).values()) == EACH * len(ACCOUNTS)


@pytest.mark.parametrize("server", ["postgres_url", "pgbouncer_url"])
async def test_who_reads_meanwhile_sees_all_of_a_commit_or_nothing(
    request: pytest.FixtureRequest, namespace: str, server: str
) -> None:
    url = request.getfixturevalue(server)
    async with PostgresStorage[Any](url, namespace=namespace, max_connections=12) as storage:
        await storage.commit({key: Change(EACH, None) for key in ACCOUNTS})
        working = asyncio.gather(*(transfer(storage, 15) for _ in range(8)))
        while not working.done():
            found = await storage.read_records(ACCOUNTS)
            assert sum(record.value for record in found.values()) == EACH * len(ACCOUNTS)
        await working


async def test_commits_and_batches_that_meet_do_not_end_in_a_deadlock(
    postgres_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the rows are there and half are not, and each is named in another order."""
    monkeypatch.setattr("satchel_postgres.running._ATTEMPTS", 1)  # a deadlock would be an error at once
    keys = [f"chat:{number}" for number in range(12)]

    async def commit(storage: PostgresStorage[Any]) -> None:
        chosen = random.sample(keys, 6)
        found = await storage.read_records(chosen)
        versions = {key: found[key].version if key in found else None for key in chosen}
        with suppress(ConflictError):
            await storage.commit({key: Change(random.choice([1, 2, None]), versions[key]) for key in chosen})

    async with PostgresStorage[Any](
        postgres_url, namespace=namespace, max_connections=12, timeout=timedelta(seconds=60)
    ) as storage:
        for _ in range(60):
            await asyncio.gather(
                *(commit(storage) for _ in range(8)),
                *(storage.write_many(dict.fromkeys(random.sample(keys, 6), 3)) for _ in range(2)),
                *(storage.delete_many(random.sample(keys, 6)) for _ in range(2)),
            )
