"""FastMCP keeps the state of its sessions, and what it caches, in a storage."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastmcp import Client, FastMCP
from fastmcp.server.dependencies import get_session
from fastmcp.server.event_store import EventStore
from fastmcp.server.middleware.caching import ResponseCachingMiddleware
from fastmcp.server.sessions import SessionId, SessionProvider
from mcp.types import JSONRPCNotification

from satchel import Listing, Storage, open_storage
from satchel_key_value import SatchelStore


def server(storage: Storage[Any]) -> FastMCP:
    """A server whose tools remember pizzas."""
    mcp = FastMCP("Pizzeria", session_state_store=SatchelStore(storage))
    mcp.add_provider(SessionProvider())

    @mcp.tool
    async def order(session_id: SessionId, pizza: str) -> list[str]:
        session = await get_session(session_id)
        ordered = [*await session.get("ordered", []), pizza]
        await session.set("ordered", ordered)
        return ordered

    return mcp


async def entries(storage: Storage[Any]) -> list[str]:
    assert isinstance(storage, Listing)
    return [key async for key in storage.keys("kv:")]


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_a_session_of_a_server_goes_on_in_the_next_one(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/bot.db" if kind == "sqlite" else request.getfixturevalue("redis_url")
    namespace = uuid4().hex
    async with open_storage(url, namespace=namespace) as storage, Client(server(storage)) as client:
        session = (await client.call_tool("create_session")).data
        await client.call_tool("order", {"session_id": session, "pizza": "margherita"})
    async with open_storage(url, namespace=namespace) as storage, Client(server(storage)) as client:
        ordered = await client.call_tool("order", {"session_id": session, "pizza": "marinara"})
        assert ordered.data == ["margherita", "marinara"]
        await client.call_tool("end_session", {"session_id": session})
        assert await entries(storage) == []


async def test_a_cached_answer_is_not_computed_again() -> None:
    calls = 0
    async with open_storage("memory://") as storage:
        mcp = FastMCP("Pizzeria")
        mcp.add_middleware(ResponseCachingMiddleware(cache_storage=SatchelStore(storage)))

        @mcp.tool
        def bake() -> str:
            nonlocal calls
            calls += 1
            return "margherita"

        async with Client(mcp) as client:
            answers = [(await client.call_tool("bake")).data for _ in range(3)]
        assert await entries(storage) != []
    assert answers == ["margherita"] * 3
    assert calls == 1


async def test_events_are_stored_and_replayed() -> None:
    sent: list[str] = []

    async def send(event: Any) -> None:
        sent.append(event.event_id)

    async with open_storage("memory://") as storage:
        events = EventStore(SatchelStore(storage), max_events_per_stream=3)
        message = JSONRPCNotification(jsonrpc="2.0", method="notifications/pizza")
        ids = [await events.store_event("stream", message) for _ in range(4)]
        assert await events.replay_events_after(ids[1], send) == "stream"
        assert await events.replay_events_after(ids[0], send) is None  # one too many: it was deleted
    assert sent == ids[2:]
