"""Commits of several rows: one request, all or none; and databases that an earlier release has set up."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from supabase import AsyncClient

from satchel import Change, ConflictError, SessionGroup, Sessions, Transactional, open_storage
from satchel_conformance.proxy import Proxy, address_in
from satchel_conformance.servers.supabase import administer, api_key
from satchel_supabase import SupabaseStorage

from .conftest import client_of, noticed

ACCOUNTS = [f"account:{number}" for number in range(5)]
EACH = 20


@pytest.fixture
async def storage(url: str, namespace: str) -> AsyncIterator[SupabaseStorage[Any]]:
    async with SupabaseStorage[Any](url, namespace=namespace) as opened:
        yield opened


async def all_rows(raw: AsyncClient, namespace: str) -> dict[str, str]:
    """Return what is in the table, ended or not."""
    found: Any = (
        await raw.table("satchel_sessions").select("key, payload").like("key", f"{namespace}:%").execute()
    ).data
    return {row["key"].removeprefix(f"{namespace}:"): row["payload"] for row in found}


async def test_three_parts_are_loaded_in_one_round_trip_and_saved_in_another(url: str, namespace: str) -> None:
    with Proxy(*address_in(url)) as proxy:
        async with open_storage(proxy.url(url), namespace=namespace) as storage:
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


@pytest.mark.parametrize("wrong", [
    Change(2, "f" * 64), Change(2, "no digest"), Change(2, None), Change(None, "f" * 64), Change(None, None),
])  # fmt: skip
async def test_a_conflict_names_the_key_and_nothing_is_left_of_the_rest(
    storage: SupabaseStorage[Any], raw: AsyncClient, namespace: str, wrong: Change[Any]
) -> None:
    version = await storage.write_versioned("b", 1, None)
    gone = await storage.write_versioned("gone", 1, None)
    await storage.write("wrong:\n1", 1)
    changes = {"a": Change(2, None), "b": Change(2, version), "gone": Change(None, gone), "wrong:\n1": wrong}
    with pytest.raises(ConflictError, match=r"^'wrong:\\n1' is not at the expected version in supabase"):
        await storage.commit(changes)
    assert await all_rows(raw, namespace) == {"b": "1", "gone": "1", "wrong:%0A1": "1"}


async def test_a_demand_for_absence_leaves_no_row(
    storage: SupabaseStorage[Any], raw: AsyncClient, namespace: str
) -> None:
    assert list(await storage.commit({"a": Change(1, None), "nobody": Change(None, None)})) == ["a"]
    assert await all_rows(raw, namespace) == {"a": "1"}


async def test_two_that_each_demand_the_absence_of_what_the_other_creates_do_not_both_succeed(
    storage: SupabaseStorage[Any],
) -> None:
    for number in range(20):
        one, other = f"one:{number}", f"other:{number}"
        results = await asyncio.gather(
            storage.commit({one: Change(1, None), other: Change(None, None)}),
            storage.commit({other: Change(1, None), one: Change(None, None)}),
            return_exceptions=True,
        )
        conflicts = sum(isinstance(result, ConflictError) for result in results)
        assert (conflicts, len(await storage.read_many([one, other]))) in [(1, 1), (2, 0)], results


async def transfer(storage: Any, times: int) -> None:
    """Move between two or three accounts at a time: what is empty is deleted, so that rows come and go."""
    for _ in range(times):
        while True:
            keys = random.sample(ACCOUNTS, random.randint(2, 3))
            found = await storage.read_records(keys)
            values = {key: found[key].value if key in found else 0 for key in keys}
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


async def test_between_few_rows_and_many_tasks_nothing_is_lost_or_made(url: str, namespace: str) -> None:
    async with (
        SupabaseStorage[Any](url, namespace=namespace) as first,
        SupabaseStorage[Any](url, namespace=namespace) as second,
    ):
        await first.commit({key: Change(EACH, None) for key in ACCOUNTS})
        await asyncio.gather(*(transfer(storage, 15) for storage in (first, second) for _ in range(4)))
        assert sum((await first.read_many(ACCOUNTS)).values()) == EACH * len(ACCOUNTS)


async def test_commits_and_batches_that_meet_do_not_end_in_a_deadlock(storage: SupabaseStorage[Any]) -> None:
    """Half of the rows are there and half are not, and each is named in another order. A deadlock would be an error."""
    keys = [f"chat:{number}" for number in range(12)]

    async def commit() -> None:
        chosen = random.sample(keys, 6)
        found = await storage.read_records(chosen)
        versions = {key: found[key].version if key in found else None for key in chosen}
        with suppress(ConflictError):
            await storage.commit({key: Change(random.choice([1, 2, None]), versions[key]) for key in chosen})

    for _ in range(20):
        await asyncio.gather(
            *(commit() for _ in range(6)),
            *(storage.write_many(dict.fromkeys(random.sample(keys, 6), 3)) for _ in range(2)),
            *(storage.delete_many(random.sample(keys, 6)) for _ in range(2)),
        )


@pytest.fixture
def earlier_url(url: str) -> Iterator[str]:
    """Make a table as an earlier release did, without the function for commits."""
    table = f"earlier_{secrets.token_hex(4)}"
    made = f"{url.rpartition('/')[0]}/{table}"
    administer(made, SupabaseStorage[Any](made).schema() + f"DROP FUNCTION {table}_commit;")
    asyncio.run(noticed(made))
    yield made
    administer(made, f"DROP TABLE {table} CASCADE;")


async def works_without_commits(storage: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with storage:
        assert not isinstance(storage, Transactional)
        assert not storage.capabilities.transactional
        group = SessionGroup(user=Sessions(storage, initial=dict), chat=Sessions(storage, initial=dict))
        async with group.open({"user": "user:1", "chat": "chat:1"}) as parts:
            parts.user.data["n"] = parts.chat.data["n"] = 1
        assert await storage.read_many(["user:1", "chat:1"]) == {"user:1": {"n": 1}, "chat:1": {"n": 1}}
        await storage.delete_many(["user:1", "chat:1"])
    (record,) = caplog.records
    assert "_commit for this role: parts of a group are saved each by itself until" in record.getMessage()


async def test_a_database_that_lacks_the_function_is_worked_with_as_before(
    earlier_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await works_without_commits(open_storage(earlier_url), caplog)


async def test_a_role_that_lacks_the_right_to_the_function_works_as_before(
    url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    role = f"earlier_{secrets.token_hex(4)}"
    names = ("check", "get", "put", "swap", "drop", "renew", "names", "purge")
    functions = ", ".join(f"satchel_sessions_{name}" for name in names)
    administer(
        url,
        f"CREATE ROLE {role}; GRANT {role} TO authenticator; GRANT ALL ON satchel_sessions TO {role};"
        f"GRANT EXECUTE ON FUNCTION {functions} TO {role};"
        f"CREATE POLICY {role} ON satchel_sessions TO {role} USING (starts_with(key, '{namespace}:'));",
    )
    async with client_of(url, api_key(role)) as client:
        await works_without_commits(SupabaseStorage[Any](client, namespace=namespace), caplog)
