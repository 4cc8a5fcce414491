"""Two writers at once: what each policy makes of it. Two `Sessions` stand for two processes: they share no lock."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from recording import Recording, put
from satchel import ANY, ConfigurationError, ConflictError, Expected, MemoryStorage, Session, Sessions
from satchel.sessions import OnConflict


def two(storage: MemoryStorage[Any], on_conflict: OnConflict = "merge") -> tuple[Sessions[Any], Sessions[Any]]:
    one, other = (Sessions(storage, initial=lambda: {"a": 0, "b": 0}, on_conflict=on_conflict) for _ in range(2))
    return one, other


@pytest.mark.parametrize("stored", [True, False])
async def test_changes_of_different_fields_are_merged(stored: bool) -> None:
    storage: MemoryStorage[Any] = MemoryStorage()
    if stored:
        await storage.write("chat:1", {"a": 0, "b": 0, "c": 0})
    mine, theirs = two(storage)
    async with mine.open("chat:1") as session:
        session.data["a"] = 1
        session.data["new"] = True
        await theirs.update("chat:1", put(a=0, b=2))  # which also removes c
    assert await mine.read("chat:1") == {"a": 1, "b": 2, "new": True}


async def test_changes_of_one_field_conflict_and_what_was_stored_stays() -> None:
    mine, theirs = two(MemoryStorage())
    with pytest.raises(ConflictError, match="chat:1.* in the same field: 'b'"):
        async with mine.open("chat:1") as session:
            session.data["a"], session.data["b"] = 1, 1
            await theirs.update("chat:1", put(a=0, b=2))
    assert await mine.read("chat:1") == {"a": 0, "b": 2}


async def test_two_who_count_are_not_taken_for_one() -> None:
    mine, theirs = two(MemoryStorage())

    def count(session: Session[Any]) -> None:
        session.data["a"] += 1

    with pytest.raises(ConflictError, match="'a'"):
        async with mine.open("chat:1") as session:
            count(session)
            await theirs.update("chat:1", count)
    assert await mine.read("chat:1") == {"a": 1, "b": 0}


async def test_a_field_that_both_removed_is_gone() -> None:
    mine, theirs = two(MemoryStorage())
    async with mine.open("chat:1") as session:
        del session.data["a"]
        await theirs.update("chat:1", put(b=0))
    assert await mine.read("chat:1") == {"b": 0}


@pytest.mark.parametrize(("mine_has", "theirs_has"), [(1, 1.0), (1, True), (0.0, -0.0)])
async def test_values_that_python_calls_equal_are_different_changes(mine_has: Any, theirs_has: Any) -> None:
    mine, theirs = two(MemoryStorage())
    with pytest.raises(ConflictError):
        async with mine.open("chat:1") as session:
            session.data["x"] = mine_has
            await theirs.update("chat:1", put(a=0, b=0, x=theirs_has))


async def test_a_removed_field_against_a_changed_one_conflicts() -> None:
    mine, theirs = two(MemoryStorage())
    with pytest.raises(ConflictError, match="'a'"):
        async with mine.open("chat:1") as session:
            del session.data["a"]
            await theirs.update("chat:1", put(a=5, b=0))


async def test_data_that_is_no_object_cannot_be_merged() -> None:
    storage: MemoryStorage[Any] = MemoryStorage()
    await storage.write("chat:1", [1])
    mine, theirs = two(storage)
    with pytest.raises(ConflictError, match="only objects can be merged"):
        async with mine.open("chat:1") as session:
            session.data.append(2)
            await theirs.update("chat:1", lambda session: session.data.append(3))
    assert await storage.read("chat:1") == [1, 3]


async def test_a_change_against_a_deletion_conflicts_and_nothing_comes_back() -> None:
    storage: MemoryStorage[Any] = MemoryStorage()
    await storage.write("chat:1", {"a": 1})
    mine, theirs = two(storage)
    with pytest.raises(ConflictError, match="deleted by somebody else"):
        async with mine.open("chat:1") as session:
            session.data["a"] = 2
            await theirs.delete("chat:1")
    assert await storage.read("chat:1") is None


async def test_a_deletion_against_a_change_conflicts_and_the_change_stays() -> None:
    storage: MemoryStorage[Any] = MemoryStorage()
    await storage.write("chat:1", {"a": 1})
    mine, theirs = two(storage)
    with pytest.raises(ConflictError):
        async with mine.open("chat:1") as session:
            session.delete()
            await theirs.update("chat:1", put(a=2))
    assert await storage.read("chat:1") == {"a": 2}


async def test_a_session_created_and_deleted_meanwhile_is_simply_created() -> None:
    storage = _Vanishing()
    sessions = Sessions(storage, initial=dict)
    async with sessions.open("chat:1") as session:
        session.data["a"] = 1
        await storage.write("chat:1", {"b": 1})
    assert await storage.read("chat:1") == {"a": 1}


class _Vanishing(Recording):
    """Whatever is read after the first conflict has just been deleted."""

    async def get(self, name: str) -> bytes | None:
        if "put?" in self.visits and self.visits.count("drop") == 0:
            await self.drop(name)
        return await super().get(name)


async def test_after_a_merge_the_session_goes_on_with_what_is_stored() -> None:
    mine, theirs = two(MemoryStorage())
    async with mine.open("chat:1") as session:
        session.data["a"] = 1
        await theirs.update("chat:1", lambda session: session.set_state(b=2))
        await session.save()
        assert session.data == {"a": 1, "b": 2}
        session.data["a"] = 3
    assert await mine.read("chat:1") == {"a": 3, "b": 2}


async def test_raise_always_raises() -> None:
    mine, theirs = two(MemoryStorage(), "raise")
    with pytest.raises(ConflictError):
        async with mine.open("chat:1") as session:
            session.data["a"] = 1
            await theirs.update("chat:1", lambda session: session.set_state(b=2))
    assert await mine.read("chat:1") == {"a": 0, "b": 2}


async def test_overwrite_lets_the_last_writer_win() -> None:
    mine, theirs = two(MemoryStorage(), "overwrite")
    async with mine.open("chat:1") as session:
        session.data["a"] = 1
        await theirs.update("chat:1", lambda session: session.set_state(b=2))
    assert await mine.read("chat:1") == {"a": 1, "b": 0}


@pytest.mark.parametrize("on_conflict", ["merge", "raise", "overwrite"])
async def test_update_loses_nothing_whatever_the_policy(on_conflict: OnConflict) -> None:
    class Slow(MemoryStorage[Any]):
        async def get(self, name: str) -> bytes | None:
            found = await super().get(name)
            await asyncio.sleep(0)
            return found

    storage = Slow()
    both = two(storage, on_conflict)

    def increment(session: Session[Any]) -> None:
        session.data["a"] += 1

    await asyncio.gather(*(both[number % 2].update("chat:1", increment) for number in range(100)))
    assert await storage.read("chat:1") == {"a": 100, "b": 0}


async def test_who_holds_the_data_goes_on_with_what_was_merged() -> None:
    storage: MemoryStorage[Any] = MemoryStorage()
    await storage.write("chat:1", {"cart": [1], "user": {"name": "Ada"}, "old": 1})
    mine, theirs = two(storage)

    def change(session: Session[Any]) -> None:
        session.data["cart"].append(2)
        session.data["user"]["age"] = 36
        del session.data["old"]

    async with mine.open("chat:1") as session:
        data, cart, user = session.data, session.data["cart"], session.data["user"]
        data["mine"] = 1
        await theirs.update("chat:1", change)
        await session.save()
        data["later"] = True
        cart.append(3)
        user["born"] = 1815
    assert await mine.read("chat:1") == {
        "cart": [1, 2, 3],
        "user": {"name": "Ada", "age": 36, "born": 1815},
        "mine": 1,
        "later": True,
    }


async def test_what_two_delete_is_gone() -> None:
    storage: MemoryStorage[Any] = MemoryStorage()
    await storage.write("chat:1", {"a": 1})
    mine, theirs = two(storage)
    async with mine.open("chat:1") as session:
        session.delete()
        await theirs.delete("chat:1")
    assert await storage.read("chat:1") is None


@pytest.mark.parametrize("opened", [True, False])
async def test_a_storage_may_find_out_that_it_has_no_versions_when_it_is_opened(opened: bool) -> None:
    class Late(MemoryStorage[Any]):
        async def open(self) -> None:
            self.lacks(versioned=False, conditional_delete=False, transactional=False, versioned_batch=False)

    storage = Late()
    sessions: Sessions[Any] = Sessions(storage, initial=dict)
    if opened:
        await storage.setup()
    for _ in range(2):
        async with sessions.open("chat:1") as session:
            session.data["n"] = session.data.get("n", 0) + 1
    assert await sessions.read("chat:1") == {"n": 2}


async def test_sessions_are_deleted_where_only_writes_have_conditions() -> None:
    class Lookalike(MemoryStorage[Any]):
        capabilities = replace(
            MemoryStorage.capabilities, conditional_delete=False, transactional=False, versioned_batch=False
        )

        async def drop(self, name: str, expected: Expected = ANY) -> bool:
            if expected is not ANY:
                raise ConfigurationError("it does not heed the conditions of deletes")
            return await super().drop(name)

    storage = Lookalike()
    mine, theirs = two(storage)
    for _ in range(2):
        await storage.write("chat:1", {"a": 1})
        async with mine.open("chat:1") as session:
            session.delete()
        assert await storage.read("chat:1") is None
    await storage.write("chat:1", {"a": 1})
    with pytest.raises(ConflictError, match="not at the expected version"):
        async with mine.open("chat:1") as session:
            session.delete()
            await theirs.update("chat:1", put(a=2))
    assert await storage.read("chat:1") == {"a": 2}
    assert await mine.rename("chat:1", "chat:2")
    assert [key async for key in storage.keys()] == ["chat:2"]
