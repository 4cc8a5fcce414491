"""One session, for the length of a block: `Session` is loaded on entry, `LazySession` when it is asked for."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Coroutine, Generator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple

from satchel.adapter import ANY, Expected
from satchel.backing import Backing, Entry, OnConflict
from satchel.codecs import JSON
from satchel.errors import ConflictError, EmptySessionError, NoSessionError, SessionClosedError, SessionError
from satchel.keys import show
from satchel.locks import Hold, Lock
from satchel.merging import merge, refill
from satchel.storage import Record, StorageAdapter, V

if TYPE_CHECKING:
    from satchel.envelope import Envelope

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Pending(NamedTuple, Generic[V]):
    """What a session is about to write.

    Attributes:
        stored: the record; None to delete it.
        envelope: what it is stored in.
        expected: the version that it is written over.
        data: the session's data.
        encoded: the data, encoded.
    """

    stored: Any
    envelope: "Envelope | None"
    expected: Expected
    data: V | None
    encoded: bytes | None


class Session(Generic[V]):
    """One session. `Sessions.open` makes it, and saves it.

    Attributes:
        key: the session key; None if the update has no session, and then everything else raises `NoSessionError`.
    """

    def __init__(self, backing: Backing[V], key: str | None, on_conflict: OnConflict, seconds: float) -> None:
        self.key = key
        self._backing = backing
        self._on_conflict: OnConflict = on_conflict
        self._seconds = seconds
        self._hold: Hold | None = None
        self._closed = False
        self._data: V | None = None
        self._deleted = False
        self._is_new: bool | None = None
        self._version: Expected = ANY  # of the record as this session knows it: ANY is unknown, None is absent
        self._stored: bytes | None = None  # that record, encoded
        self._untouched: bytes | None = None  # what the data encodes to as long as nobody changed it
        self._envelope: Envelope | None = None  # what is stored beside the data
        self._used: int | None = None  # when the session was last used before it was loaded
        self._is_due = False  # the record is to be written back, even if nothing changes

    @property
    def data(self) -> V:
        """The session's data: change it in place, or assign to it. Assigning None deletes the session.

        Raises:
            NoSessionError: the update has no session.
            EmptySessionError: nothing is stored and there is no `initial`, or the session was just deleted.
            SessionClosedError: the block has ended.
        """
        self._check()
        if self._data is None:
            self._data = self._first()
            self._untouched = self._backing.codec.encode(self._data)
        return self._data

    @data.setter
    def data(self, value: V | None) -> None:
        self._assign(value)

    @property
    def is_new(self) -> bool:
        """Whether nothing was stored when the session was loaded."""
        self._check()
        if self._is_new is None:
            raise SessionError("a lazy session is read by awaiting it: data = await session")
        return self._is_new

    @property
    def last_activity(self) -> datetime | None:
        """When the session was last used before now, in UTC; None if it is new, or that was not noted.

        `Sessions` notes it if it has an `activity` or an `idle_timeout`, which say how exactly.
        """
        noted = None if self.is_new else self._used
        return None if noted is None else _EPOCH + timedelta(milliseconds=noted)

    def delete(self) -> None:
        """Remove the session at the end of the block; the same as `session.data = None`."""
        self._assign(None)

    @property
    def state(self) -> Mapping[str, Any]:
        """The data, which has to be a dict, to look at: `set_state` changes it."""
        return MappingProxyType(self._fields())

    def set_state(self, state: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        """Set top-level fields of the data, which has to be a dict; the others stay."""
        self._fields().update(state or {}, **fields)

    def reset_state(self) -> None:
        """Set the data back to `initial()`.

        Raises:
            EmptySessionError: there is no `initial`.
        """
        self._check()
        was_deleted, self._deleted = self._deleted, False
        try:
            first = self._first()
        except BaseException:
            self._deleted = was_deleted
            raise
        self._assign(first)

    async def save(self) -> None:
        """Save now what has changed, and go on. What is saved stays saved if the block raises later.

        Where that was merged with what somebody else has saved, `data` has it all: a dict is still the same dict; for
        data of another type ask for `session.data` again.
        """
        self._check()
        await self.commit()

    # What `Sessions` calls.

    @property
    def storage(self) -> StorageAdapter[Any]:
        """Where the session is stored."""
        return self._backing.storage

    @property
    def seconds(self) -> float:
        """How long to keep trying when others write, too."""
        return self._seconds

    @property
    def is_exact(self) -> bool:
        """Whether it is written over a version that is known, and not over whatever is there."""
        return self._on_conflict != "overwrite" and self._version is not ANY

    def take(self, hold: Hold) -> None:
        """Note the lock, which is held until the session is closed."""
        self._hold = hold

    async def load(self) -> None:
        """Read the record."""
        self._begin(await self._backing.load(self._need_key()))

    async def receive(self, record: Record[Any] | None) -> None:
        """Take over a record that was read together with others."""
        self._begin(await self._backing.entry(self._need_key(), record))

    async def meet(self, record: Record[Any] | None, conflict: ConflictError) -> None:
        """Do as `rebase` does, on a record that was read together with others."""
        self.rebase(await self._backing.entry(self._need_key(), record), conflict)

    def _begin(self, entry: Entry[V] | None) -> None:
        self._remember(entry)
        self._is_new = entry is None or entry.value is None
        if entry is not None:
            if self._data is None and not self._deleted:  # a lazy one may have been assigned to meanwhile
                self._data = entry.value
            self._used, self._untouched, self._is_due = entry.envelope.used, self._stored, entry.is_due

    async def commit(self) -> None:
        """Write what the block changed: one conditional write or delete, or nothing."""
        if self.key is None:
            return
        deadline = time.monotonic() + self._seconds
        while (pending := self.pending()) is not None:
            try:
                version = await self._backing.write_raw(self._need_key(), pending.stored, pending.expected)
            except ConflictError as conflict:
                if time.monotonic() >= deadline:
                    raise
                self.rebase(await self._backing.load(self._need_key()), conflict)
            else:
                self.settle(pending, version)
                return
        await self.rest()

    def pending(self) -> "Pending[V] | None":
        """Return what is to be written, or None.

        Raises:
            LeaseLostError: the lock is not held any more.
        """
        if self.key is None or (self._data is None and not self._deleted):
            return None
        expected = ANY if self._on_conflict == "overwrite" else self._version
        if self._deleted:
            if self._version is None:
                return None
            found: Pending[V] = Pending(None, None, expected, None, None)
        else:
            data = self.data
            encoded = self._backing.codec.encode(data)
            if encoded == self._untouched and not self._is_due:
                return None
            found = Pending(*self._backing.sealed(data, self._envelope), expected, data, encoded)
        if self._hold is not None:
            self._hold.ensure()
        return found

    def settle(self, pending: "Pending[V]", version: str) -> None:
        """Take note that what was pending is written."""
        if pending.stored is None:
            self._remember(None)
            self._untouched = pending.encoded
            return
        self._version = ANY if self._version is ANY else version
        self._envelope = pending.envelope
        self._stored = self._untouched = pending.encoded
        self._is_due = False

    def rebase(self, theirs: Entry[V] | None, conflict: ConflictError) -> None:
        """Put this block's changes on top of what somebody else has written, or raise the conflict."""
        if self._data is not None and self._backing.codec.encode(self._data) == self._untouched:
            self._is_due = False  # whoever was faster has noted the use, or migrated, too
        elif self._deleted and self._on_conflict == "merge" and (theirs is None or theirs.value is None):
            self._remember(theirs)  # it is gone, as it was to be
        elif self._deleted or self._data is None or self._on_conflict != "merge":
            raise conflict
        else:
            mine = self._data
            self._data = refill(mine, self._merged(mine, self._backing.codec.encode(mine), theirs))
            self._untouched = self._stored

    async def rest(self) -> None:
        """Do what a block costs that wrote nothing."""
        if self.key is not None and self._version not in (ANY, None) and not self._deleted:
            await self._backing.touch(self.key)

    def close(self) -> None:
        """End the session: any later use raises."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise SessionClosedError(f"session {show(self.key or '')} was used after its block had ended")
        self._need_key()

    def _need_key(self) -> str:
        if self.key is None:
            raise NoSessionError("this update has no session: its key is None")
        return self.key

    def _assign(self, value: V | None) -> None:
        self._check()
        self._data, self._deleted, self._untouched = value, value is None, self._stored

    def _first(self) -> V:
        if self._deleted:
            raise EmptySessionError(f"session {show(self.key or '')} was deleted in this block")
        if self._backing.initial is None:
            raise EmptySessionError(f"nothing is stored in session {show(self.key or '')}, and there is no initial=")
        return self._backing.initial()

    def _fields(self) -> dict[str, Any]:
        data = self.data
        if not isinstance(data, dict):
            raise SessionError(f"state is data that is a dict, not {type(data).__name__}")
        return data

    def _remember(self, entry: Entry[V] | None) -> None:
        """Take note of what the storage has."""
        value = None if entry is None else entry.value
        self._version = None if entry is None else entry.version
        self._envelope = None if entry is None else entry.envelope
        self._stored = None if value is None else self._backing.codec.encode(value)
        self._is_due = False

    def _merged(self, mine: V, encoded: bytes, theirs: Entry[V] | None) -> V:
        """Return the data with this block's changes and theirs; what they wrote is what it is based on from now on."""
        # Two first writers both started from initial().
        base = self._stored or self._untouched or b"{}"
        if (theirs is None and self._version is None) or (theirs is not None and theirs.value is None):
            self._remember(theirs)
            return mine  # somebody created it, and has deleted it since; or theirs has ended
        codec = self._backing.codec
        try:
            tree = merge(*map(JSON.decode, (base, encoded, self._written(theirs))))
        except ConflictError as error:
            raise ConflictError(f"session {show(self.key or '')} {error}") from None
        self._remember(theirs)
        return codec.decode(JSON.encode(tree))

    def _written(self, theirs: Entry[V] | None) -> bytes:
        """Return what they wrote, encoded."""
        if theirs is None or theirs.value is None:
            raise ConflictError("was deleted by somebody else")
        return self._backing.codec.encode(theirs.value)


class LazySession(Session[V]):
    """One session that is read only if it is asked for: `data = await session`. `Sessions.lazy` makes it."""

    def __init__(
        self, backing: Backing[V], key: str | None, on_conflict: OnConflict, seconds: float, lock: Lock
    ) -> None:
        super().__init__(backing, key, on_conflict, seconds)
        self._lock = lock
        self._stack = AsyncExitStack()
        self._busy = asyncio.Lock()
        self._promised: Awaitable[V | None] | None = None

    def __await__(self) -> Generator[Any, None, V]:
        """Return the data, read from the storage the first time."""
        return self._get().__await__()

    @property
    def data(self) -> V:
        """The session's data, once it was awaited or assigned to; assigning needs no reading. See `Session.data`.

        An awaitable may be assigned, too; it is awaited at the end of the block.

        Raises:
            SessionError: it was not awaited yet.
        """
        self._check()
        is_unread = self._data is None and self._version is ANY and not self._deleted
        if is_unread or self._promised is not None:
            raise SessionError("a lazy session is read by awaiting it: data = await session")
        return super().data

    @data.setter
    def data(self, value: V | Awaitable[V | None] | None) -> None:
        self._check()
        self._break_promise()
        if inspect.isawaitable(value):
            self._promised, self._data, self._deleted = value, None, False
        else:
            self._assign(value)

    async def commit(self) -> None:
        """Write what the block changed, if it touched the session at all."""
        await self.prepare()
        await super().commit()

    async def prepare(self) -> None:
        """Await what was assigned, and enter if there is anything to write."""
        if self.key is None:
            return
        await self._keep_promise()
        if self._deleted or self._data is not None:
            await self._enter()

    async def aclose(self) -> None:
        """End the session and let others in."""
        self.close()
        self._break_promise()
        await self._stack.aclose()

    async def _get(self) -> V:
        self._check()
        async with self._busy:
            self._check()  # the block may have ended meanwhile
            await self._keep_promise()
            if self._data is None and self._version is ANY and not self._deleted:
                self.take(await self._enter())
                await self.load()
        return self.data

    async def _enter(self) -> Hold:
        if self._hold is None:
            self._hold = await self._stack.enter_async_context(self._lock.hold(self._need_key()))
            if self._closed:  # meanwhile, so that nobody else would let others in
                await self._stack.aclose()
                self._check()
        return self._hold

    async def _keep_promise(self) -> None:
        """Await what was assigned, before anything is locked."""
        if self._promised is not None:
            promised, self._promised = self._promised, None
            self._assign(await promised)

    def _break_promise(self) -> None:
        if isinstance(self._promised, Coroutine):
            self._promised.close()
        self._promised = None
