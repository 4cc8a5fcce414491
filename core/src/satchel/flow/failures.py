"""What is done about a scheduled step that raised, whoever keeps it."""

import logging
from enum import Enum

from satchel.errors import FlowError, LockTimeoutError, StorageUnavailableError
from satchel.flow.scheduling import Job
from satchel.keys import show

logger = logging.getLogger("satchel")


class Verdict(Enum):
    """What becomes of the job."""

    POSTPONED = "is tried again, and this time is not counted"
    REPEATED = "is tried again"
    SET_ASIDE = "is set aside"


def judged(job: Job, error: BaseException, attempts: int, limit: int) -> Verdict:
    """Decide about a job that has raised, and tell the operator, without what the error says of somebody's data.

    Args:
        job: the job.
        error: what it raised.
        attempts: how often it was begun.
        limit: how often it may be.
    """
    verdict = Verdict.SET_ASIDE if attempts >= limit else Verdict.REPEATED
    what = f"it raised {type(error).__name__}"
    if isinstance(error, FlowError):
        verdict, what = Verdict.SET_ASIDE, str(error)  # it would be the same the next time
    elif isinstance(error, StorageUnavailableError | LockTimeoutError):
        verdict, what = Verdict.POSTPONED, str(error)
    level = logging.ERROR if verdict is Verdict.SET_ASIDE else logging.WARNING
    trace = error if logger.isEnabledFor(logging.DEBUG) else None
    message = "scheduled step %s of session %s to %s %s: %s"
    logger.log(level, message, job.id, show(job.session), job.target, verdict.value, what, exc_info=trace)
    return verdict
