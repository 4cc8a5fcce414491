"""What only the scoreboard wants of the servers."""


def roomy(url: str) -> str:
    """Return a URL with which a client of redis-py has room for every call of a clause.

    Its own limit is 100 connections, beyond which it raises (redis-py, `ConnectionPool`), which is not what is tried.
    """
    return f"{url}?max_connections=1000"
