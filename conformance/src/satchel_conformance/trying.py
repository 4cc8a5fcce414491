"""Hypothesis in an event loop: examples are chosen in a thread, and tried on the loop that the storage is open on."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Final, TypeVar, cast

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

T = TypeVar("T")

Run = Callable[[Coroutine[Any, Any, Any]], Any]
"""Awaits a coroutine on the storage's loop, from the thread."""

_PHASES: Final = (Phase.explicit, Phase.generate, Phase.shrink)  # nothing is kept between runs

_UNTRIED: Final = (  # how long and how large examples are is ours to choose
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
    HealthCheck.large_base_example,
    HealthCheck.differing_executors,
)


class _Stopped(BaseException):
    """Ends a search; Hypothesis takes what is no Exception for no example that fails."""


async def try_all(strategy: st.SearchStrategy[T], check: Callable[[T], Awaitable[None]], examples: int) -> None:
    """Await `check` for examples of `strategy`; what it raises for the simplest one that fails is raised."""

    def search(run: Run) -> None:
        @_settings(examples)
        @given(strategy)
        def tried(example: T) -> None:
            run(_coroutine(check, example))

        tried()

    await _in_thread(search)


async def try_machine(make: Callable[[Run], RuleBasedStateMachine], examples: int, steps: int) -> None:
    """Run a state machine, whose rules await on the storage's loop; raise what the shortest failing run raises."""

    def search(run: Run) -> None:
        settings = _settings(examples, stateful_step_count=steps)
        # It calls its first argument to make a machine; a class is not what it needs.
        run_state_machine_as_test(cast("type[RuleBasedStateMachine]", lambda: make(run)), settings=settings)

    await _in_thread(search)


async def _in_thread(search: Callable[[Run], None]) -> None:
    """Run a search in a thread; if this is cancelled, the search ends at its next call, and no thread is left."""
    loop = asyncio.get_running_loop()
    calls: set[Future[Any]] = set()
    stopped = False

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        call = asyncio.run_coroutine_threadsafe(coroutine, loop)
        calls.add(call)
        if stopped:
            call.cancel()
        try:
            return call.result()
        except CancelledError:
            if stopped:
                raise _Stopped from None
            raise
        finally:
            calls.discard(call)

    thread = asyncio.ensure_future(asyncio.to_thread(search, run))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        stopped = True
        for call in tuple(calls):
            call.cancel()
        await asyncio.wait([thread])
        raise


async def _coroutine(check: Callable[[T], Awaitable[None]], example: T) -> None:
    await check(example)


def _settings(examples: int, **more: Any) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,  # a server's time is not ours to judge here
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=Verbosity.quiet,  # what failed is in the result
        phases=_PHASES,
        suppress_health_check=_UNTRIED,
        **more,
    )
