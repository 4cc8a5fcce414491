"""Awaiting what may be sync or async, and several things at once."""

import asyncio
import inspect
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def settled(value: Any) -> Any:
    """Return `value`, awaited if it is an awaitable."""
    return await value if inspect.isawaitable(value) else value


async def together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all, and raise the first error only when nothing runs any more."""
    coroutines = list(calls)
    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.ensure_future(call) for call in coroutines]
    await asyncio.gather(*tasks, return_exceptions=True)
    return [task.result() for task in tasks]
