"""What a scheduled step is, and what a scheduler of them does."""

import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Protocol, runtime_checkable

from satchel.errors import FlowError

_ID: Final = re.compile(r"(\d{15})-[0-9a-f]{16}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Job(NamedTuple):
    """A step that is to be taken later.

    Attributes:
        id: names it, and begins with when it is due, in milliseconds since 1970: ids sort by time.
        session: the key of the session, as `Conversations.open` takes it.
        target: the slug of the state to go to.
        expects: the slug of the state that the session must be in; None if it may be anywhere.
    """

    id: str
    session: str
    target: str
    expects: str | None = None

    @property
    def due(self) -> datetime:
        """When it is to run, in UTC."""
        return _EPOCH + timedelta(milliseconds=due_ms(self.id))


IsWanted = Callable[[], Awaitable[bool]]
"""Tells whether a job is to be run still, and not cancelled, or taken over by another process."""

RunJob = Callable[[Job, IsWanted], Awaitable[None]]
"""Takes the step of a job. It asks whether it is wanted once the session is its own."""


@runtime_checkable
class Scheduler(Protocol):
    """Keeps jobs, and runs them when they are due, or as soon after that as there is anybody to run them."""

    async def add(self, job: Job) -> None:
        """Keep a job. It is kept for good when this returns."""

    async def cancel(self, job_id: str) -> bool:
        """Forget a job, and tell whether it had not begun yet; one that there is not, is no error."""
        ...

    def running(self, run: RunJob) -> AbstractAsyncContextManager[None]:
        """Run jobs for the length of a block.

        A job ends when `run` returns. One that raises `FlowError` is set aside, and logged; after any other error it
        runs again later, and is set aside when it has failed too often.
        """
        ...


def new_id(due: datetime) -> str:
    """Return an id for a job that is due then.

    Raises:
        FlowError: the time is none, or has no time zone.
    """
    if not isinstance(due, datetime):
        raise FlowError(f"a step is scheduled at a datetime, not at {type(due).__name__}")
    if due.utcoffset() is None:
        raise FlowError("a step is scheduled at a datetime with a time zone: datetime.now(UTC) + …")
    step = timedelta(milliseconds=1)
    # Rounded up, so that no step is early; but what is due now is not to wait for the next millisecond.
    since = -((_EPOCH - due) // step) if due > datetime.now(UTC) else (due - _EPOCH) // step
    return f"{max(0, since):015d}-{secrets.token_hex(8)}"


def due_ms(job_id: str) -> int:
    """Return when a job is due, in milliseconds since 1970, as its id says.

    Raises:
        ValueError: that is no id.
    """
    found = _ID.fullmatch(job_id)
    if found is None:
        raise ValueError("the id of a job is 15 digits, a hyphen and 16 hexadecimal digits")
    return int(found[1])


def after(delay: timedelta) -> datetime:
    """Return the time in UTC when `delay` will have passed.

    Raises:
        FlowError: it is none, or negative, or goes beyond the year 9999.
    """
    if not isinstance(delay, timedelta):
        raise FlowError(f"a step is delayed by a timedelta, not by {type(delay).__name__}")
    if delay < timedelta():
        raise FlowError(f"a step cannot be delayed by {delay}: that is over")
    try:
        return datetime.now(UTC) + delay
    except OverflowError:
        raise FlowError(f"a step cannot be delayed by {delay}: there is no such date") from None
