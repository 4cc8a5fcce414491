"""Scopes and the assistant in the blocking facade."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import satchel.assistant
import satchel.scopes
from satchel import ConfigurationError, LockTimeoutError, MemoryStorage, NoSessionError, SessionAlreadyOpenError
from satchel.blocking import Assistant, Scope, Scopes, Storage, open_storage
from satchel.scopes import Address
from satchel.turns import Turn

ADA = Address("telegram", user=7, conversation=42)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage[Any]]:
    with open_storage(f"sqlite:////{tmp_path}/bot.db") as opened:
        yield opened


def count(turn: Turn) -> int:
    turn.storage["n"] = turn.storage.get("n", 0) + 1
    return int(turn.storage["n"])


def test_every_method_is_called_the_same() -> None:
    for blocking, asynchronous in (
        (Scope, satchel.scopes.Scope),
        (Scopes, satchel.scopes.Scopes),
        (Assistant, satchel.assistant.Assistant),
    ):
        assert {name for name in dir(asynchronous) if not name.startswith("_")} <= set(dir(blocking))


def test_containers_are_kept_saved_and_cleared(storage: Storage[Any]) -> None:
    scopes = Scopes(storage, channel="telegram")
    with scopes.open(ADA) as scope:
        scope.user_data["name"] = "Ada"
        scope.conversation_data = {"topic": "pizza"}
        scope.private_conversation_data["role"] = "admin"
        scope.begin_dialog("order", {"size": "L"})
        scope.save()
        assert scopes.user.read(ADA) == {"name": "Ada"}
    with scopes.open({"from": {"id": 7}, "chat": {"id": 42}}) as scope:
        assert scope.address == scopes.address_of({"from": {"id": 7}, "chat": {"id": 42}}) == ADA
        assert (scope.user_data, scope.conversation_data) == ({"name": "Ada"}, {"topic": "pizza"})
        assert (scope.dialog, scope.dialogs, scope.dialog_data) == ("order", ("order",), {"size": "L"})
        scope.replace_dialog("pay")
        scope.dialog_data = {"by": "card"}
        assert scope.end_dialog() is None
        scope.user_data = {}
        scope.end_conversation()
    assert list(storage.keys()) == []


def test_a_block_that_raises_saves_nothing(storage: Storage[Any]) -> None:
    with pytest.raises(LookupError), Scopes(storage, channel="telegram").open(ADA) as scope:
        scope.user_data["name"] = "Ada"
        raise LookupError
    assert list(storage.keys()) == []


def test_threads_take_turns_at_containers(storage: Storage[Any]) -> None:
    scopes = Scopes(storage, channel="telegram")

    def turn(number: int) -> None:
        with scopes.open(Address("telegram", user=number % 2, conversation=42)) as scope:
            for data in (scope.user_data, scope.conversation_data):
                data["n"] = data.get("n", 0) + 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(turn, range(40)))
    assert scopes.conversation.read(ADA) == {"n": 40}
    assert [scopes.user.read(Address("telegram", user=number)) for number in (0, 1)] == [{"n": 20}, {"n": 20}]


def test_a_container_that_this_thread_has_open_is_refused_and_another_thread_waits(storage: Storage[Any]) -> None:
    scopes = Scopes(storage, channel="telegram", timeout=timedelta(milliseconds=50))
    elsewhere = Address("telegram", user=7, conversation=43)

    def enter(address: Address) -> None:
        with scopes.open(address):
            pass

    with scopes.open(ADA), pytest.raises(SessionAlreadyOpenError, match="telegram:user:7"):
        enter(elsewhere)
    with scopes.open(ADA), ThreadPoolExecutor(1) as other, pytest.raises(LockTimeoutError):
        other.submit(enter, elsewhere).result()
    passing = Scopes(storage, channel="telegram", persist_user_data=False)
    with passing.open(ADA), passing.open(elsewhere) as scope:
        scope.user_data["name"] = "Ada"
    enter(ADA)
    assert list(storage.keys()) == []


def test_an_assistant_loses_no_turn_of_many_threads_and_processes(storage: Storage[Any]) -> None:
    assistants = [Assistant(storage, lock=number == 0) for number in range(4)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: assistants[number % 4].respond("user:7", count), range(40)))
    assert sorted(answers) == list(range(1, 41))
    assert assistants[0].respond("user:7", lambda turn: turn.slots, slots={"size": "L"}) == {"size": "L"}
    record = assistants[0].users.read("user:7")
    assert record is not None


def test_a_handler_runs_in_the_thread_that_asked_and_may_block(storage: Storage[Any]) -> None:
    assistant = Assistant(storage)
    together = threading.Barrier(2, timeout=5)

    def handle(turn: Turn) -> int:
        together.wait()  # both users' handlers are under way at once
        assert assistant.respond("user:of this one", count) > 0  # and may call what blocks
        time.sleep(0)
        return threading.get_ident()

    def ask(user: str) -> bool:
        return assistant.respond(user, handle) == threading.get_ident()

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(ask, ["user:1", "user:2"])) == [True, True]


@pytest.mark.parametrize("error", [LookupError, StopIteration, KeyboardInterrupt, SystemExit])
def test_a_handler_that_raises_saves_nothing_and_lets_others_in(
    storage: Storage[Any], error: type[BaseException]
) -> None:
    assistant = Assistant(storage)

    def handle(turn: Turn) -> None:
        turn.storage["n"] = 5
        raise error

    with pytest.raises(error):
        assistant.respond("user:7", handle)
    assert list(storage.keys()) == []
    assert assistant.respond("user:7", count) == 1


def test_a_turn_in_a_turn_of_the_same_user_is_refused(storage: Storage[Any]) -> None:
    assistant = Assistant(storage)
    with pytest.raises(SessionAlreadyOpenError, match="user:7"):
        assistant.respond("user:7", lambda turn: assistant.respond("user:7", count))
    with pytest.raises(NoSessionError):
        assistant.respond({"inline_query": {}}, count)
    assert assistant.respond("user:7", count) == 1


def test_they_take_blocking_storages() -> None:
    inside: Any = MemoryStorage()
    with pytest.raises(ConfigurationError, match="Scopes take a storage of satchel.blocking, not MemoryStorage"):
        Scopes(inside, channel="telegram")
    with pytest.raises(ConfigurationError, match="Assistant take a storage of satchel.blocking, not MemoryStorage"):
        Assistant(inside)
