"""A storage as sessions use it: entries with versions, in today's layout, whether the storage has versions or not."""

import logging
from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple, cast

from satchel.adapter import ANY, Expected
from satchel.capabilities import Capabilities
from satchel.codecs import JSON, Codec
from satchel.envelope import Envelope
from satchel.errors import ConfigurationError, ConflictError, UnsupportedValueError
from satchel.keys import show
from satchel.lifetimes import Lifetimes
from satchel.storage import Expiring, Record, StorageAdapter, V, Versioned

logger = logging.getLogger("satchel")

OnConflict = Literal["merge", "raise", "overwrite"]

_PROBE = {"$satchel": {"version": 1}, "data": {}}


class Entry(NamedTuple, Generic[V]):
    """A record as sessions see it.

    Attributes:
        value: the session's data; None if it has ended, and is replaced by what is written next.
        version: the record's.
        envelope: what is stored.
        is_due: it is to be written back even if nothing changes, as it was migrated, or its use is to be noted.
    """

    value: V | None
    version: str
    envelope: Envelope
    is_due: bool


class Backing(Generic[V]):
    """What the sessions of one `Sessions` share.

    Attributes:
        storage: where they are.
        codec: how data becomes JSON; equal data always becomes the same bytes.
        initial: makes the data of a session that is not stored yet, or None.
    """

    def __init__(
        self,
        storage: StorageAdapter[Any],
        codec: Codec[V] | None,
        initial: Callable[[], V] | None,
        lifetimes: Lifetimes,
        *,
        backfill: bool = False,
        write_back: bool = False,
        sliding: bool = False,
    ) -> None:
        if not isinstance(storage, StorageAdapter):
            raise ConfigurationError(f"{type(storage).__name__} is no storage: it has no read, write and delete")
        if initial is not None and not callable(initial):
            raise ConfigurationError(f"initial is a function that makes the first data, not {type(initial).__name__}")
        if backfill and initial is None:
            raise ConfigurationError("backfill adds what is new in initial, and there is no initial")
        self.storage = storage
        self.initial = initial
        self._lifetimes = lifetimes
        self._backfill = backfill
        self._write_back = write_back
        self._stored: Codec[Any] = getattr(storage, "codec", JSON)
        self._holds_json = _takes_json(self._stored)
        if not self._holds_json and (codec is not None or lifetimes.keeps):
            raise ConfigurationError(f"{storage!r} has a codec of its own: give it to Sessions instead, as codec=")
        self._convert = self._holds_json and codec is not None and codec is not JSON
        self.codec: Codec[V] = codec or (JSON if self._holds_json else self._stored.plain)
        if codec is not None and codec.plain is not codec:
            raise ConfigurationError("what compresses or encrypts is the storage's codec; that of sessions is plain")
        self._is_versioned = isinstance(storage, Versioned)
        if not self._is_versioned:
            logger.warning("%r has no versions: of two processes that change one session, the last wins", storage)
        if sliding and not (isinstance(storage, Expiring) and getattr(storage, "ttl", True)):
            raise ConfigurationError(f"sliding starts lifetimes anew, and {storage!r} has none: give it a ttl")
        self._expiring: Expiring | None = storage if sliding and isinstance(storage, Expiring) else None

    @property
    def _versioned(self) -> Versioned[Any] | None:
        """The storage, if it has versions: some find out that they have none only when they are opened."""
        storage: Any = self.storage
        return storage if self._is_versioned and storage.read_versioned is not None else None

    @property
    def version(self) -> int | None:
        """The version of today's layout."""
        return self._lifetimes.version

    async def load(self, key: str) -> Entry[V] | None:
        """Return the entry of `key`; without versions, its version is empty.

        Raises:
            SessionVersionError: its data is of a version that this program does not know yet.
        """
        return await self.entry(key, await self.load_raw(key))

    async def entry(self, key: str, record: Record[Any] | None) -> Entry[V] | None:
        """Return the entry of a record, as `load` does."""
        if record is None:
            return None
        if not self._holds_json:
            return Entry(record.value, record.version, Envelope(None), is_due=False)
        found = Envelope.opened(record.value)
        if self._lifetimes.has_ended(found):
            return Entry(None, record.version, Envelope(None, found.version), is_due=False)
        tree = await self._lifetimes.migrated(key, found)
        is_old = self._lifetimes.version is not None and found.version != self._lifetimes.version
        is_due = (is_old and self._write_back) or self._lifetimes.is_to_be_marked(found)
        return Entry(self._filled(tree), record.version, found, is_due)

    def sealed(self, value: V, before: Envelope | None) -> tuple[Any, Envelope]:
        """Return what to store for data in place of what was there before, and the envelope that it is in."""
        if not self._holds_json:
            return value, Envelope(None)
        tree = JSON.decode(self.codec.encode(value)) if self._convert else value
        envelope = self._lifetimes.kept(tree, before)
        return envelope.closed(), envelope

    async def touch(self, key: str) -> None:
        """Start the record's lifetime anew, if that is wanted."""
        if self._expiring is not None:
            await self._expiring.touch(key)

    async def load_raw(self, key: str) -> Record[Any] | None:
        """Return the record of `key` as it is stored."""
        if (versioned := self._versioned) is not None:
            return await versioned.read_versioned(key)
        value = await self.storage.read(key)
        return None if value is None else Record(value, "")

    async def write_raw(self, key: str, value: Any, expected: Expected) -> str:
        """Write a record as it is, or delete it for None, if the storage finds what is expected; return its version.

        Raises:
            ConflictError: the storage can tell, and does not find it.
        """
        versioned = self._versioned
        if value is None:
            if versioned is None or expected is ANY:
                await self.storage.delete(key)
            elif expected is not None:
                await self._delete_at(versioned, key, expected)
            return ""
        if versioned is None or expected is ANY:
            await self.storage.write(key, value)
            return ""
        return await versioned.write_versioned(key, value, expected)

    async def _delete_at(self, storage: Versioned[Any], key: str, expected: str) -> None:
        capabilities = getattr(storage, "capabilities", None)
        if not isinstance(capabilities, Capabilities) or capabilities.conditional_delete:
            await storage.delete_versioned(key, expected)
            return
        # It heeds the conditions of writes only, as some that speak S3 do, and has said so when it was opened.
        record = await storage.read_versioned(key)
        if record is None or record.version != expected:
            raise ConflictError(f"{show(key)} is not at the expected version in {storage!r}")
        await self.storage.delete(key)

    def encode_raw(self, value: Any) -> bytes:
        """Return bytes that are equal for equal records."""
        return self._stored.plain.encode(value)

    def _filled(self, tree: Any) -> V:
        """Return the data of a tree, with the top-level fields of `initial` that it lacks."""
        if self._backfill and self.initial is not None:
            first = self.initial()
            if self._convert:
                first = JSON.decode(self.codec.encode(first))
            if isinstance(first, dict) and isinstance(tree, dict) and not first.keys() <= tree.keys():
                tree |= {name: field for name, field in first.items() if name not in tree}
        return self.codec.decode(JSON.encode(tree)) if self._convert else cast("V", tree)


def _takes_json(codec: Codec[Any]) -> bool:
    """Tell whether a storage with this codec holds any JSON value, and not one type's only."""
    try:
        plain = codec.plain
        return bool(plain.decode(plain.encode(_PROBE)) == _PROBE)
    except (UnsupportedValueError, AttributeError):
        return False
