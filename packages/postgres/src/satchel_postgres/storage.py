"""Sessions in PostgreSQL: a row of JSON per session, through connections in autocommit mode."""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Final, Self, TypeVar, Unpack, cast

from psycopg import AsyncCursor, adapters, errors
from psycopg_pool import AsyncConnectionPool

from satchel import (
    ANY,
    JSON,
    Capabilities,
    Codec,
    ConfigurationError,
    EncodedStorage,
    Expected,
    Payload,
    StorageError,
    StorageOptions,
)
from satchel.adapter import kind_of, milliseconds
from satchel.keys import after
from satchel.storage import V
from satchel.threads import positive
from satchel.urls import boolean
from satchel_postgres.connections import Lent, Made, Threshold, read_url
from satchel_postgres.errors import translate
from satchel_postgres.jsonb import LONGEST, JsonbCodec
from satchel_postgres.running import Runner, rows, value
from satchel_postgres.statements import JSONB, Column, Statements

T = TypeVar("T")

logger = logging.getLogger("satchel")

_PAGE: Final = 500  # names in one round trip of a listing
_PURGE: Final = 1000  # rows that one statement of a purge removes
_COMMITS: Final = 10  # attempts at a commit of several rows, each taken back as one of them changed meanwhile
_PURGE_EVERY: Final = 60.0  # seconds between two purges that a write sets off


class PostgresStorage(EncodedStorage[V]):
    """One row per session in a table, read and written by single statements that commit by themselves.

    Args:
        postgres: a URL of libpq's, or an open `psycopg_pool.AsyncConnectionPool`, which may have any options, and is
            not closed.
        table: `name` or `schema.name`, in upper and lower case as it is written; names with dots in double quotes.
        jsonb: whether the table has sessions in a column of this type, too, for queries and indexes; what jsonb cannot
            hold is refused then. False by default.
        max_connections: how many calls are at the server at once, each on a connection of its own; others wait. 10 by
            default; a pool has a size of its own.
        prepare_threshold: after how many times on one connection a statement is prepared, which halves the server's
            work; None is never. "auto", the default, is 5, or None behind a pooler such as PgBouncer. A pool has one
            of its own.
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
        # A field has 1 GB, and so has a message with all its parts: Documentation, "Appendix K. PostgreSQL Limits".
        max_value_bytes=1_000_000_000,
    )
    loop_bound = True
    default_table: ClassVar[str] = "satchel_sessions"

    def __init__(
        self,
        postgres: str | AsyncConnectionPool[Any],
        *,
        table: str | None = None,
        jsonb: bool | None = None,
        max_connections: int | None = None,
        prepare_threshold: Threshold = "auto",
        **options: Unpack[StorageOptions[V]],
    ) -> None:
        if isinstance(postgres, str):
            parsed, said = read_url(postgres)
            in_url = {name: parsed.take(name, str) for name in ("table", "prepare_threshold")}
            jsonb_in_url, most_in_url = parsed.take("jsonb", boolean), parsed.take("max_connections", int)
            options = cast("StorageOptions[V]", parsed.options(cast("dict[str, Any]", options)))
            table = in_url["table"] if table is None else table
            jsonb = jsonb_in_url if jsonb is None else jsonb
            threshold = _threshold(
                in_url["prepare_threshold"] or "auto" if prepare_threshold == "auto" else prepare_threshold
            )
            most = positive(
                "max_connections",
                max_connections if max_connections is not None else 10 if most_in_url is None else most_in_url,
            )
            seconds = milliseconds("timeout", options.get("timeout", timedelta(seconds=10))) / 1000
            connections: Made | Lent = Made(said, most, seconds, threshold)
        elif not isinstance(postgres, AsyncConnectionPool):
            raise ConfigurationError(
                f"PostgresStorage takes a URL or an AsyncConnectionPool of psycopg_pool, not {kind_of(postgres)}"
            )
        elif max_connections is not None or prepare_threshold != "auto":
            raise ConfigurationError("a pool has its own max_size, and prepare_threshold among the kwargs it was given")
        else:
            connections = Lent(postgres)
        codec = options.get("codec", cast("Codec[V]", JSON))
        if jsonb and codec.is_text:
            options = options | {"codec": JsonbCodec(codec)}
            self.capabilities = replace(self.capabilities, max_value_bytes=LONGEST)
        super().__init__(where=connections.where, **options)
        self._sql = Statements(self.default_table if table is None else table, self.ttl_ms, jsonb=bool(jsonb))
        self._json = codec.is_text  # until the server finds that it is none
        self._connections = connections
        self._runner = Runner(connections)
        self._purge_at = time.monotonic() + random.uniform(0, _PURGE_EVERY)  # many processes, each at its own time

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open `postgresql://user:password@host:port/database`; for the query see the README."""
        return cls(url, **options)

    async def open(self) -> None:
        """Look at the server and the table, and create the table."""
        columns = await self._look()
        if columns is None:
            if not self.create:
                raise ConfigurationError(f"{self.where} has no table {self._sql.name}, and create=False")
            try:
                await self._send(self._sql.create_table)
            except errors.InsufficientPrivilege as error:
                columns = await self._look()  # another process may have created it, with more rights
                if columns is None:
                    raise ConfigurationError(
                        f"{self.where} has no table {self._sql.name}, and its user may not create it: "
                        "let an administrator run what `satchel schema` prints"
                    ) from error
            columns = columns or await self._look()
        for name, kind in self._sql.columns.items():
            if wrong := _wrong(name, kind, (columns or {}).get(name)):
                hint = ""
                if name == "payload_jsonb":
                    drop = f"DROP {name}, " if name in (columns or {}) else ""
                    hint = f": ALTER TABLE {self._sql.name} {drop}ADD {JSONB}"
                raise ConfigurationError(f"{self.where} has a table {self._sql.name} whose column {name} {wrong}{hint}")

    async def close(self) -> None:
        """Close the connections, unless a pool was passed in."""
        await self._runner.close()

    async def get(self, name: str) -> Payload | None:
        """SELECT one row."""
        return value(await self._send(self._sql.get, key=name))

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """INSERT … ON CONFLICT DO UPDATE, or UPDATE where the digest is the one expected."""
        if expected is ANY:
            answer = await self._write(self._sql.put, payload, key=name)
        elif expected is None:
            answer = await self._write(self._sql.create, payload, key=name)
        else:
            answer = await self._write(self._sql.replace, payload, key=name, digest=_digest(expected))
        self._purge_later()
        version = value(answer)
        return None if version is None else version.decode()

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """DELETE one row."""
        if isinstance(expected, str):
            return (await self._send(self._sql.drop_expected, key=name, digest=_digest(expected))).rowcount == 1
        await self._send(self._sql.drop, key=name)
        return True

    async def renew(self, name: str) -> bool:
        """UPDATE the end of one row."""
        return (await self._send(self._sql.renew, key=name)).rowcount == 1

    async def purge(self) -> int:
        """DELETE a thousand rows at a time, but those that others are at."""
        count = 0
        while True:
            removed = (await self._send(self._sql.purge, most=_PURGE)).rowcount
            count += removed
            if removed < _PURGE:
                return count

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """SELECT 500 names at a time, in order."""
        start, end = prefix, after(prefix)
        while found := rows(await self._send(self._sql.page, start=start, end=end, most=_PAGE)):
            yield [name.decode() for (name,) in found]
            start = found[-1][0].decode() + "\x01"  # names have no control characters, so nothing is between

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """SELECT the rows."""
        found = rows(await self._send(self._sql.get_many, keys=list(names)))
        return {name.decode(): payload for name, payload in found}

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        """INSERT … ON CONFLICT DO UPDATE of all rows."""
        names = sorted(payloads)  # so that no two batches wait for each other
        await self._write(self._sql.put_many, [payloads[name] for name in names], keys=names)
        self._purge_later()

    async def drop_many(self, names: Sequence[str]) -> None:
        """DELETE the rows."""
        await self._send(self._sql.drop_many, keys=list(names))

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        """Create, update and delete the rows in one statement.

        It is sent again if a row changed while it was carried out: the next one sees which.
        """
        names = sorted(changes)  # so that no two batches wait for each other
        payloads = _array([changes[name][0] for name in names])
        expected = [changes[name][1] for name in names]
        digests = _array([None if version is None else _digest(version) for version in expected])
        for _ in range(_COMMITS):
            try:
                wrong = value(await self._write(self._sql.commit, payloads, keys=names, digests=digests))
            except errors.DivisionByZero:
                continue
            if wrong is not None:
                raise self.conflict(wrong.decode())
            self._purge_later(at_once=(None, None) in changes.values())
            return {name: self.version_of(payload) for name, (payload, _) in changes.items() if payload is not None}
        return None

    def schema(self) -> str:
        """Return the DDL that `create=False` expects, and the rights that are needed."""
        return self._sql.schema() + self._sql.grants(self._connections.user or "satchel")

    async def about(self) -> str:
        """SHOW server_version."""
        return f"PostgreSQL {(value(await self._send(b'SHOW server_version')) or b'').decode()}"

    def translate(self, error: Exception) -> StorageError | None:
        """Say what a SQLSTATE means, or a failure to connect."""
        return translate(error, self.where)

    async def _look(self) -> dict[str, Column] | None:
        """Return the table's columns by name, or None if it is not there, having looked at the server."""
        cursor = await self._send(self._sql.look, table=self._sql.name)
        pid, encoding, fsync, commit, hidden, kept, columns = rows(cursor)[0]
        if hidden == b"true":
            raise ConfigurationError(
                f"{self.where} has row-level security on {self._sql.name}: what it hides would seem to be missing, "
                "so give the user BYPASSRLS"
            )
        if encoding != b"UTF8":
            raise ConfigurationError(f"{self.where} is a database in {encoding.decode()}; sessions need one in UTF8")
        if b"off" in (fsync, commit):
            logger.warning(
                "%s: fsync or synchronous_commit is off, so a crash may lose acknowledged writes", self.where
            )
        if kept == b"u":
            logger.warning("%s: table %s is UNLOGGED, so a crash empties it", self.where, self._sql.name)
        self._connections.know(cursor.connection, int(pid))
        return None if columns is None else {name: Column(*found) for name, found in json.loads(columns).items()}

    async def _write(
        self, statement: bytes, payload: Payload | list[Payload | None] | None, **parameters: Any
    ) -> AsyncCursor[Any]:
        """Send a statement that writes: JSON into its column, what is no text, or no JSON, as bytes into the other."""
        if self._json:
            try:
                return await self._send(statement, **parameters, payload=_text(payload), bytes=None)
            except errors.InvalidTextRepresentation:
                self._json = False
        return await self._send(statement, **parameters, payload=None, bytes=payload)

    async def _send(self, statement: bytes, **parameters: Any) -> AsyncCursor[Any]:
        return await self._runner.run(statement, parameters)

    def _purge_later(self, *, at_once: bool = False) -> None:
        """Once a minute, or because there is something, let a write set off a purge, which it does not wait for."""
        if at_once or (self.ttl is not None and time.monotonic() > self._purge_at):
            self._purge_at = time.monotonic() + _PURGE_EVERY
            self._runner.start(self._purge_in_time())

    async def _purge_in_time(self) -> None:
        async with asyncio.timeout(self.timeout.total_seconds()):
            await self.purge()


def _wrong(name: str, kind: str, found: Column | None) -> str | None:
    """Say what is wrong with a column that is to be of a type, if something is."""
    if found is None:
        return f"is missing, not {kind}"
    if found.oid != adapters.types[kind].oid:
        return f"is {found.kind}, not {kind}"
    if name == "key" and not found.deterministic:
        return "has a collation to which different keys are the same"
    if name == "payload_jsonb" and not found.generated:
        return "is not GENERATED, so nothing would fill it"
    return None


def _text(payload: Payload | list[Payload | None] | None) -> str | list[str | None] | None:
    if isinstance(payload, list):
        return [None if each is None else each.decode() for each in payload]
    return None if payload is None else payload.decode()


def _array(values: list[T | None]) -> list[T | None] | None:
    """Return what an array is sent as; one of nothing but NULL as NULL, which `unnest` takes for the same.

    Of that psycopg does not know the type, and sends it as text, in which NULL is a word if array_nulls is off.
    """
    return None if all(value is None for value in values) else values


def _digest(version: str) -> bytes:
    """Return the digest that a version spells, or one that no record has."""
    try:
        digest = bytes.fromhex(version)
    except ValueError:
        return b""
    return digest if digest.hex() == version else b""


def _threshold(said: object) -> Threshold:
    """Return when statements are to be prepared, as an argument or the URL says."""
    if said in (None, "none"):
        return None
    if said == "auto":
        return "auto"
    if isinstance(said, str) and said.isdecimal():
        return int(said)
    if type(said) is int and said >= 0:
        return said
    raise ConfigurationError(f"prepare_threshold is {said!r}; it is a number, none or auto")
