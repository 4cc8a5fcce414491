"""Functions of users' may be sync or async."""

import inspect
from typing import Any


async def settled(value: Any) -> Any:
    """Return `value`, awaited if it is an awaitable."""
    return await value if inspect.isawaitable(value) else value
