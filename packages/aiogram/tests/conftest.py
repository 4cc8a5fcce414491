"""A bot whose requests go nowhere, dispatchers that are fed real updates, and the storages that it all runs on."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiogram import Bot, Dispatcher
from aiogram.client.session.base import BaseSession
from aiogram.methods import SendMessage, TelegramMethod
from aiogram.types import Message, Update

from satchel import open_storage

_NUMBERS = count(1)


class Offline(BaseSession):
    """Answers as Telegram would, and keeps the texts that were sent."""

    def __init__(self, sent: list[str]) -> None:
        super().__init__()
        self.sent = sent

    async def make_request(self, bot: Bot, method: TelegramMethod[Any], timeout: int | None = None) -> Any:  # noqa: ASYNC109 (aiogram's)
        assert isinstance(method, SendMessage)
        self.sent.append(method.text)
        chat = {"id": method.chat_id, "type": "private"}
        return Message.model_validate({"message_id": 1, "date": datetime.now(UTC), "chat": chat})

    async def stream_content(self, *arguments: Any, **options: Any) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError
        yield

    async def close(self) -> None:
        pass


@pytest.fixture
def sent() -> list[str]:
    """What the bot has said."""
    return []


@pytest.fixture
def bot(sent: list[str]) -> Bot:
    return Bot("42:TEST", session=Offline(sent))


@pytest.fixture
def feed(bot: Bot) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Give a dispatcher a message."""

    async def fed(dispatcher: Dispatcher, text: str, *, chat: int = 7, user: int = 7) -> Any:
        message = {
            "message_id": next(_NUMBERS),
            "date": 1_700_000_000,
            "chat": {"id": chat, "type": "private" if chat == user else "group"},
            "from": {"id": user, "is_bot": False, "first_name": "Ann"},
            "text": text,
        }
        update = Update.model_validate({"update_id": 1, "message": message}, context={"bot": bot})
        return await dispatcher.feed_update(bot, update)

    return fed


@pytest.fixture
def namespace() -> str:
    return f"aiogram-{secrets.token_hex(6)}"


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, namespace: str, tmp_path: Path) -> str:
    if request.param == "redis":
        return f"{request.getfixturevalue('redis_url')}?namespace={namespace}"
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bot.db"


@pytest.fixture
async def storage(url: str) -> AsyncIterator[Any]:
    async with open_storage(url) as opened:
        yield opened
