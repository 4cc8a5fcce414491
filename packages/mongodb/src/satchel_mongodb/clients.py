"""Clients of pymongo: made from a URL, checked, and described."""

import re
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote, urlsplit

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.uri_parser import split_options
from pymongo.write_concern import WriteConcern

from satchel import ConfigurationError, StorageURL
from satchel.adapter import milliseconds

# Acknowledged is what a majority has in its journal: no failover, and no crash, takes it back. `j` says it to a server
# without replicas, too. https://www.mongodb.com/docs/manual/reference/write-concern/
WRITE: Final = WriteConcern("majority", j=True)
# From the primary, as it is now. What is read may not have reached a majority yet, but whatever is written on top of it
# is acknowledged only together with it. "majority" would show a writer that lost a race the value from before it, to
# lose once more; "linearizable" writes, and waits for a majority, at every read.
# https://www.mongodb.com/docs/manual/reference/read-concern/
READ: Final = ReadConcern("local")


def connect(url: str, given: Any) -> tuple[AsyncMongoClient[Any], str | None, Any]:
    """Return a client for a URL, the collection that it says, and the options that all storages have."""
    parsed = StorageURL(url)
    if parsed.scheme not in ("mongodb", "mongodb+srv"):
        raise ConfigurationError(f"a MongoDB URL starts with mongodb:// or mongodb+srv://, not with {parsed.scheme}")
    if not parsed.host:
        raise ConfigurationError("a MongoDB URL names a host, as in mongodb://localhost")
    if "." in parsed.path:  # the driver would read a database and a collection, and keep the database only
        raise ConfigurationError(
            "a MongoDB URL names the collection in its query, as in mongodb://localhost/bots?collection=chats"
        )
    collection = parsed.take("collection", str)
    options = parsed.common(given)
    seconds = milliseconds("timeout", options.get("timeout", timedelta(seconds=10))) / 1000
    limits = {
        # It gives up in time to say why; whether it is time, it looks twice a second.
        "serverSelectionTimeoutMS": 1000 * max(seconds / 2, seconds - 0.6),
        # Not less, as it watches servers with it, too, and does not look again for half a second where that fails.
        "connectTimeoutMS": 1000 * seconds,
        # Python 3.11's wait_for, of which it makes use, may lose a cancellation, and with it our own timeout.
        "socketTimeoutMS": 1000 * seconds,
    }
    client = _client(parsed, limits)
    if not client.write_concern.document.items() <= WRITE.document.items():
        raise ConfigurationError("sessions are written with w=majority and journal=true, and no other write concern")
    if client.read_preference != ReadPreference.PRIMARY or client.read_concern not in (ReadConcern(), READ):
        raise ConfigurationError("sessions are read from the primary, with the read concern local, and no other")
    return client, collection, options


def _client(parsed: StorageURL, defaults: dict[str, Any]) -> AsyncMongoClient[Any]:
    url = parsed.rest()
    query = urlsplit(url).query
    try:
        said = split_options(query, warn=False) if query else {}
    except OSError as error:
        raise ConfigurationError(f"a MongoDB URL names a file that cannot be read: {error.strerror}") from error
    except (PyMongoError, ValueError, TypeError) as error:
        raise parsed.wrong_option(f"a MongoDB URL has a wrong option: {error}") from None
    try:
        return AsyncMongoClient(url, **{name: value for name, value in defaults.items() if name not in said})
    except (PyMongoError, ValueError, TypeError) as error:
        # Of the URL itself nothing is shown: it may hold a password.
        raise ConfigurationError(f"a MongoDB URL is malformed: {_without_quotes(error)}") from None


def where(client: AsyncMongoClient[Any], database: str, collection: str) -> str:
    """Name the servers of a client, and the collection, without secrets."""
    servers = sorted(client.topology_description.server_descriptions(), key=str)
    scheme = "mongodb+srv" if any(port is None and "/" not in host for host, port in servers) else "mongodb"
    return f"{scheme}://{','.join(_address(*server) for server in servers)}/{database}.{collection}"


def _address(host: str, port: int | None) -> str:
    if port is None:
        return quote(host, safe="")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _without_quotes(error: Exception) -> str:
    return re.split("""['"]|: """, str(error), maxsplit=1)[0].strip()
