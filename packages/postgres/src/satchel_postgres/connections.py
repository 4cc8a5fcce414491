"""Connections of psycopg: made from a URL or lent by a pool, each to one statement at a time."""

import asyncio
import math
import os
import re
import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from traceback import clear_frames
from typing import Any, Final, Literal
from urllib.parse import quote, unquote
from weakref import WeakSet

import psycopg
from psycopg import AsyncConnection, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool

from satchel import ConfigurationError, StorageURL

Connection = AsyncConnection[Any]
Threshold = int | Literal["auto"] | None

_SCHEMES: Final = ("postgres", "postgresql")
_OURS: Final = frozenset(
    ("namespace", "ttl", "timeout", "create", "table", "jsonb", "max_connections", "prepare_threshold")
)
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_AUTHORITIES: Final = (  # Debian, Fedora, openSUSE, Alpine and macOS
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_ABOUT_A_NAME: Final = re.compile(r'(invalid|(missing|extra) key/value separator "=" in) URI query parameter: "[^"]*"')
_IDLE: Final = 300.0  # seconds; firewalls and servers tend to forget connections that are idle for longer


def read_url(url: str) -> tuple[StorageURL, dict[str, Any]]:
    """Return a URL with the options that are ours, and what of it is libpq's.

    What libpq is to read is handed to it letter by letter: a plus sign, say, is no space to it.
    """
    whole = StorageURL(url)  # libpq does not refuse what is there twice, and shows in messages what it reads
    base, _, query = url.partition("?")
    items = query.split("&") if query else []
    ours = [item for item in items if unquote(item.partition("=")[0]) in _OURS]
    parsed = StorageURL(f"{base}?{'&'.join(ours)}" if ours else base)
    if parsed.scheme not in _SCHEMES:
        raise ConfigurationError(f"a PostgreSQL URL starts with postgresql:// or postgres://, not {parsed.scheme}://")
    theirs = [item for item in items if item not in ours]
    libpq_url = f"postgresql{base[len(parsed.scheme) :]}" + (f"?{'&'.join(theirs)}" if theirs else "")
    try:
        said = conninfo_to_dict(libpq_url)
    except psycopg.Error as error:
        # Of a message that is about more than the name of an option nothing is shown: it may hold a password. So may
        # the name, if a password in the query has a & that is not escaped.
        text = str(error).strip()
        is_shown = _ABOUT_A_NAME.fullmatch(text) and not any(map(_is_secret, theirs))
        known = text if is_shown else "libpq cannot read it"
        raise whole.wrong_option(f"a PostgreSQL URL is malformed: {known}") from None
    _check(said)
    _verify(said)
    return parsed, said


def _is_secret(item: str) -> bool:
    """Tell whether an item of a query sets an option that is to be hidden, as libpq has it."""
    name = unquote(item.partition("=")[0])
    return any(o.keyword.decode() == name and o.dispchar == b"*" for o in pq.Conninfo.get_defaults())


def _check(said: dict[str, Any]) -> None:
    """Refuse what libpq would only when it connects."""
    mode = said.get("sslmode", "prefer")
    if mode not in _SSL_MODES:
        raise ConfigurationError(f"sslmode is {mode!r}; it is one of {', '.join(_SSL_MODES)}")
    for name in ("sslrootcert", "sslcert", "sslkey"):
        file = said.get(name)
        if file and not (name == "sslrootcert" and file == "system") and not Path(file).is_file():
            raise ConfigurationError(f"{name} is {file!r}, which is no file")


def _verify(said: dict[str, Any]) -> None:
    """Have the server's certificate and name verified, unless the server is here or somebody said otherwise.

    libpq by itself takes any certificate, and no TLS at all (libpq, "SSL Support", table 34.1).
    """
    known = _environment() | said
    if service := known.get("service"):
        in_file = _read_service(service, known.get("servicefile") or os.environ.get("PGSERVICEFILE"))
        if in_file is None and "sslmode" not in known:
            raise ConfigurationError(
                f"what the service {service!r} says of sslmode cannot be found out here: say sslmode in the URL"
            )
        known = _environment() | (in_file or {}) | said
    # libpq connects to hostaddr; host is the name that it verifies then.
    hosts = [each for name in ("host", "hostaddr") for each in known.get(name, "").split(",")]
    if "sslmode" not in known and not all(map(_is_local, hosts)):
        known["sslmode"] = said["sslmode"] = "verify-full"
    own = Path.home() / ".postgresql" / "root.crt"  # where libpq looks
    if known.get("sslmode", "").startswith("verify-") and "sslrootcert" not in known and not own.is_file():
        known["sslrootcert"] = said["sslrootcert"] = "system"
    if known.get("sslrootcert") == "system":
        # The OpenSSL inside of psycopg-binary looks for the system's authorities where no system has them.
        files = (ssl.get_default_verify_paths().cafile, *_AUTHORITIES)
        found = next((file for file in files if file and Path(file).is_file()), "system")
        said |= {"sslrootcert": found, "sslmode": "verify-full"}  # the only mode that "system" goes with


def _read_service(service: str, file: str | None) -> dict[str, str] | None:
    """Return what a service's file says, or None if that cannot be known (libpq, "The Connection Service File").

    It may be in a folder that only libpq knows, since it was built, or in a directory service.
    """
    files = [Path(file) if file else Path.home() / ".pg_service.conf"]
    if folder := os.environ.get("PGSYSCONFDIR"):
        files.append(Path(folder) / "pg_service.conf")
    for each in files:
        with suppress(OSError):
            text = "\n".join(["", *map(str.strip, each.read_text(errors="replace").splitlines())])
            _, title, text = text.partition(f"\n[{service}]")
            lines = text.partition("\n[")[0].split("\n")[1:]
            if any(line.startswith("ldap") for line in lines):
                return None
            if title:
                items = [line.partition("=") for line in lines if not line.startswith("#")]
                return {name: value for name, _, value in reversed(items)}  # the first of a name counts
    return None


def _is_local(host: str) -> bool:
    """Tell whether a server is on this machine: a socket's folder or name, or the loopback interface."""
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _environment() -> dict[str, str]:
    """Return what `PG*` variables say, by the name of libpq's option."""
    variables = {option.keyword.decode(): (option.envvar or b"").decode() for option in pq.Conninfo.get_defaults()}
    return {name: os.environ[variable] for name, variable in variables.items() if os.environ.get(variable)}


def _where(said: Mapping[str, Any]) -> str:
    """Name the server and database of a connection, without secrets."""
    known = {
        option.keyword.decode(): option.val.decode() for option in pq.Conninfo.get_defaults() if option.val is not None
    } | {name: str(value) for name, value in said.items() if value is not None}
    database = quote(known.get("dbname") or known.get("user", ""), safe="")
    hosts = (known.get("host") or known.get("hostaddr") or "").split(",")
    if hosts[0].startswith("/"):
        return f"postgresql:///{database}?host={hosts[0]}"
    ports = known.get("port", "5432").split(",")
    ports += ports[-1:] * (len(hosts) - len(ports))
    each = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in zip(hosts, ports, strict=False))
    return f"postgresql://{','.join(each) if hosts != [''] else ''}/{database}"


def is_readable(connection: Connection) -> bool:
    """Tell, without a word to the server, whether there is something to read, or the end."""
    if hasattr(select, "poll"):
        polling = select.poll()
        polling.register(connection.fileno(), select.POLLIN)
        return bool(polling.poll(0))
    return bool(select.select([connection.fileno()], [], [], 0)[0])  # Windows, where any number of a socket will do


def cut(connection: Connection) -> None:
    """Break a connection under whoever waits for its server: an error ends the wait; what is unsent stays unsent."""
    with (
        suppress(OSError, psycopg.Error),
        socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as end,
    ):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)


class Made:
    """At most `most` connections, made when they are needed; the one used last is taken first.

    It is not a pool of psycopg_pool's, because what is wrong has to be said at once and work again at once: there, a
    failure to connect goes to the log, callers learn that no connection came in time, and the next attempt is up to
    minutes away (psycopg, "Connection pools", on `reconnect_timeout`).

    Args:
        said: libpq's options.
        most: how many.
        seconds: how long a call may take.
        prepare_threshold: after how many times a statement is prepared; None is never, "auto" is as `know` finds.

    Attributes:
        where: the server and the database, without secrets.
        user: who logs in, if that is said.
        prepare_threshold: what holds.
    """

    def __init__(self, said: dict[str, Any], most: int, seconds: float, prepare_threshold: Threshold) -> None:
        known = _environment() | said
        defaults: dict[str, Any] = {"fallback_application_name": "satchel", "keepalives_idle": 30}
        if (hosts := known.get("host", "").count(",") + 1) > 1 and "connect_timeout" not in known:
            defaults["connect_timeout"] = max(2, int(seconds / hosts))  # a dead one leaves time to try the next
        self.where = _where(said)
        self.user: str | None = known.get("user")
        self._conninfo = make_conninfo(**defaults | said | {"client_encoding": "UTF8"})
        self._slots = asyncio.Semaphore(most)
        self._idle: deque[tuple[Connection, float]] = deque()
        self._closed = False
        self._automatic = prepare_threshold == "auto"
        self.prepare_threshold = None if prepare_threshold == "auto" else prepare_threshold

    def know(self, connection: Connection, pid: int) -> None:
        """Take note of the id that the server's process has behind a connection: is it the one that was given out?

        A pooler gives out ids of its own. It may hand the next statement to a process for which another client has
        prepared something else under the same name, and that would be carried out.
        """
        if self._automatic:
            self.prepare_threshold = 5 if connection.info.backend_pid == pid else None

    async def take(self) -> Connection:
        """Return an open connection as soon as fewer than `most` are taken."""
        await self._slots.acquire()
        try:
            while self._idle:
                connection, since = self._idle.pop()
                # The server has nothing to say to one who asked nothing, but farewell.
                if since > time.monotonic() - _IDLE and not is_readable(connection):
                    break
                await connection.close()
            else:
                connection = await AsyncConnection.connect(self._conninfo, autocommit=True)
        except BaseException as error:
            self._slots.release()
            if isinstance(error, asyncio.CancelledError):
                clear_frames(error.__traceback__)  # they hold what was half connected, and would keep it open
            raise
        connection.prepare_threshold = self.prepare_threshold
        return connection

    async def give_back(self, connection: Connection) -> None:
        """Keep a connection that is fit to be used again. If it broke, the idle ones are most likely broken, too."""
        self._slots.release()
        oldest = time.monotonic() - _IDLE
        if connection.info.transaction_status == pq.TransactionStatus.IDLE and not self._closed:
            self._idle.append((connection, time.monotonic()))
        else:
            await connection.close()
            oldest = math.inf
        while self._idle and self._idle[0][1] < oldest:
            await self._idle.popleft()[0].close()

    async def close(self) -> None:
        """Close what is idle, and from now on whatever is given back."""
        self._closed = True
        while self._idle:
            await self._idle.pop()[0].close()


class Lent:
    """The connections of a pool of psycopg_pool's that was passed in, whatever its options are."""

    user = None

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self.where = _where_of(pool)
        self._switched: WeakSet[Connection] = WeakSet()  # to autocommit, and to be switched back

    async def take(self) -> Connection:
        """Return an open connection. What is switched here is known to psycopg only, and costs no round trip."""
        while True:
            connection: Connection = await self._pool.getconn()
            if is_readable(connection):
                with suppress(psycopg.Error):  # what was notified is kept; of a lost connection psycopg takes notice
                    connection.pgconn.consume_input()
                    connection.pgconn.consume_input()  # the end is behind the farewell
            if not connection.closed:
                break
            await self._pool.putconn(connection)
        try:
            encoding = connection.pgconn.parameter_status(b"client_encoding")
            if encoding not in (b"UTF8", None):
                raise ConfigurationError(
                    f"{self.where} has connections in {encoding.decode()}: their client_encoding has to be UTF8"
                )
            if connection.info.transaction_status == pq.TransactionStatus.INTRANS:  # by `check` or `configure`
                await connection.rollback()
            if not connection.autocommit:
                await connection.set_autocommit(True)
                self._switched.add(connection)
        except BaseException:
            await self._pool.putconn(connection)
            raise
        return connection

    async def give_back(self, connection: Connection) -> None:
        """Return a connection to the pool as it was."""
        if connection in self._switched:
            self._switched.discard(connection)
            if connection.info.transaction_status == pq.TransactionStatus.IDLE:
                await connection.set_autocommit(False)
        await self._pool.putconn(connection)

    def know(self, connection: Connection, pid: int) -> None:
        """Leave it to the pool whether statements are prepared."""

    async def close(self) -> None:
        """Leave the pool open."""


def _where_of(pool: AsyncConnectionPool[Any]) -> str:
    """Name the server and database of a pool, without secrets."""
    if callable(pool.conninfo) or callable(pool.kwargs):
        return f"postgresql://{pool.name}"
    try:
        return _where(conninfo_to_dict(pool.conninfo or "", **_of_libpq(pool.kwargs or {})))
    except psycopg.ProgrammingError:
        raise ConfigurationError(f"the pool {pool.name!r} has a connection string that libpq cannot read") from None


def _of_libpq(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments of `connect` that name the server."""
    return {name: arguments[name] for name in ("host", "hostaddr", "port", "dbname", "user") if name in arguments}
