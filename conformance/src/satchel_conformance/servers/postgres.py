"""PostgreSQL."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from satchel_conformance.backends import Backend, container, killing

POSTGRES_IMAGE: Final = "postgres:15"
# The image starts a server twice; the first one, for its scripts, listens on no address.
POSTGRES_READY: Final = r"(?s)listening on IPv4.*ready to accept connections"

POSTGRES: Final = Backend(
    "postgres",
    container(
        POSTGRES_IMAGE,
        5432,
        ready=POSTGRES_READY,
        url="postgresql://postgres@{host}:{port}/postgres",
        command="postgres -c max_connections=1000",  # some clauses want many storages, each with ten connections
        POSTGRES_HOST_AUTH_METHOD="trust",
    ),
)

# It starts again a moment after it was stopped.
POSTGRES_RESTARTED: Final = Backend(
    "postgres_restarted",
    container(
        POSTGRES_IMAGE,
        5432,
        ready=POSTGRES_READY,
        url="postgresql://postgres@{host}:{port}/postgres",
        command="sh -c 'while true; do docker-entrypoint.sh postgres; sleep 0.3; done'",
        POSTGRES_HOST_AUTH_METHOD="trust",
    ),
)
_POSTMASTER: Final = '$(head -n 1 "$PGDATA/postmaster.pid")'
POSTGRES_STOPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "restarted": f"kill -INT {_POSTMASTER}",
        # First the one that starts all others: it would end them itself as soon as one was killed, and go on.
        "killed": f"kill -9 {_POSTMASTER} && {{ {killing('postgres')} || true; }}",
    }
)
"""How to stop it, for `run_in` its container: in order, telling all clients so, and all its processes at once."""
