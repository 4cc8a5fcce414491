"""An `AsyncApp` remembers, between one request and the next."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest, AsyncSay
from slack_sdk.web.async_client import AsyncWebClient

from satchel import ConfigurationError, MemoryStorage, NoSessionError, Sessions, Storage, blocking, open_storage
from satchel_slack import AsyncBoundSession, AsyncSessionMiddleware

Signed = Callable[..., dict[str, Any]]


@pytest.fixture
async def storage(url: str, namespace: str) -> AsyncIterator[Storage[Any]]:
    async with open_storage(url, namespace=namespace) as opened:
        yield opened


@pytest.fixture
def app(web_api: Any) -> AsyncApp:
    client = AsyncWebClient(token="xoxb-1", base_url=web_api.url)
    return AsyncApp(client=client, signing_secret="signing secret", process_before_response=True)


async def dispatch(app: AsyncApp, request: dict[str, Any]) -> int:
    return (await app.async_dispatch(AsyncBoltRequest(**request))).status


async def test_a_listener_finds_what_the_last_one_left(
    app: AsyncApp, storage: Storage[Any], signed: Signed, web_api: Any
) -> None:
    app.use(AsyncSessionMiddleware(Sessions(storage, initial=lambda: {"pizza": 0})))

    @app.message("pizza")
    async def order(session: AsyncBoundSession[Any], say: AsyncSay) -> None:
        async with session.open() as opened:
            opened.data["pizza"] += 1
            await say(f"{opened.data['pizza']} pizzas")

    for channel in ("C1", "C1", "C2"):
        assert await dispatch(app, signed("pizza", channel=channel)) == 200
    assert web_api.said == ["1 pizzas", "2 pizzas", "1 pizzas"]
    statuses = await asyncio.gather(*(dispatch(app, signed("pizza", channel="C2")) for _ in range(10)))
    assert statuses == [200] * 10
    assert await storage.read("slack:T1:channel:C2") == {"pizza": 11}


async def test_lazy_sessions_and_updates_work_too(app: AsyncApp, storage: Storage[Any], signed: Signed) -> None:
    caught: list[Exception] = []
    app.use(AsyncSessionMiddleware(Sessions(storage, initial=lambda: {"pizza": 0})))

    @app.error
    async def note(error: Exception) -> None:
        caught.append(error)

    @app.event("message")
    async def bake(session: AsyncBoundSession[Any]) -> None:
        async with session.lazy() as opened:
            (await opened)["pizza"] += 1
        await session.update(lambda again: again.data.update(pizza=again.data["pizza"] + 1))

    assert await dispatch(app, signed("pizza")) == 200
    assert await storage.read("slack:T1:channel:C1") == {"pizza": 2}
    await dispatch(app, signed("pizza", channel=None))
    assert [type(error) for error in caught] == [NoSessionError]


def test_what_are_no_asynchronous_sessions_is_refused() -> None:
    theirs: Any = blocking.Sessions(blocking.Storage(MemoryStorage()))
    storage: Any = MemoryStorage()
    for wrong in (theirs, storage):
        with pytest.raises(ConfigurationError, match="takes Sessions of satchel, not <class"):
            AsyncSessionMiddleware(wrong)
