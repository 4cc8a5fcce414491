"""MongoDB: a replica set of one member."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from satchel_conformance.backends import Backend, BackendMissing, prepared, running

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


MONGODB: Final = Backend("mongodb", _mongodb)
