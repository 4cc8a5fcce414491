"""The servers, as only the scoreboard wants them."""

from typing import Final

from satchel_conformance.backends import Backend, container

POSTGRES: Final = Backend(
    "postgres",
    container(
        "postgres:15",
        5432,
        # The image starts a server twice; the first one, for its scripts, listens on no address.
        ready=r"(?s)listening on IPv4.*ready to accept connections",
        url="postgresql://postgres@{host}:{port}/postgres",
        command="postgres -c max_connections=1000",  # a pool of asyncpg opens ten, and some clauses want many storages
        POSTGRES_HOST_AUTH_METHOD="trust",
    ),
)


def roomy(url: str) -> str:
    """Return a URL with which a client of redis-py has room for every call of a clause.

    Its own limit is 100 connections, beyond which it raises (redis-py, `ConnectionPool`), which is not what is tried.
    """
    return f"{url}?max_connections=1000"
