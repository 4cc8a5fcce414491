"""The storage of an assistant, as Stentor has it: what lasts for a session, what lasts, and what is kept for you."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar, overload

from satchel.adapter import milliseconds
from satchel.keys import per_user
from satchel.locks import Lock
from satchel.session import Session
from satchel.sessions import KeyFunction, Sessions
from satchel.settling import settled
from satchel.storage import StorageAdapter
from satchel.turns import Request, SessionStore, Turn, User, begin, never_seen

__all__ = ["Assistant", "SessionStore", "Turn", "User"]

R = TypeVar("R")


class Assistant:
    """What an assistant knows of its users: one record each, read before a turn, and written before its response goes.

        assistant = Assistant(storage)

        def handle(turn):
            turn.storage["score"] = turn.storage.get("score", 0) + 1
            return f"Score: {turn.storage['score']}"

        response = await assistant.respond(update, handle, session_id=update["session"])
        await send(response)                              # it is saved, or this line is not reached

    Args:
        storage: any storage.
        key: finds an update's session key, one per user, at once or awaited.
        prefix: is put before every key.
        idle_timeout: a user who was not seen for so long begins a new session, whatever its id.
        lock: as in `Sessions`.
        timeout: as in `Sessions`: how long a turn waits for the one before it, and tries again if others write, too.

    Raises:
        ConfigurationError: an option is not right.

    Attributes:
        users: the records, as `Sessions`: to read, delete or rename one.
    """

    def __init__(
        self,
        storage: StorageAdapter[Any],
        *,
        key: KeyFunction = per_user,
        prefix: str = "",
        idle_timeout: timedelta | None = None,
        lock: Lock | bool = True,
        timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        self._idle = None if idle_timeout is None else milliseconds("idle_timeout", idle_timeout)
        self.users: Sessions[User] = Sessions(
            storage, initial=never_seen, key=key, prefix=prefix, lock=lock, timeout=timeout
        )

    @overload
    async def respond(
        self,
        update: object,
        handle: Callable[[Turn], Awaitable[R]],
        *,
        session_id: str | None = ...,
        slots: Mapping[str, Any] | None = ...,
        is_unknown: bool = ...,
    ) -> R: ...
    @overload
    async def respond(
        self,
        update: object,
        handle: Callable[[Turn], R],
        *,
        session_id: str | None = ...,
        slots: Mapping[str, Any] | None = ...,
        is_unknown: bool = ...,
    ) -> R: ...

    async def respond(
        self,
        update: object,
        handle: Callable[[Turn], Any],
        *,
        session_id: str | None = None,
        slots: Mapping[str, Any] | None = None,
        is_unknown: bool = False,
    ) -> Any:
        """Return what `handle` answers to an update, a JSON value, once everything is saved.

        If another process was faster, `handle` is called again on what that one wrote: so it changes the turn and
        returns a response, at once or awaited, and what others can see is done with the response. If it raises, nothing
        is saved.

        Args:
            update: a user's update, or a session key.
            handle: takes the turn and returns the response.
            session_id: of the session that the update belongs to, on a platform that has sessions. One that differs
                from the last ends that session: what it stored is gone.
            slots: what was understood in this input, by name; they replace those of the session with the same names.
            is_unknown: the input was not understood.

        Raises:
            SessionError: an argument is not right.
            UnsupportedValueError: a slot, the response, or what the turn keeps is no JSON.
            NoSessionError: the update has no user.
            ConflictError: other processes were faster for the whole of `timeout`.
            StorageError: the record could not be read, or not saved.
        """
        request = Request.checked(session_id, slots, is_unknown)

        async def work(record: Session[User]) -> Any:
            response = await settled(handle(begin(record, request, self._idle)))
            record.data["previous_response"] = response
            return response

        return await self.users.update(update, work)
