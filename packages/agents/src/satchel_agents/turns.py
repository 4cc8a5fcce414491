"""Turns of one conversation, one after the other."""

from collections.abc import Awaitable, Callable
from typing import Any

from microsoft_agents.hosting.core import Middleware, TurnContext

from satchel import KeyedLock, Lock, session_key


class SequentialTurns(Middleware):
    """Lets one turn of a conversation run at a time, so that none finds a state that another is about to change.

        adapter.use(SequentialTurns(LeaseLock(storage)))  # of all processes; without a lock, of this one

    Args:
        lock: a `satchel.KeyedLock`, which is the default, or a `satchel.LeaseLock`.
    """

    def __init__(self, lock: Lock | None = None) -> None:
        self._lock = lock or KeyedLock()

    async def on_turn(self, context: TurnContext, logic: Callable[[TurnContext], Awaitable[Any]]) -> None:
        """Run the turn when those before it have ended.

        Raises:
            LockTimeoutError: they took longer than the lock waits.
        """
        activity = context.activity
        key = session_key("turn", str(activity.channel_id or "-"), getattr(activity.conversation, "id", None) or "-")
        async with self._lock.hold(key):
            await logic(context)
