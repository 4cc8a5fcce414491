"""Clients of google-cloud-firestore: named by a URL, lent to calls, and replaced when their connection has failed."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import google.auth
import grpc.aio  # type: ignore[import-untyped]
from google.api_core import exceptions as driver
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport

from satchel import ConfigurationError, StorageURL, Threads

T = TypeVar("T")

# https://cloud.google.com/firestore/quotas: "Constraints on collection IDs", "Maximum size for a document name".
_COLLECTION: Final = re.compile(r"(?!\.\.?$)(?!__.*__$)[^/\x00-\x1f\x7f]+")
_LONGEST_COLLECTION: Final = 4000  # bytes: 6 KiB for a whole name, less a document id and the project
_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}")
_PROJECT: Final = re.compile(r"[a-z0-9.-]*")
# https://cloud.google.com/firestore/docs/manage-databases, "Database ID".
_DATABASE: Final = re.compile(r"\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9]")
_KINDS: Final = {
    "database": "the id of a database: 4 to 63 small letters, digits and hyphens",
    "emulator": "a host:port",
    "endpoint": "a host:port",
}
_CHANNEL: Final = (
    ("grpc.keepalive_time_ms", 30_000),  # this and the two sizes are those of the driver's own channels
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Otherwise a new channel would be given the connection of the one that it replaces.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass
class Place:
    """Where the sessions are.

    Attributes:
        project: the project's id, or None as long as nothing names it.
        database: the database's id, or "" where a client that was passed in does not tell.
        collection: its path, without slashes around it.
        emulator: the emulator's `host:port`, or None.
        endpoint: the `host:port` to use instead of firestore.googleapis.com, or None.
    """

    project: str | None
    database: str
    collection: str
    emulator: str | None = None
    endpoint: str | None = None

    @property
    def where(self) -> str:
        """The place as a URL."""
        query = "" if self.database in ("", "(default)") else f"?database={self.database}"
        return f"firestore://{self.project or ''}/{self.collection}{query}"


def place(url: str, collection: str | None, given: Any) -> tuple[Place, Any]:
    """Return what a URL names, and the options that all storages have."""
    parsed = StorageURL(url)
    if parsed.scheme != "firestore":
        raise ConfigurationError(f"a Firestore URL starts with firestore://, not with {parsed.scheme}://")
    if len(parsed.hosts) > 1 or parsed.port is not None or parsed.username is not None:
        raise ConfigurationError("a Firestore URL is firestore://project/collection?database=name")
    if not _PROJECT.fullmatch(parsed.host):
        raise ConfigurationError(f"{ascii(parsed.host)[:80]} is no id of a project")
    emulator, endpoint = parsed.take("emulator", str), parsed.take("endpoint", str)
    if emulator is not None and endpoint is not None:
        raise ConfigurationError("a Firestore URL has an emulator or an endpoint, not both")
    if endpoint is None:
        emulator = os.environ.get("FIRESTORE_EMULATOR_HOST") or None if emulator is None else emulator
    found = Place(
        project=parsed.host or os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("GCLOUD_PROJECT"),
        database=_checked("database", parsed.take("database", str) or "(default)", _DATABASE),
        collection=check_collection(collection or parsed.path.strip("/") or "satchel_sessions"),
        emulator=None if emulator is None else _checked("emulator", emulator, _ADDRESS),
        endpoint=None if endpoint is None else _checked("endpoint", endpoint, _ADDRESS),
    )
    return found, parsed.options(given)


def _checked(name: str, text: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(text):
        raise ConfigurationError(f"firestore:// option {name} is not {_KINDS[name]}")
    return text


def check_collection(path: str) -> str:
    """Return the path of a collection: an odd number of ids with slashes between.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(path, str):
        raise ConfigurationError(f"collection is a string, not {type(path).__name__}")
    ids = path.split("/")
    if not all(_COLLECTION.fullmatch(each) for each in ids) or len(path.encode()) > _LONGEST_COLLECTION:
        raise ConfigurationError(f"{ascii(path)[:80]} is no path of a collection in Firestore")
    if len(ids) % 2 == 0:
        raise ConfigurationError(f"{ascii(path)[:80]} is the path of a document, not of a collection")
    return path


async def connect(to: Place) -> AsyncClient:
    """Return a client for a place, with the credentials of the environment; nothing is connected yet.

    Raises:
        ConfigurationError: there are no credentials, or nothing names the project.
    """
    if to.emulator is not None:
        to.project = to.project or "google-cloud-firestore-emulator"  # as the driver has it
        return Client(to, AnonymousCredentials())  # type: ignore[no-untyped-call]
    threads = Threads(1, "satchel-firestore")
    try:
        # It reads files, runs gcloud, or asks the machine's metadata server, which takes seconds where there is none.
        credentials, project = await threads.run(google.auth.default, AsyncClient.SCOPE)
    finally:
        threads.close()
    to.project = to.project or project
    if to.project is None:
        raise ConfigurationError("nothing names the project: use firestore://project/…, or set GOOGLE_CLOUD_PROJECT")
    return Client(to, credentials)


class Client(AsyncClient):
    """The driver's client, but on a channel that is made here, and can be closed."""

    def __init__(self, to: Place, credentials: Any) -> None:
        super().__init__(project=to.project, database=to.database, credentials=credentials)
        target = to.emulator or to.endpoint or FirestoreAsyncClient.DEFAULT_ENDPOINT
        if to.emulator is not None:
            channel = grpc.aio.insecure_channel(target, options=_CHANNEL)
        else:
            channel = FirestoreGrpcAsyncIOTransport.create_channel(target, credentials=credentials, options=_CHANNEL)
        self._emulator_host = to.emulator  # whence it tells the emulator that security rules do not concern it
        self._transport = FirestoreGrpcAsyncIOTransport(host=target, channel=channel)
        self._firestore_api_internal = FirestoreAsyncClient(transport=self._transport)
        self._again = partial(Client, to, credentials)

    def again(self) -> "Client":
        """Return another client for the same place."""
        return self._again()

    async def disconnect(self) -> None:
        """Close the channel; calls that are under way end with an error."""
        await self._transport.close()


class Line:
    """Makes all calls with one client. One of ours whose connection has failed is replaced, and closed when it is idle.

    gRPC waits longer and longer before it connects again after a failure, up to two minutes, and takes a connection
    that has fallen silent for sound (https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md). A new channel
    connects at once. A client that is not ours is left alone.
    """

    def __init__(self, to: AsyncClient | Place) -> None:
        self._place = to if isinstance(to, Place) else None
        self._client: Any = None if isinstance(to, Place) else to
        self._calls: dict[Any, Any] = {}  # the client that each task uses

    async def open(self) -> None:
        """Make a client, unless there is one."""
        if self._client is None and self._place is not None:
            self._client = await connect(self._place)

    async def call(self, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
        """Await what `work` does with the client. If the waiting is cancelled, the work goes on to its end.

        A call of gRPC's that is given up on tells its event loop of its end all the same, be that loop closed by then,
        and does so by raising in the next one.
        """
        client = self._client
        task = asyncio.ensure_future(self._do(work, client))
        self._calls[task] = client
        task.add_done_callback(self._ended)
        try:
            return await asyncio.shield(task)
        finally:
            del task  # an error would have hold of it, and it of the error, and both of the connection

    async def _do(self, work: Callable[[AsyncClient], Awaitable[T]], client: AsyncClient) -> T:
        try:
            return await work(client)
        except (driver.ServerError, driver.Cancelled):
            if isinstance(client, Client) and client is self._client:
                self._client = client.again()
            raise
        except asyncio.CancelledError:
            raise driver.Cancelled("the channel was closed") from None  # type: ignore[no-untyped-call]
        finally:
            self._calls[asyncio.current_task()] = None
            if isinstance(client, Client) and client not in (self._client, *self._calls.values()):
                await client.disconnect()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._calls[task]
        if not task.cancelled():
            task.exception()  # looked at, lest asyncio complains that nobody did

    async def close(self) -> None:
        """Wait until the calls that are under way have ended, as each does at its deadline, and close what is ours.

        A channel that is closed before gives up on them, and they would tell a closed event loop of it; see `call`.
        """
        try:
            while self._calls:
                await asyncio.wait(list(self._calls))
        finally:
            if isinstance(self._client, Client):
                await self._client.disconnect()
