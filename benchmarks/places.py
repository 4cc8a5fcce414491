"""The backends that are measured, by name."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import services, stores
from satchel import Storage
from satchel_conformance.backends import Backend
from satchel_conformance.servers.aws import CEPH, DYNAMODB
from satchel_conformance.servers.firestore import FIRESTORE
from satchel_conformance.servers.mongodb import MONGODB
from satchel_conformance.servers.postgres import POSTGRES
from satchel_conformance.servers.redis import REDIS
from satchel_conformance.servers.supabase import SUPABASE

Opened = AbstractAsyncContextManager[tuple[stores.Driver, Storage[Any]]]


@dataclass(frozen=True)
class Place:
    """A backend, as it is measured.

    Attributes:
        opened: opens the driver and the storage, given the server's URL.
        server: which one; None if it needs none.
        most: how many workers it makes sense to have.
    """

    opened: Callable[[str], Opened]
    server: Backend | None = None
    most: int = 256


PLACES: Final = {
    "memory": Place(stores.memory, most=1),  # nothing there ever waits
    "sqlite": Place(stores.sqlite),
    "file": Place(stores.file),
    "redis": Place(stores.redis_py, REDIS),
    "postgres": Place(stores.psycopg, POSTGRES),
    "mongodb": Place(stores.mongodb, MONGODB),
    "dynamodb": Place(services.dynamodb, DYNAMODB, most=64),
    "s3": Place(services.s3, CEPH, most=64),
    "firestore": Place(services.firestore, FIRESTORE, most=64),
    "supabase": Place(services.supabase, SUPABASE, most=64),
}
