"""The scheduler of steps that needs nothing but a storage, for blocking callers."""

from collections.abc import Iterator
from typing import Any

import satchel.flow
from satchel.blocking.loop import each, run
from satchel.blocking.sessions import checked
from satchel.blocking.storage import Storage
from satchel.flow import Job, RunJob


class StorageScheduler:
    """Keeps scheduled steps in a storage, so that they outlive this process; see `satchel.flow.StorageScheduler`.

    Args:
        storage: a blocking storage, with versions and listing, and without a ttl.
        options: those of `satchel.flow.StorageScheduler`.

    Attributes:
        wrapped: the asynchronous scheduler; use it here only.
    """

    def __init__(self, storage: Storage[Any], **options: Any) -> None:
        self.wrapped = satchel.flow.StorageScheduler(checked(storage, "a StorageScheduler").wrapped, **options)

    def cancel(self, job_id: str) -> bool:
        """Forget a job, and tell whether there was one that had not begun, or was set aside."""
        return run(self.wrapped.cancel(job_id))

    def jobs(self) -> Iterator[Job]:
        """Iterate over all jobs that are to be run, in no particular order."""
        return each(self.wrapped.jobs())

    def failed(self) -> Iterator[tuple[Job, str]]:
        """Iterate over the jobs that were set aside, each with the name of the error."""
        return each(self.wrapped.failed())

    def retry(self, job_id: str) -> bool:
        """Let a job that was set aside run again, now, and tell whether there is such a one."""
        return run(self.wrapped.retry(job_id))

    def run_due(self, run_job: RunJob) -> None:
        """Run what is due now, and return when that is done: for programs that are started by the minute.

            scheduler.run_due(bot.run_job)

        Raises:
            StorageError: the jobs could not be listed.
        """
        run(self.wrapped.run_due(run_job))
