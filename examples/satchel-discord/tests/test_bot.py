"""The real bot, with a server in Discord's place: it answers what is asked, and keeps what was said."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from discord.http import Route

from satchel import open_storage
from satchel_discord import PizzaBot

NUMBERS = count(1000)
ME = {"id": "42", "username": "bot", "discriminator": "0", "avatar": None, "bot": True}
ANN = {"id": "7", "username": "ann", "discriminator": "0", "avatar": None}
APPLICATION = {
    "id": "42", "name": "bot", "icon": None, "description": "", "bot_public": True, "bot_require_code_grant": False,
    "verify_key": "", "flags": 0, "team": None, "owner": ANN,
}  # fmt: skip
SESSION = "chat:1:user:7"


def message(text: str, author: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a message as Discord sends it."""
    return {
        "id": str(next(NUMBERS)),
        "channel_id": "1",
        "author": author,
        "content": text,
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "components": [],
        "pinned": False,
        "type": 0,
        **more,
    }


def said(what: Any) -> web.Response:
    """Answer in JSON, whose type discord.py wants to be without a charset."""
    return web.Response(body=json.dumps(what).encode(), content_type="application/json")


class Discord:
    """What the bot has said, and events for it."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[str] = asyncio.Queue()

    async def answer(self, request: web.Request) -> web.Response:
        body: Any = await request.json() if request.can_read_body else None
        match request.path.split("/")[1:]:
            case ["users", "@me"]:
                return said(ME)
            case ["oauth2", "applications", "@me"]:
                return said(APPLICATION)
            case ["applications", "42", "commands"]:
                return said([{**one, "id": "1", "application_id": "42", "version": "1"} for one in body])
            case ["channels", "1", "messages"]:
                self.said.put_nowait(body["content"])
                return said(message(body["content"], ME))
            case ["interactions", *_]:
                self.said.put_nowait(body["data"]["content"])
                return web.Response(status=204)
        return web.Response(status=404)

    async def heard(self) -> str:
        return await asyncio.wait_for(self.said.get(), 10)


@pytest.fixture
async def discord(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Discord]:
    server = Discord()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    monkeypatch.setattr(Route, "BASE", f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield server
    await runner.cleanup()


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Any]:
    async with open_storage(f"sqlite:///{tmp_path}/bot.db") as opened:
        yield opened


@pytest.fixture
async def bot(discord: Discord, storage: Any) -> AsyncIterator[PizzaBot]:
    async with PizzaBot(storage) as bot:
        await bot.login("token")
        yield bot


def hear(bot: PizzaBot, text: str) -> None:
    """Give the bot a message, as its connection to the gateway does."""
    bot._connection.parse_message_create(message(text, ANN))  # type: ignore[arg-type]


def interact(bot: PizzaBot, kind: int, data: dict[str, Any], **more: Any) -> None:
    event = {
        "id": str(next(NUMBERS)),
        "application_id": "42",
        "type": kind,
        "token": "secret",
        "version": 1,
        "channel_id": "1",
        "channel": {"id": "1", "type": 1},
        "user": ANN,
        "data": data,
        "locale": "en-GB",
        "entitlements": [],
        "authorizing_integration_owners": {},
        "attachment_size_limit": 1,
        **more,
    }
    bot._connection.parse_interaction_create(event)  # type: ignore[arg-type]


async def test_a_prefix_command_remembers(bot: PizzaBot, discord: Discord, storage: Any) -> None:
    hear(bot, "!pizza")
    assert await discord.heard() == "1 so far"
    hear(bot, "!pizza 2")
    assert await discord.heard() == "3 so far"
    assert await storage.read(SESSION) == {"pizza": 3}


async def test_commands_a_slash_and_a_button_share_the_session(bot: PizzaBot, discord: Discord, storage: Any) -> None:
    hear(bot, "!pizza")
    assert await discord.heard() == "1 so far"
    options = [{"type": 4, "name": "count", "value": 2}]
    interact(bot, 2, {"id": "1", "name": "order", "type": 1, "options": options})
    assert await discord.heard() == "3 so far"
    interact(bot, 3, {"custom_id": "satchel:more", "component_type": 2}, message=message("3 so far", ME))
    assert await discord.heard() == "4 so far"
    assert await storage.read(SESSION) == {"pizza": 4}


async def test_commands_that_come_at_once_are_all_counted(bot: PizzaBot, discord: Discord, storage: Any) -> None:
    for _ in range(20):
        hear(bot, "!pizza")
    assert {await discord.heard() for _ in range(20)} == {f"{number} so far" for number in range(1, 21)}
    assert await storage.read(SESSION) == {"pizza": 20}


async def test_a_command_that_fails_changes_nothing(
    bot: PizzaBot, discord: Discord, storage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    failed = asyncio.Event()

    @bot.command()
    async def fail(ctx: Any) -> None:
        ctx.session.data["pizza"] = 100
        raise RuntimeError

    @bot.event
    async def on_command_error(_: Any, error: Exception) -> None:
        failed.set()

    hear(bot, "!fail")
    await asyncio.wait_for(failed.wait(), 10)
    hear(bot, "!pizza")  # waits for the session of the one before
    assert await discord.heard() == "1 so far"
    assert await storage.read(SESSION) == {"pizza": 1}


async def test_what_is_no_command_opens_no_session(bot: PizzaBot, discord: Discord, storage: Any) -> None:
    hear(bot, "hello")
    hear(bot, "!pizza")
    assert await discord.heard() == "1 so far"
    assert [key async for key in storage.keys()] == [SESSION]
