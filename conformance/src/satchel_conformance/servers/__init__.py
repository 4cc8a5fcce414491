"""The servers whose URL fixtures the plugin brings: one module for each kind."""

from typing import Final

from satchel_conformance.backends import Backend
from satchel_conformance.servers.redis import REDIS, REDIS_CLUSTER, VALKEY

SERVERS: Final[tuple[Backend, ...]] = (
    REDIS,
    VALKEY,
    REDIS_CLUSTER,
)
