"""The storages that the bots run on."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from satchel import blocking, open_storage


@pytest.fixture
def namespace() -> str:
    return f"telebot-{secrets.token_hex(6)}"


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, namespace: str, tmp_path: Path) -> str:
    if request.param == "redis":
        return f"{request.getfixturevalue('redis_url')}?namespace={namespace}"
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bot.db"


@pytest.fixture
async def storage(url: str) -> AsyncIterator[Any]:
    async with open_storage(url) as opened:
        yield opened


@pytest.fixture
def blocked(url: str) -> Iterator[blocking.Storage[Any]]:
    with blocking.open_storage(url) as opened:
        yield opened
