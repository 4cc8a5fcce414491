"""A client of boto3's, made and used in threads, whose requests are sent once."""

import asyncio
import os
import random
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import boto3
import botocore.session
from boto3.resources.base import ServiceResource
from botocore import exceptions as driver
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp

from satchel.adapter import kind_of
from satchel.aws.errors import THROTTLED, code_of
from satchel.errors import ConfigurationError
from satchel.threads import Threads, positive
from satchel.urls import StorageURL

T = TypeVar("T")

MAX_CONNECTIONS: Final = 32

_DROPPED: Final = (driver.ConnectionClosedError, driver.IncompleteReadError, driver.ResponseStreamingError)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.025, 2.0  # seconds
_USER: Final = re.compile(r"(?<=//)[^/?#]*@")
_REGION: Final = re.compile(r"[a-z0-9-]{1,63}")
# https://boto3.amazonaws.com/v1/documentation/api/latest/guide/configuration.html
_FILES: Final = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
_MAKING: Final = threading.Lock()  # a session is not for several threads
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", re.ASCII)
_HTTP: Final = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} [12]\d{3} \d\d:\d\d:\d\d GMT", re.ASCII)
# What the environment says of how a client connects, or who it is.
_SAYS: Final = re.compile(r"AWS_.*|BOTO.*|HOME|.*_PROXY|.*CA_BUNDLE|SSL_CERT_.*", re.IGNORECASE)

# How clients were made, and they, with their connections closed. To make one takes botocore 7 ms, mostly for
# rules of endpoints that are the same each time; a closed one connects again when it is asked to.
_SPARE: Final[deque[tuple[object, Any]]] = deque(maxlen=8)


class AWS:
    """A client of boto3's, its own or one that is passed in, used from threads.

    Every request is sent once, whatever retries the client is configured to make: sent again after its answer was
    lost, a conditional write would meet its own traces and report a conflict that there was not. Only what the server
    refused for being too much is sent again, after a pause of random length.

    Args:
        service: as boto3 names it.
        client: a client or resource of boto3's for this service; None to make one, which the rest is for.
        region: as in `eu-west-1`; by default what the environment or the profile says.
        endpoint_url: where the service is, if not at AWS.
        profile: of the AWS configuration files.
        max_connections: how many requests may be under way at once.
        timeout: how long a call may take.
        settings: more for `botocore.config.Config`.

    Raises:
        ConfigurationError: an argument makes no sense, or does not go with `client`.
    """

    def __init__(
        self,
        service: str,
        *,
        client: object = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        max_connections: int | None = None,
        timeout: timedelta,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._service = service
        self._seconds = timeout.total_seconds()
        self._given = {"region": region, "endpoint_url": endpoint_url, "profile": profile}
        self._settings = settings or {}
        self._connections = positive("max_connections", MAX_CONNECTIONS if max_connections is None else max_connections)
        self._own = client is None
        self._client: Any = None
        self._made_by: object = None
        self._ours = threading.local()
        self._under_way = 0
        self._counting = threading.Lock()
        self._closed = False
        self._listens = False
        self._check()
        if client is not None:
            self._client = self._checked(client)
            self._connections = min(self._connections, self._client.meta.config.max_pool_connections)
        self._threads = Threads(self._connections, f"satchel-{service}")

    async def open(self) -> None:
        """Make the client, which reads files and may ask the machine for its credentials."""
        if self._client is None:
            self._client = await self._threads.run(self._make)
        if not self._listens:
            self._listens = True
            self._listen()

    async def run(self, work: Callable[[Any], T], *, reads: bool = False) -> T:
        """Do something with the client, in a thread.

        Args:
            work: takes the client, and makes requests.
            reads: they change nothing, so they may be made once more after a lost connection.
        """
        backoff = Backoff(self._seconds)
        while True:
            with self._counting:
                self._under_way += 1
            future = None
            try:
                future = self._threads.start(lambda: self._work(work))
                return await asyncio.wrap_future(future)
            except ClientError as error:
                if code_of(error) not in THROTTLED or not await backoff.pause():
                    raise
            except _DROPPED:
                if not reads:
                    raise
                reads = False
            finally:
                if future is None or future.cancelled():  # before it had begun
                    with self._counting:
                        self._under_way -= 1

    async def call(self, operation: str, *, reads: bool = False, **request: Any) -> Any:
        """Make one request; `operation` is the client's method."""
        return await self.run(lambda client: getattr(client, operation)(**request), reads=reads)

    def close(self) -> None:
        """Close the client, unless it was passed in, and let the threads end."""
        if self._closed:
            return
        self._closed = True
        self._threads.close()
        if self._listens and self._own:
            self._client.close()
            if not self._under_way:
                self._spare()
        elif self._listens:
            self._unlisten()

    def _spare(self) -> None:
        """Keep the client, which nobody uses, for the next that is made alike."""
        self._unlisten()
        with _MAKING:
            _SPARE.append((self._made_by, self._client))

    def _check(self) -> None:
        region, endpoint_url, profile = self._given.values()
        if not self._own and (named := [name for name, value in self._given.items() if value is not None]):
            raise ConfigurationError(f"{named[0]} is the client's own: give one of the two")
        if region is not None and not _REGION.fullmatch(region):
            raise ConfigurationError(f"region is {region!r}; it is one such as eu-west-1")
        if endpoint_url is not None:
            _check_endpoint(endpoint_url)
        if profile == "":
            raise ConfigurationError("profile is empty")

    def _checked(self, client: object) -> Any:
        """Return a client that can be worked with."""
        inner = client.meta.client if isinstance(client, ServiceResource) else client
        # The clients of aiobotocore derive from those of botocore, but return coroutines.
        foreign = any(kind.__module__.startswith("aiobotocore") for kind in type(inner).__mro__)
        if not isinstance(inner, BaseClient) or foreign:
            raise ConfigurationError(f'client is one of boto3.client("{self._service}"), not {kind_of(client)}')
        if inner.meta.service_model.service_name != self._service:
            raise ConfigurationError(
                f'client is one of boto3.client("{self._service}"), not of {inner.meta.service_model.service_name}'
            )
        return inner

    def _make(self) -> Any:
        """Make a client."""
        region, endpoint_url, profile = self._given.values()
        config = Config(
            connect_timeout=self._seconds / 4,  # so that there is time for another address
            read_timeout=self._seconds,
            max_pool_connections=self._connections,
            retries={"total_max_attempts": 1},
            tcp_keepalive=True,
            user_agent_extra="satchel",
            **self._settings,
        )
        configuration = _configuration()
        self._made_by = (
            *(self._service, region, endpoint_url, profile, configuration),
            *(self._seconds, self._connections, repr(self._settings)),
        )
        with _MAKING:
            for place, (made_by, spare) in enumerate(_SPARE):
                if made_by == self._made_by:
                    del _SPARE[place]
                    return spare
            session = _session(profile, configuration)
            if session.get_credentials() is None:
                raise driver.NoCredentialsError
            if endpoint_url is not None and region is None and session.region_name is None:
                region = "us-east-1"  # what is not at AWS mostly does not care, but requests are signed for one
            make: Callable[..., Any] = session.client
            return make(self._service, region_name=region, endpoint_url=endpoint_url, config=config)

    def _work(self, work: Callable[[Any], T]) -> T:
        self._ours.flag = True
        try:
            return work(self._client)
        finally:
            if self._closed and self._own:  # while this went on
                self._client.close()
            with self._counting:  # last of all: from then on the client may be another's
                self._under_way -= 1

    def _listen(self) -> None:
        events, name = self._client.meta.events, self._service
        events.register_last(f"before-call.{name}", self._at_once)  # behind what adds the header
        events.register_first(f"needs-retry.{name}", self._once)  # before what sends again
        events.register(f"after-call.{name}", self._whole)

    def _unlisten(self) -> None:
        for event, handler in {
            "before-call": self._at_once,
            "needs-retry": self._once,
            "after-call": self._whole,
        }.items():
            self._client.meta.events.unregister(f"{event}.{self._service}", handler)

    def _at_once(self, params: Any, **_: Any) -> None:
        """Send a body with its head. To wait until the server has seen the head is one more round trip."""
        if hasattr(self._ours, "flag"):
            params["headers"].pop("Expect", None)

    def _once(self, response: Any, operation: Any, caught_exception: Exception | None, **_: Any) -> None:
        """Keep a client from sending a request of ours again; it asks when one has failed.

        Redirects to the right region go on.
        """
        if not hasattr(self._ours, "flag"):
            return
        if caught_exception is not None:
            raise caught_exception
        if response[0].status_code >= 500 or response[1].get("Error", {}).get("Code") in THROTTLED:
            raise ClientError(response[1], operation.name)

    def _whole(self, http_response: Any, model: Any, **_: Any) -> None:
        """Refuse an answer that is cut off, which botocore takes for a shorter one: that there is no such item.

        It does not compare the length of an answer with what its head says, unless it is a stream, and Python's
        http.client takes an end among the headers for the end of all.
        """
        if not hasattr(self._ours, "flag") or http_response.status_code == 204 or model.http["method"] == "HEAD":
            return
        length = http_response.headers.get("content-length", "")
        if length.isdigit():
            stream = model.has_streaming_output and http_response.status_code < 300
            whole = stream or len(http_response.content) == int(length)
        else:
            whole = "transfer-encoding" in http_response.headers
        if not whole:
            raise driver.ConnectionClosedError(endpoint_url=http_response.url)
        kind = http_response.headers.get("content-type", "")
        if (
            model.service_model.metadata["protocol"] == "json"
            and "json" not in kind
            and http_response.status_code < 300
        ):
            raise ResponseParserError(f"an answer of the type {kind}")  # botocore would take it for an empty one


@lru_cache(maxsize=4)
def _session(profile: str | None, _configuration: object) -> boto3.Session:
    """Return a session, whose credentials and data a client needs most of its time to find, and to read."""
    session = botocore.session.Session(profile=profile)
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=moment)
    return boto3.Session(botocore_session=session)


def moment(timestamp: Any) -> datetime:
    """Parse a timestamp as botocore does, which has dateutil guess the form of each; of S3 there are two."""
    if isinstance(timestamp, str):
        with suppress(ValueError):
            if _ISO.fullmatch(timestamp):
                return datetime.fromisoformat(timestamp)
            if _HTTP.fullmatch(timestamp):
                return parsedate_to_datetime(timestamp)
    parsed: datetime = parse_timestamp(timestamp)
    return parsed


def _configuration() -> object:
    """Return what differs as soon as the environment or a file says something else than when a session was made."""
    said = frozenset(item for item in os.environ.items() if _SAYS.fullmatch(item[0]))
    files = (os.environ.get(name, default) for name, default in _FILES.items())
    return said, *map(_written, files)


def _written(file: str) -> int:
    """Return when a file was written, or 0 if it is not there."""
    try:
        return Path(file).expanduser().stat().st_mtime_ns
    except (OSError, RuntimeError):  # which is what it raises where nobody has a home
        return 0


class Backoff:
    """Pauses of random length, up to twice as long each time: who was refused at once does not come back at once.

    Args:
        seconds: how long a call may take; for half of that there are pauses.
    """

    def __init__(self, seconds: float) -> None:
        self._end = asyncio.get_running_loop().time() + seconds / 2
        self._longest = _FIRST_PAUSE

    async def pause(self) -> bool:
        """Wait and return True, or return False if it is too late for that."""
        if asyncio.get_running_loop().time() > self._end:
            return False
        await asyncio.sleep(random.uniform(0, self._longest))
        self._longest = min(self._longest * 2, _LONGEST_PAUSE)
        return True


def take_options(parsed: StorageURL) -> dict[str, Any]:
    """Take from a URL what every service of AWS has: `region`, `endpoint_url`, `profile` and `max_connections`."""
    taken: dict[str, Any] = {name: parsed.take(name, str) for name in ("region", "endpoint_url", "profile")}
    taken["max_connections"] = parsed.take("max_connections", int)
    return {name: value for name, value in taken.items() if value is not None}


def place_of(client: object, region: str | None, endpoint_url: str | None) -> str:
    """Return the query of a URL that says where a service is, without secrets."""
    if client is not None:
        inner = client.meta.client if isinstance(client, ServiceResource) else client
        endpoint_url = getattr(getattr(inner, "meta", None), "endpoint_url", None)
        if isinstance(endpoint_url, str):
            endpoint_url = _USER.sub("", endpoint_url)
    return f"?endpoint_url={endpoint_url}" if endpoint_url else f"?region={region}" if region else ""


def _check_endpoint(endpoint_url: str) -> None:
    wrong = ConfigurationError("endpoint_url is one such as http://localhost:8000")
    try:
        parts = urlsplit(endpoint_url)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.query
    except ValueError:
        raise wrong from None
    if not fine:
        raise wrong
    if "@" in parts.netloc:
        raise ConfigurationError("endpoint_url holds no user and password: credentials come from the environment")
