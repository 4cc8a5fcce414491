"""The servers whose URL fixtures the plugin brings: one module for each kind."""

from typing import Final

from satchel_conformance.backends import Backend
from satchel_conformance.servers.aws import CEPH, DYNAMODB, MOTO
from satchel_conformance.servers.firestore import FIRESTORE
from satchel_conformance.servers.mongodb import MONGODB
from satchel_conformance.servers.postgres import POSTGRES
from satchel_conformance.servers.redis import REDIS, REDIS_CLUSTER, VALKEY
from satchel_conformance.servers.supabase import SUPABASE

SERVERS: Final[tuple[Backend, ...]] = (
    CEPH,
    DYNAMODB,
    MOTO,
    FIRESTORE,
    MONGODB,
    POSTGRES,
    REDIS,
    VALKEY,
    REDIS_CLUSTER,
    SUPABASE,
)
