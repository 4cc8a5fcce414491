"""One session, for the length of a block: `Session` is loaded on entry, `LazySession` when it is asked for."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Coroutine, Generator, Mapping
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Generic

from satchel.adapter import ANY, Expected
from satchel.backing import Backing, Entry, OnConflict
from satchel.codecs import JSON
from satchel.errors import ConflictError, EmptySessionError, NoSessionError, SessionClosedError, SessionError
from satchel.keys import show
from satchel.locks import Hold, Lock
from satchel.merging import merge
from satchel.storage import V

if TYPE_CHECKING:
    from satchel.envelope import Envelope


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

    def delete(self) -> None:
        """Remove the session at the end of the block; the same as `session.data = None`."""
        self._assign(None)

    def set_state(self, state: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        """Set top-level fields of the data, which has to be a dict."""
        data = self.data
        if not isinstance(data, dict):
            raise SessionError(f"set_state() needs data that is a dict, not {type(data).__name__}")
        data.update(state or {}, **fields)

    def reset_state(self) -> None:
        """Set the data back to `initial()`.

        Raises:
            EmptySessionError: there is no `initial`.
        """
        self._check()
        self._deleted = False
        self._assign(self._first())

    async def save(self) -> None:
        """Save now what has changed, and go on. What is saved stays saved if the block raises later."""
        self._check()
        await self.commit()

    # What `Sessions` calls.

    async def load(self, hold: Hold) -> None:
        """Read the record, under a lock that is held until the session is closed."""
        self._hold = hold
        entry = await self._backing.load(self._need_key())
        self._remember(entry)
        self._is_new = entry is None or entry.value is None
        if entry is not None:
            self._data, self._untouched, self._is_due = entry.value, self._stored, entry.is_due

    async def commit(self) -> None:
        """Write what the block changed: one conditional write or delete, or nothing."""
        if self.key is None:
            return
        if self._deleted:
            await self._commit_delete(self.key)
        elif self._data is not None:
            encoded = self._backing.codec.encode(self._data)
            if encoded != self._untouched:
                await self._commit_data(self.key, self._data, encoded)
            elif self._is_due:
                with suppress(ConflictError):  # whoever was faster has noted the use, or migrated, too
                    await self._write(self.key, self._data, encoded)
            elif self._version not in (ANY, None):
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

    def _remember(self, entry: Entry[V] | None) -> None:
        """Take note of what the storage has."""
        value = None if entry is None else entry.value
        self._version = None if entry is None else entry.version
        self._envelope = None if entry is None else entry.envelope
        self._stored = None if value is None else self._backing.codec.encode(value)
        self._is_due = False

    def _expected(self) -> Expected:
        return ANY if self._on_conflict == "overwrite" else self._version

    def _ensure_held(self) -> None:
        if self._hold is not None:
            self._hold.ensure()

    async def _commit_delete(self, key: str) -> None:
        if self._version is not None:
            self._ensure_held()
            await self._backing.delete(key, self._expected())
            self._remember(None)

    async def _commit_data(self, key: str, value: V, encoded: bytes) -> None:
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                await self._write(key, value, encoded)
            except ConflictError:
                if self._on_conflict != "merge" or time.monotonic() >= deadline:
                    raise
                value = self._merged(value, encoded, await self._backing.load(key))
                encoded = self._backing.codec.encode(value)
            else:
                return

    async def _write(self, key: str, value: V, encoded: bytes) -> None:
        self._ensure_held()
        version, self._envelope = await self._backing.write(key, value, self._expected(), self._envelope)
        self._data = value
        self._version = ANY if self._version is ANY else version
        self._stored = self._untouched = encoded
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
            if theirs is None or theirs.value is None:
                raise ConflictError("was deleted by somebody else")
            tree = merge(*map(JSON.decode, (base, encoded, codec.encode(theirs.value))))
        except ConflictError as error:
            raise ConflictError(f"session {show(self.key or '')} {error}") from None
        self._remember(theirs)
        return codec.decode(JSON.encode(tree))


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
        if self._data is None and self._version is ANY and not self._deleted:
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
        if self.key is None:
            return
        await self._keep_promise()
        if self._deleted or self._data is not None:
            await self._enter()
        await super().commit()

    async def aclose(self) -> None:
        """End the session and let others in."""
        self.close()
        self._break_promise()
        await self._stack.aclose()

    async def _get(self) -> V:
        self._check()
        async with self._busy:
            await self._keep_promise()
            if self._data is None and self._version is ANY and not self._deleted:
                await self.load(await self._enter())
        return self.data

    async def _enter(self) -> Hold:
        if self._hold is None:
            self._hold = await self._stack.enter_async_context(self._lock.hold(self._need_key()))
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
