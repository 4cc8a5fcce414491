"""Scopes: what Bot Builder promises of its containers, and what its flaws would have done to them."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recording import Plain, Together
from satchel import (
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    InvalidKeyError,
    MemoryStorage,
    NoSessionError,
    SessionAlreadyOpenError,
    SessionClosedError,
    SessionError,
    UnsupportedValueError,
    ValueTooLargeError,
    open_storage,
    typed,
)
from satchel.scopes import Address, Scope, Scopes

ADA = Address("telegram", user=7, conversation=42)
BOB = Address("telegram", user=8, conversation=42)


@pytest.fixture
def storage() -> Together:
    return Together()


@pytest.fixture
def scopes(storage: Together) -> Scopes:
    return Scopes(storage, channel="telegram")


async def stored(storage: Any) -> dict[str, Any]:
    return {key: await storage.read(key) async for key in storage.keys()}


def fill(scope: Scope) -> None:
    scope.user_data["name"] = "Ada"
    scope.conversation_data["topic"] = "pizza"
    scope.private_conversation_data["order"] = 1
    scope.begin_dialog("order")
    scope.dialog_data["size"] = "L"


async def test_each_container_is_what_its_users_share(scopes: Scopes) -> None:
    async with scopes.open(ADA) as scope:
        fill(scope)

    async with scopes.open(BOB) as scope:
        assert scope.conversation_data == {"topic": "pizza"}
        assert scope.user_data == scope.private_conversation_data == {}
        assert scope.dialogs == ()
    async with scopes.open(ADA._replace(conversation=43)) as scope:
        assert scope.user_data == {"name": "Ada"}
        assert scope.conversation_data == scope.private_conversation_data == {}
        assert scope.dialog is None
    async with scopes.open(ADA) as scope:
        assert (scope.private_conversation_data, scope.dialog, scope.dialog_data) == (
            {"order": 1},
            "order",
            {"size": "L"},
        )


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    for restarts in range(3):
        opened = open_storage(f"sqlite:///{tmp_path}/bot.db")
        async with opened as storage, Scopes(storage, channel="telegram").open(ADA) as scope:
            if not restarts:
                fill(scope)
            scope.dialog_data["restarts"] = scope.dialog_data.get("restarts", -1) + 1
            assert scope.user_data == {"name": "Ada"}
            assert scope.dialog_data == {"size": "L", "restarts": restarts}


async def test_one_user_id_on_two_channels_is_two_users(storage: Together) -> None:
    def channel_of(update: Any) -> str:
        return str(update["platform"])

    async def later(update: Any) -> str:
        await asyncio.sleep(0)
        return channel_of(update)

    update = {"message": {"chat": {"id": 42}, "from": {"id": 7}}}
    async with Scopes(storage, channel=channel_of).open({"platform": "telegram"} | update) as scope:
        fill(scope)
        assert scope.address == ADA
    async with Scopes(storage, channel=later).open({"platform": "line"} | update) as scope:
        assert scope.user_data == scope.conversation_data == scope.private_conversation_data == {}
        fill(scope)

    assert len(await stored(storage)) == 6


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Address("a:user", "7"), Address("a", "user:7")),
        (Address("a", "7:user:8"), Address("a:user:7", "8")),
        (Address("a", "conversation", "x"), Address("a", "x", "conversation")),
        (Address("a", "b:user:c", "d"), Address("a", "c", "d:user:b")),
        (Address("A", "é", "1"), Address("a", "e\u0301", "1")),
    ],
)
def test_no_two_addresses_share_a_container(one: Address, other: Address) -> None:
    keys = [key for at in (one, other) for key in (at.user_key, at.conversation_key, at.private_key) if key is not None]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("channel", ["", 1.5, None])
async def test_a_channel_has_a_name(storage: Together, channel: Any) -> None:
    with pytest.raises(InvalidKeyError, match="part 0 of a session key is"):
        Scopes(storage, channel=channel)
    with pytest.raises(InvalidKeyError, match="part 0 of a session key is"):
        async with Scopes(storage, channel=lambda update: channel).open({"user": {"id": 7}}):
            pass
    assert storage.visits == []


async def test_all_containers_cost_one_round_trip_to_read_and_one_to_write(scopes: Scopes, storage: Together) -> None:
    async with scopes.open(ADA) as scope:
        fill(scope)
    assert storage.visits == ["get 3", "put 3"]

    storage.visits.clear()
    async with scopes.open(ADA) as scope:
        scope.end_conversation()
        scope.user_data["orders"] = 1
    assert storage.visits == ["get 3", "put 3"]


async def test_unchanged_containers_are_not_written(scopes: Scopes, storage: Together) -> None:
    async with scopes.open(ADA) as scope:
        fill(scope)
    storage.visits.clear()

    async with scopes.open(ADA) as scope:
        assert scope.dialog_data == {"size": "L"}
        scope.user_data = {"name": "Ada"}
    assert storage.visits == ["get 3"]

    async with scopes.open(ADA) as scope:
        scope.dialog_data["size"] = "M"
    assert storage.visits[1:] == ["get 3", "put?"]


async def test_looking_at_what_is_empty_stores_nothing(scopes: Scopes, storage: Together) -> None:
    async with scopes.open(ADA) as scope:
        assert scope.user_data == scope.conversation_data == scope.private_conversation_data == {}
        scope.user_data = scope.conversation_data = scope.private_conversation_data = {}
        scope.begin_dialog("order")
        scope.end_dialog()
        scope.end_conversation()
    assert storage.visits == ["get 3"]


@pytest.mark.parametrize(
    ("option", "container", "left"),
    [
        ("persist_user_data", "user_data", "telegram:user:7"),
        ("persist_conversation_data", "conversation_data", "telegram:conversation:42"),
    ],
)
async def test_what_is_not_persisted_is_neither_read_nor_written(
    scopes: Scopes, storage: Together, option: str, container: str, left: str
) -> None:
    async with scopes.open(ADA) as scope:
        fill(scope)
    before = await storage.read(left)
    storage.visits.clear()
    flags: Any = {option: False}
    passing = Scopes(storage, channel="telegram", **flags)

    async with passing.open(ADA) as scope:
        assert getattr(scope, container) == {}
        getattr(scope, container)["n"] = 1
        assert getattr(scope, container) == {"n": 1}
        setattr(scope, container, {"n": 2})
        await scope.save()
        assert getattr(scope, container) == {"n": 2}
    async with passing.open(ADA) as scope:
        assert getattr(scope, container) == {}
        scope.end_conversation()

    assert storage.visits == ["get 2", "get 2", "drop?" if option == "persist_conversation_data" else "put 2"]
    assert await storage.read(left) == before


async def test_private_data_is_persisted_whatever_the_flags_say(storage: Together) -> None:
    scopes = Scopes(storage, channel="telegram", persist_user_data=False, persist_conversation_data=False)
    async with scopes.open(ADA) as scope:
        fill(scope)

    assert list(await stored(storage)) == ["telegram:conversation:42:user:7"]
    async with scopes.open(ADA) as scope:
        assert scope.private_conversation_data == {"order": 1}
        assert scope.dialog_data == {"size": "L"}


async def test_save_saves_without_waiting_for_the_end_of_the_turn(scopes: Scopes, storage: Together) -> None:
    with pytest.raises(ZeroDivisionError):
        async with scopes.open(ADA) as scope:
            fill(scope)
            await scope.save()
            scope.user_data["name"] = "Zoë"
            scope.dialog_data["size"] = "M"
            raise ZeroDivisionError

    async with scopes.open(ADA) as scope:
        assert (scope.user_data, scope.dialog_data) == ({"name": "Ada"}, {"size": "L"})


async def test_a_container_that_was_cleared_and_saved_can_be_filled_again(scopes: Scopes, storage: Together) -> None:
    async with scopes.open(ADA) as scope:
        fill(scope)
    async with scopes.open(ADA) as scope:
        scope.user_data = {}
        await scope.save()
        assert await storage.read("telegram:user:7") is None
        assert scope.user_data == {}
        scope.user_data["name"] = "Zoë"
    assert await storage.read("telegram:user:7") == {"name": "Zoë"}


async def test_a_turn_that_raises_changes_nothing(scopes: Scopes, storage: Together) -> None:
    async with scopes.open(ADA) as scope:
        fill(scope)
    before = await stored(storage)

    with pytest.raises(ZeroDivisionError):
        async with scopes.open(ADA) as scope:
            scope.user_data["name"] = "Zoë"
            scope.end_conversation()
            raise ZeroDivisionError

    assert await stored(storage) == before


async def test_ending_the_conversation_clears_all_but_what_is_the_users(scopes: Scopes, storage: Together) -> None:
    async with scopes.open(ADA) as scope:
        fill(scope)
    async with scopes.open(BOB) as scope:
        scope.private_conversation_data["order"] = 2

    async with scopes.open(ADA) as scope:
        scope.end_conversation()
        assert scope.conversation_data == scope.private_conversation_data == {}
        assert scope.dialogs == ()

    assert await stored(storage) == {
        "telegram:user:7": {"name": "Ada"},
        "telegram:conversation:42:user:8": {"order": 2},
    }


@pytest.mark.parametrize("container", ["user_data", "conversation_data", "private_conversation_data", "dialog_data"])
async def test_a_container_is_cleared_by_assigning_an_empty_dict(scopes: Scopes, container: str) -> None:
    async with scopes.open(ADA) as scope:
        fill(scope)
    async with scopes.open(ADA) as scope:
        setattr(scope, container, {})
    async with scopes.open(ADA) as scope:
        assert getattr(scope, container) == {}
        others = {"user_data", "conversation_data", "private_conversation_data", "dialog_data"} - {container}
        assert all(getattr(scope, other) for other in others)
        assert scope.dialog == "order"


async def test_what_is_cleared_leaves_no_record_behind(scopes: Scopes, storage: Together) -> None:
    async with scopes.open(ADA) as scope:
        fill(scope)
    async with scopes.open(ADA) as scope:
        scope.user_data.clear()
        scope.conversation_data = {}
        scope.private_conversation_data = {}
        scope.end_dialog()
    assert await stored(storage) == {}


@pytest.mark.parametrize("wrong", [None, [], "x"])
async def test_a_container_cannot_be_anything_but_a_dict(scopes: Scopes, storage: Together, wrong: Any) -> None:
    for container in ("user_data", "conversation_data", "private_conversation_data", "dialog_data"):
        with pytest.raises(SessionError, match=f"cleared by assigning {{}}, and not {type(wrong).__name__}"):
            async with scopes.open(ADA) as scope:
                scope.begin_dialog("order")
                setattr(scope, container, wrong)
    assert await stored(storage) == {}


async def test_dialogs_begin_on_top_of_each_other_and_each_has_its_own_data(scopes: Scopes) -> None:
    async with scopes.open(ADA) as scope:
        scope.begin_dialog("order", {"pizza": "Margherita"})
        scope.begin_dialog("address")
        scope.dialog_data["city"] = "Turin"
        assert scope.dialogs == ("order", "address")

    async with scopes.open(ADA) as scope:
        assert (scope.dialog, scope.dialog_data) == ("address", {"city": "Turin"})
        scope.replace_dialog("payment", {"card": True})
        assert scope.dialogs == ("order", "payment")

    async with scopes.open(ADA) as scope:
        assert scope.dialog_data == {"card": True}
        assert scope.end_dialog() == "order"
        assert scope.dialog_data == {"pizza": "Margherita"}
        assert scope.end_dialog() is None

    async with scopes.open(ADA) as scope:
        assert not scope.dialogs
        for use in (scope.end_dialog, lambda: scope.dialog_data):
            with pytest.raises(SessionError, match="no dialog has begun"):
                use()
        with pytest.raises(SessionError, match="no dialog has begun"):
            scope.dialog_data = {}
        scope.replace_dialog("order")
        assert scope.dialogs == ("order",)


async def test_the_data_a_dialog_begins_with_are_not_shared_with_who_gave_them(scopes: Scopes) -> None:
    first = {"pizza": "Margherita"}
    async with scopes.open(ADA) as scope:
        scope.begin_dialog("order", first)
        scope.dialog_data["pizza"] = "Marinara"
    assert first == {"pizza": "Margherita"}


@pytest.mark.parametrize("name", ["", None, 7])
async def test_a_dialog_has_a_name(scopes: Scopes, name: Any) -> None:
    async with scopes.open(ADA) as scope:
        for begin in (scope.begin_dialog, scope.replace_dialog):
            with pytest.raises(SessionError, match="a dialog has a name"):
                begin(name)


async def test_what_a_bot_calls_its_fields_is_never_taken_for_the_stack(scopes: Scopes, storage: Together) -> None:
    fields = {"$dialogs": [1], "$$dialogs": "x", "dialogs": 0, "$dialogs$": 1, "$": 2}
    for begins in (False, True):
        async with scopes.open(ADA) as scope:
            scope.private_conversation_data = fields
            if begins:
                scope.begin_dialog("order")
        async with scopes.open(ADA) as scope:
            assert scope.private_conversation_data == fields
            assert scope.dialogs == (("order",) if begins else ())

    record: Any = await storage.read("telegram:conversation:42:user:7")
    assert record["$dialogs"] == [{"name": "order", "data": {}}]


@pytest.mark.parametrize("record", [[], {"$dialogs": [{"name": "order"}]}, {"$dialogs": 7}, {"$dialogs": ["x"]}])
async def test_a_record_that_is_no_private_data_is_left_as_it_is(
    scopes: Scopes, storage: Together, record: Any
) -> None:
    await storage.write("telegram:conversation:42:user:7", record)
    with pytest.raises(CorruptValueError):
        async with scopes.open(ADA) as scope:
            scope.end_conversation()
    assert await storage.read("telegram:conversation:42:user:7") == record


async def test_what_is_no_json_is_named_by_its_path_and_nothing_is_saved(scopes: Scopes, storage: Together) -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        async with scopes.open(ADA) as scope:
            fill(scope)
            scope.dialog_data["at"] = object()
    assert caught.value.path == '$["$dialogs"][0].data.at'
    with pytest.raises(UnsupportedValueError):
        async with scopes.open(ADA) as scope:
            scope.private_conversation_data[7] = 1  # type: ignore[index]
    assert await stored(storage) == {}


class Small(Together):
    """Takes no more than 100 bytes in a record."""

    capabilities = replace(MemoryStorage.capabilities, max_value_bytes=100)


async def test_what_is_too_large_is_refused_and_everything_stays_as_it_was() -> None:
    storage = Small()
    scopes = Scopes(storage, channel="telegram")
    async with scopes.open(ADA) as scope:
        fill(scope)
    before = await stored(storage)

    for container in ("user_data", "conversation_data", "private_conversation_data", "dialog_data"):
        with pytest.raises(ValueTooLargeError):
            async with scopes.open(ADA) as scope:
                scope.user_data["n"] = scope.conversation_data["n"] = 1
                getattr(scope, container)["text"] = "x" * 100
        assert await stored(storage) == before


async def test_two_processes_that_change_one_container_lose_nothing(storage: Together) -> None:
    """Bot Builder wrote with etag *: the last one won."""
    processes = [Scopes(storage, channel="telegram", lock=False) for _ in range(6)]

    async def turn(number: int) -> None:
        async with processes[number].open(ADA) as scope:
            await asyncio.sleep(0)
            for data in (scope.user_data, scope.conversation_data, scope.private_conversation_data):
                data[f"from {number}"] = number

    await asyncio.gather(*map(turn, range(6)))

    everything = {f"from {number}": number for number in range(6)}
    assert await stored(storage) == dict.fromkeys(
        ["telegram:user:7", "telegram:conversation:42", "telegram:conversation:42:user:7"], everything
    )


async def test_the_same_field_or_the_stack_changed_by_two_is_a_conflict(storage: Together) -> None:
    one, two = (Scopes(storage, channel="telegram", lock=False) for _ in range(2))
    with pytest.raises(ConflictError, match="in the same field: 'name'"):
        async with one.open(ADA) as scope:
            scope.user_data["name"] = "Ada"
            async with two.open(ADA) as other:
                other.user_data["name"] = "Bob"
    with pytest.raises(ConflictError, match=r"in the same field: '\$dialogs'"):
        async with one.open(ADA) as scope:
            scope.begin_dialog("order")
            async with two.open(ADA) as other:
                other.begin_dialog("help")
    with pytest.raises(ConflictError):
        async with Scopes(storage, channel="telegram", lock=False, on_conflict="raise").open(ADA) as scope:
            scope.user_data["a"] = 1
            async with two.open(ADA) as other:
                other.user_data["b"] = 1
    assert await storage.read("telegram:user:7") == {"name": "Bob", "b": 1}


async def test_clearing_is_a_change_like_any_other_when_two_meet(storage: Together) -> None:
    one, two = (Scopes(storage, channel="telegram", lock=False) for _ in range(2))

    async def meet(mine: Any, theirs: Any) -> Any:
        await storage.write("telegram:conversation:42", {"topic": "pizza"})
        async with one.open(ADA) as scope:
            async with two.open(BOB) as other:
                theirs(other)
            mine(scope)
        return await storage.read("telegram:conversation:42")

    def clear(scope: Scope) -> None:
        scope.end_conversation()

    def add(scope: Scope) -> None:
        scope.conversation_data["n"] = 1

    def change(scope: Scope) -> None:
        scope.conversation_data["topic"] = "pasta"

    assert await meet(clear, clear) is None
    assert await meet(clear, add) == {"n": 1}
    assert await meet(add, clear) == {"n": 1}
    for mine, theirs in ((clear, change), (change, clear)):
        with pytest.raises(ConflictError, match="in the same field: 'topic'"):
            await meet(mine, theirs)


async def test_turns_of_one_conversation_take_turns(scopes: Scopes, storage: Together) -> None:
    async def turn(address: Address) -> None:
        async with scopes.open(address) as scope:
            count = scope.conversation_data.get("n", 0)
            await asyncio.sleep(0)
            scope.conversation_data["n"] = count + 1

    async with asyncio.timeout(5):
        await asyncio.gather(*(turn(at) for at in [ADA, BOB] * 5))
    assert await storage.read("telegram:conversation:42") == {"n": 10}

    with pytest.raises(SessionAlreadyOpenError):
        async with scopes.open(ADA), scopes.open(BOB):
            pass


async def test_an_update_without_a_user_or_a_conversation_has_the_other_containers(scopes: Scopes) -> None:
    async with scopes.open({"channel_post": {"chat": {"id": 42}}}) as scope:
        scope.conversation_data["n"] = 1
        for container in ("user_data", "private_conversation_data", "dialog_data", "dialogs"):
            with pytest.raises(NoSessionError):
                getattr(scope, container)
        scope.end_conversation()
        assert scope.conversation_data == {}
    async with scopes.open({"inline_query": {"from": {"id": 7}}}) as scope:
        scope.user_data["n"] = 1
        with pytest.raises(NoSessionError):
            scope.conversation_data["n"] = 1
        scope.end_conversation()
    async with scopes.open(ADA) as scope:
        assert scope.user_data == {"n": 1}


async def test_a_container_cannot_be_used_after_its_turn(scopes: Scopes) -> None:
    async with scopes.open(ADA) as scope:
        fill(scope)
    for use in ("user_data", "conversation_data", "private_conversation_data", "dialog_data", "dialogs"):
        with pytest.raises(SessionClosedError):
            getattr(scope, use)


async def test_a_group_that_becomes_a_supergroup_keeps_its_data(scopes: Scopes, storage: Together) -> None:
    async with scopes.open(ADA) as scope:
        fill(scope)
    new = ADA._replace(conversation=-100)
    assert await scopes.conversation.rename(ADA, new)
    assert await scopes.private.rename(ADA, new)
    async with scopes.open(new) as scope:
        assert (scope.conversation_data, scope.dialog) == ({"topic": "pizza"}, "order")
    assert await scopes.user.read(ADA) == {"name": "Ada"}


async def test_any_storage_will_do() -> None:
    storage = Plain()
    scopes = Scopes(storage, channel="telegram")
    async with scopes.open(ADA) as scope:
        fill(scope)
    async with scopes.open(ADA) as scope:
        assert scope.dialog_data == {"size": "L"}
        scope.end_conversation()
    assert await stored(storage.memory) == {"telegram:user:7": {"name": "Ada"}}


def test_a_storage_of_one_type_of_data_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has a codec of its own"):
        Scopes(MemoryStorage(codec=typed(dict[str, int])), channel="telegram")


async def test_what_was_cleared_and_saved_can_be_what_it_was_before(scopes: Scopes, storage: Together) -> None:
    for _ in range(2):
        async with scopes.open(ADA) as scope:
            scope.user_data.clear()
            await scope.save()
            scope.user_data["name"] = "Ada"
    assert (await stored(storage))["telegram:user:7"] == {"name": "Ada"}
