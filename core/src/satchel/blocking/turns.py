"""One turn of a conversation, for blocking callers."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic

from satchel.blocking.handlers import Callers, Question
from satchel.blocking.loop import run
from satchel.blocking.session import Session
from satchel.flow import Job, Place, Places
from satchel.storage import V

if TYPE_CHECKING:
    import satchel.flow


class Turn(Generic[V]):
    """What a handler is given; see `satchel.flow.Turn`. It is for the thread that it was given to."""

    def __init__(self, turn: "satchel.flow.Turn[V]", callers: Callers) -> None:
        self._turn = turn
        self._callers = callers

    @property
    def update(self) -> Any:
        """What came in; None in a scheduled step, or where a key was given in place of an update."""
        return self._turn.update

    @property
    def key(self) -> str:
        """The session key, as `Conversations.open` takes it."""
        return self._turn.key

    @property
    def error(self) -> Exception | None:
        """What a handler raised, in the handlers of the state that it fails to; else None."""
        return self._turn.error

    @property
    def session(self) -> Session[V]:
        """What `Conversations` loads and saves."""
        return Session(self._turn.session)

    @property
    def moves(self) -> int:
        """How often the session was sent to a state, or deleted."""
        return self._turn.moves

    @property
    def data(self) -> V:
        """The session's data, to change in place or to assign to; None deletes the session."""
        return self._turn.data

    @data.setter
    def data(self, value: V | None) -> None:
        self._turn.data = value

    @property
    def is_new(self) -> bool:
        """Whether nothing was stored when the turn began."""
        return self._turn.is_new

    @property
    def current(self) -> Place:
        """Where the session is; raises `NoTargetError` if it has not begun."""
        return self._turn.current

    @property
    def previous(self) -> Place | None:
        """Where the session was before it came to where it is, if it was anywhere else."""
        return self._turn.previous

    @property
    def back_to(self) -> Place | None:
        """Where `step_back` goes, if that was set."""
        return self._turn.back_to

    @property
    def places(self) -> Places:
        """All three at once, with None for what there is not."""
        return self._turn.places

    def step_to(
        self,
        session: Place | None = None,
        *,
        slug: str | None = None,
        flow: str | None = None,
        state: str | None = None,
    ) -> None:
        """Go to a state, and run its handler, in this thread. Raises what `satchel.flow.Turn.step_to` raises."""

        async def work() -> None:
            await self._turn.step_to(session, slug=slug, flow=flow, state=state)

        self._callers.run(work, self._answer)

    def update_session_to(
        self,
        session: Place | None = None,
        *,
        slug: str | None = None,
        flow: str | None = None,
        state: str | None = None,
    ) -> None:
        """Go to a state, whose handler is to have the next message."""
        self._turn.update_session_to(session, slug=slug, flow=flow, state=state)

    def set_back_to(
        self,
        session: Place | None = None,
        *,
        slug: str | None = None,
        flow: str | None = None,
        state: str | None = None,
    ) -> None:
        """Note where `step_back` is to go."""
        self._turn.set_back_to(session, slug=slug, flow=flow, state=state)

    def step_back(self) -> None:
        """Go to the state that `set_back_to` has noted, and run its handler, in this thread.

        Raises:
            NoTargetError: none was.
        """
        self._callers.run(self._turn.step_back, self._answer)

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
        """Go to a state after a while, and run its handler; return the job's id. See `satchel.flow.Turn.step_to_in`.

        The handler runs in a thread of its own, in whichever process is in `Conversations.running` by then.
        """
        return self._turn.step_to_in(delay, session, slug=slug, flow=flow, state=state, if_still_here=if_still_here)

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
        return self._turn.step_to_at(when, session, slug=slug, flow=flow, state=state, if_still_here=if_still_here)

    def cancel(self, job_id: str) -> None:
        """Cancel a scheduled step, as soon as this turn is saved. If its handler runs by then, it is too late."""
        self._turn.cancel(job_id)

    def delete(self) -> None:
        """Remove the session at the end of the turn, and with it where it is."""
        self._turn.delete()

    def save(self) -> None:
        """Save now what has changed and was scheduled, and go on. It stays saved if the turn raises later."""
        run(self._turn.save())

    def jobs(self) -> list[Job]:
        """Return what is to be scheduled, if the turn ends now."""
        return self._turn.jobs()

    def _answer(self, question: Question) -> Any:
        return question.answered(self)
