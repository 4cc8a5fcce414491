"""Deadlines: every call has its own, and all calls of an event loop have one timer."""

import asyncio
import time
from typing import Any

import pytest

from satchel.deadlines import Deadlines

SHORT = 0.05


async def for_ever() -> None:
    await asyncio.Event().wait()


async def soon(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def seconds_of_one_that_is_late(deadlines: Deadlines) -> float:
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        await deadlines.bound(for_ever)
    return time.monotonic() - start


async def test_what_ends_in_time_is_returned_or_raised() -> None:
    deadlines = Deadlines(60)

    async def fails() -> None:
        raise KeyError(1)

    assert await deadlines.bound(soon, 1) == 1
    with pytest.raises(KeyError):
        await deadlines.bound(fails)


async def test_what_takes_too_long_is_cancelled() -> None:
    ends: list[BaseException] = []

    async def is_cancelled() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError as error:
            ends.append(error)
            raise

    with pytest.raises(TimeoutError):
        await Deadlines(SHORT).bound(is_cancelled)
    assert len(ends) == 1
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_each_call_has_all_its_time_whenever_the_timer_was_set() -> None:
    deadlines = Deadlines(SHORT)
    started = []
    for _ in range(5):
        started.append(asyncio.create_task(seconds_of_one_that_is_late(deadlines)))
        await asyncio.sleep(SHORT / 3)
        assert await deadlines.bound(soon, 1) == 1
    for seconds in await asyncio.gather(*started):
        assert seconds > SHORT * 0.9


async def test_one_that_does_not_mind_being_cancelled_keeps_nobody_from_their_deadline() -> None:
    deadlines = Deadlines(SHORT)
    release = asyncio.Event()

    async def stubborn() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            await release.wait()

    task = asyncio.create_task(deadlines.bound(stubborn))
    await asyncio.sleep(0)
    await seconds_of_one_that_is_late(deadlines)
    await seconds_of_one_that_is_late(deadlines)
    release.set()
    await task


async def test_whoever_is_cancelled_is_told_so_and_not_that_it_took_too_long() -> None:
    task = asyncio.create_task(Deadlines(60).bound(for_ever))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_thousand_calls_set_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[Any] = []
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def noted(*arguments: Any, **more: Any) -> asyncio.TimerHandle:
        timers.append(arguments)
        return call_at(*arguments, **more)

    monkeypatch.setattr(loop, "call_at", noted)
    deadlines = Deadlines(60)
    assert await asyncio.gather(*(deadlines.bound(soon, number) for number in range(500))) == list(range(500))
    for number in range(500):
        await deadlines.bound(soon, number)
    assert len(timers) == 1


async def test_event_loops_of_several_threads_have_deadlines_of_their_own() -> None:
    deadlines = Deadlines(SHORT)

    async def several() -> None:
        for _ in range(3):
            await seconds_of_one_that_is_late(deadlines)

    await asyncio.gather(several(), *(asyncio.to_thread(asyncio.run, several()) for _ in range(3)))


def test_event_loops_of_one_thread_have_deadlines_of_their_own() -> None:
    deadlines = Deadlines(SHORT)
    for _ in range(3):
        asyncio.run(asyncio.wait_for(seconds_of_one_that_is_late(deadlines), 5))
