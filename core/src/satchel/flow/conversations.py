"""Conversations: the sessions of a bot that are in one state of a flow map each."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic

from satchel.errors import (
    ConfigurationError,
    NoSessionError,
    NoTargetError,
    SatchelError,
    StorageUnavailableError,
    UnknownStateError,
)
from satchel.flow.maps import FlowMap
from satchel.flow.outbox import Outbox
from satchel.flow.positions import Places, Positions
from satchel.flow.scheduling import IsWanted, Job, Scheduler
from satchel.flow.slugs import SEPARATOR
from satchel.flow.turns import Rules, Turn
from satchel.keys import show
from satchel.sessions import Sessions
from satchel.settling import settled
from satchel.storage import V
from satchel.threads import positive

logger = logging.getLogger("satchel")

Interrupt = Callable[[Turn[Any]], Awaitable[object] | object]
"""Sees a message before the current state's handler; with a step, or a true result, it takes the message over."""


class Conversations(Generic[V]):
    """Sessions that are in a state of a flow map, whose handler answers the next message.

        bot = Conversations(shop, Sessions(storage, initial=dict), start="hello")

        await bot.handle(update)                 # in the one place where messages arrive
        async with bot.open(update) as turn:     # where a command is to lead somewhere
            await turn.step_to(flow="checkout")

    A turn, from the message to the end of the last handler, is one session block: loaded once, locked, and saved by one
    write with all that its handlers did, or, if they raise, not at all. When sessions end is said by `Sessions` and the
    storage: `sliding=True` over a storage with a `ttl`, or `idle_timeout=`; where the session is ends with its data.

    Args:
        flows: the flow map.
        sessions: the sessions, with an `initial` that makes a dict, or an object of a class with the field.
        start: where a new session begins: a flow, or a slug.
        interrupt: sees every message before the current state's handler. If it steps, or moves or deletes the session,
            or returns something true, the message is its own.
        scheduler: keeps the steps of `step_to_in` and `step_to_at`. It belongs to these conversations alone.
        max_steps: how many handlers may run in one turn before `StepLoopError`.
        field: the item (or attribute) of the session's data that says where the session is.

    Raises:
        ConfigurationError: an option is not right, or there is no state to start in.
    """

    def __init__(
        self,
        flows: FlowMap,
        sessions: Sessions[V],
        *,
        start: str,
        interrupt: Interrupt | None = None,
        scheduler: Scheduler | None = None,
        max_steps: int = 50,
        field: str = "flow",
    ) -> None:
        if not isinstance(flows, FlowMap):
            raise ConfigurationError(f"flows is a FlowMap, not {type(flows).__name__}")
        if not isinstance(sessions, Sessions):
            raise ConfigurationError(f"sessions is Sessions, not {type(sessions).__name__}")
        if interrupt is not None and not callable(interrupt):
            raise ConfigurationError(f"interrupt is a function, not {type(interrupt).__name__}")
        if scheduler is not None and not isinstance(scheduler, Scheduler):
            raise ConfigurationError(f"{type(scheduler).__name__} is no scheduler: it has no add, cancel and running")
        if not isinstance(field, str) or not field:
            raise ConfigurationError("field is the name of a field")
        self._sessions = sessions
        self._interrupt = interrupt
        self._scheduler = scheduler
        self._flows = flows
        self._positions = Positions(flows, field)
        try:
            self._start = flows.place(start) if SEPARATOR in start else flows.place(flow=start)
        except (UnknownStateError, TypeError) as error:
            raise ConfigurationError(f"start is a flow or a slug: {error}") from None
        self._rules = Rules(flows, self._positions, positive("max_steps", max_steps), self._need_scheduler, self._store)

    async def handle(self, update: object) -> None:
        """Let the handler of the session's current state answer, or that of `start`, if the session is new.

        Raises:
            NoSessionError: the update has no session.
            UnknownStateError: the session is in a state that there is no more. It is left as it is.
            StorageError: the session could not be loaded, or not saved; see `Sessions.open` for more.
        """
        async with self.open(update) as turn:
            if self._interrupt is not None and (await settled(self._interrupt(turn)) or turn.moves):
                return
            try:
                place = turn.current
            except NoTargetError:
                place = self._start
            await turn.step_to(place)

    @asynccontextmanager
    async def open(self, update: object) -> AsyncIterator[Turn[V]]:
        """Begin a turn, for the length of a block, without running a handler. Raises what `Sessions.open` raises.

        Wherever an update is asked for, a session key will do.
        """
        session = await self._sessions.strict(update)
        if session.key is None:
            raise NoSessionError(f"this {type(update).__name__} has no session: its key is None")
        async with self._sessions.lock.hold(session.key) as hold:
            session.take(hold)
            await session.load()
            key = session.key.removeprefix(self._sessions.prefix)
            turn = Turn(self._rules, session, key, None if isinstance(update, str) else update)
            try:
                yield turn
                await self._store(turn)
            finally:
                session.close()

    async def read(self, update: object) -> Places:
        """Return where a session is stored to be.

        Raises:
            NoSessionError: the update has no session.
            UnknownStateError: it is in a state that there is no more.
        """
        data = await self._sessions.read(update)
        return Places() if data is None else self._positions.all(data)

    async def cancel(self, job_id: str) -> bool:
        """Cancel a scheduled step, and tell whether it had not begun; in a turn, `turn.cancel` does it at its end."""
        return await self._need_scheduler().cancel(job_id)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Take scheduled steps when they are due, for the length of a block: `async with bot.running():`."""
        return self._need_scheduler().running(self.run_job)

    async def run_job(self, job: Job, is_wanted: IsWanted) -> None:
        """Take a scheduled step; a scheduler calls it.

        Raises:
            UnknownStateError: there is no such state any more.
            Exception: whatever the handler raises; then nothing was saved.
        """
        target = self._flows.place(job.target)
        expected = None if job.expects is None else self._flows.place(job.expects)
        async with self.open(job.session) as turn:
            if not await is_wanted():
                return
            if expected is None or self._positions.get(turn.data, "current") == expected:
                await turn.step_to(target)
            else:
                message = "session %s has left %s: its scheduled step to %s is dropped"
                logger.info(message, show(job.session), expected, target)

    def _need_scheduler(self) -> Scheduler:
        if self._scheduler is None:
            raise ConfigurationError("steps are scheduled by a scheduler: Conversations(…, scheduler=…)")
        return self._scheduler

    async def _store(self, turn: Turn[Any]) -> None:
        """Save a turn: first what it schedules, then the session, then what it cancels.

        Whatever happens in between, no step is lost of a session that was saved.
        """
        jobs, cancelled = turn.jobs(), turn.outbox.cancelled
        is_open = True
        try:
            for job in jobs:
                await self._need_scheduler().add(job)
            is_open = False
            await turn.session.commit()
        except BaseException as error:
            # Of a commit whose answer is lost nobody knows whether it was made.
            if is_open or (isinstance(error, SatchelError) and not isinstance(error, StorageUnavailableError)):
                await self._take_back(jobs)
            raise
        turn.outbox = Outbox()
        for job_id in cancelled:
            await self._need_scheduler().cancel(job_id)

    async def _take_back(self, jobs: Iterable[Job]) -> None:
        try:
            for job in jobs:
                await self._need_scheduler().cancel(job.id)
        except SatchelError as error:
            logger.warning("what a turn had scheduled before it failed could not be cancelled: %s", error)
