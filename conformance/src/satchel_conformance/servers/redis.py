"""Redis, Valkey, a Redis that comes back when it is killed, and a Redis Cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from satchel_conformance.backends import Backend, container, free_ports, prepared, running

_CLUSTER_SCRIPT: Final = """
cat > /tmp/start <<'END'
exec redis-server --port $1 --dir /tmp --save '' --protected-mode no --daemonize yes --pidfile /tmp/$1.pid \
    --logfile /proc/1/fd/1 \
    --cluster-enabled yes --cluster-config-file /tmp/$1.conf --cluster-node-timeout {node_timeout} \
    --repl-ping-replica-period 1 --repl-diskless-sync-delay 0
END
for p in {ports}; do sh /tmp/start $p; done
for p in {ports}; do until redis-cli -p $p ping | grep -q PONG; do sleep 0.05; done; done
redis-cli --cluster create {addresses} --cluster-replicas 1 --cluster-yes
for p in {ports}; do until redis-cli -p $p cluster info | grep -q cluster_state:ok; do sleep 0.1; done; done
echo satchel: the cluster is ready
exec sleep infinity
"""


@contextmanager
def redis_cluster(image: str = "redis:7", *, node_timeout: timedelta = timedelta(seconds=15)) -> Iterator[str]:
    """Start three primaries and three replicas in one container.

    A node whose process, /tmp/PORT.pid, was ended is started again by `sh /tmp/start PORT`, without the records that it
    had. For `node_timeout` the others do not hold it for dead.

    They listen where they are published, on this machine: what a node calls itself in a redirect has to hold outside.
    """
    ports = free_ports(6)
    script = _CLUSTER_SCRIPT.format(
        ports=" ".join(map(str, ports)),
        addresses=" ".join(f"127.0.0.1:{port}" for port in ports),
        node_timeout=node_timeout // timedelta(milliseconds=1),
    )
    made = prepared(image, "satchel: the cluster is ready").with_command(["sh", "-c", script])
    for port in ports:
        made.with_bind_ports(port, port)
    with running(made):
        yield f"redis://127.0.0.1:{ports[0]}"


REDIS_READY: Final = "Ready to accept connections"

REDIS: Final = Backend("redis", container("redis:7", 6379, ready=REDIS_READY, url="redis://{host}:{port}/0"))
VALKEY: Final = Backend("valkey", container("valkey/valkey:9", 6379, ready=REDIS_READY, url="redis://{host}:{port}/0"))
# It starts again a moment after it was stopped, with everything that it acknowledged.
REDIS_RESTARTED: Final = Backend(
    "redis_restarted",
    container(
        "redis:7",
        6379,
        ready=REDIS_READY,
        url="redis://{host}:{port}/0",
        command="""sh -c 'while true; do
            redis-server --appendonly yes --appendfsync always --protected-mode no; sleep 0.3
        done'""",
    ),
)
REDIS_CLUSTER: Final = Backend("redis_cluster", redis_cluster)
