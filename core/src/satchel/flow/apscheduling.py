"""Scheduled steps in APScheduler: `pip install "satchel[scheduler]"`, for bots that use it anyway."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from satchel.adapter import milliseconds
from satchel.errors import ConfigurationError, FlowError
from satchel.flow.failures import Verdict, judged
from satchel.flow.scheduling import Job, RunJob
from satchel.threads import positive

logger = logging.getLogger("satchel")

_RUNNING: Final[dict[str, "APSchedulerJobs"]] = {}  # by name, as a job store keeps a function's name, and texts
_FUNCTION: Final = "satchel.flow.apscheduling:run_stored"


class AsyncIOScheduler(Protocol):
    """What is used of APScheduler's, which has no types."""

    @property
    def running(self) -> bool: ...
    def start(self, paused: bool = ...) -> None: ...
    def resume(self) -> None: ...
    def shutdown(self, wait: bool = ...) -> None: ...
    def add_job(self, func: Any, trigger: Any = ..., args: Any = ..., **options: Any) -> Any: ...
    def get_job(self, job_id: str, jobstore: str | None = ...) -> Any: ...
    def modify_job(self, job_id: str, jobstore: str | None = ..., **changes: Any) -> Any: ...
    def remove_job(self, job_id: str, jobstore: str | None = ...) -> None: ...


class APSchedulerJobs:
    """Keeps scheduled steps in a job store of APScheduler 3, and lets APScheduler say when they are due.

        scheduler = AsyncIOScheduler(jobstores={"default": SQLAlchemyJobStore("sqlite:///jobs.db")})
        bot = Conversations(shop, sessions, start="hello", scheduler=APSchedulerJobs(scheduler))

    A job stays in the store until it has run: one that raises, or whose process dies, runs again after `retry_after`.
    So each runs at least once, and late rather than never. One that raises `FlowError`, or has failed too often, is
    paused: it can be seen, and resumed, by APScheduler's own means. What differs from a `StorageScheduler` is
    APScheduler's: one process for a job store (its FAQ: "How do I share a single job store among one or more worker
    processes? Short answer: You can't."), which is talked to on the event loop, and whose records are pickled: let
    nobody else write to it.

    Args:
        scheduler: an `AsyncIOScheduler`. If it was not started, it is, by the first use, and until `running` is entered
            it only keeps jobs; then it is also shut down, at the end of the block.
        name: tells the jobs of several `Conversations` apart. It is stored, so keep it.
        jobstore: where APScheduler is to keep the jobs.
        attempts: how often a job is begun before it is paused; that a storage is away, or a session busy, is not
            counted.
        retry_after: how long to wait before the next attempt.

    Raises:
        ConfigurationError: an option is not right, or APScheduler is missing: pip install "satchel[scheduler]".
    """

    def __init__(
        self,
        scheduler: AsyncIOScheduler,
        *,
        name: str = "flow",
        jobstore: str = "default",
        attempts: int = 5,
        retry_after: timedelta = timedelta(minutes=5),
    ) -> None:
        try:
            from apscheduler.jobstores.base import JobLookupError  # type: ignore[import-untyped]
            from apscheduler.schedulers.asyncio import AsyncIOScheduler as Theirs  # type: ignore[import-untyped]
        except ImportError as error:
            message = 'APSchedulerJobs needs APScheduler 3: pip install "satchel[scheduler]"'
            raise ConfigurationError(message) from error
        if not isinstance(scheduler, Theirs):
            raise ConfigurationError(f"scheduler is an AsyncIOScheduler of APScheduler, not {type(scheduler).__name__}")
        self._scheduler = scheduler
        self._name = name
        self._jobstore = jobstore
        self._attempts = positive("attempts", attempts)
        self._seconds = milliseconds("retry_after", retry_after) / 1000
        self._absent: type[Exception] = JobLookupError
        self._run: RunJob | None = None
        self._has_started_it = False

    async def add(self, job: Job) -> None:
        """Keep a job."""
        self._start()
        # A job of a date is forgotten as soon as it begins; one of an interval stays until it is removed.
        self._scheduler.add_job(
            _FUNCTION,
            "interval",
            (self._name, *job, 0),
            id=job.id,
            jobstore=self._jobstore,
            seconds=self._seconds,
            timezone=UTC,
            next_run_time=max(job.due, datetime.now(UTC)),  # from the past on, it would count all intervals
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
            replace_existing=True,
        )

    async def cancel(self, job_id: str) -> bool:
        """Forget a job, and tell whether there was one that had not begun, or was set aside."""
        self._start()
        found = self._scheduler.get_job(job_id, self._jobstore)
        if found is not None:
            self._remove(job_id)
        return found is not None and (found.args[-1] == 0 or found.next_run_time is None)

    @asynccontextmanager
    async def running(self, run: RunJob) -> AsyncIterator[None]:
        """Run jobs for the length of a block.

        Raises:
            FlowError: there is such a block of the same name already.
        """
        if _RUNNING.setdefault(self._name, self) is not self or self._run is not None:
            raise FlowError(f"APSchedulerJobs(name={self._name!r}) is running already: give each a name of its own")
        self._run = run
        try:
            self._start()
            if self._has_started_it:
                self._scheduler.resume()
            yield
        finally:
            self._run = None
            del _RUNNING[self._name]
            if self._has_started_it:
                self._has_started_it = False
                self._scheduler.shutdown(wait=False)
                await asyncio.sleep(0)  # it does that in a callback of the event loop

    async def take(self, job: Job, attempts: int) -> None:
        """Run a job that is due."""
        run, attempts = self._run, attempts + 1

        async def is_wanted() -> bool:
            return self._scheduler.get_job(job.id, self._jobstore) is not None

        if run is None or not self._note(job, attempts):
            return
        try:
            if attempts > self._attempts:
                raise FlowError("its process has died each time")
            await run(job, is_wanted)
        except Exception as error:  # noqa: BLE001 - it is judged
            match judged(job, error, attempts, self._attempts):
                case Verdict.SET_ASIDE:
                    self._note(job, attempts, next_run_time=None)
                case Verdict.POSTPONED:
                    self._note(job, attempts - 1)
        else:
            self._remove(job.id)

    def _note(self, job: Job, attempts: int, **changes: Any) -> bool:
        """Store how often a job was begun, and tell whether there is such a job still."""
        try:
            self._scheduler.modify_job(job.id, self._jobstore, args=(self._name, *job, attempts), **changes)
        except self._absent:
            return False
        return True

    def _remove(self, job_id: str) -> None:
        with suppress(self._absent):
            self._scheduler.remove_job(job_id, self._jobstore)

    def _start(self) -> None:
        if not self._scheduler.running:
            self._scheduler.start(paused=True)
            self._has_started_it = True


async def run_stored(name: str, job_id: str, session: str, target: str, expects: str | None, attempts: int) -> None:
    """Run a job: this is what APScheduler's job stores keep."""
    jobs = _RUNNING.get(name)
    if jobs is None:
        logger.warning("scheduled steps called %r are due, and nobody runs them: async with bot.running()", name)
        return
    await jobs.take(Job(job_id, session, target, expects), attempts)
