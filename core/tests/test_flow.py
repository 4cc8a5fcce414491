"""Conversations in a state of a flow map: steps, where they lead, and what is saved of them."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from failing import Failing
from recording import Plain, Recording
from satchel import (
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    EmptySessionError,
    FlowError,
    LeaseLock,
    MemoryStorage,
    NoSessionError,
    NoTargetError,
    SessionAlreadyOpenError,
    SessionClosedError,
    Sessions,
    StepLoopError,
    StorageUnavailableError,
    UnknownStateError,
    per_user,
    typed,
)
from satchel.flow import Conversations, Flow, Places, State, Turn
from shop import CHAT, Shop, message


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_a_new_session_begins_at_the_start_and_stays_there(shop: Shop) -> None:
    await shop.bot.handle(message("hi"))
    await shop.bot.handle(message("ho"))
    assert shop.ran == ["say_hello hi", "say_hello ho"]
    assert await shop.storage.read(CHAT) == {"flow": {"current": "hello->say_hello"}}


async def test_the_start_may_be_any_state() -> None:
    shop = Shop()
    bot = Conversations(shop.flows, shop.sessions, start="checkout->say_sorry")
    await bot.handle(message("hi"))
    assert shop.ran == ["say_sorry hi"]


async def test_a_message_goes_to_the_handler_of_the_current_state(shop: Shop) -> None:
    async def ask(turn: Turn[Any]) -> None:
        turn.update_session_to(state="get_name")

    async def get(turn: Turn[Any]) -> None:
        turn.data["name"] = turn.update["text"]

    shop.does = {"say_hello": ask, "get_name": get}
    await shop.bot.handle(message("hi"))
    await shop.bot.handle(message("Zoë"))
    assert shop.ran == ["say_hello hi", "get_name Zoë"]
    assert (await shop.storage.read(CHAT))["name"] == "Zoë"


async def test_step_to_updates_the_session_and_runs_the_handler(shop: Shop) -> None:
    seen = []

    async def hello(turn: Turn[Any]) -> None:
        await turn.step_to(flow="checkout")
        seen.append(turn.current.slug)

    async def ask(turn: Turn[Any]) -> None:
        seen.append(turn.current.slug)

    shop.does = {"say_hello": hello, "ask_address": ask}
    await shop.bot.handle(message("hi"))
    assert shop.ran == ["say_hello hi", "ask_address hi"]
    assert seen == ["checkout->ask_address"] * 2
    assert await shop.bot.read(CHAT) == Places(shop.flows.place(flow="checkout"), shop.flows.place(flow="hello"))


async def test_update_session_to_does_not_run_the_handler(shop: Shop) -> None:
    async def hello(turn: Turn[Any]) -> None:
        turn.update_session_to(flow="checkout", state="get_address")

    shop.does = {"say_hello": hello}
    await shop.bot.handle(message("hi"))
    assert shop.ran == ["say_hello hi"]
    assert (await shop.bot.read(CHAT)).current == shop.flows.place("checkout->get_address")


async def test_of_several_arguments_session_counts_before_slug_before_flow_before_state(shop: Shop) -> None:
    async with shop.bot.open(CHAT) as turn:
        place = shop.flows.place("hello->say_bye")
        given: dict[str, Any] = {"session": place, "slug": "hello->get_name", "flow": "checkout", "state": "say_sorry"}
        turn.update_session_to(**given)
        assert turn.current.slug == "hello->say_bye"
        del given["session"]
        turn.update_session_to(**given)
        assert turn.current.slug == "hello->get_name"
        del given["slug"]
        turn.update_session_to(**given)
        assert turn.current.slug == "checkout->say_sorry"
        turn.update_session_to(state="ask_address")
        assert turn.current.slug == "checkout->ask_address"
        turn.update_session_to(flow="hello")
        assert turn.current.slug == "hello->say_hello"


async def test_a_step_to_nowhere_is_an_error_and_changes_nothing(shop: Shop) -> None:
    await shop.put("hello->get_name", previous="hello->say_hello")
    async with shop.bot.open(CHAT) as turn:
        with pytest.raises(NoTargetError, match="session, slug, flow or state"):
            await turn.step_to()
        with pytest.raises(NoTargetError):
            turn.update_session_to()
        with pytest.raises(NoTargetError):
            turn.set_back_to()
    assert await shop.storage.read(CHAT) == {"flow": {"current": "hello->get_name", "previous": "hello->say_hello"}}


@pytest.mark.parametrize(
    "target",
    [{"slug": "hello->nowhere"}, {"flow": "nowhere"}, {"state": "nowhere"}, {"slug": "hello"}, {"session": "hello->a"}],
)
async def test_an_unknown_state_is_refused_before_anything_is_stored(shop: Shop, target: dict[str, Any]) -> None:
    await shop.put("hello->get_name")
    shop.storage.visits.clear()
    async with shop.bot.open(CHAT) as turn:
        with pytest.raises(UnknownStateError):
            await turn.step_to(**target)
        with pytest.raises(UnknownStateError):
            turn.update_session_to(**target)
        with pytest.raises(UnknownStateError):
            turn.set_back_to(**target)
    assert shop.storage.visits == ["get"]
    assert shop.ran == []


async def test_a_state_without_a_flow_needs_a_session_that_is_in_one(shop: Shop) -> None:
    async with shop.bot.open(CHAT) as turn:
        with pytest.raises(NoTargetError, match="of which flow"):
            await turn.step_to(state="say_hello")
        with pytest.raises(NoTargetError, match="'chat:1' is in no flow yet"):
            _ = turn.current
        assert turn.places == Places()


async def test_where_a_session_is_was_and_goes_back_to_is_one_write(shop: Shop) -> None:
    await shop.put("hello->get_name")
    shop.storage.visits.clear()

    async def get(turn: Turn[Any]) -> None:
        turn.set_back_to(state="say_bye")
        await turn.step_to(flow="checkout")

    shop.does = {"get_name": get}
    await shop.bot.handle(message("hi"))
    assert shop.storage.visits == ["get", "put?"]
    assert await shop.storage.read(CHAT) == {
        "flow": {"current": "checkout->ask_address", "previous": "hello->get_name", "back_to": "hello->say_bye"}
    }


async def test_what_is_previous_is_never_what_is_current(shop: Shop) -> None:
    async with shop.bot.open(CHAT) as turn:
        turn.update_session_to(flow="hello")
        assert turn.previous is None
        turn.update_session_to(flow="hello")
        assert turn.previous is None
        turn.update_session_to(state="get_name")
        turn.update_session_to(state="get_name")
        assert turn.previous == shop.flows.place("hello->say_hello")
        turn.update_session_to(turn.previous)
        assert turn.places == Places(shop.flows.place("hello->say_hello"), shop.flows.place("hello->get_name"))


async def test_a_place_that_was_counted_is_a_target(shop: Shop) -> None:
    await shop.put("hello->say_hello")
    async with shop.bot.open(CHAT) as turn:
        await turn.step_to(turn.current + 1)
        await turn.step_to(session=turn.current + 99)
        await turn.step_to(session=turn.current - 1)
    assert shop.ran == ["get_name None", "say_bye None", "get_name None"]


async def test_step_back_goes_where_set_back_to_said_and_runs_it(shop: Shop) -> None:
    async def hello(turn: Turn[Any]) -> None:
        turn.set_back_to(state="say_bye")
        turn.update_session_to(slug="checkout->say_sorry")

    async def sorry(turn: Turn[Any]) -> None:
        await turn.step_back()

    shop.does = {"say_hello": hello, "say_sorry": sorry}
    await shop.bot.handle(message("hi"))
    await shop.bot.handle(message("ho"))
    assert shop.ran == ["say_hello hi", "say_sorry ho", "say_bye ho"]
    places = await shop.bot.read(CHAT)
    assert (str(places.current), str(places.previous), str(places.back_to)) == (
        "hello->say_bye",
        "checkout->say_sorry",
        "hello->say_bye",
    )


async def test_step_back_without_set_back_to_is_an_error(shop: Shop) -> None:
    await shop.put("hello->get_name", previous="hello->say_hello")
    async with shop.bot.open(CHAT) as turn:
        with pytest.raises(NoTargetError, match="set_back_to"):
            await turn.step_back()
        assert turn.current.state == "get_name"


async def test_who_is_in_a_renamed_state_is_in_todays(shop: Shop) -> None:
    await shop.put("checkout->ask_street", previous="checkout->ask_street", back_to="checkout->ask_street")
    today = shop.flows.place("checkout->ask_address")
    assert await shop.bot.read(CHAT) == Places(today, today, today)
    await shop.bot.handle(message("hi"))
    assert shop.ran == ["ask_address hi"]


async def test_a_renamed_state_is_stored_by_todays_name_once_it_ran(shop: Shop) -> None:
    await shop.put("checkout->ask_street")
    await shop.bot.handle(message("hi"))
    assert await shop.storage.read(CHAT) == {"flow": {"current": "checkout->ask_address"}}


async def test_a_step_to_a_renamed_state_goes_to_todays(shop: Shop) -> None:
    async with shop.bot.open(CHAT) as turn:
        await turn.step_to(slug="checkout->ask_street")
        assert turn.current.slug == "checkout->ask_address"
        turn.set_back_to(slug="checkout->ask_street")
        await turn.step_back()
    assert shop.ran == ["ask_address None"] * 2


async def test_a_session_in_a_state_that_is_gone_is_left_as_it_is(shop: Shop) -> None:
    await shop.put("hello->gone")
    with pytest.raises(UnknownStateError, match="the current state is hello->gone, and flow hello has no state 'gone'"):
        await shop.bot.handle(message("hi"))
    with pytest.raises(UnknownStateError):
        await shop.bot.read(CHAT)
    assert await shop.storage.read(CHAT) == {"flow": {"current": "hello->gone"}}
    assert shop.ran == []


async def test_a_session_in_a_state_that_is_gone_can_be_sent_elsewhere(shop: Shop) -> None:
    await shop.put("hello->gone")
    async with shop.bot.open(message("/start")) as turn:
        await turn.step_to(flow="checkout")
    assert await shop.storage.read(CHAT) == {"flow": {"current": "checkout->ask_address", "previous": "hello->gone"}}


async def test_a_handler_that_raises_saves_nothing(shop: Shop) -> None:
    await shop.put("hello->get_name")
    before = await shop.storage.read(CHAT)

    async def get(turn: Turn[Any]) -> None:
        turn.data["name"] = "Zoë"
        await turn.step_to(state="say_bye")
        raise RuntimeError("boom")

    shop.does = {"get_name": get}
    with pytest.raises(RuntimeError, match="boom"):
        await shop.bot.handle(message("hi"))
    assert await shop.storage.read(CHAT) == before


async def fail(turn: Turn[Any]) -> None:
    turn.data["items"].append("half-done")
    turn.data["card"] = "4111 1111 1111 1111"
    turn.update_session_to(flow="hello")
    raise RuntimeError("the card 4111 1111 1111 1111 was refused")


async def test_a_state_whose_handler_raises_fails_to_another_as_if_it_had_done_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Any] = []

    async def sorry(turn: Turn[Any]) -> None:
        errors.append(turn.error)
        await turn.step_to(state="ask_address")

    async def ask(turn: Turn[Any]) -> None:
        errors.append(turn.error)
        turn.data["asked"] = True

    shop.does = {"get_address": fail, "say_sorry": sorry, "ask_address": ask}
    await shop.storage.write(CHAT, {"items": ["pizza"], "flow": {"current": "checkout->get_address"}})
    with caplog.at_level(logging.INFO, "satchel"):
        await shop.bot.handle(message("hi"))
    assert shop.ran == ["get_address hi", "say_sorry hi", "ask_address hi"]
    assert [type(error) for error in errors] == [RuntimeError, RuntimeError]
    assert await shop.storage.read(CHAT) == {
        "items": ["pizza"],
        "flow": {"current": "checkout->ask_address", "previous": "checkout->say_sorry"},
        "asked": True,
    }
    assert caplog.messages == ["state checkout->get_address raised RuntimeError, and fails to checkout->say_sorry"]
    assert "4111" not in caplog.text


async def test_the_handler_that_stepped_into_a_failing_state_goes_on(shop: Shop) -> None:
    async def ask(turn: Turn[Any]) -> None:
        data = turn.data
        await turn.step_to(state="get_address")
        data["went_on"] = True
        assert turn.error is None

    shop.does = {"ask_address": ask, "get_address": fail}
    await shop.storage.write(CHAT, {"items": ["pizza"], "flow": {"current": "checkout->ask_address"}})
    await shop.bot.handle(message("hi"))
    data = await shop.storage.read(CHAT)
    assert data["items"] == ["pizza"]
    assert data["went_on"]
    assert data["flow"]["current"] == "checkout->say_sorry"


async def test_what_a_failing_handler_had_saved_stays_saved(shop: Shop) -> None:
    async def get(turn: Turn[Any]) -> None:
        turn.data["paid"] = 1
        await turn.save()
        turn.data["paid"] = 2
        raise RuntimeError

    shop.does = {"get_address": get}
    await shop.put("checkout->get_address")
    await shop.bot.handle(message("hi"))
    data = await shop.storage.read(CHAT)
    assert data["paid"] == 1
    assert data["flow"]["current"] == "checkout->say_sorry"


async def test_a_failing_handler_deletes_nothing(shop: Shop) -> None:
    async def get(turn: Turn[Any]) -> None:
        turn.delete()
        raise RuntimeError

    shop.does = {"get_address": get}
    await shop.storage.write(CHAT, {"name": "Zoë", "flow": {"current": "checkout->get_address"}})
    await shop.bot.handle(message("hi"))
    assert (await shop.storage.read(CHAT))["name"] == "Zoë"


async def test_a_state_that_fails_to_another_that_raises_saves_nothing(shop: Shop) -> None:
    shop.does = {"get_address": fail, "say_sorry": fail}
    await shop.storage.write(CHAT, {"items": [], "flow": {"current": "checkout->get_address"}})
    with pytest.raises(RuntimeError):
        await shop.bot.handle(message("hi"))
    assert await shop.storage.read(CHAT) == {"items": [], "flow": {"current": "checkout->get_address"}}


async def test_a_cancelled_handler_does_not_fail_to_anything(shop: Shop) -> None:
    inside = asyncio.Event()

    async def get(turn: Turn[Any]) -> None:
        inside.set()
        await asyncio.Event().wait()

    shop.does = {"get_address": get}
    await shop.put("checkout->get_address")
    task = asyncio.create_task(shop.bot.handle(message("hi")))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shop.ran == ["get_address hi"]
    assert await shop.storage.read(CHAT) == {"flow": {"current": "checkout->get_address"}}


async def test_states_that_step_to_each_other_for_ever_are_stopped_and_fail_to_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(turn: Turn[Any]) -> None:
        await turn.step_to(state="get_address")

    async def get(turn: Turn[Any]) -> None:
        await turn.step_to(state="ask_address")

    shop.does = {"ask_address": ask, "get_address": get}
    await shop.put("checkout->ask_address")
    with pytest.raises(StepLoopError, match="takes 50 steps at most"):
        await shop.bot.handle(message("hi"))
    assert len(shop.ran) == 50
    assert caplog.messages == []
    assert await shop.storage.read(CHAT) == {"flow": {"current": "checkout->ask_address"}}


async def test_a_turn_takes_as_many_steps_as_it_may() -> None:
    shop = Shop(max_steps=3)

    async def hello(turn: Turn[Any]) -> None:
        await turn.step_to(state="get_name")
        await turn.step_to(state="say_bye")

    shop.does = {"say_hello": hello}
    await shop.bot.handle(message("hi"))
    assert len(shop.ran) == 3


class TestInterruption:
    async def test_an_interrupt_that_does_nothing_lets_the_state_answer(self) -> None:
        async def interrupt(turn: Turn[Any]) -> bool:
            ours.ran.append("interrupt")
            return False

        ours = Shop(interrupt=interrupt)
        await ours.bot.handle(message("hi"))
        assert ours.ran == ["interrupt", "say_hello hi"]

    async def test_an_interrupt_that_returns_true_takes_the_message_over(self) -> None:
        async def interrupt(turn: Turn[Any]) -> bool:
            return bool(turn.update["text"] == "help")

        shop = Shop(interrupt=interrupt)
        await shop.bot.handle(message("help"))
        assert shop.ran == []
        assert await shop.storage.read(CHAT) is None

    async def test_an_interrupt_that_steps_takes_the_message_over_and_may_come_back(self) -> None:
        async def interrupt(turn: Turn[Any]) -> None:
            if turn.update["text"] == "help":
                turn.set_back_to(turn.current)
                await turn.step_to(slug="checkout->say_sorry")

        async def sorry(turn: Turn[Any]) -> None:
            if turn.update["text"] != "help":
                await turn.step_back()

        shop = Shop(interrupt=interrupt)
        shop.does = {"say_sorry": sorry}
        await shop.put("hello->get_name")
        for text in ("help", "thanks"):
            await shop.bot.handle(message(text))
        assert shop.ran == ["say_sorry help", "say_sorry thanks", "get_name thanks"]

    async def test_an_interrupt_that_only_updates_the_session_takes_the_message_over(self) -> None:
        async def interrupt(turn: Turn[Any]) -> None:
            turn.update_session_to(flow="checkout")

        shop = Shop(interrupt=interrupt)
        await shop.bot.handle(message("hi"))
        assert shop.ran == []
        assert (await shop.bot.read(CHAT)).current == shop.flows.place(flow="checkout")

    async def test_an_interrupt_that_deletes_the_session_takes_the_message_over(self) -> None:
        shop = Shop(interrupt=lambda turn: turn.delete())
        await shop.put("hello->get_name")
        await shop.bot.handle(message("forget me"))
        assert shop.ran == []
        assert await shop.storage.read(CHAT) is None

    async def test_an_interrupt_can_lead_out_of_a_state_that_is_gone(self) -> None:
        async def interrupt(turn: Turn[Any]) -> None:
            if turn.update["text"] == "/start":
                await turn.step_to(flow="hello")

        shop = Shop(interrupt=interrupt)
        await shop.put("hello->gone")
        await shop.bot.handle(message("/start"))
        assert shop.ran == ["say_hello /start"]


class TestLifetimes:
    async def test_every_message_starts_the_lifetime_anew(self) -> None:
        storage = Recording(ttl=timedelta(seconds=30))
        renewed = []

        async def renew(name: str) -> bool:
            renewed.append(name)
            return await Recording.renew(storage, name)

        storage.renew = renew  # type: ignore[method-assign]
        shop = Shop(storage, sessions=Sessions(storage, initial=dict, sliding=True))
        await shop.bot.handle(message("hi"))
        assert renewed == []  # it was written
        await shop.bot.handle(message("ho"))
        assert len(renewed) == 1

    async def test_where_a_session_is_was_and_goes_back_to_end_together(self) -> None:
        storage = Recording(ttl=timedelta(milliseconds=30))
        shop = Shop(storage)

        async def hello(turn: Turn[Any]) -> None:
            turn.set_back_to(state="say_bye")
            await turn.step_to(state="get_name")

        shop.does = {"say_hello": hello}
        await shop.bot.handle(message("hi"))
        while await storage.read(CHAT) is not None:
            await asyncio.sleep(0.005)
        assert await shop.bot.read(CHAT) == Places()
        await shop.bot.handle(message("ho"))
        assert shop.ran[-2:] == ["say_hello ho", "get_name ho"]

    async def test_a_session_that_was_idle_begins_at_the_start(self) -> None:
        storage = Recording()
        sessions = Sessions[Any](storage, initial=dict, idle_timeout=timedelta(milliseconds=20))
        shop = Shop(storage, sessions=sessions)
        async with shop.bot.open(CHAT) as turn:
            turn.update_session_to(flow="checkout")
        assert (await shop.bot.read(CHAT)).current is not None
        while (await shop.bot.read(CHAT)).current is not None:
            await asyncio.sleep(0.005)
        await shop.bot.handle(message("hi"))
        assert shop.ran == ["say_hello hi"]

    async def test_without_a_ttl_a_session_does_not_end(self, shop: Shop) -> None:
        assert shop.storage.ttl is None
        await shop.bot.handle(message("hi"))
        assert await shop.storage.purge_expired() == 0


class TestSessionsBelow:
    async def test_two_messages_of_one_session_run_one_after_the_other(self, shop: Shop) -> None:
        async def hello(turn: Turn[Any]) -> None:
            count = turn.data.get("n", 0)
            await asyncio.sleep(0)
            turn.data["n"] = count + 1

        shop.does = {"say_hello": hello}
        await asyncio.gather(*(shop.bot.handle(message("hi")) for _ in range(5)))
        assert (await shop.storage.read(CHAT))["n"] == 5

    async def test_two_processes_that_send_one_session_to_two_places_conflict(self, shop: Shop) -> None:
        other = Shop(shop.storage)

        async def hello(turn: Turn[Any]) -> None:
            async with other.bot.open(CHAT) as theirs:
                theirs.update_session_to(flow="checkout")
            turn.update_session_to(state="say_bye")

        shop.does = {"say_hello": hello}
        await shop.put("hello->say_hello")
        with pytest.raises(ConflictError, match="flow"):
            await shop.bot.handle(message("hi"))
        assert (await shop.bot.read(CHAT)).current == shop.flows.place(flow="checkout")

    async def test_what_two_processes_change_elsewhere_is_merged(self, shop: Shop) -> None:
        other = Shop(shop.storage)

        async def hello(turn: Turn[Any]) -> None:
            async with other.bot.open(CHAT) as theirs:
                theirs.data["theirs"] = 1
            turn.data["ours"] = 1
            turn.update_session_to(state="say_bye")

        shop.does = {"say_hello": hello}
        await shop.put("hello->say_hello")
        await shop.bot.handle(message("hi"))
        data = await shop.storage.read(CHAT)
        assert (data["theirs"], data["ours"], data["flow"]["current"]) == (1, 1, "hello->say_bye")

    async def test_prefixes_keys_and_locks_are_those_of_the_sessions(self) -> None:
        storage = Recording()
        sessions = Sessions[Any](storage, initial=dict, key=per_user, prefix="shop:", lock=LeaseLock(storage))
        shop = Shop(storage, sessions=sessions)
        keys = []

        async def hello(turn: Turn[Any]) -> None:
            keys.append(turn.key)
            assert await storage.read("lease:shop:user:7") is not None

        shop.does = {"say_hello": hello}
        await shop.bot.handle(message("hi"))
        await shop.bot.handle("user:7")
        assert keys == ["user:7", "user:7"]
        assert [key async for key in storage.keys()] == ["shop:user:7"]

    async def test_data_may_be_of_a_class(self) -> None:
        @dataclass
        class Order:
            items: list[str]
            flow: dict[str, str] | None = None

        storage = Recording()
        shop = Shop(storage, sessions=Sessions(storage, codec=typed(Order), initial=lambda: Order([])))

        async def get(turn: Turn[Any]) -> None:
            turn.data.items.append("half-done")
            raise RuntimeError

        shop.does = {"get_address": get}
        async with shop.bot.open(CHAT) as turn:
            turn.data.items.append("pizza")
            turn.update_session_to(slug="checkout->get_address")
        await shop.bot.handle(message("hi"))
        assert await storage.read(CHAT) == {
            "items": ["pizza"],
            "flow": {"current": "checkout->say_sorry", "previous": "checkout->get_address"},
        }

    async def test_data_that_has_no_place_for_the_state_is_refused(self) -> None:
        storage = Recording()
        shop = Shop(storage, sessions=Sessions(storage, initial=lambda: [1]))
        with pytest.raises(FlowError, match="data is list: a flow needs a dict"):
            await shop.bot.handle(message("hi"))
        assert await storage.read(CHAT) is None

    @pytest.mark.parametrize("flow", [7, [], {"current": 7}, {"current": "hello"}, {"back_to": ""}])
    async def test_a_field_that_holds_something_else_is_left_as_it_is(self, shop: Shop, flow: Any) -> None:
        await shop.storage.write(CHAT, {"flow": flow})
        with pytest.raises(CorruptValueError, match="field flow"):
            await shop.bot.handle(message("hi"))
        async with shop.bot.open(CHAT) as turn:
            with pytest.raises(CorruptValueError):
                turn.update_session_to(flow="hello")
        assert await shop.storage.read(CHAT) == {"flow": flow}

    async def test_the_field_can_be_another_one(self) -> None:
        shop = Shop(field="$flow")
        await shop.storage.write(CHAT, {"flow": 7})
        await shop.bot.handle(message("hi"))
        assert await shop.storage.read(CHAT) == {"flow": 7, "$flow": {"current": "hello->say_hello"}}

    async def test_data_that_is_assigned_stays_where_the_session_is(self, shop: Shop) -> None:
        await shop.put("hello->get_name")

        async def get(turn: Turn[Any]) -> None:
            turn.data = {"name": "Zoë"}

        shop.does = {"get_name": get}
        await shop.bot.handle(message("hi"))
        assert await shop.storage.read(CHAT) == {"name": "Zoë", "flow": {"current": "hello->get_name"}}

    async def test_a_deleted_session_begins_anew(self, shop: Shop) -> None:
        async def bye(turn: Turn[Any]) -> None:
            turn.data = None
            with pytest.raises(EmptySessionError):
                _ = turn.current

        shop.does = {"say_bye": bye}
        await shop.put("hello->say_bye")
        await shop.bot.handle(message("bye"))
        assert await shop.storage.read(CHAT) is None
        await shop.bot.handle(message("hi"))
        assert shop.ran[-1] == "say_hello hi"

    async def test_a_deleted_session_can_be_assigned_to(self, shop: Shop) -> None:
        await shop.put("hello->say_bye")
        async with shop.bot.open(CHAT) as turn:
            turn.delete()
            turn.data = {"name": "Zoë"}
            turn.update_session_to(flow="checkout")
        assert await shop.storage.read(CHAT) == {"name": "Zoë", "flow": {"current": "checkout->ask_address"}}

    async def test_an_update_without_a_session_is_refused(self, shop: Shop) -> None:
        with pytest.raises(NoSessionError, match="this dict has no session"):
            await shop.bot.handle({"poll": {"id": 1}})
        with pytest.raises(NoSessionError):
            await shop.bot.read({"poll": {"id": 1}})
        assert shop.storage.visits == []

    async def test_a_session_that_is_open_cannot_be_opened_again(self, shop: Shop) -> None:
        async with shop.bot.open(CHAT):
            with pytest.raises(SessionAlreadyOpenError):
                await shop.bot.handle(message("hi"))

    async def test_a_turn_cannot_be_used_after_its_end(self, shop: Shop) -> None:
        async with shop.bot.open(CHAT) as turn:
            assert turn.is_new
        with pytest.raises(SessionClosedError):
            await turn.step_to(flow="hello")
        assert shop.ran == []

    async def test_an_outage_raises_and_nothing_is_lost(self) -> None:
        storage = Failing()
        shop = Shop(storage)
        await shop.put("hello->get_name")
        storage.away = True
        with pytest.raises(StorageUnavailableError):
            await shop.bot.handle(message("hi"))
        storage.away = False
        await shop.bot.handle(message("ho"))
        assert shop.ran == ["get_name ho"]

    async def test_a_storage_of_three_methods_will_do(self) -> None:
        shop = Shop(Plain())
        await shop.bot.handle(message("hi"))
        assert await shop.storage.read(CHAT) == {"flow": {"current": "hello->say_hello"}}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"start": "nowhere"}, "there is no flow 'nowhere'"),
        ({"start": "hello->nowhere"}, "no state 'nowhere'"),
        ({"start": None}, "start is a flow or a slug"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"interrupt": "help"}, "interrupt is a function"),
        ({"scheduler": object()}, "object is no scheduler"),
        ({"field": ""}, "field"),
        ({"flows": Flow("hello", State("a", print))}, "flows is a FlowMap, not Flow"),
        ({"sessions": MemoryStorage()}, "sessions is Sessions, not MemoryStorage"),
    ],
)
def test_options_that_make_no_sense_are_refused(shop: Shop, options: dict[str, Any], complaint: str) -> None:
    all_options: dict[str, Any] = {"flows": shop.flows, "sessions": shop.sessions, "start": "hello"} | options
    with pytest.raises(ConfigurationError, match=complaint):
        Conversations(**all_options)
