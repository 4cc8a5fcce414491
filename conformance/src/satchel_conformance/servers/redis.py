"""Redis, Valkey, and a Redis Cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from satchel_conformance.backends import Backend, container, free_ports, prepared, running

_CLUSTER_SCRIPT: Final = """
for p in {ports}; do
    redis-server --port $p --cluster-enabled yes --cluster-config-file $p.conf --save '' --protected-mode no \
        --repl-ping-replica-period 1 --repl-diskless-sync-delay 0 --daemonize yes
done
for p in {ports}; do until redis-cli -p $p ping | grep -q PONG; do sleep 0.05; done; done
redis-cli --cluster create {addresses} --cluster-replicas 1 --cluster-yes
for p in {ports}; do until redis-cli -p $p cluster info | grep -q cluster_state:ok; do sleep 0.1; done; done
echo satchel: the cluster is ready
exec sleep infinity
"""


@contextmanager
def redis_cluster(image: str = "redis:7") -> Iterator[str]:
    """Start three primaries and three replicas in one container.

    They listen where they are published, on this machine: what a node calls itself in a redirect has to hold outside.
    """
    ports = free_ports(6)
    script = _CLUSTER_SCRIPT.format(
        ports=" ".join(map(str, ports)), addresses=" ".join(f"127.0.0.1:{port}" for port in ports)
    )
    made = prepared(image, "satchel: the cluster is ready").with_command(["sh", "-c", script])
    for port in ports:
        made.with_bind_ports(port, port)
    with running(made):
        yield f"redis://127.0.0.1:{ports[0]}"


_REDIS_READY: Final = "Ready to accept connections"

REDIS: Final = Backend("redis", container("redis:7", 6379, ready=_REDIS_READY, url="redis://{host}:{port}/0"))
VALKEY: Final = Backend("valkey", container("valkey/valkey:9", 6379, ready=_REDIS_READY, url="redis://{host}:{port}/0"))
REDIS_CLUSTER: Final = Backend("redis_cluster", redis_cluster)
