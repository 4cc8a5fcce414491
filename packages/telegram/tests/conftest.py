"""Applications whose requests go nowhere, and the storages that they run on."""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from telegram.ext import Application, ApplicationBuilder
from telegram.request import BaseRequest, RequestData

from satchel import open_storage

ME = {"id": 42, "is_bot": True, "first_name": "Bot", "username": "bot"}


class Offline(BaseRequest):
    """Answers as Telegram would, and keeps what was asked of it."""

    def __init__(self, sent: list[dict[str, Any]]) -> None:
        self.sent = sent

    @property
    def read_timeout(self) -> float:
        return 1.0

    async def initialize(self) -> None:
        pass

    async def shutdown(self) -> None:
        pass

    async def do_request(
        self, url: str, method: str, request_data: RequestData | None = None, *timeouts: Any, **more: Any
    ) -> tuple[int, bytes]:
        if url.endswith("/getMe"):
            return 200, json.dumps({"ok": True, "result": ME}).encode()
        assert url.endswith("/sendMessage")
        assert request_data is not None
        asked = request_data.parameters
        self.sent.append(asked)
        chat = {"id": asked["chat_id"], "type": "private"}
        result = {"message_id": 1, "date": 1_700_000_000, "chat": chat, "from": ME, "text": asked["text"]}
        return 200, json.dumps({"ok": True, "result": result}).encode()


@pytest.fixture
def sent() -> list[dict[str, Any]]:
    """What the bot has sent."""
    return []


@pytest.fixture
def build(sent: list[dict[str, Any]]) -> Callable[..., ApplicationBuilder[Any, Any, Any, Any, Any, Any]]:
    """Start an application without a network."""

    def builder() -> ApplicationBuilder[Any, Any, Any, Any, Any, Any]:
        offline = ApplicationBuilder().token("42:TEST").updater(None).job_queue(None)
        return offline.request(Offline(sent)).get_updates_request(Offline(sent))

    return builder


@pytest.fixture
async def running(build: Any) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Make an application with handlers and a persistence, and shut it down in the end, if it is not yet."""
    started: list[Application[Any, Any, Any, Any, Any, Any]] = []

    async def run(persistence: Any, *handlers: Any) -> Any:
        application = build().persistence(persistence).build()
        application.add_handlers(list(handlers))
        await application.initialize()
        started.append(application)
        return application

    yield run
    for application in started:
        await application.shutdown()


@pytest.fixture
def namespace() -> str:
    return f"telegram-{secrets.token_hex(6)}"


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, namespace: str, tmp_path: Path) -> str:
    if request.param == "redis":
        return f"{request.getfixturevalue('redis_url')}?namespace={namespace}"
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bot.db"


@pytest.fixture
async def storage(url: str) -> AsyncIterator[Any]:
    async with open_storage(url) as opened:
        yield opened
