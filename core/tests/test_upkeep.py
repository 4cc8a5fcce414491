"""Erasing a person's data, migrating all sessions, trying a storage out."""

from datetime import timedelta
from typing import Any

import pytest

from failing import Failing
from recording import Plain
from satchel import (
    ANY,
    ConfigurationError,
    Expected,
    InvalidKeyError,
    LeaseLock,
    MemoryStorage,
    Payload,
    ReadOnlyError,
    Sessions,
    session_key,
)
from satchel.encryption import generate_key
from satchel.flow import Conversations, Flow, FlowMap, Job, State, StorageScheduler, Turn
from satchel.keys import key_parts
from satchel.upkeep import Outcome, Result, Summary, erase, find_user, migrate, try_out
from satchel.wrappers import HiddenKeys, ReadOnly
from test_upkeep_copy import content, many


@pytest.mark.parametrize("parts", [("a",), ("chat", "42"), ("a:b", "c%3A", "%"), ("\n", ":", "ü")])
def test_the_parts_of_a_key_are_those_that_it_was_made_of(parts: tuple[str, ...]) -> None:
    assert key_parts(session_key(*parts)) == parts


async def test_the_keys_that_name_a_user_are_found_and_no_others() -> None:
    storage = MemoryStorage[Any]()
    theirs = ["user:7", "chat:42:user:7", "telegram:user:7", "telegram:conversation:1:user:7:dialog", "lease:user:7"]
    elsewhere = ["chat:7", "console:7", "user:8:friend:7", "7"]
    others = ["user:77", "user:70:chat:17", "chat:42:user:8", "user%3A7", "users:7x", "superuser:70"]
    await storage.write_many(dict.fromkeys([*theirs, *elsewhere, *others], 1))
    found = await find_user(storage, 7)
    assert set(found.user) == set(theirs)
    assert set(found.elsewhere) == set(elsewhere)
    await erase(storage, found.user)
    assert (await content(storage)).keys() == {*elsewhere, *others}
    assert (await find_user(storage, "7")).user == []


async def test_the_steps_that_flows_have_scheduled_for_a_user_are_found() -> None:
    storage = MemoryStorage[Any]()

    async def quiet(turn: Turn) -> None:
        """Say nothing."""

    flows = FlowMap(Flow("pizza", State("ask", quiet), State("remind", quiet)))
    keys = ["chat:42:user:7", "chat:42:user:8", "chat:7"]
    for prefix in ("job:", "other:"):
        bot = Conversations(
            flows,
            Sessions(storage, initial=dict, prefix="s:"),
            start="pizza",
            scheduler=StorageScheduler(storage, prefix=prefix),
        )
        for key in keys:
            async with bot.open(key) as turn:
                turn.data["n"] = 1
                turn.step_to_in(timedelta(days=1), flow="pizza", state="remind")
    found = await find_user(storage, 7)
    assert sorted(key.partition(":")[0] for key in found.user) == ["job", "other", "s"]
    assert sorted(key.partition(":")[0] for key in found.elsewhere) == ["job", "other", "s"]
    await erase(storage, found.user)
    left = [job.session async for job in StorageScheduler(storage).jobs()]
    assert sorted(left) == ["chat:42:user:8", "chat:7"]


async def test_an_id_with_a_colon_is_found_whole() -> None:
    storage = MemoryStorage[Any]()
    await storage.write_many(dict.fromkeys([session_key("user", "a:b"), "user:a:b"], 1))
    assert (await find_user(storage, "a:b")).user == ["user:a%3Ab"]
    assert (await find_user(storage, "a")).user == ["user:a:b"]


async def test_hidden_keys_are_found_and_a_storage_without_listing_says_so() -> None:
    hidden = HiddenKeys(MemoryStorage[Any](), generate_key())
    await hidden.write_many({"user:7": 1, "user:8": 1})
    await erase(hidden, (await find_user(hidden, 7)).user)
    assert [key async for key in hidden.keys()] == ["user:8"]
    with pytest.raises(ConfigurationError, match="cannot list its keys"):
        await find_user(Plain(), 7)
    with pytest.raises(InvalidKeyError):
        await find_user(hidden, "")


async def test_more_keys_than_fit_into_a_batch_are_erased_from_any_storage() -> None:
    plain = Plain()
    for key, value in many(250).items():
        await plain.write(key, value)
    await erase(plain, list(many(250)))
    assert await content(plain.memory) == {}


async def test_all_sessions_are_migrated_and_the_second_time_none() -> None:
    storage = MemoryStorage[Any]()
    await storage.write_many({**many(300), "chat:text": "no object"})
    async with Sessions(storage, initial=dict, version=9).open("chat:future") as session:
        session.data["n"] = 1

    def second(data: Any) -> Any:
        return {"count": data["n"]}

    told: list[Outcome] = []
    migrations = {1: lambda data: data, 2: second}
    assert await migrate(storage, migrations, progress=told.append) == Summary(done=300, failed=2)
    failed = {outcome.key: outcome.why for outcome in told if outcome.result is Result.FAILED}
    assert failed["chat:text"] == "its migration raised TypeError"
    assert "version 9, and this program knows 2" in failed["chat:future"]
    assert await storage.read("chat:text") == "no object"
    assert await Sessions[Any](storage, migrations=migrations).read("chat:7") == {"count": 7}
    assert await migrate(storage, migrations, prefix="chat:1") == Summary(same=111)


async def test_a_migration_of_a_storage_that_cannot_be_written_ends_at_once() -> None:
    storage = MemoryStorage[Any]()
    await storage.write_many(many(100))
    told: list[Outcome] = []
    with pytest.raises(ReadOnlyError):
        await migrate(ReadOnly(storage), {1: lambda data: data}, progress=told.append)
    with pytest.raises(ConfigurationError, match="nothing to migrate to"):
        await migrate(storage, {})
    assert told == []


async def test_a_storage_that_works_is_fine_and_has_nothing_left_in_it() -> None:
    storage = MemoryStorage[Any]()
    report = await try_out(storage, rounds=3)
    assert report.is_fine
    assert [step.name for step in report.steps] == [
        "connect", "read", "write", "read back", "read_versioned", "write_versioned", "touch",
        "write_many", "read_many", "delete_many", "keys", "delete", "read after delete",
    ]  # fmt: skip
    assert all(step.milliseconds is not None for step in report.steps)
    assert await content(storage) == {}
    assert [step.name for step in (await try_out(Plain())).steps] == [
        "read", "write", "read back", "delete", "read after delete"
    ]  # fmt: skip


class Deaf(MemoryStorage[Any]):
    """Answers, and does nothing."""

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        return ""


class Clinging(MemoryStorage[Any]):
    """Deletes nothing."""

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        return True


async def test_what_does_not_work_is_named_with_its_reason() -> None:
    away = Failing()
    away.away = True
    report = await try_out(away)
    assert [(step.name, step.why) for step in report.steps] == [("connect", "memory:// does not answer")]
    why = {step.name: step.why for step in (await try_out(ReadOnly(MemoryStorage[Any]()))).steps if step.why}
    assert why.keys() == {"write", "delete"}
    assert {step.name for step in (await try_out(Deaf())).steps if step.why} >= {"read back", "keys"}
    assert {step.name for step in (await try_out(Clinging())).steps if step.why} == {"read after delete"}


async def test_leases_and_scheduled_steps_are_not_migrated() -> None:
    storage = MemoryStorage[Any]()
    sessions: Sessions[Any] = Sessions(storage, initial=dict, lock=LeaseLock(storage))
    job = Job("000000000000001-0123456789abcdef", "chat:1", "hello->say_hello")
    scheduler = StorageScheduler(storage)
    await scheduler.add(job)
    async with sessions.open("chat:1") as session:
        session.data["n"] = 1
        await session.save()
        assert await migrate(storage, {1: lambda data: data | {"v": 1}}) == Summary(done=1, same=2)
    assert [one async for one in scheduler.jobs()] == [job]
    assert [key async for key in storage.keys("lease:")] == []


async def test_a_damaged_step_hides_nobodys_data() -> None:
    storage = MemoryStorage[Any]()
    await storage.write("user:7", {"n": 1})
    await storage.put("satchel:job:due:000000000000001-0123456789abcdef", b"{torn")
    assert (await find_user(storage, 7)).user == ["user:7"]
