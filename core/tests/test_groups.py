"""Groups: several sessions for one update, what they cost together, and what holds when one of them fails."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from recording import Each, Plain, Recording, Together
from satchel import (
    ConfigurationError,
    ConflictError,
    EmptySessionError,
    MemoryStorage,
    NoSessionError,
    Payload,
    SessionError,
    SessionGroup,
    Sessions,
    StorageUnavailableError,
    per_chat,
    per_user,
)
from satchel.groups import Parts

UPDATE = SimpleNamespace(chat=SimpleNamespace(id=42), from_user=SimpleNamespace(id=7))


class Crowd(Plain):
    """Reads nothing, and writes nothing, before so many calls wait for it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.barrier = asyncio.Barrier(size)
        self.broken = ""

    async def read(self, key: str) -> Any:
        await self.barrier.wait()
        return await super().read(key)

    async def write(self, key: str, value: Any) -> None:
        await self.barrier.wait()
        if key == self.broken:
            raise StorageUnavailableError("try again")
        await super().write(key, value)


@pytest.fixture
def storage() -> Together:
    return Together()


def group_of(storage: Any, **options: Any) -> SessionGroup:
    return SessionGroup(
        user=Sessions(storage, key=per_user, initial=lambda: {"n": 0}, **options),
        chat=Sessions(storage, key=per_chat, initial=lambda: {"n": 0}, **options),
        both=Sessions(storage, key=lambda update: "all", initial=lambda: {"n": 0}, **options),
    )


async def test_each_part_has_its_own_key_and_data(storage: Together) -> None:
    async with group_of(storage).open(UPDATE) as parts:
        parts.user.data["n"] += 1
        parts.chat.data["n"] += 2
        assert parts.keys == {"user": "user:7", "chat": "chat:42", "both": "all"}

    assert await storage.read("user:7") == {"n": 1}
    assert await storage.read("chat:42") == {"n": 2}
    assert await storage.read("all") is None


@pytest.mark.parametrize("lock", [True, False])
async def test_parts_of_one_storage_cost_one_read_and_one_write_together(storage: Together, lock: bool) -> None:
    async with group_of(storage, lock=lock).open(UPDATE) as parts:
        for name in ("user", "chat", "both"):
            parts[name].data["n"] += 1
    assert storage.visits == ["get 3", "put 3"]

    storage.visits.clear()
    async with group_of(storage).open(UPDATE):
        pass
    assert storage.visits == ["get 3"]


async def test_one_changed_part_costs_one_write(storage: Together) -> None:
    async with group_of(storage).open(UPDATE) as parts:
        parts.user.data["n"] += 1

    assert storage.visits == ["get 3", "put?"]


async def test_a_lazy_group_costs_what_is_asked_for(storage: Together) -> None:
    async with group_of(storage).lazy(UPDATE):
        pass
    assert storage.visits == []

    async with group_of(storage).lazy(UPDATE) as parts:
        data = await parts.user
        data["n"] += 1
        (await parts.chat)["n"] += 1
    assert storage.visits == ["get", "get", "put 2"]
    assert await storage.read("user:7") == {"n": 1}


async def test_a_lazy_part_that_is_assigned_unread_is_written_alone(storage: Together) -> None:
    async with group_of(storage).lazy(UPDATE) as parts:
        parts.user.data = {"n": 9}
        (await parts.chat)["n"] += 1
        parts.both.data = {"n": 9}

    assert sorted(storage.visits) == ["get", "put", "put", "put?"]
    assert await storage.read("user:7") == {"n": 9}
    assert await storage.read("chat:42") == {"n": 1}


async def test_the_whole_group_can_be_assigned_read_and_deleted(storage: Together) -> None:
    group = group_of(storage)
    async with group.open(UPDATE) as parts:
        parts.data = {"user": {"n": 1}, "chat": {"n": 2}}
    async with group.open(UPDATE) as parts:
        assert parts.data == {"user": {"n": 1}, "chat": {"n": 2}, "both": {"n": 0}}
        parts.data = {"user": None}
    assert await storage.read("user:7") is None
    assert await storage.read("chat:42") == {"n": 2}

    async with group.open(UPDATE) as parts:
        parts.data = None
    assert [key async for key in storage.keys()] == []


async def test_assigning_what_the_group_has_no_part_for_raises_and_changes_nothing(storage: Together) -> None:
    wrong: list[Any] = [{"user": {"n": 1}, "users": {}}, ["user"], "user"]
    for value in wrong:
        with pytest.raises(SessionError, match="a dict of its parts user, chat, both, not"):
            async with group_of(storage).open(UPDATE) as parts:
                parts.data = value
    assert [key async for key in storage.keys()] == []


async def test_a_part_without_a_key_does_not_stop_the_others(storage: Together) -> None:
    async with group_of(storage).open(SimpleNamespace(chat=SimpleNamespace(id=42))) as parts:
        parts.chat.data["n"] += 1
        assert parts.keys["user"] is None
        assert parts.data == {"chat": {"n": 1}, "both": {"n": 0}}
        with pytest.raises(NoSessionError):
            parts.user.data["n"] += 1
        parts.delete()
        parts.data = {"chat": {"n": 5}}

    assert await storage.read("chat:42") == {"n": 5}


async def test_the_block_raises_and_nothing_is_saved(storage: Together) -> None:
    for how in ("open", "lazy"):
        with pytest.raises(ZeroDivisionError):
            async with getattr(group_of(storage), how)(UPDATE) as parts:
                parts.user.data = {"n": 1}
                raise ZeroDivisionError
    assert [key async for key in storage.keys()] == []


async def test_save_saves_what_has_changed_so_far(storage: Together) -> None:
    with pytest.raises(ZeroDivisionError):
        async with group_of(storage).open(UPDATE) as parts:
            parts.user.data["n"] = parts.chat.data["n"] = 1
            await parts.save()
            parts.user.data["n"] = 2
            raise ZeroDivisionError

    assert await storage.read_many(["user:7", "chat:42"]) == {"user:7": {"n": 1}, "chat:42": {"n": 1}}


async def test_parts_of_one_storage_are_saved_all_or_none(storage: Together) -> None:
    group = group_of(storage, lock=False, on_conflict="raise")

    with pytest.raises(ConflictError):
        async with group.open(UPDATE) as parts:
            parts.user.data["n"] = parts.chat.data["n"] = 1
            await storage.write("user:7", {"n": 5})

    assert await storage.read_many(["user:7", "chat:42"]) == {"user:7": {"n": 5}}


async def test_parts_of_two_storages_are_saved_one_after_the_other_in_the_order_of_names(storage: Together) -> None:
    class Down(MemoryStorage[Any]):
        async def put(self, name: str, payload: Payload, expected: Any = None) -> str | None:
            raise StorageUnavailableError("no")

    group = SessionGroup(
        b=Sessions(Down(), initial=dict), a=Sessions(storage, initial=dict), c=Sessions(Together(), initial=dict)
    )

    with pytest.raises(StorageUnavailableError):
        async with group.open(UPDATE) as parts:
            for name in "abc":
                parts[name].data["n"] = 1

    assert await storage.read("chat:42") == {"n": 1}


@pytest.mark.parametrize("kind", [Together, Each])
async def test_concurrent_groups_lose_no_update(kind: type[Recording]) -> None:
    storage = kind()
    groups = [
        SessionGroup(
            user=Sessions(storage, key=per_user, initial=dict, lock=False),
            chat=Sessions(storage, key=per_chat, initial=dict, lock=False),
        )
        for _ in range(6)
    ]

    async def work(number: int) -> None:
        async with groups[number].open(UPDATE) as parts:
            await asyncio.sleep(0)
            parts.user.data[f"from {number}"] = parts.chat.data[f"from {number}"] = number

    await asyncio.gather(*map(work, range(6)))

    for key in ("user:7", "chat:42"):
        assert await storage.read(key) == {f"from {number}": number for number in range(6)}


async def test_groups_that_share_parts_in_another_order_do_not_wait_for_each_other(storage: Together) -> None:
    user, chat = Sessions(storage, key=per_user, initial=dict), Sessions(storage, key=per_chat, initial=dict)
    one, two = SessionGroup(user=user, chat=chat), SessionGroup(chat=chat, user=user)

    async def work(group: SessionGroup, number: int) -> None:
        async with group.open(UPDATE) as parts:
            await asyncio.sleep(0)
            parts.user.data[str(number)] = 1

    async with asyncio.timeout(5):
        await asyncio.gather(*(work(group, number) for number, group in enumerate([one, two] * 5)))
    assert len(await user.read("user:7") or {}) == 10


async def change(group: SessionGroup, storage: Any, theirs: dict[str, Any]) -> None:
    """Change all three parts while somebody else writes some of them."""
    async with group.open(UPDATE) as parts:
        for name in ("user", "chat", "both"):
            parts[name].data["n"] = 1
        for key, data in theirs.items():
            await storage.write(key, data)
        storage.visits.clear()


@pytest.mark.parametrize("lock", [True, False])
async def test_where_each_is_changed_by_itself_they_cost_one_read_and_one_write_too(lock: bool) -> None:
    storage = Each()
    for number in (1, 2):
        async with group_of(storage, lock=lock).open(UPDATE) as parts:
            for name in ("user", "chat", "both"):
                parts[name].data["n"] = number
    assert storage.visits == ["get 3", "each 3"] * 2
    for key in ("user:7", "chat:42", "all"):
        assert await storage.read(key) == {"n": 2}

    storage.visits.clear()
    async with group_of(storage, lock=lock).open(UPDATE) as parts:
        parts.user.data = None
        parts.chat.data = None
    assert storage.visits == ["get 3", "each 2"]
    assert [key async for key in storage.keys()] == ["all"]


async def test_where_each_is_changed_by_itself_one_in_conflict_raises_and_the_others_are_saved() -> None:
    storage = Each()
    with pytest.raises(ConflictError, match="session 'user:7' was changed by somebody else"):
        await change(group_of(storage, lock=False, on_conflict="raise"), storage, {"user:7": {"n": 5}})
    assert storage.visits == ["each 3", "get 1"]
    assert await storage.read("user:7") == {"n": 5}
    assert await storage.read("chat:42") == await storage.read("all") == {"n": 1}


async def test_where_each_is_changed_by_itself_those_in_conflict_are_merged_and_saved_again() -> None:
    storage = Each()
    group = group_of(storage, lock=False)
    await change(group, storage, {"user:7": {"n": 0, "theirs": 1}, "chat:42": {"n": 0, "theirs": 2}})
    assert storage.visits == ["each 3", "get 2", "each 2"]
    assert await storage.read("user:7") == {"n": 1, "theirs": 1}
    assert await storage.read("chat:42") == {"n": 1, "theirs": 2}
    assert await storage.read("all") == {"n": 1}

    async with group.open(UPDATE) as parts:
        parts.user.data["n"] = parts.chat.data["n"] = 2
        await storage.write("user:7", {"n": 1, "theirs": 3})
        storage.visits.clear()
    assert storage.visits == ["each 2", "get 1", "put?"]
    assert await storage.read("user:7") == {"n": 2, "theirs": 3}


async def test_where_each_is_changed_by_itself_a_conflict_is_given_up_after_the_timeout() -> None:
    class Overtaken(Each):
        async def put_each(self, changes: Any) -> dict[str, str]:
            for number, key in enumerate(("user:7", "chat:42")):
                await self.write(key, {"n": 0, "theirs": len(self.visits) + number})
            return await super().put_each(changes)

    storage = Overtaken()
    group = group_of(storage, lock=False, timeout=timedelta(milliseconds=30))
    with pytest.raises(ConflictError, match="was changed by somebody else"):
        await change(group, storage, {})
    assert storage.visits.count("get 2") >= 1
    assert await storage.read("all") == {"n": 1}


async def test_where_each_is_changed_by_itself_what_is_overwritten_goes_alone() -> None:
    storage = Each()
    await change(group_of(storage, lock=False, on_conflict="overwrite"), storage, {"user:7": {"n": 5}})
    assert storage.visits == ["put", "put", "put"]
    assert await storage.read("user:7") == {"n": 1}


async def test_on_a_storage_without_batches_parts_are_read_and_written_side_by_side() -> None:
    storage = Crowd(3)
    async with asyncio.timeout(5), group_of(storage).open(UPDATE) as parts:
        parts.user.data["n"] = 1
        parts.chat.data["n"] = 2
        parts.both.data["n"] = 3

    stored = {key: await storage.memory.read(key) for key in ("user:7", "chat:42", "all")}
    assert stored == {"user:7": {"n": 1}, "chat:42": {"n": 2}, "all": {"n": 3}}


async def test_on_a_storage_without_batches_a_part_that_cannot_be_saved_does_not_keep_the_others_from_it() -> None:
    storage = Crowd(3)
    storage.broken = "chat:42"
    with pytest.raises(StorageUnavailableError, match="try again"):
        async with asyncio.timeout(5), group_of(storage).open(UPDATE) as parts:
            parts.user.data["n"] = 1
            parts.chat.data["n"] = 2
            parts.both.data["n"] = 3

    stored = {key: await storage.memory.read(key) for key in ("user:7", "chat:42", "all")}
    assert stored == {"user:7": {"n": 1}, "chat:42": None, "all": {"n": 3}}


async def test_keys_can_be_given_by_part(storage: Together) -> None:
    async with group_of(storage).open({"user": "user:1", "chat": "chat:2", "both": "all"}) as parts:
        parts.user.data["n"] = 1
    assert await storage.read("user:1") == {"n": 1}

    with pytest.raises(SessionError, match="one key is not enough for a group"):
        async with group_of(storage).open("chat:2"):
            pass


async def test_parts_with_one_key_in_one_storage_are_refused_unless_a_prefix_keeps_them_apart(
    storage: Together,
) -> None:
    same = SessionGroup(a=Sessions(storage, initial=dict), b=Sessions(storage, initial=dict))
    for how in ("open", "lazy"):
        with pytest.raises(SessionError, match="parts a and b are both 'chat:42' in one storage: give one a prefix="):
            async with getattr(same, how)(UPDATE):
                pass

    apart = SessionGroup(a=Sessions(storage, initial=dict), b=Sessions(storage, initial=dict, prefix="b:"))
    async with apart.open(UPDATE) as parts:
        parts.a.data["n"], parts.b.data["n"] = 1, 2
    assert await storage.read_many(["chat:42", "b:chat:42"]) == {"chat:42": {"n": 1}, "b:chat:42": {"n": 2}}


async def test_a_part_has_a_lifetime_of_its_own(storage: Together) -> None:
    group = SessionGroup(
        a=Sessions(storage, initial=dict, version=3), b=Sessions(MemoryStorage[Any](), initial=dict, prefix="b:")
    )
    async with group.open(UPDATE) as parts:
        parts.data = {"a": {"n": 1}, "b": {"n": 2}}

    stored: Any = await storage.read("chat:42")
    assert stored["$satchel"]["version"] == 3


async def test_a_part_that_holds_nothing_and_has_no_initial_raises_when_it_is_asked_for(storage: Together) -> None:
    group = SessionGroup(a=Sessions(storage), b=Sessions(storage, prefix="b:", initial=dict))

    async with group.open(UPDATE) as parts:
        parts.b.data["n"] = 1
        with pytest.raises(EmptySessionError):
            _ = parts.data
        with pytest.raises(AttributeError, match="no part 'c'; it has a, b"):
            _ = parts.c


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({}, "at least one part"),
        ({"a": MemoryStorage()}, "part a of a group is Sessions, not MemoryStorage"),
        ({"data": None}, "part data of a group is Sessions, not NoneType"),
    ],
)
def test_what_is_no_group_is_refused(parts: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigurationError, match=line):
        SessionGroup(**parts)


@pytest.mark.parametrize("name", ["data", "delete", "keys", "save", "_x"])
def test_a_part_cannot_have_a_name_of_the_groups_own(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot be called {name}"):
        SessionGroup(**{name: Sessions(MemoryStorage())})
    assert name.startswith("_") or hasattr(Parts, name)


async def test_the_fields_of_an_update_are_no_keys() -> None:
    update = {"type": "message", "user": "U1", "channel": "C1"}
    storage: MemoryStorage[Any] = MemoryStorage()
    group = SessionGroup(user=Sessions(storage, key=per_user), chat=Sessions(storage, key=per_chat))
    async with group.open(update) as parts:
        assert parts.keys == {"user": per_user(update), "chat": per_chat(update)}


async def test_groups_that_name_their_parts_in_another_order_do_not_wait_for_each_other() -> None:
    one, two = (Sessions(MemoryStorage(), initial=dict, timeout=timedelta(seconds=1)) for _ in range(2))

    async def work(group: SessionGroup) -> None:
        for _ in range(20):
            async with group.open({"a": "key", "b": "key"}):
                await asyncio.sleep(0)

    await asyncio.gather(work(SessionGroup(a=one, b=two)), work(SessionGroup(b=two, a=one)))
