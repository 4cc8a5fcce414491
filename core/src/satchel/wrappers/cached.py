"""A read-through cache in this process, which may be behind, and can lose no update."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from satchel.adapter import milliseconds
from satchel.capabilities import Capabilities
from satchel.codecs import JSON, Codec
from satchel.errors import UnsupportedValueError
from satchel.keys import LEASE, check_key
from satchel.storage import Change, Expiring, Record, StorageAdapter, V
from satchel.threads import positive
from satchel.wrappers.base import Wrapper


class _Kept(NamedTuple):
    """A record in memory: its value, encoded; its version if that is known; and until when it is good."""

    payload: bytes
    version: str | None
    end: float


class _Call:
    """A call that is under way: what it found out, and the keys that somebody changed meanwhile."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.outcome: dict[str, _Kept] = {}
        self.overtaken: set[str] = set()


class Cached(Wrapper[V]):
    """Answers reads from memory for `max_age` after a record was read or written here.

        storage = Cached(open_storage("postgresql://db/bot"))

    What this process writes, it sees at once. What others write, it may see up to `max_age` later, so its reads are for
    what may be that old. But no update is lost to that: a record comes with the version that it was read at, and a
    conditional write at an old version raises `ConflictError` as ever; the record is then read anew, so that
    sessions merge, and `Sessions.update` goes on, with what is really there. (Not so `on_conflict="overwrite"`.)

    A session that is opened and saved again and again by one process costs one write each time, and no read.

    Nothing is kept of keys that are absent, nor of leases, which have to be seen to end. A record with a lifetime is
    kept only if it was written here, until its end at the latest: of one that was read, nobody says how long it has
    left. (`ttl` is taken to be the same for all who write to the storage.) What is kept is shared with nobody, as in
    any storage.

    Args:
        storage: the storage inside.
        max_age: for how long a record may be answered from memory.
        max_size: the most records to keep; over that, the one that was not used for longest goes.

    Raises:
        ConfigurationError: an option is not right.
    """

    def __init__(
        self,
        storage: StorageAdapter[V],
        /,
        *,
        max_age: timedelta = timedelta(seconds=10),
        max_size: int = 10_000,
    ) -> None:
        super().__init__(storage)
        self._max_age = milliseconds("max_age", max_age) / 1000
        self._max_size = positive("max_size", max_size)
        self._code: Codec[V] = getattr(storage, "codec", JSON).plain
        ttl: timedelta | None = getattr(storage, "ttl", timedelta(0) if isinstance(storage, Expiring) else None)
        self._keeps_read = ttl is None
        self._written_age = self._max_age if ttl is None else min(self._max_age, ttl.total_seconds())
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # least recently used first
        self._calls: dict[str, set[_Call]] = {}  # those that are under way, by key

    @property
    def capabilities(self) -> Capabilities:
        """Those of the storage inside, but what other clients write is seen later, and not all of a batch at once."""
        return replace(super().capabilities, read_your_writes=False, atomic_batch=False)

    async def read(self, key: str) -> V | None:
        if (kept := self._find(key)) is not None:
            return self._code.decode(kept.payload)
        if super().capabilities.versioned:  # so that what is kept has its version, too
            record = await self.read_versioned(key)
            return None if record is None else record.value
        with self._call([key]) as call:
            value = await super().read(key)
            self._found(call, key, value, None)
        return value

    async def read_versioned(self, key: str) -> Record[V] | None:
        kept = self._find(key)
        if kept is not None and kept.version is not None:
            return Record(self._code.decode(kept.payload), kept.version)
        with self._call([key]) as call:
            record = await super().read_versioned(key)
            if record is not None:
                self._found(call, key, record.value, record.version)
        return record

    async def read_many(self, keys: Iterable[str]) -> dict[str, V]:
        wanted = list(dict.fromkeys(map(check_key, keys)))
        kept = {key: one for key in wanted if (one := self._find(key)) is not None}
        found = {key: self._code.decode(one.payload) for key, one in kept.items()}
        missing = [key for key in wanted if key not in kept]
        if missing or not wanted:
            with self._call(missing) as call:
                fresh = await super().read_many(missing)
                for key, value in fresh.items():
                    self._found(call, key, value, None)
            found |= fresh
        return found

    async def read_records(self, keys: Iterable[str]) -> dict[str, Record[V]]:
        wanted = list(dict.fromkeys(map(check_key, keys)))
        found: dict[str, Record[V]] = {}
        for key in wanted:
            kept = self._find(key)
            if kept is not None and kept.version is not None:
                found[key] = Record(self._code.decode(kept.payload), kept.version)
        missing = [key for key in wanted if key not in found]
        if missing or not wanted:
            with self._call(missing) as call:
                fresh = await super().read_records(missing)
                for key, record in fresh.items():
                    self._found(call, key, record.value, record.version)
            found |= fresh
        return found

    async def write(self, key: str, value: V) -> None:
        with self._change([key]):
            await super().write(key, value)

    async def delete(self, key: str) -> None:
        with self._change([key]):
            await super().delete(key)

    async def write_versioned(self, key: str, value: V, expected: str | None) -> str:
        with self._change([key]) as call:
            payload = self._payload(value)  # now: later, the caller may have changed the value
            version = await super().write_versioned(key, value, expected)
            self._wrote(call, key, payload, version)
        return version

    async def delete_versioned(self, key: str, expected: str) -> None:
        with self._change([key]):
            await super().delete_versioned(key, expected)

    async def write_many(self, values: Mapping[str, V]) -> None:
        with self._change(values):
            await super().write_many(values)

    async def delete_many(self, keys: Iterable[str]) -> None:
        gone = list(keys)
        with self._change(gone):
            await super().delete_many(gone)

    async def commit(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        with self._change(changes) as call:
            payloads = {key: self._payload(value) for key, (value, _) in changes.items() if value is not None}
            versions = await super().commit(changes)
            for key, version in versions.items():
                self._wrote(call, key, payloads[key], version)
        return versions

    async def write_records(self, changes: Mapping[str, Change[V]]) -> dict[str, str]:
        with self._change(changes) as call:
            payloads = {key: self._payload(value) for key, (value, _) in changes.items() if value is not None}
            versions = await super().write_records(changes)
            for key in versions.keys() & payloads.keys():
                self._wrote(call, key, payloads[key], versions[key])
        return versions

    async def touch(self, key: str) -> bool:
        is_there = await super().touch(key)
        if not is_there:
            self._forget([key])
        return is_there

    async def aclose(self) -> None:
        self._forget([*self._kept, *self._calls])
        await super().aclose()

    def _find(self, key: str) -> _Kept | None:
        kept = self._kept.get(check_key(key))
        if kept is None:
            return None
        if kept.end <= time.monotonic():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept

    @contextmanager
    def _change(self, keys: Iterable[str]) -> Iterator[_Call]:
        """Keep nothing of what was true before this block, or may have been while it ran."""
        changed = [check_key(key) for key in keys]
        with self._call(changed) as call:
            try:
                yield call
            finally:
                self._forget(changed, but=call)

    @contextmanager
    def _call(self, keys: Iterable[str]) -> Iterator[_Call]:
        """Keep what the block finds out of these keys, if it ends well, and nobody changed them meanwhile."""
        concerned = [check_key(key) for key in keys]
        call = _Call()
        for key in concerned:
            self._calls.setdefault(key, set()).add(call)
        try:
            yield call
        finally:
            for key in concerned:
                calls = self._calls.get(key, set())
                calls.discard(call)
                if not calls:
                    self._calls.pop(key, None)
        for key, kept in call.outcome.items():
            if key not in call.overtaken and not key.startswith(LEASE):
                self._kept[key] = kept
                self._kept.move_to_end(key)
        while len(self._kept) > self._max_size:
            self._kept.popitem(last=False)

    def _forget(self, keys: Iterable[str], but: _Call | None = None) -> None:
        for key in keys:
            self._kept.pop(key, None)
            for call in self._calls.get(key, ()):
                if call is not but:
                    call.overtaken.add(key)

    def _found(self, call: _Call, key: str, value: V | None, version: str | None) -> None:
        if value is not None and self._keeps_read and (payload := self._payload(value)) is not None:
            call.outcome[key] = _Kept(payload, version, call.start + self._max_age)

    def _wrote(self, call: _Call, key: str, payload: bytes | None, version: str) -> None:
        if payload is not None:
            call.outcome[key] = _Kept(payload, version, call.start + self._written_age)

    def _payload(self, value: V) -> bytes | None:
        try:
            return self._code.encode(value)
        except UnsupportedValueError:  # for the storage inside to say, or to take all the same
            return None
