"""A storage that cannot be written to: for reports, for a second look at a live bot's data, for trying things out."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from satchel.errors import ReadOnlyError
from satchel.storage import V
from satchel.wrappers.base import Wrapper

T = TypeVar("T")

_READS: Final = frozenset({"read", "read_versioned", "read_many", "read_records", "setup"})


class ReadOnly(Wrapper[V]):
    """Passes on reads, and raises `ReadOnlyError` for writes, deletes, `touch` and `purge_expired`, before any I/O.

        storage = ReadOnly(open_storage("postgresql://db/bot", create=False))

    It has the protocols and capabilities of the storage inside, since what it reads is what that has. Setting up goes
    through, too: with `create=False` the storage inside creates nothing.

    Args:
        storage: the storage inside.
    """

    async def _pass(self, operation: str, call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        if operation not in _READS:
            raise ReadOnlyError(f"{self.inner!r} is read-only here: {operation} is not done")
        return await super()._pass(operation, call, *arguments)
