"""Servers of the kinds that the plugin does not start, and what the tests look at them with."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
import trustme

from satchel_conformance.backends import Backend, container, prepared, running
from satchel_conformance.plugin import url_fixture
from satchel_conformance.servers.postgres import POSTGRES_IMAGE, POSTGRES_READY, POSTGRES_RESTARTED

AUTHORITY = trustme.CA()
NAME = "db.example"  # what is in the server's certificate, and in no name server
_CERTIFICATE = AUTHORITY.issue_cert(NAME)

_WITH_TLS = r"""sh -c 'cd /tmp; echo "$CERTIFICATE" > c.pem; echo "$KEY" > k.pem; chown postgres k.pem; chmod 600 k.pem;
    exec docker-entrypoint.sh postgres -c ssl=on -c ssl_cert_file=/tmp/c.pem -c ssl_key_file=/tmp/k.pem'"""


@contextmanager
def _pgbouncer() -> Iterator[str]:
    """Start PgBouncer, which lends a connection of the server for each transaction, and the server."""
    login = {"DB_HOST": "server", "DB_USER": "postgres", "DB_PASSWORD": "secret", "AUTH_TYPE": "scram-sha-256"}
    server = prepared(POSTGRES_IMAGE, POSTGRES_READY).with_envs(POSTGRES_PASSWORD="secret")
    pooler = prepared("edoburu/pgbouncer:1.18.0", "process up").with_exposed_ports(5432)
    pooler.with_envs(**login, POOL_MODE="transaction", MAX_CLIENT_CONN="1000", DEFAULT_POOL_SIZE="20")

    from testcontainers.core.network import Network

    with ExitStack() as stack:
        network = stack.enter_context(Network())
        for made, alias in ((server, "server"), (pooler, "pooler")):
            stack.enter_context(running(made.with_network(network).with_network_aliases(alias)))
        host, port = pooler.get_container_host_ip(), pooler.get_exposed_port(5432)
        yield f"postgresql://postgres:secret@{host}:{port}/postgres"


pgbouncer_url = url_fixture(Backend("pgbouncer", _pgbouncer))
postgres_tls_url = url_fixture(
    Backend(
        "postgres_tls",
        container(
            POSTGRES_IMAGE,
            5432,
            ready=POSTGRES_READY,
            url=f"postgresql://postgres:hunter2@{NAME}:{{port}}/postgres?hostaddr=127.0.0.1",
            command=_WITH_TLS,
            POSTGRES_PASSWORD="hunter2",
            CERTIFICATE=b"".join(blob.bytes() for blob in _CERTIFICATE.cert_chain_pems).decode(),
            KEY=_CERTIFICATE.private_key_pem.bytes().decode(),
        ),
    )
)
postgres_restarted_url = url_fixture(POSTGRES_RESTARTED)


@pytest.fixture
def namespace() -> str:
    """A part of the table for one test."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
async def raw(postgres_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection of the driver's own, to look behind the storage's back."""
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def table(raw: psycopg.AsyncConnection[Any]) -> AsyncIterator[str]:
    """A name for a table of one test."""
    name = f"test_{secrets.token_hex(6)}"
    yield name
    await raw.execute(f"DROP TABLE IF EXISTS {name}".encode())
