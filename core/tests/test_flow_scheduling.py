"""Scheduled steps: kept in a storage, run when they are due, once; cancelled, dropped, or set aside."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from failing import Failing
from recording import Plain
from satchel import (
    ConfigurationError,
    ConflictError,
    FlowError,
    Listing,
    MemoryStorage,
    NoTargetError,
    Sessions,
    StorageUnavailableError,
    UnknownStateError,
    open_storage,
)
from satchel.flow import Job, Scheduler, StorageScheduler, Turn
from satchel.wrappers import Fallback
from shop import CHAT, Shop, message

NOW = timedelta(0)
SOON = timedelta(milliseconds=20)
LATER = timedelta(hours=1)


class Work:
    """A shop with a scheduler, in one process; several of them over the same storages are several processes."""

    def __init__(self, jobs: Any = None, sessions: Any = None, **options: Any) -> None:
        self.jobs: Any = MemoryStorage() if jobs is None else jobs
        self.scheduler = StorageScheduler(self.jobs, **options)
        self.shop = Shop(sessions, scheduler=self.scheduler)
        self.bot = self.shop.bot
        self.storage = self.shop.storage

    async def schedule(self, delay: timedelta = NOW, **target: Any) -> str:
        async with self.bot.open(CHAT) as turn:
            return turn.step_to_in(delay, **(target or {"flow": "checkout"}))

    async def run_due(self) -> list[str]:
        self.shop.ran.clear()
        await self.scheduler.run_due(self.bot.run_job)
        return self.shop.ran

    async def keys(self) -> list[str]:
        return sorted([key async for key in self.jobs.keys()])

    async def failed(self) -> list[tuple[str, str]]:
        return [(job.target, error) async for job, error in self.scheduler.failed()]


@pytest.fixture
def work() -> Work:
    return Work()


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.002)


async def test_a_step_is_taken_after_its_delay_and_not_before(work: Work) -> None:
    at: list[datetime] = []

    async def ask(turn: Turn[Any]) -> None:
        at.append(datetime.now(UTC))
        assert turn.update is None
        assert turn.key == CHAT

    work.shop.does = {"ask_address": ask}
    async with work.bot.running():
        before = datetime.now(UTC)
        await work.schedule(SOON)
        await until(lambda: at)
    assert at[0] >= before + SOON
    assert work.shop.ran == ["ask_address None"]
    assert (await work.bot.read(CHAT)).current == work.shop.flows.place(flow="checkout")
    assert await work.keys() == []


async def test_a_step_is_taken_at_a_time(work: Work) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=400)
    async with work.bot.open(CHAT) as turn:
        turn.step_to_at(at, flow="checkout")
        turn.step_to_at(datetime(1969, 7, 20, tzinfo=UTC), slug="hello->say_bye")
    assert [job.due for job in sorted([job async for job in work.scheduler.jobs()])] == [
        datetime(1970, 1, 1, tzinfo=UTC),
        at,
    ]
    assert await work.run_due() == ["say_bye None"]


async def test_the_sooner_step_comes_first_and_none_waits_for_the_next_look_at_all() -> None:
    work = Work(interval=LATER)
    await work.schedule(slug="hello->get_name")
    async with work.bot.running():
        await until(lambda: work.shop.ran)
        work.shop.ran.clear()
        await work.schedule(LATER, flow="hello")
        await work.schedule(SOON * 3, flow="hello", state="say_bye")
        await work.schedule(SOON, flow="checkout")
        await until(lambda: len(work.shop.ran) == 2)
    assert work.shop.ran == ["ask_address None", "say_bye None"]


@pytest.mark.parametrize("delay", [5, 5.0, None, "1h", timedelta(milliseconds=-1), timedelta.max])
async def test_a_delay_that_is_none_is_refused(work: Work, delay: Any) -> None:
    async with work.bot.open(CHAT) as turn:
        with pytest.raises(FlowError, match="delayed by"):
            turn.step_to_in(delay, flow="checkout")
    assert await work.keys() == []


@pytest.mark.parametrize("when", [datetime(2030, 1, 1), 1e9, None, "tomorrow"])  # noqa: DTZ001 - that is the point
async def test_a_time_without_a_zone_is_refused(work: Work, when: Any) -> None:
    async with work.bot.open(CHAT) as turn:
        with pytest.raises(FlowError, match="scheduled at a datetime"):
            turn.step_to_at(when, flow="checkout")
    assert await work.keys() == []


async def test_where_a_step_is_to_lead_is_looked_up_at_once(work: Work) -> None:
    async with work.bot.open(CHAT) as turn:
        with pytest.raises(UnknownStateError):
            turn.step_to_in(NOW, flow="nowhere")
        with pytest.raises(NoTargetError):
            turn.step_to_at(datetime.now(UTC))
        with pytest.raises(NoTargetError):
            turn.step_to_in(NOW, state="get_name")
        turn.update_session_to(flow="hello")
        turn.step_to_in(NOW, state="get_name")
        turn.update_session_to(flow="checkout")
    assert await work.run_due() == ["get_name None"]


async def test_without_a_scheduler_nothing_is_scheduled() -> None:
    shop = Shop()
    async with shop.bot.open(CHAT) as turn:
        with pytest.raises(ConfigurationError, match="scheduler"):
            turn.step_to_in(NOW, flow="checkout")
        with pytest.raises(ConfigurationError, match="scheduler"):
            turn.cancel("000000000000000-0000000000000000")
    with pytest.raises(ConfigurationError, match="scheduler"):
        shop.bot.running()


class TestRestarts:
    async def test_a_step_outlives_the_process_that_scheduled_it_and_is_taken_late(self, work: Work) -> None:
        await work.schedule(NOW)
        await work.schedule(LATER)
        after = Work(work.jobs, work.storage)
        async with after.bot.running():
            await until(lambda: after.shop.ran)
        assert after.shop.ran == ["ask_address None"]
        assert len(await work.keys()) == 1

    async def test_a_step_that_runs_when_its_block_ends_may_come_to_its_end(self, work: Work) -> None:
        inside, go_on = asyncio.Event(), asyncio.Event()

        async def ask(turn: Turn[Any]) -> None:
            inside.set()
            await go_on.wait()

        work.shop.does = {"ask_address": ask}
        await work.schedule()
        async with work.bot.running():
            await inside.wait()
            asyncio.get_running_loop().call_later(0.01, go_on.set)
        assert await work.keys() == []
        assert (await work.bot.read(CHAT)).current == work.shop.flows.place(flow="checkout")

    async def test_a_step_that_does_not_end_is_taken_again_by_who_runs_next(self) -> None:
        work = Work(grace=timedelta(milliseconds=1))
        inside = asyncio.Event()

        async def ask(turn: Turn[Any]) -> None:
            inside.set()
            await asyncio.Event().wait()

        work.shop.does = {"ask_address": ask}
        await work.schedule()
        async with work.bot.running():
            await inside.wait()
        after = Work(work.jobs, work.storage)
        assert await after.run_due() == ["ask_address None"]

    async def test_a_step_whose_process_was_killed_is_taken_by_another_when_its_claim_ends(
        self, tmp_path: Path
    ) -> None:
        script = """
            import asyncio, os, signal
            from datetime import timedelta
            from satchel import Sessions, open_storage
            from satchel.flow import *

            async def die(turn):
                os.kill(os.getpid(), signal.SIGKILL)

            async def main():
                jobs, storage = open_storage("sqlite:///jobs.db"), open_storage("sqlite:///bot.db")
                scheduler = StorageScheduler(jobs, lease=timedelta(milliseconds=200))
                flows = FlowMap(Flow("checkout", State("ask_address", die)))
                bot = Conversations(flows, Sessions(storage, initial=dict), start="checkout", scheduler=scheduler)
                async with bot.open("chat:1") as turn:
                    turn.step_to_in(timedelta(0), flow="checkout")
                await scheduler.run_due(bot.run_job)

            asyncio.run(main())
        """
        done = await asyncio.to_thread(run, script, tmp_path)
        assert done.returncode == -9, done.stderr
        async with (
            open_storage(f"sqlite:///{tmp_path}/jobs.db") as jobs,
            open_storage(f"sqlite:///{tmp_path}/bot.db") as storage,
        ):
            work = Work(jobs, storage, interval=timedelta(milliseconds=20))
            assert len(await work.keys()) == 1
            async with work.bot.running():
                await until(lambda: work.shop.ran)
            assert work.shop.ran == ["ask_address None"]
            assert await work.keys() == []

    async def test_a_step_that_kills_every_process_is_set_aside(self, work: Work) -> None:
        await work.schedule()
        key = (await work.keys())[0]
        await work.jobs.write(key, await work.jobs.read(key) | {"attempts": 5, "until": 0})
        assert await work.run_due() == []
        assert await work.failed() == [("checkout->ask_address", "process died")]


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    lines = [line.removeprefix("            ") for line in script.splitlines()]
    program = [sys.executable, "-c", "\n".join(lines)]
    return subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ))


class TestSeveralProcesses:
    async def test_a_step_is_taken_once(self, work: Work) -> None:
        processes = [Work(work.jobs, work.storage) for _ in range(5)]
        for _ in range(10):
            await work.schedule()
        for process in processes:
            process.shop.does = {"ask_address": lambda turn: asyncio.sleep(0.001)}
        await asyncio.gather(*(process.run_due() for process in processes))
        assert sum(len(process.shop.ran) for process in processes) == 10
        assert await work.keys() == []

    async def test_each_of_many_steps_is_taken_once_by_real_processes(self, tmp_path: Path) -> None:
        script = """
            import asyncio, os
            from datetime import timedelta
            from satchel import Sessions, open_storage
            from satchel.flow import *

            async def count(turn):
                turn.data["n"] = turn.data.get("n", 0) + 1

            async def main():
                async with open_storage("sqlite:///bot.db") as storage:
                    scheduler = StorageScheduler(storage)
                    flows = FlowMap(Flow("count", State("count", count)))
                    bot = Conversations(flows, Sessions(storage, initial=dict), start="count", scheduler=scheduler)
                    for chat in range(20):
                        async with bot.open(f"chat:{os.getpid()}:{chat}") as turn:
                            turn.step_to_in(timedelta(0), flow="count")
                    await scheduler.run_due(bot.run_job)
                    while [job async for job in scheduler.jobs()]:
                        await asyncio.sleep(0.01)

            asyncio.run(main())
        """
        done = await asyncio.gather(*(asyncio.to_thread(run, script, tmp_path) for _ in range(2)))
        assert [one.returncode for one in done] == [0, 0], done
        async with open_storage(f"sqlite:///{tmp_path}/bot.db") as storage:
            assert isinstance(storage, Listing)
            data: list[Any] = [await storage.read(key) async for key in storage.keys("chat:")]
        assert [one["n"] for one in data] == [1] * 40

    async def test_a_step_that_takes_longer_than_the_lease_is_not_taken_by_another(self, work: Work) -> None:
        lease = timedelta(milliseconds=60)
        slow, other = (Work(work.jobs, work.storage, lease=lease) for _ in range(2))
        inside, go_on = asyncio.Event(), asyncio.Event()

        async def ask(turn: Turn[Any]) -> None:
            inside.set()
            await go_on.wait()

        slow.shop.does = {"ask_address": ask}
        await work.schedule()
        running = asyncio.create_task(slow.run_due())
        await inside.wait()
        deadline = asyncio.get_running_loop().time() + 3 * lease.total_seconds()
        while asyncio.get_running_loop().time() < deadline:
            assert await other.run_due() == []
            await asyncio.sleep(0.005)
        go_on.set()
        assert await running == ["ask_address None"]
        assert await work.keys() == []

    async def test_a_step_that_another_process_has_added_is_found(self, work: Work) -> None:
        runner = Work(work.jobs, work.storage, interval=timedelta(milliseconds=10))
        async with runner.bot.running():
            await work.schedule()
            await until(lambda: runner.shop.ran)
        assert runner.shop.ran == ["ask_address None"]

    async def test_no_more_steps_are_taken_at_a_time_than_allowed(self) -> None:
        work = Work(concurrency=3)
        at_once = most = 0

        async def ask(turn: Turn[Any]) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.002)
            at_once -= 1

        work.shop.does = {"ask_address": ask}
        for chat in range(10):
            async with work.bot.open(f"chat:{chat}") as turn:
                turn.step_to_in(NOW, flow="checkout")
        async with work.bot.running():
            await until(lambda: len(work.shop.ran) == 10)
        assert most == 3


class TestCancelling:
    async def test_a_cancelled_step_is_not_taken(self, work: Work) -> None:
        job = await work.schedule()
        assert await work.bot.cancel(job)
        assert not await work.bot.cancel(job)
        assert await work.run_due() == []

    async def test_a_turn_cancels_when_it_is_saved(self, work: Work) -> None:
        job = await work.schedule()
        with pytest.raises(RuntimeError):
            async with work.bot.open(CHAT) as turn:
                turn.cancel(job)
                raise RuntimeError
        assert len(await work.keys()) == 1
        async with work.bot.open(CHAT) as turn:
            turn.cancel(job)
            assert len(await work.keys()) == 1
        assert await work.keys() == []

    async def test_a_turn_can_cancel_what_it_has_scheduled_itself(self, work: Work) -> None:
        async with work.bot.open(CHAT) as turn:
            turn.cancel(turn.step_to_in(NOW, flow="checkout"))
            kept = turn.step_to_in(NOW, flow="hello")
        assert [job.id async for job in work.scheduler.jobs()] == [kept]

    async def test_a_step_that_was_due_while_its_session_was_busy_can_be_cancelled_by_that_turn(
        self, work: Work
    ) -> None:
        job = await work.schedule()
        async with work.bot.running():
            async with work.bot.open(CHAT) as turn:
                record: Any = {}
                while not record.get("until"):  # it is claimed, and waits for the session
                    await asyncio.sleep(0.002)
                    record = await work.jobs.read(f"job:due:{job}")
                turn.cancel(job)
            async with work.bot.open(CHAT):  # it had its turn in between
                pass
        assert work.shop.ran == []
        assert await work.keys() == []

    async def test_for_a_step_that_runs_it_is_too_late(self, work: Work) -> None:
        async def ask(turn: Turn[Any]) -> None:
            assert not await work.bot.cancel(job)

        work.shop.does = {"ask_address": ask}
        job = await work.schedule()
        assert await work.run_due() == ["ask_address None"]
        assert await work.keys() == []

    @pytest.mark.parametrize("job", ["", "nothing", "000000000000001-0123456789abcdef"])
    async def test_what_there_is_not_is_not_cancelled(self, work: Work, job: str) -> None:
        assert not await work.bot.cancel(job)

    async def test_an_id_is_a_string(self, work: Work) -> None:
        async with work.bot.open(CHAT) as turn:
            with pytest.raises(FlowError, match="id of a job is a string"):
                turn.cancel(7)  # type: ignore[arg-type]


class TestIfStillHere:
    async def test_a_step_is_taken_if_the_session_is_where_it_was_when_its_turn_ended(self, work: Work) -> None:
        async with work.bot.open(CHAT) as turn:
            turn.step_to_in(NOW, flow="checkout", if_still_here=True)
            turn.update_session_to(slug="hello->get_name")
        assert await work.run_due() == ["ask_address None"]

    async def test_a_step_is_dropped_and_that_is_logged_once_if_the_session_has_moved_on(
        self, work: Work, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with work.bot.open(CHAT) as turn:
            turn.update_session_to(slug="hello->get_name")
            turn.step_to_in(NOW, flow="checkout", if_still_here=True)
        async with work.bot.open(CHAT) as turn:
            turn.update_session_to(slug="hello->say_bye")
        with caplog.at_level(logging.INFO, "satchel"):
            assert await work.run_due() == []
            assert await work.run_due() == []
        assert caplog.messages == [
            "session 'chat:1' has left hello->get_name: its scheduled step to checkout->ask_address is dropped"
        ]
        assert await work.keys() == []
        assert (await work.bot.read(CHAT)).current == work.shop.flows.place("hello->say_bye")

    async def test_a_session_that_has_ended_has_moved_on(self, work: Work) -> None:
        async with work.bot.open(CHAT) as turn:
            turn.update_session_to(slug="hello->get_name")
            turn.step_to_in(NOW, flow="checkout", if_still_here=True)
        await work.storage.delete(CHAT)
        assert await work.run_due() == []
        assert await work.storage.read(CHAT) is None

    async def test_a_state_that_was_renamed_is_the_same_place(self, work: Work) -> None:
        await work.shop.put("checkout->ask_address")
        job = Job("000000000000001-0123456789abcdef", CHAT, "hello->say_bye", "checkout->ask_street")
        await work.scheduler.add(job)
        assert await work.run_due() == ["say_bye None"]

    async def test_without_it_a_step_is_taken_wherever_the_session_is(self, work: Work) -> None:
        await work.schedule()
        async with work.bot.open(CHAT) as turn:
            turn.update_session_to(slug="hello->say_bye")
        assert await work.run_due() == ["ask_address None"]


class TestTurnsThatFail:
    async def test_a_turn_that_raises_schedules_nothing(self, work: Work) -> None:
        with pytest.raises(RuntimeError):
            async with work.bot.open(CHAT) as turn:
                turn.step_to_in(NOW, flow="checkout")
                raise RuntimeError
        assert await work.keys() == []

    async def test_a_handler_that_fails_to_another_state_schedules_and_cancels_nothing(self, work: Work) -> None:
        kept = await work.schedule(LATER)

        async def get(turn: Turn[Any]) -> None:
            turn.step_to_in(LATER, flow="checkout")
            turn.cancel(kept)
            raise RuntimeError

        work.shop.does = {"get_address": get}
        await work.shop.put("checkout->get_address")
        await work.bot.handle(message("hi"))
        assert [job.id async for job in work.scheduler.jobs()] == [kept]

    async def test_what_a_handler_saved_before_it_failed_to_another_state_stays_as_it_was_saved(
        self, work: Work
    ) -> None:
        async def get(turn: Turn[Any]) -> None:
            await turn.save()
            turn.cancel(given_up)
            await turn.save()
            raise RuntimeError

        work.shop.does = {"get_address": get}
        async with work.bot.open(CHAT) as turn:
            given_up = turn.step_to_in(LATER, flow="checkout")
            await turn.step_to(slug="checkout->get_address")
        assert work.shop.ran[-1] == "say_sorry None"
        assert await work.keys() == []

    async def test_what_was_scheduled_for_a_session_that_was_not_saved_is_taken_back(self, work: Work) -> None:
        with pytest.raises(ConflictError):
            async with work.bot.open(CHAT) as turn:
                turn.update_session_to(flow="hello")
                turn.step_to_in(LATER, flow="checkout")
                await work.shop.put("hello->say_bye")
        assert await work.keys() == []

    async def test_what_was_scheduled_for_a_session_that_may_have_been_saved_is_kept(self) -> None:
        work = Work(sessions=Failing())
        with pytest.raises(StorageUnavailableError):
            async with work.bot.open(CHAT) as turn:
                turn.update_session_to(flow="hello")
                turn.step_to_in(LATER, flow="checkout")
                work.storage.lost = 1
        assert (await work.bot.read(CHAT)).current == work.shop.flows.place(flow="hello")
        assert len(await work.keys()) == 1

    async def test_a_session_is_not_saved_if_what_it_schedules_cannot_be(self) -> None:
        work = Work(jobs=Failing())
        with pytest.raises(StorageUnavailableError):
            async with work.bot.open(CHAT) as turn:
                turn.update_session_to(flow="hello")
                turn.step_to_in(LATER, flow="checkout")
                work.jobs.away = True
        assert await work.storage.read(CHAT) is None

    async def test_a_turn_that_saves_early_schedules_early_and_once(self, work: Work) -> None:
        with pytest.raises(RuntimeError):
            async with work.bot.open(CHAT) as turn:
                job = turn.step_to_in(NOW, flow="checkout")
                await turn.save()
                assert await work.bot.cancel(job)
                turn.step_to_in(NOW, slug="hello->say_bye")
                await turn.save()
                raise RuntimeError
        assert await work.run_due() == ["say_bye None"]


class TestStepsThatFail:
    async def test_a_step_to_a_state_that_is_gone_is_set_aside_and_logged_and_can_be_taken_later(
        self, work: Work, caplog: pytest.LogCaptureFixture
    ) -> None:
        job = Job("000000000000001-0123456789abcdef", CHAT, "checkout->gone")
        await work.scheduler.add(job)
        with caplog.at_level(logging.WARNING, "satchel"):
            assert await work.run_due() == []
            assert await work.run_due() == []
        why = "flow checkout has no state 'gone'; it has ask_address, get_address, say_sorry, ask_street"
        what = f"scheduled step {job.id} of session 'chat:1' to checkout->gone is set aside"
        assert caplog.messages == [f"{what}: {why}"]
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert [one async for one in work.scheduler.failed()] == [(job, "UnknownStateError")]
        assert [one async for one in work.scheduler.jobs()] == []

        work.shop.flows._flows["checkout"].states["gone"] = work.shop.state("gone")  # the next deployment has it
        assert await work.scheduler.retry(job.id)
        assert not await work.scheduler.retry(job.id)
        assert await work.run_due() == ["gone None"]
        assert await work.keys() == []

    async def test_a_step_that_was_set_aside_can_be_removed(self, work: Work) -> None:
        job = Job("000000000000001-0123456789abcdef", CHAT, "checkout->gone")
        await work.scheduler.add(job)
        await work.run_due()
        assert await work.bot.cancel(job.id)
        assert await work.keys() == []

    async def test_a_step_of_a_session_in_a_state_that_is_gone_is_set_aside_if_it_asks_for_that(
        self, work: Work
    ) -> None:
        await work.shop.put("hello->gone")
        await work.scheduler.add(Job("000000000000001-0123456789abcdef", CHAT, "hello->say_bye", "hello->get_name"))
        assert await work.run_due() == []
        assert await work.failed() == [("hello->say_bye", "UnknownStateError")]

    async def test_a_step_that_raises_is_tried_again_and_then_set_aside(self, caplog: pytest.LogCaptureFixture) -> None:
        work = Work(attempts=3, retry_after=timedelta(milliseconds=1))

        async def ask(turn: Turn[Any]) -> None:
            turn.data["card"] = "4111"
            raise RuntimeError("the card 4111 was refused")

        work.shop.does = {"ask_address": ask}
        await work.schedule()
        with caplog.at_level(logging.WARNING, "satchel"):
            async with work.bot.running():
                await until(lambda: len(caplog.records) == 3)
        assert work.shop.ran == ["ask_address None"] * 3
        assert await work.failed() == [("checkout->ask_address", "RuntimeError")]
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "ERROR"]
        assert "it raised RuntimeError" in caplog.text
        assert "4111" not in caplog.text
        assert await work.storage.read(CHAT) is None

    async def test_a_step_that_fails_at_first_is_taken_in_the_end(self) -> None:
        work = Work(retry_after=timedelta(milliseconds=1))

        async def ask(turn: Turn[Any]) -> None:
            if len(work.shop.ran) < 3:
                raise RuntimeError

        work.shop.does = {"ask_address": ask}
        await work.schedule()
        async with work.bot.running():
            await until(lambda: len(work.shop.ran) == 3)
        assert await work.keys() == []

    async def test_an_outage_of_the_sessions_uses_up_no_attempt(self) -> None:
        work = Work(sessions=Failing(), attempts=1, retry_after=timedelta(milliseconds=1))
        await work.schedule()
        work.storage.away = True
        async with work.bot.running():
            await until(lambda: work.storage.calls > 5)
            work.storage.away = False
            await until(lambda: work.shop.ran)
        assert await work.failed() == []

    async def test_an_outage_of_the_jobs_is_logged_once_and_outlasted(self, caplog: pytest.LogCaptureFixture) -> None:
        work = Work(jobs=Failing(), interval=timedelta(milliseconds=2))
        await work.schedule()
        work.jobs.away = True
        with caplog.at_level(logging.WARNING, "satchel"):
            async with work.bot.running():
                calls = work.jobs.calls
                work.jobs.pages = failing(work.jobs.pages, work.jobs)
                await until(lambda: work.jobs.calls > calls + 5)
                work.jobs.away = False
                await until(lambda: work.shop.ran)
        assert [message.split(":")[0] for message in caplog.messages] == ["scheduled steps are late"]

    @pytest.mark.parametrize("value", [7, {}, {"session": 1, "target": "hello->say_bye", "expects": None}])
    async def test_a_damaged_job_is_left_as_it_is_and_logged_once(
        self, value: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        work = Work(interval=timedelta(milliseconds=2))
        key = "job:due:000000000000001-0123456789abcdef"
        await work.jobs.write(key, value)
        with caplog.at_level(logging.WARNING, "satchel"):
            async with work.bot.running():
                await work.schedule()
                await until(lambda: work.shop.ran)
                await work.schedule()
                await until(lambda: len(work.shop.ran) == 2)
        assert caplog.messages == [
            "scheduled step '000000000000001-0123456789abcdef' is damaged: it is no job. It is left as it is"
        ]
        assert await work.jobs.read(key) == value

    async def test_keys_that_are_somebody_elses_are_left_alone(self, work: Work) -> None:
        await work.jobs.write("job:due:tomorrow", {"mine": 1})
        assert await work.run_due() == []
        assert await work.keys() == ["job:due:tomorrow"]


async def test_two_bots_in_one_storage_take_their_own_steps(work: Work) -> None:
    other = Work(work.jobs, prefix="other:")
    await work.schedule()
    assert await other.run_due() == []
    assert await work.run_due() == ["ask_address None"]


async def test_a_claim_whose_renewal_was_answered_too_late_is_still_its_own_and_renewed() -> None:
    work = Work(jobs=Failing(), lease=timedelta(milliseconds=30))

    async def ask(turn: Turn[Any]) -> None:
        work.jobs.lost = 1
        await until(lambda: work.jobs.lost == 0)
        key = (await work.keys())[0]
        lost = renewed = await work.jobs.read(key)
        while renewed["until"] == lost["until"]:
            await asyncio.sleep(0.002)
            renewed = await work.jobs.read(key)

    work.shop.does = {"ask_address": ask}
    await work.schedule()
    assert await work.run_due() == ["ask_address None"]
    assert await work.keys() == []


async def test_a_step_that_awaits_what_was_cancelled_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    work, times = Work(retry_after=timedelta(milliseconds=1)), 0

    async def ask(_: Turn[Any]) -> None:
        nonlocal times
        times += 1
        if times < 3:
            other = asyncio.create_task(asyncio.sleep(10))
            other.cancel()
            await other

    work.shop.does = {"ask_address": ask}
    async with work.bot.running():
        await work.schedule()
        await until(lambda: times == 3)
    assert await work.keys() == []
    assert [message.partition(": ")[2] for message in caplog.messages] == ["it raised CancelledError"] * 2


def test_a_scheduler_may_run_in_one_event_loop_after_the_other() -> None:
    work = Work()

    async def run() -> None:
        work.shop.ran.clear()
        async with work.bot.running():
            await asyncio.sleep(0.01)  # it waits for what there is not
            await work.schedule()
            await until(lambda: work.shop.ran)

    for _ in range(2):
        asyncio.run(run())


async def test_one_block_runs_a_scheduler(work: Work) -> None:
    async with work.bot.running():
        with pytest.raises(FlowError, match="running already"):
            async with work.bot.running():
                raise AssertionError
    async with work.bot.running():
        pass


async def test_a_scheduler_leaves_no_task_behind(work: Work) -> None:
    before = asyncio.all_tasks()
    async with work.bot.running():
        await work.schedule()
        await until(lambda: work.shop.ran)
    assert asyncio.all_tasks() == before


def test_jobs_need_a_storage_that_keeps_them() -> None:
    with pytest.raises(ConfigurationError, match="versions and listing"):
        StorageScheduler(Plain())
    with pytest.raises(ConfigurationError, match="would end with the ttl"):
        StorageScheduler(MemoryStorage(ttl=timedelta(days=1)))
    with pytest.raises(ConfigurationError, match="would end with the ttl"):
        StorageScheduler(Fallback(MemoryStorage(ttl=timedelta(days=1)), MemoryStorage()))


@pytest.mark.parametrize(
    "options",
    [
        {"interval": timedelta(0)},
        {"lease": -timedelta(1)},
        {"retry_after": 5},
        {"attempts": 0},
        {"concurrency": "many"},
        {"prefix": ""},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=next(iter(options)) if "prefix" not in options else "empty"):
        StorageScheduler(MemoryStorage(), **options)


def test_a_scheduler_is_three_methods() -> None:
    assert isinstance(StorageScheduler(MemoryStorage()), Scheduler)
    assert not isinstance(Sessions[Any](MemoryStorage()), Scheduler)


def failing(pages: Any, storage: Any) -> Any:
    """Let a listing fail, too, while the server is away."""

    async def listed(prefix: str) -> Any:
        storage.calls += 1
        if storage.away:
            raise StorageUnavailableError(f"{storage.where} does not answer")
        async for page in pages(prefix):
            yield page

    return listed
