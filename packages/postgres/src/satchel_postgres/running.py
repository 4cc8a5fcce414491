"""Running statements so that one who gives up waiting harms neither a connection nor the next call."""

import asyncio
import random
import sys
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import psycopg
from psycopg import AsyncCursor, errors, pq
from psycopg.rows import tuple_row

from satchel_postgres.connections import Connection, Lent, Made, cut

T = TypeVar("T")

_PATIENCE: Final = 0.5  # seconds that a statement nobody waits for has to end, and again to be cancelled
_ATTEMPTS: Final = 10  # at a statement that the server rolls back


class Runner:
    """Sends statements, one at a time on a connection of its own.

    A statement that was sent goes on in a task when its caller is cancelled: psycopg itself would ask the server to
    cancel it, over another connection, and then wait for the end without a limit.

    Args:
        connections: where connections come from.
    """

    def __init__(self, connections: Made | Lent) -> None:
        self._connections = connections
        self._tasks: dict[asyncio.Task[Any], Connection | None] = {}

    async def run(self, statement: bytes, parameters: dict[str, Any]) -> AsyncCursor[Any]:
        """Send a statement, and again if the server rolled it back for the sake of another transaction."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return await self._run_once(statement, parameters)
            except (errors.SerializationFailure, errors.DeadlockDetected):
                await asyncio.sleep(random.uniform(0, 0.005 * attempt))
        return await self._run_once(statement, parameters)

    def start(self, work: Coroutine[Any, Any, T], connection: Connection | None = None) -> asyncio.Task[T]:
        """Start what goes on when its caller is cancelled; it ends, one way or other, when this is closed."""
        task = _task(work)
        self._tasks[task] = connection
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Give what is under way a moment, cut it off, and close the connections that are ours."""
        try:
            for task, connection in self._tasks.items():
                if connection is None:
                    task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_PATIENCE)
            for connection in self._tasks.values():
                if connection is not None:
                    cut(connection)
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            await self._connections.close()

    async def _run_once(self, statement: bytes, parameters: dict[str, Any]) -> AsyncCursor[Any]:
        connection = await self._connections.take()
        answer: asyncio.Future[AsyncCursor[Any]] = asyncio.get_running_loop().create_future()
        work = self.start(self._carry_out(connection, statement, parameters, answer), connection)
        work.add_done_callback(partial(_pass_on, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            if not work.done():
                self.start(_see_to_end(work, connection))
            raise

    async def _carry_out(
        self, connection: Connection, statement: bytes, parameters: dict[str, Any], answer: asyncio.Future[Any]
    ) -> None:
        cursor = AsyncCursor(connection, row_factory=tuple_row)
        cursor.format = pq.Format.BINARY if parameters else pq.Format.TEXT  # only without are several statements sent
        try:
            await cursor.execute(statement, parameters or None)
        except errors.ReadOnlySqlTransaction:
            cut(connection)  # a primary may have become a standby, and a new connection find the new primary
            raise
        finally:
            await self._connections.give_back(connection)
        if not answer.done():
            answer.set_result(cursor)  # at once: that the task is done is known two turns of the loop later

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled():
            task.exception()  # else asyncio complains that nobody asked


def _task(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task, at once where Python can: the statement is on its way a turn of the loop earlier."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
    return asyncio.create_task(work)


def _pass_on(answer: asyncio.Future[Any], work: asyncio.Task[None]) -> None:
    """Tell who waits for an answer, if anybody still does, why there is none."""
    if answer.done():
        return
    if work.cancelled():
        answer.cancel()
    elif (error := work.exception()) is not None:
        answer.set_exception(error)


async def _see_to_end(work: asyncio.Task[Any], connection: Connection) -> None:
    """Give a statement that nobody waits for a moment; then have the server cancel it; then cut it off.

    One that waits for a lock must not stay: it would be carried out whenever it gets it.
    """
    try:
        _, late = await asyncio.wait([work], timeout=_PATIENCE)
        if late and psycopg.capabilities.has_cancel_safe():
            with suppress(psycopg.Error):
                await connection.cancel_safe(timeout=_PATIENCE)
            await asyncio.wait([work], timeout=_PATIENCE)
    finally:
        if not work.done():
            cut(connection)


def rows(cursor: AsyncCursor[Any]) -> list[list[Any]]:
    """Return what the server sent, byte by byte: what a client's loaders would make of it does not matter."""
    result = cursor.pgresult
    if result is None:
        return []
    return [[result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)]


def value(cursor: AsyncCursor[Any]) -> bytes | None:
    """Return the one value that the server sent, if it sent one."""
    result = cursor.pgresult
    return result.get_value(0, 0) if result is not None and result.ntuples else None
