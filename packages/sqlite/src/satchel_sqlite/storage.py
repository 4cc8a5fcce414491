"""Sessions in one SQLite file: a row per session, shared by any number of processes of one machine."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar, Unpack

from satchel import (
    ANY,
    Capabilities,
    ConfigurationError,
    CorruptValueError,
    EncodedStorage,
    Expected,
    Payload,
    StorageClosedError,
    StorageError,
    StorageOptions,
    StorageUnavailableError,
    StorageURL,
    Threads,
)
from satchel.clock import now
from satchel.keys import after
from satchel.storage import V
from satchel.threads import Call

T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS satchel_sessions (
    key TEXT PRIMARY KEY NOT NULL,
    payload NOT NULL,
    expires_at INTEGER
);
CREATE INDEX IF NOT EXISTS satchel_sessions_expires_at ON satchel_sessions (expires_at) WHERE expires_at IS NOT NULL;
"""
_FIND: Final = "SELECT name FROM sqlite_master WHERE tbl_name = 'satchel_sessions' AND type IN ('table', 'index')"
_ALIVE: Final = "(expires_at IS NULL OR expires_at > :now)"
_GET: Final = f"SELECT payload FROM satchel_sessions WHERE key = :key AND {_ALIVE}"
_PUT: Final = """
INSERT INTO satchel_sessions (key, payload, expires_at) VALUES (:key, :payload, :expires_at)
ON CONFLICT (key) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at
"""
_CREATE: Final = f"{_PUT} WHERE satchel_sessions.expires_at <= :now"
_REPLACE: Final = f"""
UPDATE satchel_sessions SET payload = :payload, expires_at = :expires_at
WHERE key = :key AND version_of(payload) = :expected AND {_ALIVE}
"""
_DROP: Final = "DELETE FROM satchel_sessions WHERE key = :key"
_DROP_EXPECTED: Final = f"{_DROP} AND version_of(payload) = :expected AND {_ALIVE}"
_RENEW: Final = f"UPDATE satchel_sessions SET expires_at = :expires_at WHERE key = :key AND {_ALIVE}"
_PURGE: Final = """
DELETE FROM satchel_sessions
WHERE rowid IN (SELECT rowid FROM satchel_sessions WHERE expires_at <= :now LIMIT :most)
"""
_PAGE: Final = f"""
SELECT key FROM satchel_sessions WHERE key >= :start AND key < :end AND {_ALIVE} ORDER BY key LIMIT 500
"""
_PURGED: Final = 1000  # rows that one statement of a purge removes
_PURGED_BESIDE: Final = 100  # and one that rides along with a write: a batch apart, a write leaves one row to remove
_PURGE_EVERY: Final = 60.0  # seconds between two purges that ride along with a write
_LOOK_EVERY: Final = 1.0  # seconds between two looks whether the file is still the one that is open
_NAP: Final = 0.025  # seconds at most until a lock that others hold is tried again


class _MismatchError(Exception):
    """A record is not at the version expected, so its transaction ends."""


class SQLiteStorage(EncodedStorage[V]):
    """One row per session in the table `satchel_sessions`, in WAL mode, through one connection in a thread of its own.

    Args:
        path: the database file; it is created if its folder exists.
        synchronous: "FULL" keeps an acknowledged write through a power cut, "NORMAL" through a crash of the process
            (https://sqlite.org/pragma.html#pragma_synchronous) and is several times faster.
        options: see `satchel.StorageOptions`.
    """

    capabilities = Capabilities(
        versioned=True,
        conditional_delete=True,
        expiring=True,
        ttl_resolution=timedelta(milliseconds=1),
        listing=True,
        batch=True,
        atomic_batch=True,
        transactional=True,
        durable=True,
        # SQLITE_MAX_LENGTH, less room for the rest of the row: https://sqlite.org/limits.html
        max_value_bytes=999_000_000,
    )

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        **options: Unpack[StorageOptions[V]],
    ) -> None:
        text = fspath(path)
        if not text or text == ":memory:" or "\0" in text:
            raise ConfigurationError(f"{text!r} is no file for SQLite; in memory, use satchel.MemoryStorage")
        if synchronous not in ("FULL", "NORMAL"):
            raise ConfigurationError(f'synchronous is {synchronous!r}; it is "FULL" or "NORMAL"')
        super().__init__(where=f"sqlite:///{text}", **options)
        self._path = Path(text).absolute()
        self._synchronous = synchronous
        self._thread = Threads(1, "satchel-sqlite")
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # which one is open
        self._looked = self._purged = time.monotonic()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open `sqlite:///relative.db` or `sqlite:////absolute.db`; the query may say `synchronous=NORMAL`."""
        parsed = StorageURL(url)
        if parsed.host or parsed.path in ("", "/"):
            raise ConfigurationError("an SQLite URL is sqlite:///relative/path.db or sqlite:////absolute/path.db")
        if (synchronous := parsed.take("synchronous", str)) is not None:
            options = {"synchronous": synchronous.upper()} | options
        return cls(parsed.path[1:], **parsed.options(options))

    async def open(self) -> None:
        """Open the file, and create the table."""
        await self._thread.call(self._connect)

    async def close(self) -> None:
        """Close the file and end the thread, after what it is at, and whether or not that is in time."""
        closed = self._thread.start(self._disconnect)
        try:
            # In less than the time there is: once that is over, it can only be said that the storage is closed.
            async with asyncio.timeout(0.9 * self.timeout.total_seconds()):
                await self._thread.run(closed.result)
        except TimeoutError:
            raise StorageUnavailableError(f"{self.where} is busy; it will be closed as soon as it is not") from None
        finally:
            self._thread.close()

    async def get(self, name: str) -> Payload | None:
        """Select one row."""
        return await self._thread.call(self._row, name)

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """Upsert, insert or update one row."""
        statement = _PUT if expected is ANY else _CREATE if expected is None else _REPLACE
        count = await self._thread.call(self._write, statement, self._of(name, self._column(payload), expected))
        if expected is ANY:
            return ""  # nobody asks for the version, and a digest of a large session takes longer than the rest
        return self.version_of(payload) if count else None

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """Delete one row."""
        statement = _DROP if expected is ANY else _DROP_EXPECTED
        count = await self._thread.call(self._write, statement, self._of(name, None, expected))
        return expected is ANY or count == 1

    async def renew(self, name: str) -> bool:
        """Set a new end."""
        return await self._thread.call(self._write, _RENEW, self._of(name)) == 1

    async def purge(self) -> int:
        """Delete the rows that have ended, a thousand at a time."""
        count = 0
        while True:
            removed = await self._thread.call(self._write, _PURGE, self._of("") | {"most": _PURGED})
            count += removed
            if removed < _PURGED:
                return count

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """Select 500 names at a time, in order."""
        start, end = prefix, after(prefix)
        while page := await self._thread.call(self._page, {"start": start, "end": end, "now": now()}):
            yield page
            start = page[-1] + "\x01"  # names have no control characters, so nothing is between

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """Select the rows in one transaction."""
        return await self._thread.call(self._rows, names)

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        """Upsert the rows in one transaction."""
        await self._thread.call(
            self._write_all, _PUT, [self._of(name, self._column(p)) for name, p in payloads.items()]
        )

    async def drop_many(self, names: Sequence[str]) -> None:
        """Delete the rows in one transaction."""
        await self._thread.call(self._write_all, _DROP, [self._of(name) for name in names])

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        """Insert, update and delete the rows in one transaction."""
        if not await self._thread.call(self._write_records, changes):
            return None
        return {name: self.version_of(payload) for name, (payload, _) in changes.items() if payload is not None}

    async def about(self) -> str:
        """Name the library that is linked to this Python."""
        return f"SQLite {sqlite3.sqlite_version}"

    def translate(self, error: Exception) -> StorageError | None:
        """Say what an SQLite result code means (https://sqlite.org/rescode.html)."""
        if isinstance(error, TimeoutError):
            return StorageUnavailableError(f"{self.where} was locked by another process, or slow, for too long")
        if isinstance(error, FileNotFoundError):
            hint = "make the storage anew in all processes"
            return StorageUnavailableError(f"{self.where} was removed or replaced while it was open; {hint}")
        if not isinstance(error, sqlite3.Error):
            return None
        match _code(error):
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return StorageUnavailableError(f"{self.where} was locked by another process for too long")
            case sqlite3.SQLITE_FULL:
                return StorageUnavailableError(f"{self.where} cannot grow: the disk is full")
            case sqlite3.SQLITE_IOERR:
                return StorageUnavailableError(f"{self.where} cannot be read or written: {error}")
            case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_READONLY:
                return ConfigurationError(f"{self.where} cannot be opened for writing: {error}")
            case sqlite3.SQLITE_NOTADB:
                return ConfigurationError(f"{self.where} is not an SQLite database")
            case sqlite3.SQLITE_CORRUPT:
                return CorruptValueError(f"{self.where} is damaged: {error}")
            case _:
                return StorageError(f"{self.where} failed: {error}")

    def schema(self) -> str:
        """Return the DDL that `create=False` expects."""
        return _SCHEMA

    # In the thread.

    def _connect(self, call: Call) -> None:
        if self._database is not None:
            return
        if not self._path.parent.is_dir():
            raise ConfigurationError(f"{self.where} cannot be opened: folder {self._path.parent} does not exist")
        if not self.create and not self._path.exists():
            raise ConfigurationError(f"{self.where} does not exist, and create=False")
        # No timeout, as what waits inside SQLite does not hear that it was given up: `_insist` does the waiting.
        database = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            self._prepare(database, call)
            self._file = self._identity()
        except BaseException:
            database.close()
            raise
        self._database = database

    def _prepare(self, database: sqlite3.Connection, call: Call) -> None:
        database.create_function("version_of", 1, lambda value: self.version_of(_bytes(value)), deterministic=True)
        execute = partial(self._insist, call, database.execute)
        parts = {name for (name,) in execute(_FIND)}
        if "satchel_sessions" not in parts and not self.create:  # before anything changes: it may be a stranger's
            raise ConfigurationError(f"{self.where} has no table satchel_sessions, and create=False")
        execute("PRAGMA journal_mode = WAL")  # readers and one writer work side by side
        execute(f"PRAGMA synchronous = {self._synchronous}")
        if self.create and "satchel_sessions_expires_at" not in parts:
            self._insist(call, database.executescript, _SCHEMA)

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _insist(self, call: Call, work: Callable[..., T], *arguments: object) -> T:
        """Do what fails while others have the file locked, again and again, until nobody waits for it any more."""
        nap, deadline = 0.001, 0.0
        while True:
            try:
                return work(*arguments)
            except sqlite3.OperationalError as error:
                deadline = deadline or time.monotonic() + self.timeout.total_seconds()
                if _code(error) != sqlite3.SQLITE_BUSY or call.given_up or time.monotonic() > deadline:
                    raise
                time.sleep(nap)
                nap = min(2 * nap, _NAP)

    def _row(self, call: Call, name: str) -> Payload | None:
        row = self._insist(call, self._connected.execute, _GET, self._of(name)).fetchone()
        return None if row is None else _bytes(row[0])

    def _rows(self, call: Call, names: Sequence[str]) -> dict[str, Payload]:
        with self._transaction(call, "BEGIN"):  # so that all are as they were at one time
            return {name: payload for name in names if (payload := self._row(call, name)) is not None}

    def _page(self, call: Call, bounds: dict[str, Any]) -> list[str]:
        return [key for (key,) in self._insist(call, self._connected.execute, _PAGE, bounds)]

    def _write(self, call: Call, statement: str, row: dict[str, Any]) -> int:
        call.check()
        try:
            count = self._connected.execute(statement, row).rowcount
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY:
                raise
            with self._transaction(call) as cursor:
                count = cursor.execute(statement, row).rowcount
        self._purge_some()
        return count

    def _write_all(self, call: Call, statement: str, rows: list[dict[str, Any]]) -> None:
        with self._transaction(call) as cursor:
            cursor.executemany(statement, rows)
        self._purge_some()

    def _write_records(self, call: Call, changes: Mapping[str, tuple[Payload | None, str | None]]) -> bool:
        done = False
        with suppress(_MismatchError), self._transaction(call) as cursor:
            for name, (payload, expected) in changes.items():
                column = None if payload is None else self._column(payload)
                row = self._of(name, column, expected)
                if expected is None and payload is None:
                    if cursor.execute(_GET, row).fetchone():
                        raise _MismatchError
                else:
                    statement = _DROP_EXPECTED if payload is None else _CREATE if expected is None else _REPLACE
                    if not cursor.execute(statement, row).rowcount:
                        raise _MismatchError
            done = True
        if done:
            self._purge_some()
        return done

    @contextmanager
    def _transaction(self, call: Call, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Cursor]:
        database = self._connected
        with closing(database.cursor()) as cursor:
            self._insist(call, cursor.execute, begin)
            try:
                call.check()  # under the lock, so that what was given up never comes after what is newer
                yield cursor
                self._insist(call, cursor.execute, "COMMIT")
            except BaseException:
                if database.in_transaction:  # after some errors SQLite has taken it back (sqlite.org/lang_transaction)
                    cursor.execute("ROLLBACK")
                raise

    def _purge_some(self) -> None:
        """Once a minute, delete some rows that have ended; wait for nobody."""
        before, at = self._purged, time.monotonic()
        if self.ttl is not None and at - before > _PURGE_EVERY:
            self._purged = at
            with suppress(sqlite3.Error):  # the write has been made; purge_expired() says what is wrong
                row = self._of("") | {"most": _PURGED_BESIDE}
                if self._connected.execute(_PURGE, row).rowcount == _PURGED_BESIDE:
                    self._purged = before  # there are more: the next write goes on

    @property
    def _connected(self) -> sqlite3.Connection:
        if self._database is None:
            raise StorageClosedError(f"{self!r} is closed")
        if time.monotonic() - self._looked > _LOOK_EVERY:
            if self._identity() != self._file:
                raise FileNotFoundError
            self._looked = time.monotonic()
        return self._database

    def _identity(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_dev, found.st_ino

    def _of(self, name: str, column: str | bytes | None = None, expected: Expected = ANY) -> dict[str, Any]:
        """Return the parameters of a statement about one row."""
        at = now()
        end = None if self.ttl_ms is None else at + self.ttl_ms + 1  # now is cut to the millisecond
        return {"key": name, "payload": column, "expires_at": end, "now": at, "expected": expected}

    def _column(self, payload: Payload) -> str | bytes:
        return payload.decode() if self.codec.is_text else payload


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the low byte is the primary code


def _bytes(column: str | bytes) -> Payload:
    return column.encode() if isinstance(column, str) else column
