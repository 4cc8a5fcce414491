"""Handlers of flows for blocking callers: each runs in the thread that waits for it, or in one of its own."""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import satchel.flow
from satchel.blocking.loop import run_asking
from satchel.errors import ConfigurationError, FlowError

if TYPE_CHECKING:
    from satchel.blocking.turns import Turn

T = TypeVar("T")

Handler = Callable[["Turn[Any]"], object]
"""Answers a message, or a step, in one state. It may block; it is no coroutine function."""


class State(satchel.flow.State):
    """One state of a flow, whose handler takes a blocking `Turn`; see `satchel.flow.State`."""

    __slots__ = ()

    def __init__(
        self,
        name: str,
        handler: Handler | None = None,
        *,
        redirects_to: str | None = None,
        fails_to: str | None = None,
    ) -> None:
        super().__init__(name, cast("Any", handler), redirects_to=redirects_to, fails_to=fails_to)


class Question(NamedTuple):
    """A handler that is to run.

    Attributes:
        handler: the handler.
        turn: what it is to be given, as the asynchronous engine has it.
    """

    handler: Handler
    turn: "satchel.flow.Turn[Any]"

    def answered(self, turn: "Turn[Any]") -> "Answer":
        """Run the handler, in this thread."""
        try:
            value = self.handler(turn)
        except Exception as error:  # noqa: BLE001 - it is raised where the handler was asked for
            return Answer(error=error)
        if not inspect.isawaitable(value):
            return Answer(value)
        if inspect.iscoroutine(value):
            value.close()
        return Answer(error=FlowError("a handler of satchel.blocking has returned an awaitable, which nobody awaits"))


class Answer(NamedTuple):
    """What a handler returned, or raised: the engine is to see that, as it may know where to go then."""

    value: object = None
    error: Exception | None = None


class Callers:
    """Who waits for which task of the engine, and so runs its handlers.

    Args:
        alone: answers in a thread that nobody waits in: for scheduled steps.
    """

    def __init__(self, alone: Callable[[Question], Answer]) -> None:
        self._alone = alone
        # By task, and not in a context variable: what a task starts, such as a timer of a scheduler, inherits those.
        self._asking: dict[asyncio.Task[Any] | None, Callable[[Question], Awaitable[Answer]]] = {}

    def run(self, work: Callable[[], Coroutine[Any, Any, T]], answer: Callable[[Question], Answer]) -> T:
        """Return what a coroutine returns; the handlers that it calls are answered for in this thread."""

        async def whole(ask: Callable[[Question], Awaitable[Answer]]) -> T:
            task = asyncio.current_task()
            self._asking[task] = ask
            try:
                return await work()
            finally:
                del self._asking[task]

        return run_asking(whole, answer)

    def asking(self, handler: Handler) -> Callable[[Any], Awaitable[Any]]:
        """Return a handler for the engine, which has this one run by who waits.

        Raises:
            ConfigurationError: it is a coroutine function.
        """
        if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None)):  # noqa: B004 - an object may have an async one
            name = getattr(handler, "__qualname__", type(handler).__name__)
            raise ConfigurationError(f"handlers of satchel.blocking are no coroutine functions, as {name} is")

        async def asked(turn: "satchel.flow.Turn[Any]") -> object:
            question = Question(handler, turn)
            ask = self._asking.get(asyncio.current_task())
            value, error = await (_in_thread(self._alone, question) if ask is None else ask(question))
            if error is not None:
                raise error
            return value

        return asked

    def all_asking(self, flows: "satchel.flow.FlowMap") -> "satchel.flow.FlowMap":
        """Return a flow map for the engine."""
        return satchel.flow.FlowMap(
            *(satchel.flow.Flow(flow.name, *map(self._state, flow.states.values())) for flow in flows)
        )

    def _state(self, state: "satchel.flow.State") -> "satchel.flow.State":
        if state.handler is None:
            return state
        return satchel.flow.State(state.name, self.asking(cast("Handler", state.handler)), fails_to=state.fails_to)


async def _in_thread(alone: Callable[[Question], Answer], question: Question) -> Answer:
    """Return an answer from a new thread, which no other work waits for.

    `asyncio.to_thread` has a few threads, which event loops also look up names in: handlers that wait for a storage
    could keep it from ever connecting. The scheduler says how many steps are taken at a time.
    """
    done: Future[Answer] = Future()
    done.set_running_or_notify_cancel()  # an answer that is not awaited any more is no error

    def whole() -> None:
        try:
            done.set_result(alone(question))
        except BaseException as error:  # noqa: BLE001 - SystemExit is to end neither the event loop nor its waiting
            failed = RuntimeError(f"a handler of a scheduled step raised {type(error).__name__}")
            failed.__cause__ = error
            done.set_result(Answer(error=failed))

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(whole,), name="satchel-blocking-step", daemon=True).start()
    return await asyncio.wrap_future(done)
