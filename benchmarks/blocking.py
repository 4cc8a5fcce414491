"""What the blocking facade costs, against the asynchronous names and against the drivers used directly.

A turn reads one session of some 400 bytes, changes a field, and writes it. Each worker has a session of its own.
"""

import argparse
import asyncio
import json
import secrets
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any, Final

import redis

from benchmarks.measuring import Contender, Row, compare, in_tasks, in_threads, machine, table
from satchel import Sessions, Storage, blocking, flow, open_storage
from satchel_conformance.backends import BackendMissing
from satchel_conformance.servers.redis import REDIS

SESSION: Final[dict[str, Any]] = {
    "name": "Ada Lovelace",
    "language": "en",
    "cart": [{"pizza": "Margherita", "size": "L", "extras": ["basil", "olives"]}] * 3,
    "address": {"street": "St James's Square 12", "city": "London", "zip": "SW1Y 4JH"},
    "n": 0,
}


def sqlite(stack: ExitStack) -> list[Contender]:
    """SQLite, in WAL mode, synchronous=NORMAL; the driver with a connection for each worker."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    opened: dict[int, sqlite3.Connection] = {}

    def connection(number: int) -> sqlite3.Connection:
        if number not in opened:
            found = sqlite3.connect(f"{folder}/raw.db", isolation_level=None, timeout=10, check_same_thread=False)
            opened[number] = stack.enter_context(closing(found))
            found.execute("PRAGMA journal_mode = WAL")
            found.execute("PRAGMA synchronous = NORMAL")
            found.execute("CREATE TABLE IF NOT EXISTS sessions (key TEXT PRIMARY KEY NOT NULL, payload NOT NULL)")
        return opened[number]

    def raw(number: int) -> None:
        key = f"chat:{number}"
        row = connection(number).execute("SELECT payload FROM sessions WHERE key = ?", [key]).fetchone()
        data = json.loads(row[0]) if row else dict(SESSION)
        data["n"] += 1
        put = "INSERT INTO sessions VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET payload = excluded.payload"
        connection(number).execute(put, [key, json.dumps(data)])

    url = f"sqlite:///{folder}/{{}}.db?synchronous=NORMAL"
    return [Contender("sqlite3", in_threads(raw)), *ours(url, stack)]


def redis_py(stack: ExitStack) -> list[Contender]:
    """Redis, on this machine; the driver with a pool that all threads share."""
    url = stack.enter_context(REDIS.server())
    namespace = f"bench-{secrets.token_hex(4)}"
    client = stack.enter_context(redis.Redis.from_url(url))

    def raw(number: int) -> None:
        key = f"{namespace}:raw:{number}"
        found: Any = client.get(key)
        data = json.loads(found) if found else dict(SESSION)
        data["n"] += 1
        client.set(key, json.dumps(data), px=60_000)

    return [Contender("redis-py", in_threads(raw)), *ours(f"{url}?ttl=60s&namespace={namespace}-{{}}", stack)]


def ours(url: str, stack: ExitStack) -> list[Contender]:
    """Satchel's storage alone, and sessions on it, both ways."""
    loop = stack.enter_context(asyncio.Runner())
    storage: Storage[Any] = open_storage(url.format("asynchronous"))
    loop.run(storage.setup())
    stack.callback(lambda: loop.run(storage.aclose()))
    sessions = Sessions(storage, initial=lambda: dict(SESSION), prefix="session:")

    async def read_and_write(number: int) -> None:
        data = await storage.read(f"chat:{number}") or dict(SESSION)
        data["n"] += 1
        await storage.write(f"chat:{number}", data)

    async def session(number: int) -> None:
        async with sessions.open(f"chat:{number}") as one:
            one.data["n"] += 1

    async def ask(turn: flow.Turn[Any]) -> None:
        turn.data["n"] += 1

    orders = flow.FlowMap(flow.Flow("order", flow.State("ask", ask)))
    conversations = flow.Conversations(
        orders, Sessions(storage, initial=lambda: dict(SESSION), prefix="flow:"), start="order"
    )

    async def state(number: int) -> None:
        await conversations.handle(f"chat:{number}")

    blocked: blocking.Storage[Any] = stack.enter_context(blocking.open_storage(url.format("blocking")))
    blocking_sessions = blocking.Sessions[Any](blocked, initial=lambda: dict(SESSION), prefix="session:")

    def blocking_read_and_write(number: int) -> None:
        data = blocked.read(f"chat:{number}") or dict(SESSION)
        data["n"] += 1
        blocked.write(f"chat:{number}", data)

    def blocking_session(number: int) -> None:
        with blocking_sessions.open(f"chat:{number}") as one:
            one.data["n"] += 1

    def blocking_ask(turn: blocking.Turn[Any]) -> None:
        turn.data["n"] += 1

    blocking_orders = blocking.FlowMap(blocking.Flow("order", blocking.State("ask", blocking_ask)))
    flow_sessions = blocking.Sessions[Any](blocked, initial=lambda: dict(SESSION), prefix="flow:")
    blocking_conversations = blocking.Conversations(blocking_orders, flow_sessions, start="order")

    def blocking_state(number: int) -> None:
        blocking_conversations.handle(f"chat:{number}")

    return [
        Contender("read and write, asynchronous", in_tasks(loop, read_and_write)),
        Contender("read and write, blocking", in_threads(blocking_read_and_write)),
        Contender("a session, asynchronous", in_tasks(loop, session)),
        Contender("a session, blocking", in_threads(blocking_session)),
        Contender("a state of a flow, asynchronous", in_tasks(loop, state)),
        Contender("a state of a flow, blocking", in_threads(blocking_state)),
    ]


BACKENDS: Final = {"sqlite": sqlite, "redis": redis_py}


def main() -> None:
    """Measure, and print a table for each backend."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blocking", description=__doc__)
    parser.add_argument("backend", nargs="?", choices=BACKENDS, help="by default all")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each contender in each round")
    options = parser.parse_args()
    print(machine("satchel", "redis"), f"SQLite {sqlite3.sqlite_version}", sep=", ")
    for name in [options.backend] if options.backend else BACKENDS:
        try:
            with ExitStack() as stack:
                contenders = BACKENDS[name](stack)
                measured = [compare(contenders, count, options.rounds, options.seconds) for count in options.workers]
        except BackendMissing as missing:
            print(f"\n{name} is not measured: {missing}", file=sys.stderr)
        else:
            for rows in measured:
                print("", *in_short(name, rows), "", table(rows), sep="\n", flush=True)


def in_short(backend: str, rows: Sequence[Row]) -> Iterator[str]:
    """Say what the facade costs against the asynchronous names, and against the driver."""
    driver, *rest = rows
    for its, mine in zip(rest[::2], rest[1::2], strict=True):
        what = its.name.partition(",")[0]
        for base in (its, driver):
            more, longer = mine.against(base)
            beside = "asynchronous" if base is its else base.name
            title = f"{backend}, {mine.workers} at once, {what}: blocking against {beside}"
            yield f"{title}: {more:.2f} of the turns/s, {longer:.2f} times the median turn"


if __name__ == "__main__":
    main()
