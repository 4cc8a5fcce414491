"""A storage as sessions use it: reads with versions, writes with expectations, whether it has versions or not."""

import inspect
import logging
from collections.abc import Callable
from typing import Any, Generic, Literal

from satchel.adapter import ANY, Expected
from satchel.codecs import JSON, Codec
from satchel.errors import ConfigurationError
from satchel.storage import Record, StorageAdapter, V, Versioned

logger = logging.getLogger("satchel")

OnConflict = Literal["merge", "raise", "overwrite"]


class Backing(Generic[V]):
    """What the sessions of one `Sessions` share.

    Attributes:
        storage: where they are.
        codec: how to tell whether data changed.
        initial: makes the data of a session that is not stored yet, or None.
    """

    def __init__(self, storage: StorageAdapter[V], codec: Codec[V] | None, initial: Callable[[], V] | None) -> None:
        if not isinstance(storage, StorageAdapter):
            raise ConfigurationError(f"{type(storage).__name__} is no storage: it has no read, write and delete")
        if initial is not None and not callable(initial):
            raise ConfigurationError(f"initial is a function that makes the first data, not {type(initial).__name__}")
        self.storage = storage
        self.codec: Codec[V] = getattr(storage, "codec", JSON) if codec is None else codec
        self.initial = initial
        self._versioned: Versioned[V] | None = storage if isinstance(storage, Versioned) else None
        if self._versioned is None:
            logger.warning("%r has no versions: of two processes that change one session, the last wins", storage)

    async def load(self, key: str) -> Record[V] | None:
        """Return the record of `key`; without versions, its version is empty."""
        if self._versioned is not None:
            return await self._versioned.read_versioned(key)
        value = await self.storage.read(key)
        return None if value is None else Record(value, "")

    async def write(self, key: str, value: V, expected: Expected) -> str:
        """Write over what is expected, if the storage can tell, and return the new version.

        Raises:
            ConflictError: it is not there.
        """
        if self._versioned is None or expected is ANY:
            await self.storage.write(key, value)
            return ""
        return await self._versioned.write_versioned(key, value, expected)

    async def delete(self, key: str, expected: Expected) -> None:
        """Delete what is expected, if the storage can tell.

        Raises:
            ConflictError: it is not there.
        """
        if self._versioned is None or expected is ANY:
            await self.storage.delete(key)
        elif expected is not None:
            await self._versioned.delete_versioned(key, expected)


async def settled(value: Any) -> Any:
    """Return `value`, awaited if it is an awaitable."""
    return await value if inspect.isawaitable(value) else value
