"""The event loop behind the blocking names, in a thread of its own; and what runs on it."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, cast

from satchel.errors import SatchelError

T = TypeVar("T")
A = TypeVar("A")
R = TypeVar("R")


class _Loop:
    """The event loop that the work is done on."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._running: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what the coroutine returns, or raise what it raises; an interrupted caller cancels it."""
        future = self.start(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # it was the wait that was interrupted, if anything
            raise

    def start(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin with a coroutine."""
        loop = self._started()
        if threading.current_thread().name == _THREAD:
            coroutine.close()
            raise SatchelError("satchel.blocking was called by what it is awaiting itself: use the asynchronous names")
        return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def forget(self) -> None:
        """In a forked process: there is no thread any more."""
        self._starting = threading.Lock()
        self._running = None

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._running is None:
                self._running = asyncio.new_event_loop()
                threading.Thread(target=self._running.run_forever, name=_THREAD, daemon=True).start()
            return self._running


_THREAD: Final = "satchel-blocking"
_LOOP: Final = _Loop()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LOOP.forget)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns: for what is made of the `wrapped` storages, on the event loop that is theirs."""
    return _LOOP.run(coroutine)


def each(things: AsyncIterator[T]) -> Iterator[T]:
    """Iterate over what comes asynchronously."""
    end = object()

    async def following() -> T | object:
        return await anext(things, end)

    try:
        while (thing := run(following())) is not end:
            yield cast("T", thing)
    finally:
        if (close := getattr(things, "aclose", None)) is not None:
            run(close())


def run_asking(work: Callable[[Callable[[A], Awaitable[R]]], Coroutine[Any, Any, T]], answer: Callable[[A], R]) -> T:
    """Return what a coroutine returns that asks for an `answer` now and then, which is given in the caller's thread.

    So an answer may block. If it raises, the coroutine is cancelled, and that is raised once it has ended.
    """
    asked: SimpleQueue[tuple[A, Future[R]] | None] = SimpleQueue()

    async def ask(question: A) -> R:
        answered: Future[R] = Future()
        asked.put((question, answered))
        return await asyncio.wrap_future(answered)

    async def whole() -> T:
        try:
            return await work(ask)
        finally:
            asked.put(None)

    future = _LOOP.start(whole())
    begun = False
    try:
        while (request := asked.get()) is not None:
            begun = True
            question, answered = request
            answered.set_result(answer(question))
        return future.result()
    except BaseException:
        if future.cancel() and begun:
            while asked.get() is not None:
                pass
        raise


class Block(Generic[T]):
    """An asynchronous context manager as a blocking one: its whole block is one task, as its locks expect."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, AbstractAsyncContextManager[T]]]) -> None:
        self._make = make

    def __enter__(self) -> T:
        return _LOOP.run(self._enter())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _LOOP.run(self._exit(error))

    async def _enter(self) -> T:
        loop = asyncio.get_running_loop()
        self._entered: asyncio.Future[T] = loop.create_future()
        self._left: asyncio.Future[BaseException | None] = loop.create_future()
        self._task = loop.create_task(self._whole())
        either: list[asyncio.Future[Any]] = [self._task, self._entered]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the thread was interrupted
            self._task.cancel()
            raise
        if not self._entered.done():
            await self._task  # raises
        return self._entered.result()

    async def _whole(self) -> None:
        async with await self._make() as value:
            self._entered.set_result(value)
            error = await self._left
            if error is not None:
                raise _LeftError(error)

    async def _exit(self, error: BaseException | None) -> None:
        self._left.set_result(error)
        with suppress(_LeftError):  # the block itself raises what it raised
            await self._task


class _LeftError(Exception):
    """The block raised, so nothing is to be saved."""
