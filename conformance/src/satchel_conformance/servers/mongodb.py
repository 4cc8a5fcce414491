"""MongoDB: a replica set of one member, and one of three that come back when they are killed."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from satchel_conformance.backends import Backend, BackendMissing, free_ports, prepared, run_in, running

MONGODB_READY: Final = "Waiting for connections"


def initiate(url: str, members: Sequence[str], **settings: Any) -> None:
    """Make a replica set rs0 of servers that run, and wait until it has a primary.

    Args:
        url: one of them, with directConnection=true.
        members: what they call each other.
        settings: of the replica set.
    """
    try:
        from pymongo import MongoClient
    except ImportError:
        raise BackendMissing("pymongo is not installed, which makes a replica set") from None
    hosts = [{"_id": number, "host": member} for number, member in enumerate(members)]
    with MongoClient[Any](url) as client:
        client.admin.command("replSetInitiate", {"_id": "rs0", "members": hosts, "settings": settings})
        while not client.admin.command("hello")["isWritablePrimary"]:
            time.sleep(0.05)


@contextmanager
def _mongodb(image: str = "mongo:6") -> Iterator[str]:
    made = prepared(image, MONGODB_READY).with_exposed_ports(27017).with_command("--replSet rs0")
    made.with_tmpfs_mount("/data/db")  # it is asked to write to the disk each time, and the disk is not ours
    with running(made):
        # The member is called by an address inside the container, which is not for clients: they connect directly.
        url = f"mongodb://{made.get_container_host_ip()}:{made.get_exposed_port(27017)}/?directConnection=true"
        initiate(url, ["127.0.0.1:27017"])
        yield url


# Each starts again a moment after it was killed, with everything that it acknowledged.
_MEMBERS: Final = """
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


def signal_member(port: int, name: str) -> None:
    """Send a signal to the member of the replica set that is published at a port."""
    run_in(port, f"kill -{name} $(cat /data/db/{port}.pid)")


MONGODB: Final = Backend("mongodb", _mongodb)
MONGODB_SET: Final = Backend("mongodb_set", _replica_set)
