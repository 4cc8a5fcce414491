"""One turn of a conversation: a message, the session that it belongs to, and the steps that its handlers take."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple

from satchel.errors import EmptySessionError, NoTargetError, StepLoopError
from satchel.flow.maps import FlowMap, Place, Target
from satchel.flow.outbox import Draft, Outbox
from satchel.flow.positions import Places, Positions
from satchel.flow.scheduling import Job, after, new_id
from satchel.flow.undoing import Undo
from satchel.keys import show
from satchel.session import Session
from satchel.settling import settled
from satchel.storage import V

logger = logging.getLogger("satchel")


class Rules(NamedTuple):
    """What all turns of one `Conversations` share.

    Attributes:
        flows: the flow map.
        positions: where the places are kept.
        max_steps: how many handlers may run in one turn.
        need_scheduler: raises if there is none.
        store: saves a turn.
    """

    flows: FlowMap
    positions: Positions
    max_steps: int
    need_scheduler: Callable[[], object]
    store: Callable[["Turn[Any]"], Awaitable[None]]


class Turn(Generic[V]):
    """What a handler is given. `Conversations` makes it, and saves all that it did at its end, or nothing.

    Where a step goes is said by `session` (a `Place`: `turn.current + 1`, `turn.previous`), `slug`
    (`"checkout->get_address"`), `flow` (its first state, if no state is given) or `state` (of `flow`, or of the flow
    that the session is in). The first of these counts, and it is looked up before anything changes.

    Attributes:
        update: what came in; None in a scheduled step, or where a key was given in place of an update.
        key: the session key, as `Conversations.open` takes it.
        error: what a handler raised, in the handlers of the state that it fails to; else None.
        session: what `Conversations` loads and saves.
        moves: how often the session was sent to a state, or deleted.
        outbox: what is scheduled when the turn is saved.
    """

    def __init__(self, rules: Rules, session: Session[V], key: str, update: object) -> None:
        self.update: Any = update
        self.key = key
        self.error: Exception | None = None
        self.session = session
        self.moves = 0
        self.outbox = Outbox()
        self._rules = rules
        self._steps = 0
        self._undoing: list[Undo[V]] = []

    @property
    def data(self) -> V:
        """The session's data, to change in place or to assign to; None deletes the session. See `Session.data`.

        Data that is assigned, and says nothing of where the session is, leaves it there.
        """
        return self.session.data

    @data.setter
    def data(self, value: V | None) -> None:
        if value is None:
            self.delete()
            return
        try:
            before = self.session.data
        except EmptySessionError:
            before = None
        if before is not None:
            self._rules.positions.carry(before, value)
        self.session.data = value

    @property
    def is_new(self) -> bool:
        """Whether nothing was stored when the turn began."""
        return self.session.is_new

    @property
    def current(self) -> Place:
        """Where the session is.

        Raises:
            NoTargetError: it has not begun.
            UnknownStateError: there is no such state any more, and none that it redirects to.
        """
        current = self._rules.positions.get(self.data, "current")
        if current is None:
            raise NoTargetError(f"session {show(self.key)} is in no flow yet")
        return current

    @property
    def previous(self) -> Place | None:
        """Where the session was before it came to where it is, if it was anywhere else."""
        return self._rules.positions.get(self.data, "previous")

    @property
    def back_to(self) -> Place | None:
        """Where `step_back` goes, if that was set."""
        return self._rules.positions.get(self.data, "back_to")

    @property
    def places(self) -> Places:
        """All three at once, with None for what there is not."""
        return self._rules.positions.all(self.data)

    async def step_to(
        self,
        session: Place | None = None,
        *,
        slug: str | None = None,
        flow: str | None = None,
        state: str | None = None,
    ) -> None:
        """Go to a state, and run its handler.

        Raises:
            NoTargetError: no state is named.
            UnknownStateError: there is no such flow or state.
            StepLoopError: the turn has taken `max_steps` steps already.
        """
        await self._step(self._find(Target(session, slug, flow, state)))

    def update_session_to(
        self,
        session: Place | None = None,
        *,
        slug: str | None = None,
        flow: str | None = None,
        state: str | None = None,
    ) -> None:
        """Go to a state, whose handler is to have the next message. Raises what `step_to` raises, but for loops."""
        self._move(self._find(Target(session, slug, flow, state)))

    def set_back_to(
        self,
        session: Place | None = None,
        *,
        slug: str | None = None,
        flow: str | None = None,
        state: str | None = None,
    ) -> None:
        """Note where `step_back` is to go. Raises what `step_to` raises, but for loops."""
        self._rules.positions.set_back_to(self.data, self._find(Target(session, slug, flow, state)))

    async def step_back(self) -> None:
        """Go to the state that `set_back_to` has noted, and run its handler. It stays noted.

        Raises:
            NoTargetError: none was.
        """
        back_to = self.back_to
        if back_to is None:
            raise NoTargetError("step_back() goes where set_back_to() says, and that was not called")
        await self._step(back_to)

    def step_to_in(
        self,
        delay: timedelta,
        session: Place | None = None,
        *,
        slug: str | None = None,
        flow: str | None = None,
        state: str | None = None,
        if_still_here: bool = False,
    ) -> str:
        """Go to a state after a while, and run its handler; return the job's id, for `cancel`.

        The job is stored when the turn is saved, just before its session; a turn that raises schedules nothing.

        Args:
            delay: how long to wait, at least.
            session: this and the next three: see `Turn`. A `state` alone is of the flow that is current now.
            slug: a place as text.
            flow: a flow.
            state: a state.
            if_still_here: take the step only if the session is then in the state in which this turn ends.

        Raises:
            FlowError: the delay is none, or negative.
            NoTargetError: no state is named.
            UnknownStateError: there is no such flow or state.
            ConfigurationError: the conversations have no scheduler.
        """
        return self._schedule(after(delay), Target(session, slug, flow, state), if_still_here=if_still_here)

    def step_to_at(
        self,
        when: datetime,
        session: Place | None = None,
        *,
        slug: str | None = None,
        flow: str | None = None,
        state: str | None = None,
        if_still_here: bool = False,
    ) -> str:
        """Go to a state at a time, which has a time zone, and run its handler; see `step_to_in`. The past is now."""
        return self._schedule(when, Target(session, slug, flow, state), if_still_here=if_still_here)

    def cancel(self, job_id: str) -> None:
        """Cancel a scheduled step, as soon as this turn is saved. If its handler runs by then, it is too late."""
        self._rules.need_scheduler()
        self.outbox = self.outbox.cancelling(job_id)

    def delete(self) -> None:
        """Remove the session at the end of the turn, and with it where it is."""
        self.moves += 1
        self.session.delete()

    async def save(self) -> None:
        """Save now what has changed and was scheduled, and go on. It stays saved if the turn raises later."""
        await self._rules.store(self)
        for undo in self._undoing:
            undo.take(self.outbox)

    def jobs(self) -> list[Job]:
        """Return what is to be scheduled, if the turn ends now."""
        return self.outbox.jobs(lambda: self.current)

    def _find(self, target: Target) -> Place:
        # Where one is, is asked only if it matters: in a state that there is no more, one can be told where to go.
        here = self._rules.positions.get(self.data, "current") if target.is_of_this_flow else None
        return self._rules.flows.find(target, here)

    def _move(self, place: Place) -> None:
        self._rules.positions.move(self.data, place)
        self.moves += 1

    async def _step(self, place: Place) -> None:
        if self._steps >= self._rules.max_steps:
            raise StepLoopError(f"a turn takes {self._steps} steps at most, and this one is to go on to {place}")
        self._steps += 1
        self._move(place)
        flows = self._rules.flows
        fallback = flows.fallback(place)
        if fallback is None:
            await settled(flows.handler(place)(self))
        elif (failed := await self._try(place)) is not None:
            what, trace = type(failed).__name__, failed if logger.isEnabledFor(logging.DEBUG) else None
            logger.warning("state %s raised %s, and fails to %s", place, what, fallback, exc_info=trace)
            before, self.error = self.error, failed
            try:
                await self._step(fallback)
            finally:
                self.error = before

    async def _try(self, place: Place) -> Exception | None:
        """Run a handler; if it raises, undo what it did, and return the error."""
        undo = Undo(self.session, self.outbox)
        self._undoing.append(undo)
        try:
            await settled(self._rules.flows.handler(place)(self))
        except StepLoopError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the flow map says where to go then
            undo.undo()
            self.outbox = undo.outbox
            return error
        finally:
            self._undoing.remove(undo)
        return None

    def _schedule(self, when: datetime, target: Target, *, if_still_here: bool) -> str:
        self._rules.need_scheduler()
        job = Job(new_id(when), self.key, self._find(target).slug)
        self.outbox = self.outbox.adding(Draft(job, if_still_here))
        return job.id
