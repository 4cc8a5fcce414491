"""The base class of adapters: three byte-level hooks, plus optional ones, become a whole storage.

An adapter is what its backend makes different. This class does what is the same everywhere: key checks and name
mapping, the codec, limits, timeouts, error translation, opening once, closing once.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from functools import cache
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar, Final, Generic, Self, TypedDict, TypeVar

from satchel.capabilities import Capabilities
from satchel.codecs import JSON, Codec
from satchel.deadlines import Deadlines
from satchel.errors import (
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    SatchelError,
    StorageClosedError,
    StorageError,
    StorageUnavailableError,
    UnsupportedValueError,
    ValueTooLargeError,
)
from satchel.keys import check_key, escape, escape_part, show, unescape
from satchel.settling import together
from satchel.storage import Change, Record, V

logger = logging.getLogger("satchel")
logger.addHandler(logging.NullHandler())  # without it, Python prints the warnings of an application that logs nothing

T = TypeVar("T")
Payload = bytes
"""What a codec makes of a value."""


class _Any(Enum):
    ANY = "any version"


ANY: Final = _Any.ANY
"""The expectation of an unconditional write or delete."""

Expected = str | None | _Any
"""What a write expects to find: a version, nothing (None), or `ANY`."""

_METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "versioned": ("read_versioned", "write_versioned", "delete_versioned"),
    "expiring": ("touch", "purge_expired"),
    "listing": ("keys",),
    "batch": ("read_many", "write_many", "delete_many"),
    "transactional": ("read_records", "commit"),
    "versioned_batch": ("read_records", "write_records"),
}


class StorageOptions(TypedDict, Generic[V], total=False):
    """The options that every adapter takes.

    Attributes:
        codec: how values become bytes; strict JSON by default, `typed(MySession)` for one type.
        namespace: keeps bots that share a backend apart; 1 to 128 UTF-8 bytes, "satchel" by default.
        ttl: how long a record lives after it was last written or touched; None, the default, is for ever.
        timeout: how long any call may take before it raises `StorageUnavailableError`; 10 seconds by default.
        create: whether `setup()` and first use may create what is missing (tables, indexes); True by default.
    """

    codec: Codec[V]
    namespace: str
    ttl: timedelta | None
    timeout: timedelta
    create: bool


class EncodedStorage(Generic[V]):
    """A storage over bytes. Derive from it, declare `capabilities`, and write the hooks that they call for.

    Every adapter: `get`, `put`, `drop`. Expiring: `renew`, and `purge` where the backend does not remove what is dead.
    Listing: `pages`. Batch: `get_many`, `put_many`, `drop_many`. Transactional: `put_records`. Versioned
    batch: `put_each`, or nothing where calls side by side are as good. As needed: `open`, `close`, `translate`,
    `get_versioned`, `get_records`, `schema`, `about`. Methods whose capability is not declared are hidden, so
    `isinstance(storage, Listing)` and the declaration always agree.

    Hooks see *names*: printable, non-empty strings that stand for a namespace and a key, injectively. They may raise
    whatever the driver raises; `translate` says what that means.

    Attributes:
        capabilities: what the storage can do.
        round_trips: the methods that go to the backend more than once, and how often: `{"touch": 2}`.
        codec: how values become bytes.
        ttl: the lifetime of a record, or None.
        timeout: how long any call may take.
        create: whether `open` may create what is missing.
        where: the backend as messages name it, without secrets: `redis://localhost:6379/0`.
        namespace: what keeps its records apart from those of other bots.
        loop_bound: the driver's connections belong to the event loop that opened them.
        local: no call waits for anything, so no timeout is needed.
    """

    capabilities: Capabilities = Capabilities()
    round_trips: Mapping[str, int] = MappingProxyType({})
    loop_bound: ClassVar[bool] = False
    local: ClassVar[bool] = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        declared = {name for can, methods in _METHODS.items() if getattr(cls.capabilities, can) for name in methods}
        for method in {name for methods in _METHODS.values() for name in methods}:
            if method not in declared:
                # A method that is None does not count for isinstance(), as Python itself has it with __hash__.
                setattr(cls, method, None)
            elif getattr(cls, method) is None:
                setattr(cls, method, getattr(EncodedStorage, method))

    def __init__(
        self,
        *,
        where: str,
        codec: Codec[V] = JSON,
        namespace: str = "satchel",
        ttl: timedelta | None = None,
        timeout: timedelta = timedelta(seconds=10),
        create: bool = True,
    ) -> None:
        self.where = where
        self.namespace = namespace
        self.codec = codec
        self.ttl = ttl
        self.timeout = timeout
        self.create = create
        self._prefix = check_namespace(namespace)
        self._ttl_ms = None if ttl is None else milliseconds("ttl", ttl)
        if ttl is not None and not self.capabilities.expiring:
            raise ConfigurationError(f"{type(self).__name__} takes no ttl: its records cannot expire")
        self._seconds = milliseconds("timeout", timeout) / 1000
        self._deadlines = Deadlines(self._seconds)
        self._loop: asyncio.AbstractEventLoop | None = None  # the loop it is open on
        self._opening: asyncio.Lock | None = None
        self._acquired = False  # there may be something to close
        self._closed = False
        self._down = False  # the last call found the backend unavailable

    # What users call.

    async def read(self, key: str) -> V | None:
        """Return the value under `key`, or None if there is none, and only then."""
        name = self._name(key)
        payload = await self._call(self.get, name)
        return None if payload is None else self._decode(name, key, payload)

    async def write(self, key: str, value: V) -> None:
        """Store `value` under `key`, over whatever is there."""
        name = self._name(key)
        await self._call(self.put, name, self._encode(name, key, value))

    async def delete(self, key: str) -> None:
        """Remove `key`. Where it is absent, nothing happens."""
        await self._call(self.drop, self._name(key))

    async def read_versioned(self, key: str) -> Record[V] | None:
        """Return the value under `key` with its version, or None if there is none."""
        name = self._name(key)
        found = await self._call(self.get_versioned, name)
        return None if found is None else Record(self._decode(name, key, found[0]), found[1])

    async def write_versioned(self, key: str, value: V, expected: str | None) -> str:
        """Store `value` if `key` is at the version `expected` (None: if it does not exist) and return the new version.

        Raises:
            ConflictError: it is not. Nothing was written.
        """
        name = self._name(key)
        version = await self._call(self.put, name, self._encode(name, key, value), expected)
        if version is None:
            state = "exists already" if expected is None else "is not at the expected version"
            raise ConflictError(f"{show(key)} {state} in {self.where}")
        return version

    async def delete_versioned(self, key: str, expected: str) -> None:
        """Remove `key` if it is at the version `expected`.

        Raises:
            ConflictError: it is not, or it does not exist. Nothing was removed.
        """
        if not await self._call(self.drop, self._name(key), expected):
            raise ConflictError(f"{show(key)} is not at the expected version in {self.where}")

    async def touch(self, key: str) -> bool:
        """Start the lifetime of `key` anew, as writing the same value would; tell whether the key exists."""
        return await self._call(self.renew, self._name(key))

    async def purge_expired(self) -> int:
        """Remove what has expired and return how many records that were; 0 where the backend removes them itself."""
        return await self._call(self.purge)

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        """Iterate over the keys that start with `prefix`, each once, in no particular order."""
        start = self._prefix + escape(prefix if prefix == "" else check_key(prefix))
        async with aclosing(self.pages(start)) as pages:
            while (page := await self._call(anext, pages, None)) is not None:
                for name in page:
                    yield unescape(name.removeprefix(self._prefix))

    async def read_many(self, keys: Iterable[str]) -> dict[str, V]:
        """Return the values of those `keys` that exist."""
        names = {self._name(key): key for key in keys}
        found = await self._call(self.get_many, list(names)) if names else {}
        return {key: self._decode(name, key, found[name]) for name, key in names.items() if name in found}

    async def write_many(self, values: Mapping[str, V]) -> None:
        """Store every value under its key."""
        if payloads := {(name := self._name(key)): self._encode(name, key, value) for key, value in values.items()}:
            await self._call(self.put_many, payloads)

    async def delete_many(self, keys: Iterable[str]) -> None:
        """Remove every key; absent ones are no error."""
        if names := list({self._name(key): None for key in keys}):
            await self._call(self.drop_many, names)

    async def read_records(self, keys: Iterable[str]) -> dict[str, Record[V]]:
        """Return the values of those `keys` that exist, with their versions."""
        names = {self._name(key): key for key in keys}
        found = await self._call(self.get_records, list(names)) if names else {}
        return {
            key: Record(self._decode(name, key, found[name][0]), found[name][1])
            for name, key in names.items()
            if name in found
        }

    async def commit(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        """Make every change, by key, or none of them, and return the new versions of what was written.

        Raises:
            ConflictError: a record is not at the version that its change expects. Nothing was changed.
        """
        encoded = self._changes(changes)
        versions = await self._call(self.put_records, encoded) if encoded else {}
        if versions is None:
            raise ConflictError(f"one of {len(encoded)} records is not at the expected version in {self.where}")
        return {key: versions[self._name(key)] for key, change in changes.items() if change.value is not None}

    async def write_records(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        """Make every change that can be made, and return by key the new version, or "" where nothing is there now.

        A key that is not in the answer was in conflict, and its record is as it was.
        """
        encoded = self._changes(changes)
        versions = await self._call(self.put_each, encoded) if encoded else {}
        return {key: versions[name] for key in changes if (name := self._name(key)) in versions}

    async def setup(self) -> None:
        """Connect, and create what is needed; harmless to repeat, and when several processes do it at once."""
        await self._call(_nothing)

    async def server_version(self) -> str:
        """Return what the backend is, with its version: `Redis 8.2.1`; "" if it does not say."""
        return await self._call(self.about)

    async def aclose(self) -> None:
        """Release everything that the storage made itself. Any later call raises `StorageClosedError`."""
        if self._closed:
            return
        self._check_loop()
        self._closed = True
        self._loop = None
        if self._acquired:
            await self._bounded(self.close)

    async def __aenter__(self) -> Self:
        """Call `setup()`."""
        try:
            await self.setup()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Call `aclose()`."""
        await self.aclose()

    def __repr__(self) -> str:
        """Name the backend, without secrets."""
        return f"<{type(self).__name__} {self.where}>"

    # What adapters write.

    async def open(self) -> None:
        """Connect, check, and (if `self.create`) create what is missing; called before any other hook.

        It is called again if it failed, and `close` is called also after a failure.
        """

    async def close(self) -> None:
        """Release what the adapter made itself; called at most once."""

    async def get(self, name: str) -> Payload | None:
        """Return what is stored under `name` and has not expired, or None."""
        raise NotImplementedError

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        """Return what is stored with its version. Override it where the backend has versions of its own."""
        payload = await self.get(name)
        return None if payload is None else (payload, self.version_of(payload))

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """Store `payload` for the lifetime of `self.ttl_ms` and return its version, or None on a mismatch.

        An expired record does not exist. A write that expects `ANY` may return anything.
        """
        raise NotImplementedError

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """Remove `name` and return True, or False if it is not at the version expected."""
        raise NotImplementedError

    async def renew(self, name: str) -> bool:
        """Start the lifetime anew and tell whether there is a record."""
        raise NotImplementedError

    async def purge(self) -> int:
        """Remove expired records and return their number. The default is for backends that do it themselves."""
        return 0

    def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """Iterate over all names that start with `prefix`, one round trip's worth at a time, each name once."""
        raise NotImplementedError

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """Return what is stored under those of `names` that exist. They are distinct, and at least one."""
        raise NotImplementedError

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        """Store every payload under its name; at least one."""
        raise NotImplementedError

    async def drop_many(self, names: Sequence[str]) -> None:
        """Remove all names; at least one."""
        raise NotImplementedError

    async def get_records(self, names: Sequence[str]) -> dict[str, tuple[Payload, str]]:
        """Return what is stored, with versions. Override it where the backend has versions of its own."""
        found = await self.get_many(names)
        return {name: (payload, self.version_of(payload)) for name, payload in found.items()}

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        """Store each payload, or drop the record for None, if all are at the versions that come with them.

        Returns:
            the new version of every name that was stored, or None, with nothing changed, on a mismatch.

        Raises:
            ConflictError: the same mismatch, by an adapter that knows where it is: `raise self.conflict(name)`.
        """
        raise NotImplementedError

    async def put_each(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str]:
        """Store each payload, or drop the record for None, if that record is at the version that comes with it.

        Override it where one request does it: this makes single calls, side by side.

        Returns:
            the new version of every name that was stored, and "" for one that is not there now. What was in conflict
            is left out, and as it was.
        """

        async def change(name: str, payload: Payload | None, expected: str | None) -> str | None:
            if payload is not None:
                return await self.put(name, payload, expected)
            done = await self.get(name) is None if expected is None else await self.drop(name, expected)
            return "" if done else None

        versions = await together(change(name, *what) for name, what in changes.items())
        return {name: version for name, version in zip(changes, versions, strict=True) if version is not None}

    async def about(self) -> str:
        """Ask the backend what it is, and which version."""
        return ""

    def translate(self, error: Exception) -> StorageError | None:
        """Return the error of ours for one of the driver's, or None for one that is not known.

        The message is to say what an operator can do, and to hold neither a secret nor a value.
        """
        return None

    def schema(self) -> str:
        """Return what an administrator sets up where the bot may not: DDL, rights. Nothing is connected for it."""
        return ""

    @property
    def ttl_ms(self) -> int | None:
        """The lifetime in milliseconds, rounded up."""
        return self._ttl_ms

    def version_of(self, payload: Payload) -> str:
        """Return the version of a record that holds `payload`: its digest.

        A digest never stands for two values, needs no room in the record, and notices an edit made by other means.
        """
        return hashlib.sha256(payload).hexdigest()

    def conflict(self, name: str) -> ConflictError:
        """Return the error for a record that is not at the version that a commit expects, naming its key."""
        key = unescape(name.removeprefix(self._prefix))
        return ConflictError(f"{show(key)} is not at the expected version in {self.where}")

    def lacks(self, **capabilities: Any) -> None:
        """Take back, for this one storage, what its class declares: `self.lacks(atomic_batch=False)`.

        In `open` too, where only then it is known. Methods are hidden by a class of its own, as isinstance() with a
        protocol looks at the class first, and finds them there.
        """
        kind: Any = type(self)
        self.__class__ = _lacking(kind, replace(self.capabilities, **capabilities))

    # What is in between.

    def _name(self, key: str) -> str:
        return self._prefix + escape(check_key(key))

    def _encode(self, name: str, key: str, value: V) -> Payload:
        try:
            payload = self.codec.bound(name).encode(value)
        except (UnsupportedValueError, ValueTooLargeError) as error:
            error.add_note(f"in the value for {show(key)}")
            raise
        limit = self.capabilities.max_value_bytes
        if limit is not None and len(payload) > limit:
            size = len(payload)
            message = f"the value for {show(key)} has {size} bytes; {self.where} takes {limit}"
            raise ValueTooLargeError(message, size=size, limit=limit)
        return payload

    def _changes(self, changes: Mapping[str, Change[V]]) -> dict[str, tuple[Payload | None, str | None]]:
        return {
            (name := self._name(key)): (None if value is None else self._encode(name, key, value), expected)
            for key, (value, expected) in changes.items()
        }

    def _decode(self, name: str, key: str, payload: Payload) -> V:
        try:
            return self.codec.bound(name).decode(payload)
        except (CorruptValueError, ConfigurationError) as error:
            raise type(error)(f"{show(key)} in {self.where} is {error}") from error.__cause__

    def _call(self, hook: Callable[..., Awaitable[T]], *arguments: Any) -> Awaitable[T]:
        if self._loop is not asyncio.get_running_loop():
            return self._bounded(self._first, hook, *arguments)
        return self._bounded(hook, *arguments)

    async def _first(self, hook: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Open and call within one timeout: of many first calls to a dead server, none waits for those before it."""
        await self._ready()
        return await hook(*arguments)

    async def _bounded(self, hook: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Await a hook, for as long as the timeout allows, and raise nothing but our own errors."""
        try:
            if self.local:
                return await hook(*arguments)
            result = await self._deadlines.bound(hook, *arguments)
        except SatchelError:
            raise
        except Exception as error:
            translated = self._translated(error)
            if isinstance(translated, StorageUnavailableError) and not self._down:
                self._down = True
                logger.warning("lost: %s", str(translated))  # a handler that keeps the error would keep what it holds
            raise translated from error
        if self._down:
            self._down = False
            logger.warning("back: %s", self.where)
        return result

    def _translated(self, error: Exception) -> StorageError:
        if self._closed:  # by another task, while this call was under way
            return StorageClosedError(f"{self!r} is closed")
        found = self.translate(error)
        if found is not None:
            return found
        if isinstance(error, TimeoutError):
            return StorageUnavailableError(f"{self.where} did not answer within {self._seconds:g} s")
        return StorageError(f"{self.where} failed: {type(error).__name__}")

    def _check_loop(self) -> None:
        if self.loop_bound and self._loop not in (None, asyncio.get_running_loop()):
            raise ConfigurationError(f"{self!r} is open on another event loop: make one storage for each loop")

    async def _ready(self) -> None:
        """Open the storage unless it is open on this event loop."""
        if self._closed:
            raise StorageClosedError(f"{self!r} is closed")
        self._check_loop()
        loop = asyncio.get_running_loop()
        if self._loop is not None:
            self._loop = loop
            return
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._loop is None:
                self._acquired = True
                await self.open()
                self._loop = loop


@cache
def _lacking(kind: Any, capabilities: Capabilities) -> Any:
    """Return a class like `kind` that declares less."""
    body = {"capabilities": capabilities, "__doc__": kind.__doc__, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), body)


def check_namespace(namespace: str) -> str:
    """Return the start of every name in `namespace`: it ends with a colon, and no other namespace's starts with it.

    Raises:
        ConfigurationError: the namespace is not a string of 1 to 128 UTF-8 bytes.
    """
    try:
        size = len(namespace.encode())
    except (AttributeError, UnicodeEncodeError):
        size = 0
    if not 1 <= size <= 128:
        raise ConfigurationError(f"namespace {ascii(namespace)[:80]} is not a string of 1 to 128 UTF-8 bytes")
    return escape_part(namespace) + ":"


def milliseconds(name: str, duration: timedelta) -> int:
    """Return `duration` in milliseconds, rounded up.

    Raises:
        ConfigurationError: it is not a positive `timedelta`; the message calls it `name`.
    """
    if not isinstance(duration, timedelta):
        raise ConfigurationError(f"{name} is a timedelta, not {type(duration).__name__}")
    if duration <= timedelta(0):
        raise ConfigurationError(f"{name} is {duration}; it has to be positive")
    return -(duration // timedelta(milliseconds=-1))


def kind_of(value: object) -> str:
    """Return the full name of a value's class, for a message that refuses the value, but does not show it."""
    return f"{type(value).__module__}.{type(value).__name__}"


async def _nothing() -> None:
    pass
