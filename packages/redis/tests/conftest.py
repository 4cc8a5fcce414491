"""Servers of the kinds that the plugin does not start, and what the tests look at them with."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import trustme
from redis.asyncio import Redis

from satchel_conformance.backends import Backend, container, free_ports, prepared, running
from satchel_conformance.plugin import url_fixture
from satchel_conformance.servers.redis import REDIS_READY, REDIS_RESTARTED

AUTHORITY = trustme.CA()
_CERTIFICATE = AUTHORITY.issue_cert("localhost")  # and not for 127.0.0.1

_WITH_TLS = r"""sh -c 'echo "$CERTIFICATE" > c.pem; echo "$KEY" > k.pem; exec redis-server --port 0 --tls-port 6379 \
    --tls-cert-file c.pem --tls-key-file k.pem --tls-auth-clients no --protected-mode no'"""
_SENTINEL = r"""
for p in {first} {second}; do
    redis-server --port $p --protected-mode no --save "" --requirepass secret --masterauth secret \
        --repl-ping-replica-period 1 --repl-diskless-sync-delay 0 --daemonize yes
done
export REDISCLI_AUTH=secret
until redis-cli -p {second} replicaof 127.0.0.1 {first} | grep -q OK; do sleep 0.05; done
until redis-cli -p {second} info replication | grep -q link_status:up; do sleep 0.05; done
printf '%s\n' 'port {sentinel}' 'protected-mode no' 'sentinel monitor mymaster 127.0.0.1 {first} 1' \
    'sentinel auth-pass mymaster secret' > s.conf
redis-server s.conf --sentinel --daemonize yes
unset REDISCLI_AUTH
until redis-cli -p {sentinel} sentinel replicas mymaster | grep -q {second}; do sleep 0.1; done
echo satchel: the sentinel is ready
exec sleep infinity
"""

_TWO_NODES = r"""
for p in {first} {second}; do
    redis-server --port $p --protected-mode no --save "" --cluster-enabled yes --cluster-config-file $p.conf \
        --cluster-allow-replica-migration no --daemonize yes
done
for p in {first} {second}; do until redis-cli -p $p ping | grep -q PONG; do sleep 0.05; done; done
redis-cli -p {first} cluster addslotsrange 0 16383
redis-cli -p {first} cluster meet 127.0.0.1 {second}
for p in {first} {second}; do until redis-cli -p $p cluster info | grep -q cluster_state:ok; do sleep 0.1; done; done
for p in {first} {second}; do until redis-cli -p $p cluster nodes | grep -q 0-16383; do sleep 0.1; done; done
echo satchel: the nodes are ready
exec sleep infinity
"""


@contextmanager
def _two_nodes() -> Iterator[str]:
    """Start a Cluster of one primary with all slots, and one to which they can be moved."""
    first, second = ports = free_ports(2)
    script = _TWO_NODES.format(first=first, second=second)
    made = prepared("redis:7", "satchel: the nodes are ready").with_command(["sh", "-c", script])
    for port in ports:
        made.with_bind_ports(port, port)
    with running(made):
        yield f"redis://127.0.0.1:{first}"


@contextmanager
def _sentinel() -> Iterator[str]:
    """Start a master, a replica and a Sentinel in one container, on the ports that they are published at."""
    first, second, sentinel = ports = free_ports(3)
    script = _SENTINEL.format(first=first, second=second, sentinel=sentinel)
    made = prepared("redis:7", "satchel: the sentinel is ready").with_command(["sh", "-c", script])
    for port in ports:
        made.with_bind_ports(port, port)
    with running(made):
        yield f"redis+sentinel://:secret@127.0.0.1:{sentinel}/mymaster"


redis_two_nodes_url = url_fixture(Backend("redis_two_nodes", _two_nodes))
redis_sentinel_url = url_fixture(Backend("redis_sentinel", _sentinel))
redis_tls_url = url_fixture(
    Backend(
        "redis_tls",
        container(
            "redis:7",
            6379,
            ready=REDIS_READY,
            url="rediss://localhost:{port}/0",
            command=_WITH_TLS,
            CERTIFICATE=b"".join(blob.bytes() for blob in _CERTIFICATE.cert_chain_pems).decode(),
            KEY=_CERTIFICATE.private_key_pem.bytes().decode(),
        ),
    )
)
redis_restarted_url = url_fixture(REDIS_RESTARTED)


@pytest.fixture(params=["redis", "valkey"])
def url(request: pytest.FixtureRequest) -> str:
    """A server of each kind, shared by all tests."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def namespace() -> str:
    """A part of the server for one test."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
async def raw(url: str) -> AsyncIterator[Redis]:
    """A client of the driver's own, to look behind the storage's back."""
    async with Redis.from_url(url) as client:
        yield client
