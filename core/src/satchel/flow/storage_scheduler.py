"""The scheduler that needs nothing but a storage: it keeps jobs there, and runs them in this process."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final

from satchel.adapter import milliseconds
from satchel.clock import now
from satchel.errors import CorruptValueError, FlowError, StorageError
from satchel.flow.agenda import Agenda
from satchel.flow.failures import Verdict, judged
from satchel.flow.jobs import Claim, Jobs
from satchel.flow.scheduling import Job, RunJob, due_ms
from satchel.settling import together
from satchel.storage import StorageAdapter
from satchel.threads import positive

logger = logging.getLogger("satchel")

_LONGEST_WAIT: Final = 3_600_000  # milliseconds before a job that failed is tried again
_NEVER: Final = 2**62  # no time that comes


class StorageScheduler:
    """Keeps scheduled steps in a storage, so that they outlive this process, and takes them when they are due.

        scheduler = StorageScheduler(open_storage("sqlite:///bot.db?namespace=jobs"))
        bot = Conversations(shop, sessions, start="hello", scheduler=scheduler)

        async with bot.running():
            await dispatcher.start_polling(telegram)

    Any number of processes may run the jobs of one storage: a job is claimed by a conditional write, so one of them
    runs it. **A job runs at least once**: one whose process dies runs again, in another, when its claim ends; if that
    was between saving the session and removing the job, it has run twice. A job that was due while nobody ran is run
    late. For claims, the clocks of different machines may differ by less than `lease`.

    A job that raises is tried again, at growing intervals, but not one that raises `FlowError`, as when its state is
    gone since it was scheduled: that one, and one that has failed too often, is set aside, which is logged as an error.
    `failed()` lists those, `retry(id)` lets one run again, `cancel(id)` removes it.

    Args:
        storage: one with versions and listing, and without a ttl.
        prefix: what keys of jobs begin with. Two `Conversations` need two, or two namespaces.
        interval: how often to look for jobs that other processes have added; those of this one are known at once.
        lease: how long a claim outlives a process that died.
        concurrency: how many jobs run at a time.
        attempts: how often a job is begun before it is set aside; that a storage is away, or a session busy, is not
            counted.
        retry_after: how long to wait after the first failure; it doubles with each, up to an hour.
        grace: how long the steps that are being taken when the block of `running` ends may go on; then they are
            cancelled, and taken again by whoever runs next.

    Raises:
        ConfigurationError: an option is not right, or the storage cannot keep jobs.
    """

    def __init__(
        self,
        storage: StorageAdapter[Any],
        *,
        prefix: str = "job:",
        interval: timedelta = timedelta(seconds=10),
        lease: timedelta = timedelta(seconds=60),
        concurrency: int = 10,
        attempts: int = 5,
        retry_after: timedelta = timedelta(seconds=10),
        grace: timedelta = timedelta(seconds=5),
    ) -> None:
        self._interval = milliseconds("interval", interval)
        self._concurrency = positive("concurrency", concurrency)
        self._attempts = positive("attempts", attempts)
        self._retry_after = milliseconds("retry_after", retry_after)
        self._grace = milliseconds("grace", grace) / 1000
        self._jobs = Jobs(storage, prefix, milliseconds("lease", lease))
        self._agenda: Agenda | None = None
        self._woken = asyncio.Event()
        self._is_down = False

    async def add(self, job: Job) -> None:
        """Keep a job."""
        await self._jobs.add(job)
        if self._agenda is not None:
            self._agenda.add(due_ms(job.id), job.id)
            self._woken.set()

    async def cancel(self, job_id: str) -> bool:
        """Forget a job, and tell whether there was one that had not begun, or was set aside."""
        return await self._jobs.remove(job_id)

    def jobs(self) -> AsyncIterator[Job]:
        """Iterate over all jobs that are to be run, in no particular order."""
        return self._jobs.all()

    def failed(self) -> AsyncIterator[tuple[Job, str]]:
        """Iterate over the jobs that were set aside, each with the name of the error."""
        return self._jobs.failed()

    async def retry(self, job_id: str) -> bool:
        """Let a job that was set aside run again, now, and tell whether there is such a one."""
        is_there = await self._jobs.restore(job_id)
        if is_there and self._agenda is not None:
            self._agenda.add(0, job_id)
            self._woken.set()
        return is_there

    async def run_due(self, run: RunJob) -> None:
        """Run what is due now, and return when that is done: for programs that are started by the minute.

            await scheduler.run_due(bot.run_job)

        Raises:
            StorageError: the jobs could not be listed.
        """
        due = sorted(job_id for job_id in await self._jobs.ids() if due_ms(job_id) <= now())
        slots = asyncio.Semaphore(self._concurrency)

        async def one(job_id: str) -> None:
            async with slots:
                await self._attempt(job_id, run)

        await together(map(one, due))

    @asynccontextmanager
    async def running(self, run: RunJob) -> AsyncIterator[None]:
        """Run jobs for the length of a block; those that run at its end have `grace` to come to theirs.

        Raises:
            FlowError: this scheduler runs already.
        """
        if self._agenda is not None:
            raise FlowError("this scheduler is running already: one block is enough")
        self._agenda = Agenda()
        self._woken = asyncio.Event()  # of this event loop
        stop = asyncio.Event()
        serving = asyncio.create_task(self._serve(self._agenda, run, stop))
        try:
            yield
        finally:
            stop.set()
            self._woken.set()
            try:
                await serving
            finally:
                self._agenda = None

    async def _serve(self, agenda: Agenda, run: RunJob, stop: asyncio.Event) -> None:
        tasks: set[asyncio.Task[None]] = set()

        async def one(job_id: str) -> None:
            try:
                again = await self._attempt(job_id, run)
            except BaseException:
                agenda.forget(job_id)
                raise
            if again is None:
                agenda.forget(job_id)
            else:
                agenda.put_back(again, job_id)

        def ended(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            self._woken.set()

        listing = 0
        try:
            while not stop.is_set():
                self._woken.clear()
                if listing <= now():
                    await self._list(agenda)
                    listing = now() + self._interval
                while len(tasks) < self._concurrency and (job_id := agenda.take(now())) is not None:
                    task = asyncio.create_task(one(job_id))
                    tasks.add(task)
                    task.add_done_callback(ended)
                at = listing if agenda.next is None or len(tasks) >= self._concurrency else min(listing, agenda.next)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0, at - now()) / 1000):
                        await self._woken.wait()
            if tasks:
                await asyncio.wait(tasks, timeout=self._grace)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _list(self, agenda: Agenda) -> None:
        try:
            for job_id in await self._jobs.ids():
                agenda.add(due_ms(job_id), job_id)
        except StorageError as error:
            self._complain(error)
        else:
            self._is_down = False

    async def _attempt(self, job_id: str, run: RunJob) -> int | None:
        """Run a job, if it is to be had; return when to look at it again, or None if it is done with."""
        try:
            claim = await self._jobs.claim(job_id)
            if not isinstance(claim, Claim):
                return claim
            if claim.attempts > self._attempts:
                judged(claim.job, FlowError("its process has died each time"), claim.attempts, self._attempts)
                await claim.set_aside("process died")
                return None
            return await self._run(claim, run)
        except CorruptValueError as error:
            logger.error("%s. It is left as it is", error)  # noqa: TRY400 - there is no more to say of it
            return _NEVER
        except StorageError as error:
            self._complain(error)
            return now() + self._interval

    async def _run(self, claim: Claim, run: RunJob) -> int | None:
        keeping = asyncio.create_task(claim.keep())
        failed: BaseException | None = None
        try:
            await run(claim.job, claim.renew)
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            failed = error
        claim.end()
        await asyncio.wait([keeping])
        if failed is None:
            await claim.done()
            return None
        if not isinstance(failed, Exception) and not _is_stray(failed):
            with suppress(StorageError):  # then it runs again when the claim ends
                await claim.give_back(0, is_counted=False)
            raise failed
        verdict = judged(claim.job, failed, claim.attempts, self._attempts)
        if verdict is Verdict.SET_ASIDE:
            await claim.set_aside(type(failed).__name__)
            return None
        is_counted = verdict is Verdict.REPEATED
        doubled = 2 ** (claim.attempts - 1) if is_counted else 1
        until = now() + min(self._retry_after * doubled, _LONGEST_WAIT)
        await claim.give_back(until, is_counted=is_counted)
        return until

    def _complain(self, error: BaseException) -> None:
        """Say that scheduled steps have to wait, once until they can be listed again."""
        if not self._is_down:
            logger.warning("scheduled steps are late: %s", error)
        self._is_down = True


def _is_stray(error: BaseException) -> bool:
    """Tell whether a handler raised a cancellation that is not of this task, but of what the handler awaited."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling()
