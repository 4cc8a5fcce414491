"""Conversations for blocking callers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import Any, Generic

import satchel.flow
from satchel.blocking.handlers import Answer, Callers, Question
from satchel.blocking.loop import Block, run
from satchel.blocking.schedulers import StorageScheduler
from satchel.blocking.sessions import Sessions
from satchel.blocking.turns import Turn
from satchel.errors import ConfigurationError
from satchel.flow import FlowMap, Job, Places, Scheduler
from satchel.flow.scheduling import IsWanted
from satchel.storage import V

Interrupt = Callable[[Turn[Any]], object]
"""Sees a message before the current state's handler; with a step, or a true result, it takes the message over."""


class Conversations(Generic[V]):
    """Sessions that are in a state of a flow map, for blocking callers: threads take turns at a conversation.

        shop = FlowMap(Flow("checkout", State("ask_address", ask_address), State("get_address", get_address)))
        scheduler = StorageScheduler(storage)
        bot = Conversations(shop, Sessions(storage, initial=dict), start="checkout", scheduler=scheduler)

        with bot.running():                # takes scheduled steps, in threads of its own
            bot.handle(update)             # from any thread

    Handlers and the interrupt run in the thread that called `handle`, or `turn.step_to`, and may block. Those of a
    scheduled step have no such thread: each step gets one, and as many run at a time as the scheduler allows.

    **What there is not**: a thread cannot be stopped. A handler of a scheduled step that goes on for longer than the
    scheduler's `grace` after the end of `running` is left to itself: its session is closed to it, nothing of its turn
    is saved, and the step is taken again by whoever runs next, as after the end of the process, which waits for none.

    Args:
        flows: the flow map; its handlers are plain functions.
        sessions: blocking sessions, with an `initial` that makes a dict, or an object of a class with the field.
        start: where a new session begins: a flow, or a slug.
        interrupt: sees every message before the current state's handler; a plain function, too.
        scheduler: a blocking `StorageScheduler`, or a scheduler of `satchel.flow`, to be used here only.
        options: the others of `satchel.flow.Conversations`.

    Attributes:
        wrapped: the asynchronous conversations; use them here only.

    Raises:
        ConfigurationError: an option is not right, a handler is a coroutine function, or there is no state to start in.
    """

    def __init__(
        self,
        flows: FlowMap,
        sessions: Sessions[V],
        *,
        start: str,
        interrupt: Interrupt | None = None,
        scheduler: StorageScheduler | Scheduler | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(flows, FlowMap):
            raise ConfigurationError(f"flows is a FlowMap, not {type(flows).__name__}")
        if not isinstance(sessions, Sessions):
            kind = type(sessions).__name__
            raise ConfigurationError(f"blocking Conversations take Sessions of satchel.blocking, not {kind}")
        self._sessions = sessions
        self._callers = Callers(self._answer)
        self.wrapped: satchel.flow.Conversations[V] = satchel.flow.Conversations(
            self._callers.all_asking(flows),
            sessions.wrapped,
            start=start,
            interrupt=self._callers.asking(interrupt) if callable(interrupt) else interrupt,
            scheduler=scheduler.wrapped if isinstance(scheduler, StorageScheduler) else scheduler,
            **options,
        )

    def handle(self, update: object) -> None:
        """Let the handler of the session's current state answer, in this thread; see `satchel.flow.Conversations`.

        Raises:
            NoSessionError: the update has no session.
            SessionAlreadyOpenError: this thread is in a turn of this session already.
            UnknownStateError: the session is in a state that there is no more. It is left as it is.
            StorageError: the session could not be loaded, or not saved.
        """
        thread = threading.get_ident()

        async def work() -> None:
            await self._need_free(update, thread)
            await self.wrapped.handle(update)

        self._callers.run(work, self._answer)

    @contextmanager
    def open(self, update: object) -> Iterator[Turn[V]]:
        """Begin a turn, for the length of a block, without running a handler. Raises what `Sessions.open` raises."""
        thread = threading.get_ident()

        async def made() -> AbstractAsyncContextManager[satchel.flow.Turn[V]]:
            await self._need_free(update, thread)
            return self.wrapped.open(update)

        with Block(made) as turn, self._sessions.held(turn.session.key):
            yield Turn(turn, self._callers)

    def read(self, update: object) -> Places:
        """Return where a session is stored to be.

        Raises:
            NoSessionError: the update has no session.
            UnknownStateError: it is in a state that there is no more.
        """
        return run(self.wrapped.read(update))

    def cancel(self, job_id: str) -> bool:
        """Cancel a scheduled step, and tell whether it had not begun; in a turn, `turn.cancel` does it at its end."""
        return run(self.wrapped.cancel(job_id))

    def running(self) -> AbstractContextManager[None]:
        """Take scheduled steps when they are due, for the length of a block: `with bot.running():`.

        Raises:
            ConfigurationError: there is no scheduler.
        """
        running = self.wrapped.running()

        async def made() -> AbstractAsyncContextManager[None]:
            return running

        return Block(made)

    async def run_job(self, job: Job, is_wanted: IsWanted) -> None:
        """Take a scheduled step; a scheduler calls it, on the event loop: `scheduler.run_due(bot.run_job)`."""
        await self.wrapped.run_job(job, is_wanted)

    async def _need_free(self, update: object, thread: int) -> None:
        self._sessions.need_free((await self._sessions.wrapped.strict(update)).key, thread)

    def _answer(self, question: Question) -> Answer:
        """Run the first handler of a turn; those that it steps to are in the session that this one holds."""
        with self._sessions.held(question.turn.session.key):
            return question.answered(Turn(question.turn, self._callers))
