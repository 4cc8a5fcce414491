"""PostgreSQL."""

from typing import Final

from satchel_conformance.backends import Backend, container

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
