"""The assistant for blocking callers."""

import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import satchel.assistant
from satchel.blocking.loop import run_asking
from satchel.blocking.sessions import Around, Sessions, checked
from satchel.blocking.storage import Storage
from satchel.turns import Turn, User

R = TypeVar("R")


class Assistant:
    """What an assistant knows of its users, for blocking callers: threads take turns at a user.

    Args:
        storage: a blocking storage.
        options: those of `satchel.assistant.Assistant`; a `key` function may be async, too.

    Attributes:
        wrapped: the asynchronous assistant; use it here only.
        users: the records, as `Sessions`: to read, delete or rename one.
    """

    def __init__(self, storage: Storage[Any], **options: Any) -> None:
        self.wrapped = satchel.assistant.Assistant(checked(storage, "an Assistant").wrapped, **options)
        self.users: Sessions[User] = Around(self.wrapped.users)

    def respond(
        self,
        update: object,
        handle: Callable[[Turn], R],
        *,
        session_id: str | None = None,
        slots: Mapping[str, Any] | None = None,
        is_unknown: bool = False,
    ) -> R:
        """Return what `handle` answers to an update, once everything is saved; see `satchel.assistant.Assistant`.

        `handle` runs in this thread, so it may block. It may be called again, if another process was faster.

        Raises:
            SessionAlreadyOpenError: this thread is in a turn of the user's already.
        """
        thread = threading.get_ident()
        key: str | None = None

        async def work(ask: Callable[[Turn], Awaitable[R]]) -> R:
            nonlocal key
            key = (await self.users.wrapped.strict(update)).key
            self.users.need_free(key, thread)
            return await self.wrapped.respond(update, ask, session_id=session_id, slots=slots, is_unknown=is_unknown)

        def answer(turn: Turn) -> R:
            with self.users.held(key):
                return handle(turn)

        return run_asking(work, answer)
