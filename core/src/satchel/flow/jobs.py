"""Jobs in a storage: kept, claimed by one process at a time, and set aside if they cannot be run.

A job is the record `PREFIXdue:ID`, and one that was set aside is `PREFIXfailed:ID`. As an id begins with the time, what
is due is seen from the keys alone. The record is `{"session", "target", "expects", "attempts", "until"}`: how often it
was begun, and until when (in milliseconds since 1970) nobody is to begin it, as it runs, or is to be tried again later;
and `"owner"`, who began it last.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol, cast

from satchel.clock import now
from satchel.errors import ConfigurationError, ConflictError, CorruptValueError, StorageError
from satchel.flow.scheduling import Job, due_ms
from satchel.keys import check_key, show
from satchel.storage import Listing, StorageAdapter, Versioned

logger = logging.getLogger("satchel")

_DUE: Final = "due:"
_FAILED: Final = "failed:"


class Claimable(StorageAdapter[Any], Versioned[Any], Listing, Protocol):
    """A storage that jobs can be kept in."""


class Jobs:
    """The jobs of one scheduler.

    Args:
        storage: where they are.
        prefix: what their keys begin with.
        lease: for how many milliseconds a claim outlives a process that died.

    Raises:
        ConfigurationError: the storage cannot keep them.
    """

    def __init__(self, storage: StorageAdapter[Any], prefix: str, lease: int) -> None:
        if not isinstance(storage, Versioned) or not isinstance(storage, Listing):
            raise ConfigurationError(f"scheduled steps need a storage with versions and listing: {storage!r} is none")
        if getattr(storage, "ttl", None) is not None:
            raise ConfigurationError(f"scheduled steps would end with the ttl of {storage!r}: give them one without")
        self.storage = cast("Claimable", storage)
        self.lease = lease
        self._prefix = check_key(prefix)

    def key(self, job_id: str, part: str = _DUE) -> str:
        """Return the key of a job."""
        return f"{self._prefix}{part}{job_id}"

    async def add(self, job: Job) -> None:
        """Keep a job; one with the same id is the same job."""
        await self.storage.write(self.key(job.id), _record(job))

    async def remove(self, job_id: str) -> bool:
        """Remove a job, due or set aside, and tell whether there was one that had not begun."""
        while (record := await self.storage.read_versioned(self.key(job_id))) is not None:
            try:
                await self.storage.delete_versioned(self.key(job_id), record.version)
            except ConflictError:  # somebody claimed it meanwhile, or gave it back: look again
                continue
            return _integer(record.value, "until") <= now()
        is_aside = await self.storage.read(self.key(job_id, _FAILED)) is not None
        await self.storage.delete(self.key(job_id, _FAILED))
        return is_aside

    async def ids(self) -> list[str]:
        """Return the ids of all jobs that are to be run."""
        return [job_id async for job_id in self._listed(_DUE)]

    async def all(self) -> AsyncIterator[Job]:
        """Iterate over the jobs that are to be run."""
        async for job_id in self._listed(_DUE):
            if (value := await self.storage.read(self.key(job_id))) is not None:
                yield _job(job_id, value)

    async def failed(self) -> AsyncIterator[tuple[Job, str]]:
        """Iterate over the jobs that were set aside, each with the name of the error."""
        async for job_id in self._listed(_FAILED):
            if (value := await self.storage.read(self.key(job_id, _FAILED))) is not None:
                yield _job(job_id, value), str(value.get("error"))

    async def restore(self, job_id: str) -> bool:
        """Let a job that was set aside run again, and tell whether there is such a one."""
        value = await self.storage.read(self.key(job_id, _FAILED))
        if value is None:
            return False
        await self.add(_job(job_id, value))
        await self.storage.delete(self.key(job_id, _FAILED))
        return True

    async def claim(self, job_id: str) -> "Claim | int | None":
        """Claim a job; if others have it, return when to look again; None if it is gone."""
        while True:
            record = await self.storage.read_versioned(self.key(job_id))
            if record is None:
                return None
            job = _job(job_id, record.value)
            if (until := _integer(record.value, "until")) > now():
                return until
            claim = Claim(self, job, _integer(record.value, "attempts") + 1, record.version)
            if await claim.renew():
                return claim

    async def _listed(self, part: str) -> AsyncIterator[str]:
        start = self._prefix + part
        async for key in self.storage.keys(start):
            job_id = key.removeprefix(start)
            try:
                due_ms(job_id)
            except ValueError:
                continue  # somebody else's
            yield job_id


class Claim:
    """A job that is this process's own to run.

    Attributes:
        job: the job.
        attempts: how often it was begun, this time included.
    """

    def __init__(self, jobs: Jobs, job: Job, attempts: int, version: str) -> None:
        self.job = job
        self.attempts = attempts
        self._jobs = jobs
        self._key = jobs.key(job.id)
        self._version = version
        self._owner = secrets.token_hex(8)
        self._writing = asyncio.Lock()
        self._is_over = asyncio.Event()

    async def renew(self) -> bool:
        """Make the claim last for another lease, and tell whether the job is this process's own still."""
        return await self._write(now() + self._jobs.lease, self.attempts)

    async def keep(self) -> None:
        """Renew the claim until it is over."""
        while not self._is_over.is_set():
            try:
                async with asyncio.timeout(self._jobs.lease / 3000):
                    await self._is_over.wait()
            except TimeoutError:
                try:
                    if not await self.renew():
                        return
                except StorageError as error:
                    logger.warning("the claim of a scheduled step could not be renewed yet: %s", error)

    def end(self) -> None:
        """Let `keep` return."""
        self._is_over.set()

    async def done(self) -> None:
        """Remove the job, which has run."""
        async with self._writing:
            while True:
                try:
                    await self._jobs.storage.delete_versioned(self._key, self._version)
                except ConflictError:
                    if await self._is_ours():
                        continue
                    if await self._jobs.storage.read(self._key) is not None:
                        message = "a scheduled step of session %s took longer than its lease, and may run twice"
                        logger.warning(message, show(self.job.session))
                return

    async def give_back(self, until: int, *, is_counted: bool) -> None:
        """Let the job be run again, when that time has come."""
        await self._write(until, self.attempts if is_counted else self.attempts - 1)

    async def set_aside(self, error: str) -> None:
        """Keep the job, but do not run it any more."""
        aside = _record(self.job) | {"attempts": self.attempts, "error": error}
        await self._jobs.storage.write(self._jobs.key(self.job.id, _FAILED), aside)
        await self.done()

    async def _write(self, until: int, attempts: int) -> bool:
        value = _record(self.job) | {"attempts": attempts, "until": until, "owner": self._owner}
        async with self._writing:
            while True:
                try:
                    self._version = await self._jobs.storage.write_versioned(self._key, value, self._version)
                except ConflictError:
                    if await self._is_ours():
                        continue
                    return False
                return True

    async def _is_ours(self) -> bool:
        """Tell whether it was an earlier write of this claim, whose answer was lost, that has changed the record."""
        record = await self._jobs.storage.read_versioned(self._key)
        if record is None or not isinstance(record.value, dict) or record.value.get("owner") != self._owner:
            return False
        self._version = record.version
        return True


def _record(job: Job) -> dict[str, Any]:
    return {"session": job.session, "target": job.target, "expects": job.expects, "attempts": 0, "until": 0}


def _job(job_id: str, value: Any) -> Job:
    """Return the job of a record.

    Raises:
        CorruptValueError: it is none. It is left as it is.
    """
    if isinstance(value, dict):
        session, target, expects = value.get("session"), value.get("target"), value.get("expects")
        if isinstance(session, str) and isinstance(target, str) and isinstance(expects, str | None):
            return Job(job_id, session, target, expects)
    raise CorruptValueError(f"scheduled step {show(job_id)} is damaged: it is no job")


def _integer(value: Any, name: str) -> int:
    found = value.get(name) if isinstance(value, dict) else None
    return found if type(found) is int else 0
