"""Servers of the kinds that the plugin does not start, and what the tests look at them with."""

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import trustme
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from satchel_conformance.backends import Backend, container, free_ports, prepared, running
from satchel_conformance.plugin import url_fixture
from satchel_conformance.servers.mongodb import MONGODB_READY, initiate

AUTHORITY = trustme.CA()
_CERTIFICATE = AUTHORITY.issue_cert("localhost")  # and not for 127.0.0.1

# Each starts again a moment after it was killed, with everything that it acknowledged.
_MEMBERS = """
for p in {ports}; do
    mkdir -p /data/db/$p
    (while true; do
        mongod --port $p --dbpath /data/db/$p --pidfilepath /data/db/$p.pid --replSet rs0 --bind_ip_all \
            --wiredTigerCacheSizeGB 0.25 --setParameter ttlMonitorSleepSecs=1 >/dev/null
        sleep 0.3
    done) &
done
for p in {ports}; do
    until perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new("127.0.0.1:'$p'")'; do sleep 0.1; done
done
echo satchel: all members listen
wait
"""
_WITH_TLS = r"""sh -c 'echo "$CERTIFICATE" > /tmp/c.pem; exec mongod --bind_ip_all --tlsMode requireTLS \
    --tlsCertificateKeyFile /tmp/c.pem'"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow for what pymongo leaves to the garbage collector: a connection being made for a call that is cancelled."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed (<|transport):ResourceWarning"))


@pytest.fixture(autouse=True, scope="package")
def _collected() -> Iterator[None]:
    """Leave nothing of it to the tests of others."""
    yield
    gc.collect()


@contextmanager
def _replica_set() -> Iterator[str]:
    """Start three members in one container, on the ports that they are published at."""
    ports = free_ports(3)
    script = _MEMBERS.format(ports=" ".join(map(str, ports)))
    made = prepared("mongo:6", "satchel: all members listen").with_command(["sh", "-c", script])
    made.with_tmpfs_mount("/data/db")
    for port in ports:
        made.with_bind_ports(port, port)
    members = [f"127.0.0.1:{port}" for port in ports]
    with running(made):
        # An election takes a second rather than ten.
        quick = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200}
        initiate(f"mongodb://{members[0]}/?directConnection=true", members, **quick)
        yield f"mongodb://{','.join(members)}/?replicaSet=rs0"


mongodb_set_url = url_fixture(Backend("mongodb_set", _replica_set))
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


async def signal(port: int, name: str) -> None:
    """Send a signal to the server of the replica set that is published at a port. Killed, it comes back in a moment."""

    def find_and_signal() -> None:
        engine = docker.from_env()
        try:
            (found,) = engine.containers.list(filters={"publish": str(port)})
            code, output = found.exec_run(["sh", "-c", f"kill -{name} $(cat /data/db/{port}.pid)"])
            assert code == 0, output
        finally:
            engine.close()

    await asyncio.to_thread(find_and_signal)
