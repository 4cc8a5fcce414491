"""Conversations in the blocking facade: handlers that block, threads, and scheduled steps."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler  # type: ignore[import-untyped]

import satchel.blocking
import satchel.flow
from satchel import (
    ConfigurationError,
    ConflictError,
    FlowError,
    LockTimeoutError,
    MemoryStorage,
    NoSessionError,
    NoTargetError,
    SessionAlreadyOpenError,
    SessionClosedError,
    StepLoopError,
)
from satchel.blocking import (
    Conversations,
    Flow,
    FlowMap,
    Handler,
    Places,
    Sessions,
    State,
    Storage,
    StorageScheduler,
    Turn,
    open_storage,
)
from shop import CHAT, message

NOW = timedelta(0)
SOON = timedelta(milliseconds=20)
LATER = timedelta(hours=1)
PATIENCE = 20  # seconds


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage[Any]]:
    with open_storage(f"sqlite:////{tmp_path}/bot.db") as opened:
        yield opened


class Shop:
    """A blocking bot that does in each state what a test wants it to do there.

    Attributes:
        ran: the states whose handlers ran, in order.
        does: by state, what its handler does.
    """

    def __init__(self, storage: Storage[Any], *, sessions: dict[str, Any] | None = None, **options: Any) -> None:
        self.ran: list[str] = []
        self.does: dict[str, Handler] = {}
        self.flows = FlowMap(
            Flow("hello", self.state("say_hello"), self.state("get_name"), self.state("say_bye")),
            Flow(
                "checkout",
                self.state("ask_address"),
                self.state("get_address", fails_to="say_sorry"),
                self.state("say_sorry"),
                State("ask_street", redirects_to="ask_address"),
            ),
        )
        self.sessions = Sessions[Any](storage, initial=dict, **(sessions or {}))
        self.bot = Conversations(self.flows, self.sessions, start="hello", **options)

    def state(self, name: str, **options: Any) -> State:
        def handler(turn: Turn[Any]) -> None:
            self.ran.append(name)
            if name in self.does:
                self.does[name](turn)

        return State(name, handler, **options)

    def schedule(self, delay: timedelta = NOW, key: str = CHAT, **target: Any) -> str:
        with self.bot.open(key) as turn:
            return turn.step_to_in(delay, **(target or {"flow": "checkout"}))

    def data(self) -> Any:
        return self.sessions.read(CHAT)

    def current(self, key: str = CHAT) -> str:
        return str(self.bot.read(key).current)


@pytest.fixture
def shop(storage: Storage[Any]) -> Shop:
    return Shop(storage)


@pytest.fixture
def jobs(storage: Storage[Any]) -> StorageScheduler:
    return StorageScheduler(storage)


def test_every_name_is_the_same() -> None:
    for blocking, asynchronous, internal in (
        (Conversations, satchel.flow.Conversations, set[str]()),
        (Turn, satchel.flow.Turn, set[str]()),
        (StorageScheduler, satchel.flow.StorageScheduler, {"add", "running"}),  # which conversations call
    ):
        assert {name for name in dir(asynchronous) if not name.startswith("_")} - internal <= set(dir(blocking))
    assert set(satchel.blocking.__all__) <= set(dir(satchel.blocking))


def test_a_message_goes_to_the_handler_of_the_current_state(shop: Shop) -> None:
    def get(turn: Turn[Any]) -> None:
        turn.data["name"] = turn.update["text"]

    shop.does = {"say_hello": lambda turn: turn.update_session_to(state="get_name"), "get_name": get}
    shop.bot.handle(message("hi"))
    shop.bot.handle(message("Zoë"))
    assert shop.ran == ["say_hello", "get_name"]
    assert shop.data()["name"] == "Zoë"


def test_steps_lead_where_they_say_and_run_handlers_in_the_thread_that_took_them(shop: Shop) -> None:
    threads: list[int] = []

    def hello(turn: Turn[Any]) -> None:
        turn.set_back_to(turn.current + 1)
        turn.step_to(flow="checkout")
        threads.append(threading.get_ident())
        assert turn.current.slug == "hello->get_name"

    def ask(turn: Turn[Any]) -> None:
        threads.append(threading.get_ident())
        turn.step_back()
        assert turn.places == (turn.current, turn.previous, turn.back_to)

    shop.does = {"say_hello": hello, "ask_address": ask}
    shop.bot.handle(message("hi"))
    assert shop.ran == ["say_hello", "ask_address", "get_name"]
    assert threads == [threading.get_ident()] * 2
    name = shop.flows.place("hello->get_name")
    assert shop.bot.read(CHAT) == Places(name, shop.flows.place("checkout->ask_address"), name)


def test_a_turn_is_opened_read_saved_and_ended(shop: Shop) -> None:
    with shop.bot.open(message("/order")) as turn:
        assert (turn.key, turn.is_new, turn.moves, turn.error, turn.update["text"]) == (CHAT, True, 0, None, "/order")
        with pytest.raises(NoTargetError):
            _ = turn.current
        with pytest.raises(NoTargetError):
            turn.step_to()
        turn.step_to(flow="checkout", state="ask_street")
        turn.data = {"name": "Ada"}
        turn.save()
        assert shop.current() == "checkout->ask_address"
        assert turn.session.data["name"] == "Ada"
    with pytest.raises(SessionClosedError):
        turn.step_to(flow="hello")
    with shop.bot.open(CHAT) as turn:
        turn.delete()
        assert turn.moves == 1
    assert shop.bot.read(CHAT) == Places()
    with pytest.raises(NoSessionError):
        shop.bot.handle({"inline_query": {}})
    assert shop.ran == ["ask_address"]


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt, SystemExit])
def test_a_handler_that_raises_saves_nothing_and_lets_others_in(shop: Shop, error: type[BaseException]) -> None:
    def ask(turn: Turn[Any]) -> None:
        turn.data["n"] = 5
        raise error("no")

    shop.does = {"say_hello": lambda turn: turn.step_to(flow="checkout"), "ask_address": ask}
    with pytest.raises(error, match="no"):
        shop.bot.handle(CHAT)
    with pytest.raises(error, match="no"), shop.bot.open(CHAT) as turn:
        turn.step_to(flow="hello")
    assert shop.ran == ["say_hello", "ask_address"] * 2
    assert shop.bot.read(CHAT) == Places()
    shop.does = {}
    shop.bot.handle(CHAT)
    assert shop.current() == "hello->say_hello"


def test_a_state_that_raises_fails_to_another_and_what_it_did_is_undone(shop: Shop) -> None:
    errors: list[Exception | None] = []

    def get(turn: Turn[Any]) -> None:
        turn.data["n"] = 5
        turn.step_to(flow="hello", state="say_bye")

    def bye(turn: Turn[Any]) -> None:
        raise LookupError("no such street")

    shop.does = {"get_address": get, "say_bye": bye, "say_sorry": lambda turn: errors.append(turn.error)}
    with shop.bot.open(CHAT) as turn:
        turn.step_to(slug="checkout->get_address")
        assert turn.data.keys() == {"flow"}
    assert shop.ran == ["get_address", "say_bye", "say_sorry"]
    assert [str(error) for error in errors] == ["no such street"]
    assert shop.current() == "checkout->say_sorry"


def test_an_error_of_a_state_can_be_caught_by_the_handler_that_stepped_to_it(shop: Shop) -> None:
    caught: list[Exception] = []

    def hello(turn: Turn[Any]) -> None:
        try:
            turn.step_to(state="say_hello")
        except StepLoopError as error:
            caught.append(error)

    shop.does = {"say_hello": hello}
    bot = Conversations(shop.flows, shop.sessions, start="hello", max_steps=3)
    bot.handle(CHAT)
    assert shop.ran == ["say_hello"] * 3
    assert len(caught) == 1
    assert shop.current() == "hello->say_hello"


def test_an_interrupt_sees_messages_first_in_the_thread_that_called(storage: Storage[Any]) -> None:
    def interrupt(turn: Turn[Any]) -> bool:
        turn.data.setdefault("threads", []).append(threading.get_ident())
        return bool(turn.update["text"] == "stop")

    shop = Shop(storage, interrupt=interrupt)
    shop.bot.handle(message("stop"))
    shop.bot.handle(message("hi"))
    assert shop.ran == ["say_hello"]
    assert shop.data()["threads"] == [threading.get_ident()] * 2


def test_handlers_of_two_conversations_block_side_by_side(shop: Shop) -> None:
    together = threading.Barrier(2, timeout=PATIENCE)

    def hello(turn: Turn[Any]) -> None:
        together.wait()
        shop.bot.handle(f"{turn.key}:again")  # and call what blocks

    shop.does = {"say_hello": lambda turn: None if turn.key.endswith("again") else hello(turn)}
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(shop.bot.handle, ["chat:1", "chat:2"]))
    assert [shop.current(f"chat:{n}:again") for n in (1, 2)] == ["hello->say_hello"] * 2


def test_threads_take_turns_at_a_conversation(shop: Shop) -> None:
    def hello(turn: Turn[Any]) -> None:
        turn.step_to(state="get_name")
        turn.data["n"] = turn.data.get("n", 0) + 1
        turn.update_session_to(state="say_hello")

    shop.does = {"say_hello": hello}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: shop.bot.handle(CHAT), range(40)))
    assert shop.data()["n"] == 40
    assert len(shop.ran) == 80


def test_a_conversation_that_this_thread_is_in_is_refused_and_another_thread_waits(storage: Storage[Any]) -> None:
    shop = Shop(storage, sessions={"timeout": timedelta(milliseconds=50), "prefix": "bot:"})

    def enter() -> None:
        with shop.bot.open(CHAT):
            pass

    def twice(turn: Turn[Any]) -> None:
        for again in (enter, lambda: shop.bot.handle(CHAT)):
            with pytest.raises(SessionAlreadyOpenError, match="'bot:chat:1' is open in this thread"):
                again()
            with ThreadPoolExecutor(1) as other, pytest.raises(LockTimeoutError):
                other.submit(again).result()

    shop.does = {"say_hello": lambda turn: turn.step_to(state="get_name"), "get_name": twice}
    shop.bot.handle(CHAT)
    with shop.bot.open(CHAT) as turn:
        turn.step_to(flow="hello")
        twice(turn)
    enter()
    assert shop.ran == ["say_hello", "get_name"] * 2


def test_two_processes_that_lead_one_conversation_to_two_places_conflict(storage: Storage[Any]) -> None:
    shop, other = Shop(storage), Shop(storage)

    def hello(turn: Turn[Any]) -> None:
        with other.bot.open(CHAT) as theirs:
            theirs.step_to(flow="checkout")

    shop.does = {"say_hello": hello}
    with pytest.raises(ConflictError):
        shop.bot.handle(CHAT)
    assert shop.current() == "checkout->ask_address"


def test_a_scheduled_step_is_taken_in_a_thread_of_its_own_and_may_block(
    storage: Storage[Any], jobs: StorageScheduler
) -> None:
    shop = Shop(storage, scheduler=jobs)
    together, done = threading.Barrier(2, timeout=PATIENCE), threading.Semaphore(0)
    threads: set[str] = set()

    def ask(turn: Turn[Any]) -> None:
        together.wait()  # both are under way at once
        assert turn.update is None
        with pytest.raises(SessionAlreadyOpenError):
            shop.bot.handle(turn.key)
        shop.bot.handle("chat:9")
        turn.step_to(state="say_sorry")
        threads.add(threading.current_thread().name)

    shop.does = {"ask_address": ask, "say_sorry": lambda turn: done.release()}
    with shop.bot.running():
        before = datetime.now(UTC)
        for chat in ("chat:1", "chat:2"):
            shop.schedule(SOON, chat)
        for _ in range(2):
            assert done.acquire(timeout=PATIENCE)
        assert datetime.now(UTC) >= before + SOON
    assert list(jobs.jobs()) == []  # what had begun came to its end
    assert [shop.current(f"chat:{n}") for n in (1, 2, 9)] == ["checkout->say_sorry"] * 2 + ["hello->say_hello"]
    assert threads == {"satchel-blocking-step"}


def test_many_blocking_steps_at_once_leave_the_event_loop_its_own_threads(storage: Storage[Any]) -> None:
    count = 2 * min(32, (os.cpu_count() or 1) + 4)  # more than asyncio.to_thread would run
    jobs = StorageScheduler(storage, concurrency=count)
    shop = Shop(storage, scheduler=jobs)
    together = threading.Barrier(count, timeout=PATIENCE)
    shop.does = {"ask_address": lambda turn: together.wait()}
    for chat in range(count):
        shop.schedule(NOW, f"chat:{chat}")
    jobs.run_due(shop.bot.run_job)
    assert len(shop.ran) == count
    assert list(jobs.jobs()) == []


def test_a_step_is_cancelled_dropped_or_late(storage: Storage[Any], jobs: StorageScheduler) -> None:
    shop = Shop(storage, scheduler=jobs)
    assert shop.bot.cancel(shop.schedule())
    job = shop.schedule(LATER)
    with shop.bot.open(CHAT) as turn:
        turn.cancel(job)
        turn.update_session_to(flow="hello")
        turn.step_to_at(datetime(1969, 7, 20, tzinfo=UTC), slug="hello->say_bye", if_still_here=True)
        assert [job.expects for job in turn.jobs()] == ["hello->say_hello"]
    assert [job.target for job in jobs.jobs()] == ["hello->say_bye"]
    shop.bot.handle(CHAT)
    with shop.bot.open(CHAT) as turn:
        turn.update_session_to(flow="checkout")
    jobs.run_due(shop.bot.run_job)
    assert shop.ran == ["say_hello"]
    assert not jobs.cancel(job)


def test_a_step_outlives_its_process(storage: Storage[Any], tmp_path: Path) -> None:
    program = f"""
import os, signal
from datetime import timedelta
from satchel.blocking import *

def die(turn):
    os.kill(os.getpid(), signal.SIGKILL)

with open_storage("sqlite:////{tmp_path}/bot.db") as storage:
    jobs = StorageScheduler(storage, lease=timedelta(milliseconds=200))
    flows = FlowMap(Flow("checkout", State("ask_address", die)))
    bot = Conversations(flows, Sessions(storage, initial=dict), start="checkout", scheduler=jobs)
    with bot.open("{CHAT}") as turn:
        turn.step_to_in(timedelta(0), flow="checkout")
    jobs.run_due(bot.run_job)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    ran = threading.Event()
    shop = Shop(storage, scheduler=StorageScheduler(storage, interval=SOON))
    shop.does = {"ask_address": lambda turn: ran.set()}
    with shop.bot.running():
        assert ran.wait(PATIENCE)
    assert shop.current() == "checkout->ask_address"


@pytest.mark.parametrize("error", [LookupError, SystemExit, StopIteration])
def test_a_step_that_raises_is_set_aside_and_may_be_tried_again(
    storage: Storage[Any], caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    jobs = StorageScheduler(storage, attempts=1)
    shop = Shop(storage, scheduler=jobs)

    def ask(turn: Turn[Any]) -> None:
        turn.data["n"] = 5
        raise error

    shop.does = {"ask_address": ask}
    job = shop.schedule()
    with caplog.at_level(logging.ERROR, "satchel"):
        jobs.run_due(shop.bot.run_job)
    assert "is set aside" in caplog.text
    assert [(job.target, name) for job, name in jobs.failed()] == [
        ("checkout->ask_address", "LookupError" if error is LookupError else "RuntimeError")
    ]
    assert shop.data() is None
    shop.does = {}
    assert jobs.retry(job)
    jobs.run_due(shop.bot.run_job)
    assert shop.current() == "checkout->ask_address"


def test_a_step_that_outlasts_its_block_lets_the_next_one_save(
    storage: Storage[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(storage, scheduler=StorageScheduler(storage, grace=timedelta(milliseconds=1)))
    inside, go_on, left = threading.Event(), threading.Event(), threading.Event()
    held = shop.sessions.held

    @contextmanager
    def telling(key: str | None) -> Iterator[None]:
        try:
            with held(key):
                yield
        finally:
            left.set()

    def ask(_: Turn[Any]) -> None:
        inside.set()
        go_on.wait(PATIENCE)

    shop.does = {"ask_address": ask}
    shop.schedule()
    monkeypatch.setattr(shop.sessions, "held", telling)
    with shop.bot.running():
        assert inside.wait(PATIENCE)
    with shop.sessions.open(CHAT) as session:
        session.data["n"] = 1
        go_on.set()
        assert left.wait(PATIENCE)
    assert shop.data()["n"] == 1


def test_a_step_that_outlasts_its_block_saves_nothing_and_is_taken_again(storage: Storage[Any]) -> None:
    shop = Shop(storage, scheduler=StorageScheduler(storage, grace=timedelta(milliseconds=1)))
    inside, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def ask(turn: Turn[Any]) -> None:
        inside.set()
        go_on.wait(PATIENCE)
        try:
            turn.step_to(state="say_sorry")
        except SessionClosedError as error:
            raised.append(error)
        finally:
            ended.set()

    shop.does = {"ask_address": ask}
    shop.schedule()
    with shop.bot.running():
        assert inside.wait(PATIENCE)
    go_on.set()
    assert ended.wait(PATIENCE)
    assert len(raised) == 1
    assert shop.bot.read(CHAT) == Places()
    shop.does = {}
    jobs = StorageScheduler(storage)
    jobs.run_due(Conversations(shop.flows, shop.sessions, start="hello", scheduler=jobs).run_job)
    assert shop.ran == ["ask_address", "ask_address"]


def test_one_block_runs_a_scheduler(storage: Storage[Any], jobs: StorageScheduler) -> None:
    shop = Shop(storage, scheduler=jobs)
    with shop.bot.running(), pytest.raises(FlowError, match="running already"), shop.bot.running():
        pytest.fail("the block was entered")
    with pytest.raises(LookupError), shop.bot.running():
        raise LookupError
    with shop.bot.running():
        pass
    with pytest.raises(ConfigurationError, match="scheduler"):
        Shop(storage).bot.running()


def test_apscheduler_keeps_steps_for_blocking_bots_too(storage: Storage[Any]) -> None:
    shop = Shop(storage, scheduler=satchel.flow.APSchedulerJobs(AsyncIOScheduler(), name=os.urandom(8).hex()))
    ran = threading.Event()
    # Scheduled in a handler, whose thread is not there for the step any more.
    shop.does = {"say_hello": lambda turn: turn.step_to_in(SOON, flow="checkout") and None}
    shop.does["ask_address"] = lambda turn: ran.set()
    with shop.bot.running():
        shop.bot.handle(CHAT)
        assert ran.wait(PATIENCE)
        until(lambda: shop.current() == "checkout->ask_address")


def until(is_so: Callable[[], bool]) -> None:
    pause, end = threading.Event(), datetime.now(UTC) + timedelta(seconds=PATIENCE)
    while not is_so():
        assert datetime.now(UTC) < end
        pause.wait(0.002)


def test_handlers_are_plain_functions(shop: Shop) -> None:
    async def hello(turn: Turn[Any]) -> None:
        """Do nothing."""

    class Hello:
        async def __call__(self, turn: Turn[Any]) -> None:
            """Do nothing."""

    for handler in (hello, Hello()):
        with pytest.raises(ConfigurationError, match="no coroutine functions, as"):
            Conversations(FlowMap(Flow("hello", State("say", handler))), shop.sessions, start="hello")
    with pytest.raises(ConfigurationError, match="no coroutine functions, as .*hello is"):
        Conversations(shop.flows, shop.sessions, start="hello", interrupt=hello)
    returning = FlowMap(Flow("hello", State("say", lambda turn: [hello(turn)][0])))
    shop.bot = Conversations(returning, shop.sessions, start="hello")
    with pytest.raises(FlowError, match="returned an awaitable"):
        shop.bot.handle(CHAT)


def test_they_take_what_is_blocking(storage: Storage[Any]) -> None:
    shop = Shop(storage)
    inside: Any = satchel.Sessions[Any](MemoryStorage(), initial=dict)
    with pytest.raises(ConfigurationError, match=r"blocking Conversations take Sessions of satchel\.blocking"):
        Conversations(shop.flows, inside, start="hello")
    with pytest.raises(ConfigurationError, match="a StorageScheduler take a storage of satchel"):
        StorageScheduler(inside)
    wrong: Any = "later"
    for option in ("scheduler", "interrupt", "flows"):
        options = {"flows": shop.flows, "sessions": shop.sessions, "start": "hello", option: wrong}
        with pytest.raises(ConfigurationError):
            Conversations(**options)
