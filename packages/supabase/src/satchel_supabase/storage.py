"""Sessions in Supabase: a row per session, written by functions of the database that its data API calls."""

import binascii
import hashlib
import logging
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack

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
    Threads,
    UnsupportedValueError,
)
from satchel.keys import after, show
from satchel.network import unreachable
from satchel.storage import V
from satchel_supabase.clients import TABLE, Lent, Made, Target, checked, parse, where, word
from satchel_supabase.schema import sql

if TYPE_CHECKING:
    from postgrest import APIError
    from supabase import AsyncClient

logger = logging.getLogger("satchel")

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

_FOR_EVER: Final = 6_000_000_000_000_000  # milliseconds: 190 000 years, and timestamps end in 294276
_PAGE: Final = 500  # names in an answer
_PURGED_AT_ONCE: Final = 5000

# https://docs.postgrest.org/en/stable/references/errors.html, https://www.postgresql.org/docs/current/errcodes-appendix.html
_NO_FUNCTION: Final = "PGRST202"
_FORBIDDEN: Final = "42501"
_NOT_SET_UP: Final = {_NO_FUNCTION, "PGRST203", "PGRST205", "42883", "42P01", "42703"}
_KEY_REFUSED: Final = {"PGRST300", "PGRST301", "PGRST302", "PGRST303", "22023", "401", "403"}
_DOWN: Final = re.compile("PGRST00.|(08|40|53|55|57|58)...|25006|408|425|429|5..")
_ELSEWHERE: Final = re.compile("[23]..|400|404|405|PGRST117|PGRST125")
_ABOUT_KEYS: Final = re.compile("key|auth|credential|token|jwt", re.IGNORECASE)


class SupabaseStorage(EncodedStorage[V]):
    """One row per session in a table, through functions that `schema()` creates: one request for each call.

    The API cannot create anything, so an administrator runs what `satchel schema URL` prints, once.

    Args:
        supabase: a URL, or an `AsyncClient` of supabase, which is used with whatever options it has, and not closed.
        table: the name of the table; "satchel_sessions" by default.
        schema: the schema that it is in, which the API has to expose; "public" by default.
        max_connections: how many connections there may be; other calls wait. 50 by default.
        http2: speak HTTP/2, with all calls on one connection; False by default.
        options: see `satchel.StorageOptions`. `create` does nothing, as the API can create nothing.
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
        # Escaped in an answer it may double, and a field ends at 1 GB: https://www.postgresql.org/docs/current/limits.html
        max_value_bytes=250_000_000,
    )
    loop_bound = True

    def __init__(
        self,
        supabase: "str | AsyncClient",
        *,
        table: str | None = None,
        schema: str | None = None,
        max_connections: int | None = None,
        http2: bool | None = None,
        **options: Unpack[StorageOptions[V]],
    ) -> None:
        self._target: Target | None = None
        self._clients: Made | Lent | None = None
        of_clients = {"schema": schema, "max_connections": max_connections, "http2": http2}
        if isinstance(supabase, str):
            self._target, options = parse(supabase, options, table=table, **of_clients)
            self._table, self._schema, project = self._target.table, self._target.schema, self._target.project
        else:
            client = checked(supabase, of_clients)
            self._clients = Lent(client)
            self._table = word("table", TABLE if table is None else table)
            self._schema = word("the schema of the client", client.options.schema)
            project = str(client.supabase_url).rstrip("/")
        super().__init__(where=f"{where(project)}/{self._table}", **options)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open `supabase://PROJECT.supabase.co/table`, with the key from SUPABASE_KEY; for more see the README."""
        return cls(url, **options)

    async def open(self) -> None:
        """See that the table is set up, and that the key gives the rights to it."""
        if self._target is not None and self._clients is None:
            thread = Threads(1, "satchel-supabase")  # to import the driver takes a quarter of a second
            try:
                self._clients = await thread.run(Made, self._target)
            finally:
                thread.close()
        await self._ask(bool, "check", names=[self._prefix])
        await self._look_for_commits()

    async def close(self) -> None:
        """Close the connections, unless the client was passed in."""
        if self._clients is not None:
            await self._clients.aclose()

    async def get(self, name: str) -> Payload | None:
        """Select one row."""
        return (await self._payloads([name]))[0]

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """Upsert, insert or update one row."""
        if expected is ANY:
            await self.put_many({name: payload})
            return ""  # nobody asks for the version
        row = {"name": name, "replacement": self._column(payload), "lifetime_ms": self._lifetime_ms}
        written = await self._send(bool, "swap", **row, expected=_digest(expected))
        return self.version_of(payload) if written else None

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """Delete one row."""
        condition = None if expected is ANY else _digest(expected)
        dropped = await self._send(bool, "drop", names=[name], expected=condition)
        return expected is ANY or dropped

    async def renew(self, name: str) -> bool:
        """Set a new end."""
        return await self._send(bool, "renew", name=name, lifetime_ms=self._lifetime_ms)

    async def purge(self) -> int:
        """Delete the rows that have ended, in every namespace that the key gives a right to."""
        purged = 0
        while count := await self._send(int, "purge", prefix=self._prefix, most=_PURGED_AT_ONCE):
            purged += count
        return purged

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """Select 500 names at a time, in order."""
        bounds = {"prefix": prefix, "until": after(prefix), "most": _PAGE}
        previous: str | None = None
        while True:
            page = (await self._ask(dict, "names", **bounds, previous=previous))["names"]
            yield page
            if len(page) < _PAGE:
                return
            previous = page[-1]

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """Select the rows in one statement."""
        payloads = await self._payloads(names)
        return {name: payload for name, payload in zip(names, payloads, strict=True) if payload is not None}

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        """Upsert the rows in one statement."""
        columns = [self._column(payload) for payload in payloads.values()]
        await self._send(bool, "put", names=list(payloads), payloads=columns, lifetime_ms=self._lifetime_ms)

    async def drop_many(self, names: Sequence[str]) -> None:
        """Delete the rows in one transaction."""
        await self._send(bool, "drop", names=list(names), expected=None)

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        """Insert, update and delete the rows in one transaction."""
        columns = [None if payload is None else self._column(payload) for payload, _ in changes.values()]
        expected = [_digest(version) for _, version in changes.values()]
        if wrong := await self._commit(list(changes), columns, expected):
            raise self.conflict(wrong[0])
        return {name: self.version_of(payload) for name, (payload, _) in changes.items() if payload is not None}

    def version_of(self, payload: Payload) -> str:
        """Return the SHA-256 of what is in the column, where the functions compute it, too."""
        return hashlib.sha256(self._column(payload).encode()).hexdigest()

    def schema(self) -> str:
        """Return the SQL to run in the dashboard."""
        return sql(self._schema, self._table)

    def translate(self, error: Exception) -> StorageError | None:
        """Say what an error of supabase's, of httpx's, or the code in an answer means."""
        if self._clients is None:
            return None  # there is no driver yet, and to import it here would stall the event loop

        import httpx
        from postgrest import APIError

        match error:
            case APIError():
                return self._refused(error)
            case httpx.TimeoutException():
                return StorageUnavailableError(f"{self.where} did not answer in time")
            case httpx.UnsupportedProtocol() | httpx.InvalidURL() | httpx.ProxyError():
                return ConfigurationError(f"{self.where} cannot be asked: {_line(str(error))}")
            case httpx.TransportError():
                return unreachable(error, self.where) or StorageUnavailableError(f"{self.where} closed the connection")
            case RuntimeError() if "client has been closed" in str(error):
                return ConfigurationError(f"{self.where} has a client that was closed")
        return None

    def _refused(self, error: "APIError") -> StorageError:
        """Translate an answer by its code: of PostgREST, of PostgreSQL, or the status of a page that is neither's."""
        code = str(error.code or "")  # none where the gateway itself has answered in JSON
        name = f"HTTP status {code}" if len(code) == 3 else code or "an error of its gateway"
        said = f"{name}, {_line(error.message)}" if len(code) > 3 else name
        if code in _NOT_SET_UP:
            how = "run what `satchel schema` prints in the SQL editor of the dashboard"
            return ConfigurationError(f"{self.where} is not set up for this release: {how} ({code})")
        if code == _FORBIDDEN:
            return ConfigurationError(f"{self.where} forbids it to the role of its API key: {_line(error.message)}")
        if code in _KEY_REFUSED or (not code and _ABOUT_KEYS.search(error.message or "")):
            return ConfigurationError(f"{self.where} does not take the API key or token: {said}")
        if code == "PGRST106":
            return ConfigurationError(f"{self.where} is not served: its API does not expose the schema {self._schema}")
        if code == "413":
            return ConfigurationError(f"{self.where}: its gateway takes no request of this size")
        if code == "22P05":
            return UnsupportedValueError("has a NUL character, which no text of PostgreSQL holds")
        if _ELSEWHERE.fullmatch(code):
            return ConfigurationError(f"{self.where} is no data API of Supabase: {said}")
        if not code or _DOWN.fullmatch(code):
            return StorageUnavailableError(f"{self.where} cannot do it now: {said}")
        return StorageError(f"{self.where} failed: {name}")

    # In between.

    async def _ask(self, kind: type[T], function: str, **arguments: Any) -> T:
        """Call a function that changes nothing, and if the connection is lost call it once more."""
        import httpx

        try:
            return await self._send(kind, function, **arguments)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            return await self._send(kind, function, **arguments)

    async def _send(self, kind: type[T], function: str, **arguments: Any) -> T:
        """Call a function of the database by one request, with everything in its body, and return its answer.

        The driver sends no POST twice.
        """
        if self._clients is None:
            raise StorageClosedError(f"{self!r} is closed")
        async with self._clients.one() as client:
            answer: Any = (await client.rpc(f"{self._table}_{function}", arguments).execute()).data
        if not isinstance(answer, kind):  # a page of somebody else's, or nothing
            raise ConfigurationError(f"{self.where} does not answer as a data API of Supabase: is its URL right?")
        return answer

    async def _look_for_commits(self) -> None:
        """Do without commits where an earlier release's SQL was run, or its rights were granted."""
        from postgrest import APIError

        try:
            await self._commit([], [], [])
        except APIError as error:
            if error.code not in (_NO_FUNCTION, _FORBIDDEN):
                raise
            logger.warning(
                "%s has no function %s_commit for this role: parts of a group are saved each by itself until what "
                "`satchel schema` prints is run, and granted",
                self.where,
                self._table,
            )
            self.lacks(transactional=False)

    async def _commit(self, names: list[str], replacements: list[str | None], expected: list[str | None]) -> list[str]:
        changes = {"names": names, "replacements": replacements, "expected": expected}
        wrong: list[str] = await self._send(list, "commit", **changes, lifetime_ms=self._lifetime_ms)
        return wrong

    async def _payloads(self, names: Sequence[str]) -> list[Payload | None]:
        columns = await self._ask(list, "get", names=list(names))
        if len(columns) != len(names):
            raise StorageError(f"{self.where} answers with {len(columns)} sessions instead of {len(names)}")
        return [
            None if column is None else self._payload(name, column) for name, column in zip(names, columns, strict=True)
        ]

    def _column(self, payload: Payload) -> str:
        return payload.decode() if self.codec.is_text else b64encode(payload).decode()

    def _payload(self, name: str, column: str) -> Payload:
        if self.codec.is_text:
            return column.encode()
        try:
            return b64decode(column, validate=True)
        except binascii.Error as error:
            raise CorruptValueError(f"{show(name)} in {self.where} is not Base64") from error

    @property
    def _lifetime_ms(self) -> int | None:
        return None if self.ttl_ms is None else min(self.ttl_ms, _FOR_EVER)


def _digest(expected: Expected) -> str | None:
    """Return a version as it can be sent: what is no digest is the version of nothing."""
    return expected if expected is None or (isinstance(expected, str) and expected.isalnum()) else ""


def _line(text: str | None) -> str:
    """Return the first line of a message."""
    return (text or "").partition("\n")[0][:200]
