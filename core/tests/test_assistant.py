"""The assistant: what Stentor promises of its storage, and what it got wrong."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from failing import Failing
from recording import Plain, Recording
from satchel import (
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    MemoryStorage,
    NoSessionError,
    SessionClosedError,
    SessionError,
    StorageUnavailableError,
    UnsupportedValueError,
    open_storage,
)
from satchel.assistant import Assistant, Turn

ADA = {"user": {"id": 7}}
START = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Clock:
    """The time that the assistant sees: it passes when the test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return int(self.now.timestamp() * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("satchel.turns.now", clock)
    return clock


@pytest.fixture
def storage() -> Recording:
    return Recording()


@pytest.fixture
def assistant(storage: Recording) -> Assistant:
    return Assistant(storage, idle_timeout=30 * MINUTE)


def look(turn: Turn) -> Any:
    """Answer with what is known."""
    return {
        "session": dict(turn.session),
        "storage": dict(turn.storage),
        "slots": dict(turn.slots),
        "unknown_inputs": turn.unknown_inputs,
        "new_user": turn.new_user,
    }


def count(turn: Turn) -> int:
    for kept in (turn.session, turn.storage):
        kept["n"] = kept.get("n", 0) + 1
    return int(turn.session["n"])


async def test_session_storage_lasts_for_the_session_and_permanent_storage_lasts(assistant: Assistant) -> None:
    for session_id, expected in (("one", 1), ("one", 2), ("two", 1), ("two", 2)):
        assert await assistant.respond(ADA, count, session_id=session_id) == expected

    seen = await assistant.respond(ADA, look, session_id="two")
    assert (seen["session"], seen["storage"]) == ({"n": 2}, {"n": 4})


async def test_each_user_has_a_storage(assistant: Assistant) -> None:
    await assistant.respond(ADA, count)
    assert await assistant.respond({"user": {"id": 8}}, count) == 1


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        async with open_storage(f"sqlite:///{tmp_path}/bot.db") as storage:
            assert await Assistant(storage).respond(ADA, count, session_id="one") == expected


async def test_a_session_rolls_over_when_its_user_was_idle_for_so_long(assistant: Assistant, clock: Clock) -> None:
    begins = []

    def handle(turn: Turn) -> None:
        begins.append(turn.is_new_session)
        count(turn)

    for minutes in (0, 29, 29, 30, 1):
        clock.now += minutes * MINUTE
        await assistant.respond(ADA, handle)
    assert begins == [True, False, False, True, False]
    assert (await assistant.respond(ADA, look))["session"] == {"n": 2}


async def test_without_an_idle_timeout_only_a_new_id_ends_a_session(storage: Recording, clock: Clock) -> None:
    assistant = Assistant(storage)
    await assistant.respond(ADA, count, session_id="one")
    clock.now += 10_000 * MINUTE
    assert await assistant.respond(ADA, count, session_id="one") == 2
    assert await assistant.respond(ADA, count) == 3  # an update that does not say goes on
    assert await assistant.respond(ADA, count, session_id="two") == 1


async def test_the_session_that_began_anew_has_nothing_of_the_last_one(assistant: Assistant, clock: Clock) -> None:
    await assistant.respond(ADA, count, session_id="one", slots={"size": "L"}, is_unknown=True)
    clock.now += MINUTE
    stores = []
    await assistant.respond(ADA, lambda turn: stores.append(dict(turn.session_store)), session_id="two")
    assert stores == [
        {
            "id": "two",
            "created_timestamp": "2026-11-21T12:01:00.000Z",
            "new_user": False,
            "unknown_inputs": 0,
            "slots": {},
            "data": {},
        }
    ]


async def test_a_user_is_new_in_the_first_session_and_never_again(assistant: Assistant, clock: Clock) -> None:
    """In Stentor it stayed true, as nobody wrote when the user was last active."""
    new = [
        (await assistant.respond(ADA, look, session_id=session_id))["new_user"]
        for session_id in ("one", "one", "two", "three")
    ]
    clock.now += 60 * MINUTE
    new.append((await assistant.respond(ADA, look))["new_user"])
    assert new == [True, True, False, False, False]


async def test_a_user_whose_first_turn_failed_is_new_still(assistant: Assistant) -> None:
    def fail(turn: Turn) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await assistant.respond(ADA, fail, session_id="one")
    assert (await assistant.respond(ADA, look, session_id="two"))["new_user"]


async def test_unknown_inputs_are_counted_as_long_as_they_follow_each_other(assistant: Assistant) -> None:
    counts = [
        (await assistant.respond(ADA, look, session_id="one", is_unknown=is_unknown))["unknown_inputs"]
        for is_unknown in (False, True, True, True, False, True)
    ]
    counts.append((await assistant.respond(ADA, look, session_id="two", is_unknown=True))["unknown_inputs"])
    assert counts == [0, 1, 2, 3, 0, 1, 1]


async def test_slots_add_up_over_the_session(assistant: Assistant) -> None:
    for slots, expected in (
        ({"size": "L"}, {"size": "L"}),
        (None, {"size": "L"}),
        ({"topping": ["ham"]}, {"size": "L", "topping": ["ham"]}),
        ({"size": "M", "drink": None}, {"size": "M", "topping": ["ham"], "drink": None}),
    ):
        assert (await assistant.respond(ADA, look, session_id="one", slots=slots))["slots"] == expected

    def forget(turn: Turn) -> None:
        del turn.slots["topping"]

    await assistant.respond(ADA, forget, session_id="one")
    assert (await assistant.respond(ADA, look, session_id="one"))["slots"] == {"size": "M", "drink": None}
    assert (await assistant.respond(ADA, look, session_id="two", slots={"size": "S"}))["slots"] == {"size": "S"}


async def test_what_a_bot_keeps_is_never_taken_for_what_is_managed(assistant: Assistant) -> None:
    def keep(turn: Turn) -> None:
        turn.session.update(new_user="x", unknown_inputs="x", slots="x", id="x", data="x")
        turn.storage.update(current_handler="x", session_store="x", created_timestamp="x", storage="x")

    await assistant.respond(ADA, keep, session_id="one", slots={"size": "L"})
    seen = await assistant.respond(ADA, look, session_id="one")
    assert (seen["new_user"], seen["unknown_inputs"], seen["slots"]) == (True, 0, {"size": "L"})
    assert seen["session"]["slots"] == seen["storage"]["session_store"] == "x"


async def test_times_are_when_the_user_was_first_seen_and_last_seen_before(assistant: Assistant, clock: Clock) -> None:
    seen: list[Any] = []

    def note(turn: Turn) -> None:
        seen.append((turn.created_timestamp, turn.last_active_timestamp))

    for _ in range(3):
        await assistant.respond(ADA, note)
        clock.now += MINUTE
    assert seen == [(START, None), (START, START), (START, START + MINUTE)]


async def test_what_is_stored_is_one_readable_record(assistant: Assistant, storage: Recording, clock: Clock) -> None:
    def greet(turn: Turn) -> str:
        turn.current_handler = "greet"
        count(turn)
        return "Hello!"

    await assistant.respond(ADA, greet, session_id="one", slots={"name": "Ada"})
    assert storage.visits == ["get", "put?"]
    assert await storage.read("user:7") == {
        "created_timestamp": "2026-11-21T12:00:00.000Z",
        "last_active_timestamp": "2026-11-21T12:00:00.000Z",
        "current_handler": "greet",
        "previous_handler": None,
        "previous_response": "Hello!",
        "session_store": {
            "id": "one",
            "created_timestamp": "2026-11-21T12:00:00.000Z",
            "new_user": True,
            "unknown_inputs": 0,
            "slots": {"name": "Ada"},
            "data": {"n": 1},
        },
        "storage": {"n": 1},
    }


async def test_the_previous_handler_is_never_the_current_one(assistant: Assistant) -> None:
    seen: list[Any] = []

    def entering(handler: Any) -> Any:
        def handle(turn: Turn) -> None:
            turn.current_handler = handler
            seen.append((turn.current_handler, turn.previous_handler))

        return handle

    order = {"type": "InSession", "intent": "order"}
    for handler in ("greet", "greet", order, dict(order), "greet"):
        await assistant.respond(ADA, entering(handler))
    assert seen == [("greet", None), ("greet", None), (order, "greet"), (order, "greet"), ("greet", order)]

    await assistant.respond(ADA, look, session_id="later")
    await assistant.respond(ADA, lambda turn: seen.append((turn.current_handler, turn.previous_handler)))
    assert seen[-1] == ("greet", order)


async def test_the_previous_response_is_that_of_the_turn_before(assistant: Assistant) -> None:
    seen: list[Any] = []

    def answering(response: Any) -> Any:
        def handle(turn: Turn) -> Any:
            seen.append(turn.previous_response)
            return response

        return handle

    responses = ["Hello!", {"text": "Which size?", "buttons": ["S", "L"]}, None, "Bye!"]
    assert [await assistant.respond(ADA, answering(response)) for response in responses] == responses
    assert seen == [None, "Hello!", {"text": "Which size?", "buttons": ["S", "L"]}, None]


async def test_a_failed_save_stops_the_reply() -> None:
    """Stentor swallowed it, and the reply went out."""
    storage = Failing()
    assistant = Assistant(storage)
    sent = []

    def going_away(turn: Turn) -> str:
        storage.away = True
        return f"{count(turn)}"

    async def on_message(handle: Any) -> None:
        sent.append(await assistant.respond(ADA, handle))

    with pytest.raises(StorageUnavailableError):
        await on_message(going_away)
    assert sent == []

    storage.away = False
    await on_message(count)
    assert sent == [1]


async def test_a_response_is_returned_only_when_it_is_saved(assistant: Assistant, storage: Recording) -> None:
    response = await assistant.respond(ADA, lambda turn: "Hello!")
    record: Any = await storage.read("user:7")
    assert record["previous_response"] == response == "Hello!"


@pytest.mark.parametrize("where", ["response", "session", "storage", "slots", "handler"])
async def test_what_cannot_be_saved_stops_the_reply_too(assistant: Assistant, storage: Recording, where: str) -> None:
    def handle(turn: Turn) -> Any:
        if where == "handler":
            turn.current_handler = object()
        elif where != "response":
            getattr(turn, where)["at"] = object()
        return object() if where == "response" else "Hello!"

    with pytest.raises(UnsupportedValueError) as caught:
        await assistant.respond(ADA, handle)
    assert (
        caught.value.path
        == {
            "response": "$.previous_response",
            "session": "$.session_store.data.at",
            "storage": "$.storage.at",
            "slots": "$.session_store.slots.at",
            "handler": "$.current_handler",
        }[where]
    )
    assert await storage.read("user:7") is None


async def test_a_handler_that_raises_changes_nothing(assistant: Assistant, storage: Recording) -> None:
    await assistant.respond(ADA, count)
    before = await storage.read("user:7")

    async def handle(turn: Turn) -> None:
        count(turn)
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await assistant.respond(ADA, handle, is_unknown=True)
    assert await storage.read("user:7") == before


async def test_turns_of_one_user_lose_nothing_whatever_process_they_are_in(storage: Recording) -> None:
    processes = [Assistant(storage, lock=False) for _ in range(5)]

    async def handle(turn: Turn) -> int:
        turn.slots["sizes"].append("M")  # of this attempt alone
        counted = count(turn)
        await asyncio.sleep(0)
        return counted

    slots = {"sizes": ["L"]}
    answers = await asyncio.gather(*(one.respond(ADA, handle, session_id="s", slots=slots) for one in processes))

    assert sorted(answers) == [1, 2, 3, 4, 5]
    seen = await processes[0].respond(ADA, look)
    assert (seen["storage"], seen["slots"]) == ({"n": 5}, {"sizes": ["L", "M"]})
    assert slots == {"sizes": ["L"]}


async def test_a_turn_that_others_never_let_through_raises(storage: Recording) -> None:
    assistant = Assistant(storage, timeout=timedelta(milliseconds=20))

    async def handle(turn: Turn) -> str:
        await Assistant(storage).respond(ADA, count)
        return "late"

    with pytest.raises(ConflictError):
        await assistant.respond(ADA, handle)


async def test_a_turn_cannot_be_used_when_it_is_over(assistant: Assistant) -> None:
    turns: list[Turn] = []
    await assistant.respond(ADA, turns.append)
    for use in ("session", "storage", "slots", "current_handler"):
        with pytest.raises(SessionClosedError):
            getattr(turns[0], use)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"session_id": ""}, "session_id is a string and not empty"),
        ({"session_id": 7}, "session_id is a string and not empty"),
        ({"slots": ["size"]}, "slots are a mapping of names to values, not list"),
        ({"is_unknown": 1}, "is_unknown is True or False, not int"),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_read(
    assistant: Assistant, storage: Recording, wrong: Any, line: str
) -> None:
    with pytest.raises(SessionError, match=line):
        await assistant.respond(ADA, look, **wrong)
    with pytest.raises(UnsupportedValueError, match=r"\$.when is a date"):
        await assistant.respond(ADA, look, slots={"when": START})
    assert storage.visits == []


async def test_an_update_without_a_user_raises(assistant: Assistant) -> None:
    with pytest.raises(NoSessionError):
        await assistant.respond({"channel_post": {"chat": {"id": 42}}}, look)


async def test_somebody_elses_record_is_left_as_it_is(assistant: Assistant, storage: Recording) -> None:
    for record in ({"pizza": 1}, [1]):
        await storage.write("user:7", record)
        with pytest.raises(CorruptValueError, match="'user:7' holds no record of an assistant"):
            await assistant.respond(ADA, look)
        assert await storage.read("user:7") == record


async def test_a_user_can_be_looked_up_forgotten_and_moved(storage: Recording) -> None:
    assistant = Assistant(storage, key=lambda update: str(update["who"]), prefix="assistant:")
    await assistant.respond({"who": "ada"}, count)
    assert await assistant.users.rename("ada", "lovelace")
    record = await assistant.users.read({"who": "lovelace"})
    assert record is not None
    assert record["storage"] == {"n": 1}
    await assistant.users.delete("lovelace")
    assert [key async for key in storage.keys()] == []


async def test_any_storage_will_do() -> None:
    assistant = Assistant(Plain())
    assert [await assistant.respond("user:7", count) for _ in range(2)] == [1, 2]


def test_an_idle_timeout_is_positive() -> None:
    with pytest.raises(ConfigurationError, match="idle_timeout is"):
        Assistant(MemoryStorage(), idle_timeout=timedelta(0))
