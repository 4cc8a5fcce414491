"""Servers of the kinds that the plugin does not start, and what the tests look at them with."""

import gc
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from satchel_conformance.backends import Backend, container
from satchel_conformance.plugin import url_fixture
from satchel_conformance.servers.mongodb import MONGODB_READY, MONGODB_SET

AUTHORITY = trustme.CA()
_CERTIFICATE = AUTHORITY.issue_cert("localhost")  # and not for 127.0.0.1

_WITH_TLS = r"""sh -c 'echo "$CERTIFICATE" > /tmp/c.pem; exec mongod --bind_ip_all --tlsMode requireTLS \
    --tlsCertificateKeyFile /tmp/c.pem'"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow for what pymongo leaves to the garbage collector: a connection being made for a call that is cancelled."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed (<|transport):ResourceWarning"))


@pytest.fixture(autouse=True, scope="module")
def _collected() -> Iterator[None]:
    """Leave nothing of it to the tests of others. The scope "package" would be the session, as this is none."""
    yield
    gc.collect()


mongodb_set_url = url_fixture(MONGODB_SET)
mongodb_auth_url = url_fixture(
    Backend(
        "mongodb_auth",
        container(
            "mongo:6",
            27017,
            ready=MONGODB_READY,
            url="mongodb://root:secret@{host}:{port}/?authSource=admin",
            MONGO_INITDB_ROOT_USERNAME="root",
            MONGO_INITDB_ROOT_PASSWORD="secret",
        ),
    )
)
mongodb_tls_url = url_fixture(
    Backend(
        "mongodb_tls",
        container(
            "mongo:6",
            27017,
            ready=MONGODB_READY,
            url="mongodb://localhost:{port}/?tls=true",
            command=_WITH_TLS,
            CERTIFICATE=_CERTIFICATE.private_key_and_cert_chain_pem.bytes().decode(),
        ),
    )
)


@pytest.fixture
def namespace() -> str:
    """A part of the server for one test."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
async def raw(mongodb_url: str) -> AsyncIterator[AsyncMongoClient[Any]]:
    """A client of the driver's own, to look behind the storage's back."""
    async with AsyncMongoClient[Any](mongodb_url) as client:
        yield client


@pytest.fixture
def records(raw: AsyncMongoClient[Any]) -> AsyncCollection[Any]:
    """The collection where sessions are by default."""
    return raw["satchel"]["satchel_sessions"]
