"""The block of one session: locked and loaded when it begins, saved when it ends, and closed either way."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from satchel.locks import Hold, Lock
from satchel.session import Session
from satchel.storage import V


class Block(AbstractAsyncContextManager[Session[V]]):
    """Opens one session, once. It is a class, as generators and an exit stack would take several times as long.

    Args:
        session: it, or what makes it when the block begins.
        lock: what is held as long as the block lasts.
    """

    def __init__(self, session: Session[V] | Callable[[], Awaitable[Session[V]]], lock: Lock) -> None:
        self._given = session
        self._lock = lock
        self._holding: AbstractAsyncContextManager[Hold] | None = None

    async def __aenter__(self) -> Session[V]:
        """Lock and load the session."""
        given = self._given
        self._session = session = given if isinstance(given, Session) else await given()
        if session.key is not None:
            holding = self._lock.hold(session.key)
            session.take(await holding.__aenter__())
            self._holding = holding
            try:
                await session.load()
            except BaseException as error:
                await self._leave(error)
                raise
        return session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Save the session, unless the block has raised, and let others in."""
        if error is None:
            try:
                await self._session.commit()
            except BaseException as failed:
                await self._leave(failed)
                raise
        return await self._leave(error)

    async def _leave(self, error: BaseException | None) -> bool | None:
        self._session.close()
        if self._holding is None:
            return None
        if error is None:
            return await self._holding.__aexit__(None, None, None)
        return await self._holding.__aexit__(type(error), error, error.__traceback__)
