"""What a turn schedules and cancels: it takes effect when the turn is saved."""

from collections.abc import Callable
from typing import NamedTuple

from satchel.errors import FlowError
from satchel.flow.maps import Place
from satchel.flow.scheduling import Job


class Draft(NamedTuple):
    """What a turn is to schedule.

    Attributes:
        job: the job, without the state that it expects.
        if_still_here: it expects the state in which the turn ends.
    """

    job: Job
    if_still_here: bool


class Outbox(NamedTuple):
    """What is not in effect yet.

    Attributes:
        drafts: jobs to be added.
        cancelled: ids of jobs to be cancelled.
    """

    drafts: tuple[Draft, ...] = ()
    cancelled: tuple[str, ...] = ()

    def adding(self, draft: Draft) -> "Outbox":
        """Return one with another job to be added."""
        return self._replace(drafts=(*self.drafts, draft))

    def cancelling(self, job_id: str) -> "Outbox":
        """Return one in which a job is to be cancelled, or is not to be added in the first place."""
        if not isinstance(job_id, str):
            raise FlowError(f"the id of a job is a string, not {type(job_id).__name__}")
        drafts = tuple(draft for draft in self.drafts if draft.job.id != job_id)
        if len(drafts) < len(self.drafts):
            return self._replace(drafts=drafts)
        return self._replace(cancelled=(*self.cancelled, job_id))

    def jobs(self, current: Callable[[], Place]) -> list[Job]:
        """Return the jobs to be added, by a turn that ends at the place that `current` tells."""
        return [job._replace(expects=current().slug) if is_here else job for job, is_here in self.drafts]
