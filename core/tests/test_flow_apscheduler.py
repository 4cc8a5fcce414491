"""Scheduled steps in APScheduler, with the job store in a file."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore  # type: ignore[import-untyped]
from apscheduler.schedulers.asyncio import AsyncIOScheduler  # type: ignore[import-untyped]
from sqlalchemy import NullPool, create_engine

from failing import Failing
from satchel import ConfigurationError, FlowError
from satchel.flow import APSchedulerJobs, Job, Scheduler, Turn
from shop import CHAT, Shop

NOW = timedelta(0)
LATER = timedelta(hours=1)
GONE = Job("000000000000001-0123456789abcdef", CHAT, "checkout->gone")


class Work:
    """A shop in one process; its jobs are in a file."""

    def __init__(self, folder: Path, sessions: Any = None, **options: Any) -> None:
        # No pool, so that what the scheduler does last leaves no connection open.
        self.engine = create_engine(f"sqlite:///{folder}/jobs.db", poolclass=NullPool)
        self.theirs = AsyncIOScheduler(jobstores={"default": SQLAlchemyJobStore(engine=self.engine)})
        # Names are the process's, and the tests of this module share one.
        self.scheduler = APSchedulerJobs(self.theirs, name=str(folder), **options)
        self.shop = Shop(sessions, scheduler=self.scheduler)
        self.bot = self.shop.bot

    async def schedule(self, delay: timedelta = NOW, **target: Any) -> str:
        async with self.bot.open(CHAT) as turn:
            return turn.step_to_in(delay, **(target or {"flow": "checkout"}))

    def jobs(self) -> list[Any]:
        found: list[Any] = self.theirs.get_jobs()
        return found

    @asynccontextmanager
    async def process(self) -> AsyncIterator["Work"]:
        try:
            yield self
        finally:
            if self.theirs.running:
                self.theirs.shutdown(wait=False)
                await asyncio.sleep(0)
            self.engine.dispose()


Begin = Callable[..., Any]


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    """Begin a process of the one bot of this test."""
    return lambda sessions=None, **options: Work(tmp_path, sessions, **options).process()


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.002)


async def test_a_step_is_taken_when_it_is_due_and_is_gone_then(begin: Begin) -> None:
    async with begin() as work, work.bot.running():
        await work.schedule(timedelta(milliseconds=20))
        await work.schedule(LATER)
        await until(lambda: len(work.jobs()) == 1)
        assert work.shop.ran == ["ask_address None"]
        assert (await work.bot.read(CHAT)).current == work.shop.flows.place(flow="checkout")


async def test_a_step_outlives_the_process_that_scheduled_it_and_is_taken_late(begin: Begin) -> None:
    async with begin() as before:
        await before.schedule()
        assert len(before.jobs()) == 1  # stored, though nobody runs it
    async with begin(before.shop.storage) as after:
        assert before.shop.ran == []
        async with after.bot.running():
            await until(lambda: not after.jobs())
        assert after.shop.ran == ["ask_address None"]


async def test_a_step_that_runs_when_its_block_ends_is_taken_again(begin: Begin) -> None:
    inside = asyncio.Event()

    async def ask(turn: Turn[Any]) -> None:
        inside.set()
        await asyncio.Event().wait()

    again = timedelta(milliseconds=30)
    async with begin(retry_after=again) as before:
        before.shop.does = {"ask_address": ask}
        async with before.bot.running():
            await before.schedule()
            await inside.wait()
    async with begin(before.shop.storage, retry_after=again) as after, after.bot.running():
        await until(lambda: after.shop.ran)


async def test_a_cancelled_step_is_not_taken(begin: Begin) -> None:
    async with begin() as work:
        job = await work.schedule()
        assert await work.bot.cancel(job)
        assert not await work.bot.cancel(job)
        async with work.bot.running():
            await work.schedule(flow="hello")
            await until(lambda: work.shop.ran)
        assert work.shop.ran == ["say_hello None"]


async def test_a_step_that_waits_for_its_session_can_be_cancelled_by_the_turn_that_has_it(begin: Begin) -> None:
    async with begin() as work, work.bot.running():
        async with work.bot.open(CHAT) as turn:
            turn.step_to_in(NOW, flow="checkout")
            await turn.save()
            await until(lambda: work.jobs()[0].args[-1] == 1)  # it has begun
            turn.cancel(work.jobs()[0].id)
        async with work.bot.open(CHAT):  # it had its turn in between
            pass
        assert work.shop.ran == []
        assert work.jobs() == []


async def test_for_a_step_that_runs_it_is_too_late(begin: Begin) -> None:
    async with begin() as work, work.bot.running():

        async def ask(turn: Turn[Any]) -> None:
            assert not await work.bot.cancel(job)
            turn.data["ran"] = True

        work.shop.does = {"ask_address": ask}
        job = await work.schedule()
        await until(lambda: not work.jobs())
        async with work.bot.open(CHAT) as turn:
            assert turn.data["ran"]


async def test_a_step_to_a_state_that_is_gone_is_paused_and_logged_once(
    begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    async with begin(retry_after=timedelta(milliseconds=1)) as work, work.bot.running():
        with caplog.at_level(logging.WARNING, "satchel"):
            await work.scheduler.add(GONE)
            await until(lambda: work.jobs()[0].next_run_time is None)
            await asyncio.sleep(0.005)  # if it were not paused, it would run again
        ours = [record for record in caplog.records if record.name == "satchel"]
        assert [(record.levelname, "is set aside" in record.message) for record in ours] == [("ERROR", True)]
        work.shop.flows._flows["checkout"].states["gone"] = work.shop.state("gone")  # the next deployment has it
        work.theirs.resume_job(GONE.id)
        await until(lambda: not work.jobs())
        assert work.shop.ran == ["gone None"]


async def test_a_step_that_raises_is_tried_again_and_then_paused(
    begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(turn: Turn[Any]) -> None:
        raise RuntimeError("the card 4111 was refused")

    async with begin(attempts=3, retry_after=timedelta(milliseconds=1)) as work, work.bot.running():
        work.shop.does = {"ask_address": ask}
        with caplog.at_level(logging.WARNING, "satchel"):
            job = await work.schedule()
            await until(lambda: work.jobs()[0].next_run_time is None)
        assert work.shop.ran == ["ask_address None"] * 3
        assert [record.levelname for record in caplog.records if record.name == "satchel"] == ["WARNING"] * 2 + [
            "ERROR"
        ]
        assert "4111" not in caplog.text
        assert await work.bot.cancel(job)


async def test_an_outage_of_the_sessions_uses_up_no_attempt(begin: Begin) -> None:
    storage = Failing()
    async with begin(storage, attempts=1, retry_after=timedelta(milliseconds=1)) as work, work.bot.running():
        await work.schedule()
        storage.away = True
        calls = storage.calls
        await until(lambda: storage.calls > calls + 3)
        storage.away = False
        await until(lambda: not work.jobs())
        assert work.shop.ran == ["ask_address None"]


async def test_a_step_that_is_due_while_nobody_runs_steps_waits(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    async with begin(retry_after=timedelta(milliseconds=20)) as work:
        with caplog.at_level(logging.WARNING, "satchel"):
            work.theirs.start()
            await work.schedule()
            await until(lambda: caplog.messages)
        assert "nobody runs them" in caplog.text
        async with work.bot.running():
            await until(lambda: not work.jobs())
        assert work.shop.ran == ["ask_address None"]
        assert work.theirs.running  # as it was before


async def test_two_blocks_of_one_name_are_refused(begin: Begin) -> None:
    async with begin() as work, begin() as other, work.bot.running():
        for bot in (work.bot, other.bot):
            with pytest.raises(FlowError, match="running already"):
                async with bot.running():
                    raise AssertionError


def test_it_is_a_scheduler_over_one_of_apschedulers() -> None:
    assert isinstance(APSchedulerJobs(AsyncIOScheduler()), Scheduler)
    with pytest.raises(ConfigurationError, match="not str"):
        APSchedulerJobs("redis://localhost")  # type: ignore[arg-type]


def test_without_apscheduler_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = AsyncIOScheduler()
    monkeypatch.setitem(sys.modules, "apscheduler.jobstores.base", None)
    with pytest.raises(ConfigurationError, match=r"satchel\[scheduler\]"):
        APSchedulerJobs(scheduler)
